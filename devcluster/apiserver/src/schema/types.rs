//! How a value is to be merged: what a schema says about a place in an object.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::builtin::definitions;
use crate::fields::PathElement;

/// Where references into the built-in definitions point.
pub const REF_PREFIX: &str = "#/components/schemas/";

/// Name of the definition of object metadata.
pub const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The type of a place in an object.
#[derive(Debug, Clone, Copy)]
pub enum Type<'a> {
    /// Described by a schema.
    Node(&'a Value),
    /// Not described: maps are granular, lists atomic.
    Any,
}

/// How values of a type are compared and merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value, or a map or list that is replaced as a whole.
    Leaf,
    /// A map or struct merged key by key.
    Map,
    /// A list merged item by item.
    List,
}

impl Shape {
    /// True when nothing below is looked at.
    pub fn is_leaf(self) -> bool {
        self == Self::Leaf
    }
}

/// A reference to the shared metadata schema.
pub fn metadata_reference() -> Value {
    json!({"$ref": format!("{REF_PREFIX}{OBJECT_META}")})
}

/// Follows a reference to its definition.
pub fn resolve(node: &Value) -> &Value {
    let name = node
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|r| r.strip_prefix(REF_PREFIX));
    name.and_then(definitions::definition).unwrap_or(node)
}

/// A boolean extension of a schema node.
pub fn flag(node: &Value, key: &str) -> bool {
    node.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn word<'a>(node: &'a Value, key: &str) -> &'a str {
    node.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl<'a> Type<'a> {
    /// The type a schema node describes.
    pub fn of(node: &'a Value) -> Self {
        let node = resolve(node);
        let says_nothing = word(node, "type").is_empty()
            && node.get("properties").is_none()
            && node.get("additionalProperties").is_none()
            && !flag(node, "x-kubernetes-int-or-string");
        if says_nothing {
            Self::Any
        } else {
            Self::Node(node)
        }
    }

    /// How a value at this place is merged; without a value, what the schema says.
    pub fn shape(self, value: Option<&Value>) -> Shape {
        let by_value = match value {
            Some(Value::Object(_)) => Shape::Map,
            Some(Value::Array(_)) => Shape::List,
            None | Some(Value::Null) => return self.declared_shape(),
            Some(_) => return Shape::Leaf,
        };
        match self {
            Self::Any if by_value == Shape::List => Shape::Leaf,
            Self::Any => Shape::Map,
            Self::Node(_) if by_value == self.declared_shape() => by_value,
            Self::Node(_) => Shape::Leaf,
        }
    }

    fn declared_shape(self) -> Shape {
        let Self::Node(node) = self else {
            return Shape::Leaf;
        };
        if flag(node, "x-kubernetes-int-or-string") {
            return Shape::Leaf;
        }
        match word(node, "type") {
            "array" if matches!(word(node, "x-kubernetes-list-type"), "set" | "map") => Shape::List,
            "object" | "" if word(node, "x-kubernetes-map-type") != "atomic" => Shape::Map,
            _ => Shape::Leaf,
        }
    }

    /// The type one step further.
    pub fn step(self, element: &PathElement) -> Type<'a> {
        let Self::Node(node) = self else {
            return Self::Any;
        };
        match element {
            PathElement::Field(name) => self.field(name),
            _ => node.get("items").map_or(Self::Any, Type::of),
        }
    }

    /// The type of a map's value or a struct's field.
    pub fn field(self, name: &str) -> Type<'a> {
        let Self::Node(node) = self else {
            return Self::Any;
        };
        let declared = node.get("properties").and_then(|p| p.get(name));
        let extra = || node.get("additionalProperties").filter(|a| a.is_object());
        declared.or_else(extra).map_or(Self::Any, Type::of)
    }

    /// True when the schema names this field.
    pub fn declares(self, name: &str) -> bool {
        matches!(self, Self::Node(node) if node.get("properties").is_some_and(|p| p.get(name).is_some()))
    }

    /// The key fields of a keyed list.
    pub fn list_keys(self) -> Vec<&'a str> {
        let Self::Node(node) = self else {
            return Vec::new();
        };
        let keys = node
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array);
        keys.map(|k| k.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    /// True for a list whose items are a set.
    pub fn is_set(self) -> bool {
        matches!(self, Self::Node(node) if word(node, "x-kubernetes-list-type") == "set")
    }

    /// The path element of an item of a set or keyed list.
    pub fn element(self, index: usize, item: &Value) -> PathElement {
        if self.is_set() {
            return PathElement::Value(item.to_string());
        }
        let keys = self.list_keys();
        if keys.is_empty() {
            return PathElement::Index(index);
        }
        let items = self.step(&PathElement::Index(0));
        let value_of = |key: &str| match item.get(key) {
            Some(value) => Some(value.to_string()),
            None => match items.field(key) {
                Type::Node(node) => node.get("default").map(Value::to_string),
                Type::Any => None,
            },
        };
        let pairs: BTreeMap<String, String> = keys
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), value_of(key)?)))
            .collect();
        if pairs.is_empty() {
            PathElement::Index(index)
        } else {
            PathElement::Key(pairs)
        }
    }

    /// The items of a list with their path elements; empty when it is no list.
    pub fn indexed(self, value: Option<&Value>) -> Vec<(PathElement, &Value)> {
        let items = value
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        items
            .iter()
            .enumerate()
            .map(|(index, item)| (self.element(index, item), item))
            .collect()
    }
}

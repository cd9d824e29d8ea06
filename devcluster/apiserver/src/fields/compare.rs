//! Which fields two versions of an object differ in, and which fields an object has.

use std::collections::BTreeMap;

use serde_json::Value;

use super::set::{FieldSet, PathElement};
use crate::schema::types::{Shape, Type};

/// The difference between two objects, as field paths.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Only in the new object.
    pub added: FieldSet,
    /// In both, with different values.
    pub modified: FieldSet,
    /// Only in the old object.
    pub removed: FieldSet,
}

impl Comparison {
    /// True when the objects are equal.
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// Compares two objects of one type.
pub fn compare(old: &Value, new: &Value, of: Type<'_>) -> Comparison {
    let mut walker = Walker {
        out: Comparison::default(),
        path: Vec::new(),
    };
    walker.walk(Some(old), Some(new), of);
    walker.out
}

struct Walker {
    out: Comparison,
    path: Vec<PathElement>,
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

impl Walker {
    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, Some(_)) => self.out.added.insert(&self.path),
            (Some(_), None) => self.out.removed.insert(&self.path),
            (Some(a), Some(b)) if a != b => self.out.modified.insert(&self.path),
            _ => {}
        }
    }

    fn walk(&mut self, old: Option<&Value>, new: Option<&Value>, of: Type<'_>) {
        if old.is_some() && old == new {
            return;
        }
        let shape = of.shape(new.or(old));
        let old_shape = of.shape(old.or(new));
        if shape != old_shape || shape.is_leaf() || (is_empty(old) && is_empty(new)) {
            return self.leaf(old, new);
        }
        match shape {
            Shape::Map => self.walk_map(old, new, of),
            _ => self.walk_list(old, new, of),
        }
        if old.is_none() {
            self.out.added.insert(&self.path);
        } else if new.is_none() {
            self.out.removed.insert(&self.path);
        }
    }

    fn walk_map(&mut self, old: Option<&Value>, new: Option<&Value>, of: Type<'_>) {
        let old = old
            .and_then(Value::as_object)
            .unwrap_or(crate::object::empty());
        let new = new
            .and_then(Value::as_object)
            .unwrap_or(crate::object::empty());
        let keys = old
            .keys()
            .chain(new.keys().filter(|k| !old.contains_key(*k)));
        for key in keys {
            let element = PathElement::field(key);
            let below = of.step(&element);
            self.path.push(element);
            self.walk(old.get(key), new.get(key), below);
            self.path.pop();
        }
    }

    fn walk_list(&mut self, old: Option<&Value>, new: Option<&Value>, of: Type<'_>) {
        let old = of.indexed(old);
        let new = of.indexed(new);
        let old_index: BTreeMap<&PathElement, &Value> = old.iter().map(|(e, v)| (e, *v)).collect();
        let new_index: BTreeMap<&PathElement, &Value> = new.iter().map(|(e, v)| (e, *v)).collect();
        let fresh = new
            .iter()
            .map(|(e, _)| e)
            .filter(|e| !old_index.contains_key(e));
        for element in old.iter().map(|(e, _)| e).chain(fresh) {
            let below = of.step(element);
            self.path.push(element.clone());
            self.walk(
                old_index.get(element).copied(),
                new_index.get(element).copied(),
                below,
            );
            self.path.pop();
        }
    }
}

/// The fields an object sets, as apply counts them: leaves, list items and empty maps.
pub fn to_field_set(object: &Value, of: Type<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    collect(object, of, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, of: Type<'_>, path: &mut Vec<PathElement>, set: &mut FieldSet) {
    let shape = of.shape(Some(value));
    if shape.is_leaf() {
        return set.insert(path);
    }
    match (shape, value) {
        (Shape::Map, Value::Object(map)) => {
            for (key, child) in map {
                let element = PathElement::field(key);
                let below = of.step(&element);
                path.push(element);
                collect(child, below, path, set);
                let is_empty_map = child.as_object().is_some_and(serde_json::Map::is_empty);
                if child.is_null() || is_empty_map || !of.declares(key) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (_, Value::Array(_)) => {
            for (element, child) in of.indexed(Some(value)) {
                let below = of.step(&element);
                path.push(element);
                collect(child, below, path, set);
                set.insert(path);
                path.pop();
            }
        }
        _ => set.insert(path),
    }
}

//! What an applied configuration must fit: the types of the schema. Unlike elsewhere, what does not fit is an error
//! and not something to drop.

use std::collections::BTreeSet;

use serde_json::Value;

use super::set::{PathElement, display_path};
use crate::schema::types::{Shape, Type, flag};

/// What is wrong with a configuration, in the words of the original, one line each.
pub fn faults(config: &Value, of: Type<'_>) -> Vec<String> {
    let mut walker = Walker {
        path: Vec::new(),
        out: Vec::new(),
    };
    walker.value(config, of);
    walker.out
}

struct Walker {
    path: Vec<PathElement>,
    out: Vec<String>,
}

impl Walker {
    fn say(&mut self, what: &str) {
        let place = display_path(&self.path);
        self.out.push(match place.as_str() {
            "" => what.to_owned(),
            place => format!("{place}: {what}"),
        });
    }

    fn value(&mut self, value: &Value, of: Type<'_>) {
        let Type::Node(node) = of else { return };
        if value.is_null() || flag(node, "x-kubernetes-int-or-string") {
            return;
        }
        let wanted = node.get("type").and_then(Value::as_str).unwrap_or_default();
        match (wanted, value) {
            ("object" | "", Value::Object(_)) => self.map(value, of, node),
            ("array", Value::Array(list)) => self.list(value, list.len(), of),
            ("object", _) => self.say(&format!("expected map, got &{{{}}}", go_text(value))),
            ("array", _) => self.say(&format!("expected list, got &{{{}}}", go_text(value))),
            ("string", other) if !other.is_string() => {
                let shown = go_syntax(other);
                self.say(&format!(
                    "expected string, got &value.valueUnstructured{{Value:{shown}}}"
                ));
            }
            ("integer" | "number", other) if !other.is_number() => {
                let is = go_type(other);
                self.say(&format!("expected numeric (int or float), got {is}"));
            }
            ("boolean", other) if !other.is_boolean() => {
                self.say(&format!("expected boolean, got &{{{}}}", go_text(other)));
            }
            _ => {}
        }
    }

    fn map(&mut self, value: &Value, of: Type<'_>, node: &Value) {
        let embedded = flag(node, "x-kubernetes-embedded-resource");
        let open = flag(node, "x-kubernetes-preserve-unknown-fields")
            || node
                .get("additionalProperties")
                .is_some_and(|a| a != &Value::Bool(false));
        for (key, child) in value.as_object().into_iter().flatten() {
            self.path.push(PathElement::field(key));
            let typed = embedded && matches!(key.as_str(), "apiVersion" | "kind" | "metadata");
            if of.declares(key) || open {
                self.value(child, of.field(key));
            } else if !typed {
                self.say("field not declared in schema");
            }
            self.path.pop();
        }
    }

    fn list(&mut self, value: &Value, length: usize, of: Type<'_>) {
        let keyed = of.shape(Some(value)) == Shape::List;
        let items = of.indexed(Some(value));
        if keyed {
            self.keys(value, &items, of);
        }
        let mut seen = BTreeSet::new();
        for (element, item) in items {
            let below = of.step(&element);
            if keyed && length > 1 && !seen.insert(element.clone()) {
                let shown = display_path(std::slice::from_ref(&element));
                self.say(&format!("duplicate entries for key {shown}"));
            }
            self.path.push(element);
            self.value(item, below);
            self.path.pop();
        }
    }

    /// Every item of a keyed list must have its keys, or defaults for them.
    fn keys(&mut self, value: &Value, items: &[(PathElement, &Value)], of: Type<'_>) {
        let keys = of.list_keys();
        for (index, (element, _)) in items.iter().enumerate() {
            let has = |key: &str| matches!(element, PathElement::Key(map) if map.contains_key(key));
            let item = value.get(index);
            for key in &keys {
                if !has(key) && item.is_some_and(Value::is_object) {
                    self.say(&format!(
                        "element {index}: associative list with keys has an element that omits key field {key:?} \
                         (and doesn't have default value)"
                    ));
                }
            }
        }
    }
}

/// A value as Go prints it plainly.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let parts: Vec<String> = list.iter().map(go_text).collect();
            format!("[{}]", parts.join(" "))
        }
        Value::Object(map) => {
            let parts: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_text(value)))
                .collect();
            format!("map[{}]", parts.join(" "))
        }
        other => other.to_string(),
    }
}

/// A value as Go writes it in its source.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            let parts: Vec<String> = list.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", parts.join(", "))
        }
        Value::Object(map) => {
            let parts: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key:?}:{}", go_syntax(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", parts.join(", "))
        }
        other => other.to_string(),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({"type": "object", "properties": {
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "size": {"type": "integer"}, "text": {"type": "string"}, "on": {"type": "boolean"},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}}}}}})
    }

    #[test]
    fn undeclared_fields_are_named_by_their_keys() {
        let schema = schema();
        let config =
            json!({"free": {"x": {"y": 1}}, "ports": [{"name": "a", "prot": 1}], "other": 1});
        assert_eq!(
            faults(&config, Type::of(&schema)),
            [
                ".other: field not declared in schema",
                ".ports[name=\"a\"].prot: field not declared in schema"
            ]
        );
    }

    #[test]
    fn wrong_types_and_duplicates_are_told() {
        let schema = schema();
        let config = json!({"size": "3", "text": 1, "on": "yes", "tags": ["x", "x"],
            "ports": [{"name": "a"}, {"name": "a"}, {}]});
        assert_eq!(
            faults(&config, Type::of(&schema)),
            [
                ".on: expected boolean, got &{yes}",
                ".ports: element 2: associative list with keys has an element that omits key field \"name\" (and \
                 doesn't have default value)",
                ".ports: duplicate entries for key [name=\"a\"]",
                ".size: expected numeric (int or float), got string",
                ".tags: duplicate entries for key [=\"x\"]",
                ".text: expected string, got &value.valueUnstructured{Value:1}"
            ]
        );
    }
}

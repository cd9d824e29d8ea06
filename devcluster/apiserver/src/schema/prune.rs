//! Dropping fields a schema does not know, and telling which they were.

use serde_json::Value;

use super::default::child_schema;
use super::types::{flag, resolve};

/// Removes unknown fields and returns their paths.
pub fn prune(value: &mut Value, schema: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(value, schema, "", &mut unknown);
    unknown
}

fn walk(value: &mut Value, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    let schema = resolve(schema);
    match value {
        Value::Object(map) => {
            let open = flag(schema, "x-kubernetes-preserve-unknown-fields");
            let embedded = flag(schema, "x-kubernetes-embedded-resource");
            let says_anything = schema.get("type").is_none() && schema.get("properties").is_none();
            let extra = schema
                .get("additionalProperties")
                .is_some_and(|a| a != &Value::Bool(false));
            let known = |key: &str| {
                schema
                    .get("properties")
                    .is_some_and(|p| p.get(key).is_some())
                    || (embedded && matches!(key, "apiVersion" | "kind" | "metadata"))
            };
            if !open && !extra && !says_anything {
                let drop: Vec<String> = map.keys().filter(|k| !known(k)).cloned().collect();
                for key in drop {
                    map.remove(&key);
                    unknown.push(join(path, &key));
                }
            }
            for (key, child) in map.iter_mut() {
                if let Some(node) = child_schema(schema, key) {
                    walk(child, node, &join(path, key), unknown);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter_mut().enumerate() {
                    walk(item, items, &format!("{path}[{index}]"), unknown);
                }
            }
        }
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Removes nulls from maps, as decoding into a typed object does.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, child| !child.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_go_and_are_named() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "object", "properties": {"b": {"type": "string"}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}}}});
        let mut value = json!({"a": {"b": "1", "c": 2}, "free": {"z": 1}, "list": [{"x": "", "y": 1}],
            "map": {"k": "v"}, "top": 1});
        let unknown = prune(&mut value, &schema);
        assert_eq!(unknown, ["top", "a.c", "list[0].y"]);
        assert_eq!(
            value,
            json!({"a": {"b": "1"}, "free": {"z": 1}, "list": [{"x": ""}], "map": {"k": "v"}})
        );
    }
}

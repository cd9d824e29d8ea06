//! Default values of a structural schema.

use serde_json::Value;

use super::types::{flag, resolve};

/// Fills in defaults, and replaces a null by the default where null is not allowed.
pub fn apply_defaults(value: &mut Value, schema: &Value) {
    let schema = resolve(schema);
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, node) in properties.into_iter().flatten() {
                let Some(default) = node.get("default") else {
                    continue;
                };
                let missing = match map.get(name) {
                    None => true,
                    Some(Value::Null) => !flag(node, "nullable"),
                    Some(_) => false,
                };
                if missing && !default.is_null() {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (key, child) in map.iter_mut() {
                if let Some(node) = child_schema(schema, key) {
                    apply_defaults(child, node);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                list.iter_mut().for_each(|item| apply_defaults(item, items));
            }
        }
        _ => {}
    }
}

/// Removes the nulls that stand for nothing: where null is not allowed and there is no default to replace it.
///
/// Not the elements of lists, whose positions count.
pub fn drop_nulls(value: &mut Value, schema: &Value) {
    let schema = resolve(schema);
    match value {
        Value::Object(map) => {
            map.retain(|key, child| {
                let node = child_schema(schema, key);
                let stands = |node: &Value| {
                    flag(node, "nullable") || node.get("default").is_some_and(|d| !d.is_null())
                };
                !child.is_null() || node.is_none_or(stands)
            });
            for (key, child) in map.iter_mut() {
                if let Some(node) = child_schema(schema, key) {
                    drop_nulls(child, node);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                list.iter_mut().for_each(|item| drop_nulls(item, items));
            }
        }
        _ => {}
    }
}

/// The schema of a key: a declared property, else `additionalProperties`.
pub fn child_schema<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let declared = schema.get("properties").and_then(|p| p.get(key));
    declared.or_else(|| schema.get("additionalProperties").filter(|a| a.is_object()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_reach_into_lists_and_replace_nulls() {
        let schema = json!({"type": "object", "properties": {
            "color": {"type": "string", "default": "green"},
            "keep": {"type": "string", "default": "x", "nullable": true},
            "ports": {"type": "array", "items": {"type": "object", "properties": {
                "protocol": {"type": "string", "default": "TCP"}}}}}});
        let mut value = json!({"color": null, "keep": null, "ports": [{}]});
        apply_defaults(&mut value, &schema);
        assert_eq!(
            value,
            json!({"color": "green", "keep": null, "ports": [{"protocol": "TCP"}]})
        );
    }

    #[test]
    fn nulls_that_stand_for_nothing_go() {
        let schema = json!({"type": "object", "properties": {
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "color": {"type": "string", "default": "green"},
            "keep": {"type": "string", "nullable": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}}});
        let mut value = json!({"labels": null, "color": null, "keep": null, "free": {"x": null},
            "list": [null, {"a": null}]});
        drop_nulls(&mut value, &schema);
        assert_eq!(
            value,
            json!({"color": null, "keep": null, "free": {"x": null}, "list": [null, {}]})
        );
        let mut value = json!({"labels": {"a": null, "b": "c"}});
        drop_nulls(&mut value, &schema);
        assert_eq!(value, json!({"labels": {"b": "c"}}));
    }
}

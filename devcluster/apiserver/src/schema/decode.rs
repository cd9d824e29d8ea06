//! Type faults that make a built-in object undecodable.

use serde_json::Value;

use super::default::child_schema;
use super::types::{flag, resolve};

fn go_type(wanted: &str) -> &str {
    match wanted {
        "integer" => "int64",
        "boolean" => "bool",
        "number" => "float64",
        "array" => "slice",
        "object" => "map",
        other => other,
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn fits(value: &Value, wanted: &str) -> bool {
    match wanted {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

/// The first value of the wrong type, described as a JSON decoder would.
pub fn first_type_fault(value: &Value, schema: &Value, path: &str) -> Option<String> {
    let schema = resolve(schema);
    if value.is_null() || flag(schema, "x-kubernetes-int-or-string") {
        return None;
    }
    let wanted = schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !wanted.is_empty() && !fits(value, wanted) {
        let (is, go) = (json_type(value), go_type(wanted));
        return Some(format!(
            "json: cannot unmarshal {is} into Go struct field .{path} of type {go}"
        ));
    }
    match value {
        Value::Object(map) => map.iter().find_map(|(key, child)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            first_type_fault(child, child_schema(schema, key)?, &path)
        }),
        Value::Array(list) => {
            let items = schema.get("items")?;
            list.iter()
                .find_map(|item| first_type_fault(item, items, path))
        }
        _ => None,
    }
}

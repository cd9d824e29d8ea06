//! Type faults that make a built-in object undecodable.

use serde_json::Value;

use super::default::child_schema;
use super::types::{flag, resolve};

/// The type as a JSON decoder in Go names it.
fn go_type(schema: &Value) -> String {
    let word = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    match (word("type"), word("format")) {
        ("integer", "int32") => "int32".to_owned(),
        ("integer", _) => "int64".to_owned(),
        ("boolean", _) => "bool".to_owned(),
        ("number", _) => "float64".to_owned(),
        ("array", _) => format!(
            "[]{}",
            schema.get("items").map_or_else(String::new, of_child)
        ),
        ("object", _) => match schema.get("additionalProperties") {
            Some(values) => format!("map[string]{}", of_child(values)),
            None => "struct".to_owned(),
        },
        (other, _) => other.to_owned(),
    }
}

/// A named type by its short name, any other as `go_type` has it.
fn of_child(schema: &Value) -> String {
    match definition_name(schema) {
        Some(name) => format!("v1.{name}"),
        None => go_type(schema),
    }
}

/// The last part of the definition a reference leads to.
fn definition_name(schema: &Value) -> Option<&str> {
    schema
        .get("$ref")
        .and_then(Value::as_str)?
        .rsplit('.')
        .next()
}

/// The type of a value as a JSON decoder in Go names it.
pub fn json_type(value: &Value) -> &'static str {
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
pub fn first_type_fault(object: &Value, schema: &Value) -> Option<String> {
    fault(object, schema, "", "")
}

fn fault(value: &Value, schema: &Value, owner: &str, path: &str) -> Option<String> {
    let inner = definition_name(schema).unwrap_or(owner);
    let named = schema;
    let schema = resolve(schema);
    if value.is_null() || flag(schema, "x-kubernetes-int-or-string") {
        return None;
    }
    let wanted = schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !wanted.is_empty() && !fits(value, wanted) {
        let (is, go) = (json_type(value), of_child(named));
        return Some(format!(
            "json: cannot unmarshal {is} into Go struct field {owner}.{path} of type {go}"
        ));
    }
    match value {
        Value::Object(map) => map.iter().find_map(|(key, child)| {
            let declared = schema
                .get("properties")
                .is_some_and(|p| p.get(key).is_some());
            // Keys of maps are not part of the path.
            let path = match (declared, path) {
                (false, path) => path.to_owned(),
                (true, "") => key.clone(),
                (true, path) => format!("{path}.{key}"),
            };
            fault(child, child_schema(schema, key)?, inner, &path)
        }),
        Value::Array(list) => {
            let items = schema.get("items")?;
            list.iter().find_map(|item| fault(item, items, inner, path))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn faults_are_named_like_the_original_does() {
        let fault = |object: Value, kind: &str| {
            let schema = json!({"$ref": format!("#/components/schemas/io.k8s.api.core.v1.{kind}")});
            first_type_fault(&object, &schema).unwrap_or_default()
        };
        let number = "json: cannot unmarshal number into Go struct field";
        let text = fault(json!({"data": {"k": 1}}), "ConfigMap");
        assert_eq!(text, format!("{number} ConfigMap.data of type string"));
        let text = fault(json!({"spec": {"containers": [{"name": 5}]}}), "Pod");
        assert_eq!(
            text,
            format!("{number} Container.spec.containers.name of type string")
        );
        assert_eq!(fault(json!({"data": {"k": "v"}}), "ConfigMap"), "");
    }
}

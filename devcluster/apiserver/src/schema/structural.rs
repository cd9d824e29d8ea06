//! Is a CRD's schema structural? The part of the rules that catches what people get wrong.

use serde_json::Value;

use super::types::flag;
use crate::error::FieldError;

/// Findings for the schema of one version; `path` is where the schema is.
pub fn check(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        let field = format!("{path}.type");
        match schema.get("type") {
            None => errors.push(FieldError::required(field, "must not be empty at the root")),
            Some(other) => errors.push(FieldError::invalid(
                field,
                other,
                "must be object at the root",
            )),
        }
    }
    walk(schema, path, true, &mut errors);
    errors
}

fn walk(schema: &Value, path: &str, root: bool, errors: &mut Vec<FieldError>) {
    if !root {
        check_type(schema, path, errors);
    }
    if let Some(rule) = schema.get("pattern").and_then(Value::as_str)
        && let Err(error) = super::pattern::compile(rule)
    {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(
            format!("{path}.pattern"),
            &rule.into(),
            detail,
        ));
    }
    check_list(schema, path, errors);
    check_rules(schema, path, errors);
    for (name, child) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        walk(child, &format!("{path}.properties[{name}]"), false, errors);
    }
    if let Some(items) = schema.get("items").filter(|i| i.is_object()) {
        walk(items, &format!("{path}.items"), false, errors);
    }
    if let Some(extra) = schema.get("additionalProperties").filter(|a| a.is_object()) {
        walk(
            extra,
            &format!("{path}.additionalProperties"),
            false,
            errors,
        );
        if schema
            .get("properties")
            .is_some_and(|p| p.as_object().is_some_and(|p| !p.is_empty()))
        {
            let field = format!("{path}.additionalProperties");
            errors.push(FieldError::forbidden(
                field,
                "additionalProperties and properties are mutual exclusive",
            ));
        }
    }
}

fn check_type(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let open = flag(schema, "x-kubernetes-int-or-string")
        || flag(schema, "x-kubernetes-preserve-unknown-fields");
    if schema.get("type").is_none() && !open {
        let detail = if path.ends_with(".items") {
            "must not be empty for specified array items"
        } else if path.ends_with(".additionalProperties") {
            "must not be empty for specified object additionalProperties"
        } else {
            "must not be empty for specified object fields"
        };
        errors.push(FieldError::required(format!("{path}.type"), detail));
    }
}

fn check_list(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if schema.get("type").and_then(Value::as_str) != Some("array") {
        return;
    }
    if schema.get("items").is_none() {
        errors.push(FieldError::required(
            format!("{path}.items"),
            "must be specified",
        ));
    }
    if schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map") {
        let keys = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array);
        if keys.is_none_or(Vec::is_empty) {
            let field = format!("{path}.x-kubernetes-list-map-keys");
            errors.push(FieldError::required(
                field,
                "must not be empty if x-kubernetes-list-type is map",
            ));
        }
    }
}

/// Rules that cannot be compiled would refuse every object: they are refused instead.
fn check_rules(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let rules = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let field = format!("{path}.x-kubernetes-validations[{index}].rule");
        let text = rule.get("rule").and_then(Value::as_str).unwrap_or_default();
        if text.is_empty() {
            errors.push(FieldError::required(field, "rule is not specified"));
        } else if let Err(error) = kube_cel::cel::Program::compile(text) {
            errors.push(FieldError::invalid(
                field,
                &text.into(),
                format!("compilation failed: {error}"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use serde_json::json;

    #[test]
    fn faults_are_found_where_they_are() {
        let schema = json!({"type": "object", "properties": {
            "untyped": {"description": "x"},
            "list": {"type": "array"},
            "keyed": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
            "ruled": {"type": "string", "x-kubernetes-validations": [{"rule": "self =="}, {"rule": "self != ''"}]},
            "open": {"x-kubernetes-preserve-unknown-fields": true}}});
        let errors = check(&schema, "s");
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "s.properties[keyed].x-kubernetes-list-map-keys",
                "s.properties[list].items",
                "s.properties[ruled].x-kubernetes-validations[0].rule",
                "s.properties[untyped].type"
            ]
        );
    }
}

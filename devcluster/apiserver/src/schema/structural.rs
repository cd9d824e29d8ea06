//! Is a CRD's schema structural? The part of the rules that catches what people get wrong.

use serde_json::Value;

use super::types::flag;
use crate::error::FieldError;

/// The types a schema can name.
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

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
    if let Some(meta) = at_property(schema, "metadata") {
        check_root_metadata(meta, path, &mut errors);
    }
    walk(schema, path, true, &mut errors);
    errors
}

fn at_property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

fn word<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Metadata is there anyway; a schema may only restrict the name.
fn check_root_metadata(meta: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let extra = meta
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|p| p.keys().any(|k| k != "name" && k != "generateName"));
    if extra {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(
            format!("{path}.properties[metadata]"),
            detail,
        ));
    }
}

fn walk(schema: &Value, path: &str, root: bool, errors: &mut Vec<FieldError>) {
    if !root {
        check_type(schema, path, errors);
    }
    check_forbidden(schema, path, errors);
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
    check_default(schema, path, errors);
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
    for key in ["anyOf", "oneOf", "allOf"] {
        let branches = schema.get(key).and_then(Value::as_array);
        for (index, branch) in branches.into_iter().flatten().enumerate() {
            check_branch(branch, schema, &format!("{path}.{key}[{index}]"), errors);
        }
    }
    if let Some(branch) = schema.get("not") {
        check_branch(branch, schema, &format!("{path}.not"), errors);
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

/// Words of JSON Schema that a structural schema does not know, and values that make no sense.
fn check_forbidden(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut forbid = |key: &str, detail: &str| {
        errors.push(FieldError::forbidden(format!("{path}.{key}"), detail));
    };
    if flag(schema, "uniqueItems") {
        forbid(
            "uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        forbid(
            "additionalProperties",
            "additionalProperties cannot be set to false",
        );
    }
    for key in [
        "$ref",
        "definitions",
        "dependencies",
        "patternProperties",
        "id",
    ] {
        if schema.get(key).is_some() {
            forbid(key, &format!("{key} is not supported"));
        }
    }
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let field = format!("{path}.x-kubernetes-preserve-unknown-fields");
        let detail = "must be true or undefined";
        errors.push(FieldError::invalid(field, &false.into(), detail));
    }
    if flag(schema, "x-kubernetes-embedded-resource") {
        let open = flag(schema, "x-kubernetes-preserve-unknown-fields");
        if !open && schema.get("properties").is_none() {
            let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                          x-kubernetes-preserve-unknown-fields";
            errors.push(FieldError::required(format!("{path}.properties"), detail));
        }
    }
}

/// A branch only restricts: it does not declare.
fn check_branch(branch: &Value, parent: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let choice_of_types = flag(parent, "x-kubernetes-int-or-string");
    for key in [
        "type",
        "description",
        "default",
        "title",
        "nullable",
        "additionalProperties",
    ] {
        if branch.get(key).is_some() && !(key == "type" && choice_of_types) {
            errors.push(FieldError::forbidden(
                format!("{path}.{key}"),
                "must be empty to be structural",
            ));
        }
    }
    let properties = branch.get("properties").and_then(Value::as_object);
    for (name, child) in properties.into_iter().flatten() {
        let below = format!("{path}.properties[{name}]");
        match at_property(parent, name) {
            Some(declared) => check_branch(child, declared, &below, errors),
            None if parent.get("properties").is_some() => {
                let place = path.split(".anyOf").next().unwrap_or(path);
                let place = place.split(".oneOf").next().unwrap_or(place);
                let place = place.split(".allOf").next().unwrap_or(place);
                let place = place.split(".not").next().unwrap_or(place);
                let field = format!("{place}.properties[{name}]");
                let detail = format!("because it is defined in {below}");
                errors.push(FieldError::required(field, &detail));
            }
            None => {}
        }
    }
}

fn check_type(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let open = flag(schema, "x-kubernetes-int-or-string")
        || flag(schema, "x-kubernetes-preserve-unknown-fields");
    match schema.get("type").and_then(Value::as_str) {
        Some(own) if !TYPES.contains(&own) => {
            let supported = TYPES.map(|t| format!("{t:?}"));
            errors.push(FieldError::not_supported(
                format!("{path}.type"),
                &own.into(),
                &supported,
            ));
        }
        Some(own) if flag(schema, "x-kubernetes-int-or-string") => {
            let detail = "must be empty if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(
                format!("{path}.type"),
                &own.into(),
                detail,
            ));
        }
        None if !open => {
            let detail = if path.ends_with(".items") {
                "must not be empty for specified array items"
            } else if path.ends_with(".additionalProperties") {
                "must not be empty for specified object additionalProperties"
            } else {
                "must not be empty for specified object fields"
            };
            errors.push(FieldError::required(format!("{path}.type"), detail));
        }
        _ => {}
    }
}

fn check_list(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let list_type = word(schema, "x-kubernetes-list-type");
    if word(schema, "type") != "array" {
        if !list_type.is_empty() {
            let detail = "must be array if x-kubernetes-list-type is specified";
            errors.push(FieldError::invalid(
                format!("{path}.type"),
                &word(schema, "type").into(),
                detail,
            ));
        }
        return;
    }
    if schema.get("items").is_none() {
        errors.push(FieldError::required(
            format!("{path}.items"),
            "must be specified",
        ));
    }
    let keys = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    match list_type {
        "" | "atomic" | "set" if !keys.is_empty() => {
            let field = format!("{path}.x-kubernetes-list-type");
            let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
            errors.push(match list_type {
                "" => FieldError::required(field, detail),
                own => FieldError::invalid(field, &own.into(), detail),
            });
        }
        "" | "atomic" | "set" => {}
        "map" => check_keys(schema, keys, path, errors),
        other => {
            let supported = ["\"atomic\"", "\"map\"", "\"set\""].map(str::to_owned);
            errors.push(FieldError::not_supported(
                format!("{path}.x-kubernetes-list-type"),
                &other.into(),
                &supported,
            ));
        }
    }
}

/// The keys of a keyed list are scalars every item has.
fn check_keys(schema: &Value, keys: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    if keys.is_empty() {
        let field = format!("{path}.x-kubernetes-list-map-keys");
        errors.push(FieldError::required(
            field,
            "must not be empty if x-kubernetes-list-type is map",
        ));
    }
    let items = schema.get("items").unwrap_or(&Value::Null);
    if items.is_object() && word(items, "type") != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(
            format!("{path}.items.type"),
            &word(items, "type").into(),
            detail,
        ));
    }
    let required = items.get("required").and_then(Value::as_array);
    for (index, key) in keys.iter().enumerate() {
        let own = key.as_str().unwrap_or_default();
        match at_property(items, own) {
            None => errors.push(FieldError::invalid(
                format!("{path}.x-kubernetes-list-map-keys[{index}]"),
                key,
                "must name a property of items",
            )),
            Some(node) => {
                let is_required = required.is_some_and(|r| r.contains(key));
                if !is_required && node.get("default").is_none() {
                    let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a \
                                  required property";
                    errors.push(FieldError::required(
                        format!("{path}.items.properties[{own}].default"),
                        detail,
                    ));
                }
            }
        }
    }
}

/// A default must fit the schema it belongs to.
fn check_default(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(default) = schema.get("default").filter(|d| !d.is_null()) else {
        return;
    };
    let own = super::Schema::custom(schema);
    let place = format!("{path}.default");
    for fault in super::validate::validate_value(default, schema, &own) {
        let message = fault
            .message
            .replace(" in body", &format!("{place} in body"));
        errors.push(FieldError {
            field: match fault.field.as_str() {
                "" => place.clone(),
                below => format!("{place}.{below}"),
            },
            message,
            ..fault
        });
    }
}

/// Rules that cannot be compiled would refuse every object: they are refused instead.
fn check_rules(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let rules = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let place = format!("{path}.x-kubernetes-validations[{index}]");
        let text = rule.get("rule").and_then(Value::as_str).unwrap_or_default();
        if text.trim().is_empty() {
            errors.push(FieldError::required(
                format!("{place}.rule"),
                "rule is not specified",
            ));
        } else if let Err(error) = kube_cel::cel::Program::compile(text) {
            errors.push(FieldError::invalid(
                format!("{place}.rule"),
                &text.into(),
                format!("compilation failed: {error}"),
            ));
        }
        let reason = word(rule, "reason");
        let reasons = [
            "FieldValueDuplicate",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueRequired",
        ];
        if !reason.is_empty() && !reasons.contains(&reason) {
            errors.push(FieldError::not_supported(
                format!("{place}.reason"),
                &reason.into(),
                &reasons.map(|r| format!("{r:?}")),
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

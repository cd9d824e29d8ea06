//! Validation against a structural schema, with the messages a real API server gives.

use serde_json::Value;

use super::Schema;
use super::format;
use super::types::{Type, flag, resolve};
use crate::error::FieldError;

/// The finding added when CEL rules were skipped because of other findings.
pub fn rules_not_checked() -> FieldError {
    let detail = "some validation rules were not checked because the object was invalid; \
                  correct the existing errors to complete validation";
    FieldError::invalid("<nil>", &Value::Null, detail)
}

/// Findings of schema validation. What did not change since `old` is not complained about again.
pub fn validate(object: &Value, old: Option<&Value>, schema: &Schema) -> Vec<FieldError> {
    let mut walker = Walker {
        schema,
        errors: Vec::new(),
    };
    if let Value::Object(map) = object {
        let root = schema.root_value();
        for (key, child) in map
            .iter()
            .filter(|(k, _)| !matches!(k.as_str(), "metadata" | "apiVersion" | "kind"))
        {
            if let Some(node) = super::default::child_schema(root, key) {
                walker.node(child, old.and_then(|o| o.get(key)), node, key);
            }
        }
        walker.required(map, root, "", old);
    }
    walker.errors
}

/// Findings about a value beside any object, like a default.
pub fn validate_value(value: &Value, node: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut walker = Walker {
        schema,
        errors: Vec::new(),
    };
    walker.node(value, None, node, "");
    walker.errors
}

struct Walker<'a> {
    schema: &'a Schema,
    errors: Vec<FieldError>,
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn has_type(value: &Value, wanted: &str) -> bool {
    let is = type_name(value);
    let whole = || value.as_f64().is_some_and(|n| n.fract() == 0.0);
    is == wanted
        || (wanted == "number" && is == "integer")
        || (wanted == "integer" && is == "number" && whole())
}

/// What the branch that came closest objects to.
fn best(failures: impl Iterator<Item = Vec<FieldError>>) -> Vec<FieldError> {
    failures.min_by_key(Vec::len).unwrap_or_default()
}

impl Walker<'_> {
    fn node(&mut self, value: &Value, old: Option<&Value>, schema: &Value, path: &str) {
        if old == Some(value) {
            return;
        }
        let schema = resolve(schema);
        if value.is_null() && flag(schema, "nullable") {
            return;
        }
        if !self.check_type(value, schema, path) {
            return;
        }
        self.check_enum(value, schema, path);
        self.check_scalar(value, schema, path);
        match value {
            Value::Object(map) => self.check_map(map, old, schema, path),
            Value::Array(list) => self.check_list(list, old, schema, path),
            _ => {}
        }
        self.check_combinations(value, schema, path);
    }

    fn check_type(&mut self, value: &Value, schema: &Value, path: &str) -> bool {
        let is = type_name(value);
        if flag(schema, "x-kubernetes-int-or-string") {
            if has_type(value, "integer") || value.is_string() {
                return true;
            }
            let detail = format!("{path} in body must be of type integer,string: \"{is}\"");
            self.errors.push(FieldError::type_invalid(path, is, detail));
            if schema.get("anyOf").is_some() {
                let detail = format!("\"{path}\" must validate at least one schema (anyOf)");
                self.errors
                    .push(FieldError::invalid("<nil>", &"".into(), detail));
                let detail = format!("{path} in body must be of type integer: \"{is}\"");
                self.errors.push(FieldError::type_invalid(path, is, detail));
            }
            return false;
        }
        let Some(wanted) = schema.get("type").and_then(Value::as_str) else {
            return true;
        };
        if has_type(value, wanted) {
            return true;
        }
        let detail = format!("{path} in body must be of type {wanted}: \"{is}\"");
        self.errors.push(FieldError::type_invalid(path, is, detail));
        if wanted == "integer" && is == "number" {
            let format = schema
                .get("format")
                .and_then(Value::as_str)
                .unwrap_or("default");
            let detail =
                format!("Checked value must be of type integer ({format} format) in {path}");
            self.errors
                .push(FieldError::invalid("<nil>", &"".into(), detail));
        }
        false
    }

    fn check_enum(&mut self, value: &Value, schema: &Value, path: &str) {
        let Some(allowed) = schema.get("enum").and_then(Value::as_array) else {
            return;
        };
        if !allowed.contains(value) {
            let supported: Vec<String> = allowed.iter().map(Value::to_string).collect();
            self.errors
                .push(FieldError::not_supported(path, value, &supported));
        }
    }

    fn check_scalar(&mut self, value: &Value, schema: &Value, path: &str) {
        if let Some(number) = value.as_f64() {
            self.check_number(value, number, schema, path);
        }
        let Some(text) = value.as_str() else { return };
        let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
        if let Some(max) = schema
            .get("maxLength")
            .and_then(Value::as_u64)
            .filter(|max| length > *max)
        {
            self.errors.push(FieldError::too_long(path, max));
        }
        if let Some(min) = schema
            .get("minLength")
            .and_then(Value::as_u64)
            .filter(|min| length < *min)
        {
            let detail = format!("{path} in body should be at least {min} chars long");
            self.errors.push(FieldError::invalid(path, value, detail));
        }
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && self
                .schema
                .pattern(pattern)
                .is_some_and(|regex| !regex.is_match(text))
        {
            let detail = format!("{path} in body should match '{pattern}'");
            self.errors.push(FieldError::invalid(path, value, detail));
        }
        if let Some(name) = schema.get("format").and_then(Value::as_str)
            && !format::matches(name, text)
        {
            let detail = format!("{path} in body must be of type {name}: {value}");
            self.errors
                .push(FieldError::type_invalid(path, text, detail));
        }
    }

    fn check_number(&mut self, value: &Value, number: f64, schema: &Value, path: &str) {
        let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
        let exclusive = |key: &str| flag(schema, key);
        if let Some(min) = bound("minimum") {
            let strict = exclusive("exclusiveMinimum");
            if number < min || (strict && number <= min) {
                let or_equal = if strict { "" } else { " or equal to" };
                let detail = format!("{path} in body should be greater than{or_equal} {min}");
                self.errors.push(FieldError::invalid(path, value, detail));
            }
        }
        if let Some(max) = bound("maximum") {
            let strict = exclusive("exclusiveMaximum");
            if number > max || (strict && number >= max) {
                let or_equal = if strict { "" } else { " or equal to" };
                let detail = format!("{path} in body should be less than{or_equal} {max}");
                self.errors.push(FieldError::invalid(path, value, detail));
            }
        }
        if let Some(step) =
            bound("multipleOf").filter(|step| *step > 0.0 && (number / step).fract() != 0.0)
        {
            let detail = format!("{path} in body should be a multiple of {step}");
            self.errors.push(FieldError::invalid(path, value, detail));
        }
    }

    fn required(
        &mut self,
        map: &serde_json::Map<String, Value>,
        schema: &Value,
        path: &str,
        old: Option<&Value>,
    ) {
        let names = schema.get("required").and_then(Value::as_array);
        for name in names.into_iter().flatten().filter_map(Value::as_str) {
            let was_missing = old.is_some_and(|o| o.is_object() && o.get(name).is_none());
            if !map.contains_key(name) && !was_missing {
                self.errors.push(FieldError::required(join(path, name), ""));
            }
        }
    }

    fn check_map(
        &mut self,
        map: &serde_json::Map<String, Value>,
        old: Option<&Value>,
        schema: &Value,
        path: &str,
    ) {
        let count = u64::try_from(map.len()).unwrap_or(u64::MAX);
        if let Some(max) = schema
            .get("maxProperties")
            .and_then(Value::as_u64)
            .filter(|max| count > *max)
        {
            self.errors.push(FieldError::too_many(path, map.len(), max));
        }
        if let Some(min) = schema
            .get("minProperties")
            .and_then(Value::as_u64)
            .filter(|min| count < *min)
        {
            let detail = format!("{path} in body should have at least {min} properties");
            self.errors
                .push(FieldError::invalid(path, &Value::from(count), detail));
        }
        for (key, child) in map {
            if let Some(node) = super::default::child_schema(schema, key) {
                self.node(child, old.and_then(|o| o.get(key)), node, &join(path, key));
            }
        }
        self.required(map, schema, path, old);
    }

    fn check_list(&mut self, list: &[Value], old: Option<&Value>, schema: &Value, path: &str) {
        let count = u64::try_from(list.len()).unwrap_or(u64::MAX);
        if let Some(max) = schema
            .get("maxItems")
            .and_then(Value::as_u64)
            .filter(|max| count > *max)
        {
            self.errors
                .push(FieldError::too_many(path, list.len(), max));
        }
        if let Some(min) = schema
            .get("minItems")
            .and_then(Value::as_u64)
            .filter(|min| count < *min)
        {
            let detail = format!("{path} in body should have at least {min} items");
            self.errors
                .push(FieldError::invalid(path, &Value::from(count), detail));
        }
        let Some(items) = schema.get("items") else {
            return;
        };
        let of = Type::of(schema);
        let keyed = !of.list_keys().is_empty();
        let before = if keyed { of.indexed(old) } else { Vec::new() };
        for (index, item) in list.iter().enumerate() {
            let element = of.element(index, item);
            let was = before.iter().find(|(e, _)| *e == element).map(|(_, v)| *v);
            self.node(item, was, items, &format!("{path}[{index}]"));
        }
    }

    fn check_combinations(&mut self, value: &Value, schema: &Value, path: &str) {
        let branches = |key: &str| {
            schema
                .get(key)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let accepts = |branch: &Value| {
            let mut probe = Walker {
                schema: self.schema,
                errors: Vec::new(),
            };
            probe.node(value, None, branch, path);
            probe.errors
        };
        let mut found = Vec::new();
        let any = branches("anyOf");
        if !any.is_empty() && !any.iter().any(|b| accepts(b).is_empty()) {
            let detail = format!("\"{path}\" must validate at least one schema (anyOf)");
            found.push(FieldError::invalid("<nil>", &"".into(), detail));
            found.extend(best(any.iter().map(accepts)));
        }
        let one = branches("oneOf");
        let matching = one.iter().filter(|b| accepts(b).is_empty()).count();
        if !one.is_empty() && matching != 1 {
            let tail = match matching {
                0 => "Found none valid".to_owned(),
                many => format!("Found {many} valid alternatives"),
            };
            let detail =
                format!("\"{path}\" must validate one and only one schema (oneOf). {tail}");
            found.push(FieldError::invalid("<nil>", &"".into(), detail));
            if matching == 0 {
                found.extend(best(one.iter().map(accepts)));
            }
        }
        for branch in branches("allOf") {
            found.extend(accepts(&branch));
        }
        if let Some(not) = schema.get("not")
            && accepts(not).is_empty()
        {
            let detail = format!("\"{path}\" must not validate the schema (not)");
            found.push(FieldError::invalid("<nil>", &"".into(), detail));
        }
        self.errors.extend(found);
    }
}

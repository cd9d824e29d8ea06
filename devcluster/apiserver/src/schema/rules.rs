//! CEL rules of a schema, evaluated by the `kube-cel` crate.

use std::fmt;
use std::sync::Mutex;

use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

use crate::error::FieldError;

/// The compiled rules of one schema.
pub struct Rules {
    compiled: Mutex<(CompiledSchema, Validator)>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rules")
    }
}

impl Rules {
    /// Compiles the rules of a schema; None when it has none.
    pub fn compile(schema: &Value) -> Option<Self> {
        has_rules(schema).then(|| Self {
            compiled: Mutex::new((compile_schema(schema), Validator::new())),
        })
    }

    /// What the rules object to. `old` is the object before the change: rules that name it run only then.
    pub fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let guard = self
            .compiled
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (compiled, validator) = &*guard;
        let errors = match validator.validate_compiled(compiled, object, old) {
            Ok(()) => return Vec::new(),
            Err(errors) => errors.into_vec(),
        };
        errors
            .into_iter()
            .map(|e| to_field_error(object, &e))
            .collect()
    }
}

fn to_field_error(object: &Value, error: &kube_cel::ValidationError) -> FieldError {
    let path = error.field_path.as_str();
    let field = if path.is_empty() { "<nil>" } else { path };
    let message = match error.kind {
        kube_cel::ErrorKind::ValidationFailure => error.message.trim().to_owned(),
        _ => format!(
            "rule {:?} could not be evaluated: {}",
            error.rule, error.message
        ),
    };
    match error.reason.as_deref() {
        Some("FieldValueForbidden") => return FieldError::forbidden(field, message),
        Some("FieldValueRequired") => return FieldError::required(field, &message),
        _ => {}
    }
    match value_at(object, path) {
        Some(value) if !value.is_object() && !value.is_array() => {
            FieldError::invalid(field, value, message)
        }
        _ => FieldError::invalid_without_value(field, message),
    }
}

/// The value at a path like `spec.ports[0].name`.
fn value_at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut current = object;
    for part in path.split('.').filter(|p| !p.is_empty()) {
        let (name, rest) = part
            .split_once('[')
            .map_or((part, ""), |(name, rest)| (name, rest));
        if !name.is_empty() {
            current = current.get(name)?;
        }
        for index in rest.split('[').filter(|r| !r.is_empty()) {
            let inner = index.trim_end_matches(']');
            current = match inner.parse::<usize>() {
                Ok(position) => current.get(position)?,
                Err(_) => current.get(inner.trim_matches('"'))?,
            };
        }
    }
    Some(current)
}

fn has_rules(node: &Value) -> bool {
    match node {
        Value::Object(map) => {
            map.contains_key("x-kubernetes-validations") || map.values().any(has_rules)
        }
        Value::Array(list) => list.iter().any(has_rules),
        _ => false,
    }
}

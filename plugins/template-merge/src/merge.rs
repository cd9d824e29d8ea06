//! Lays one JSON document over another.

use dpf_plugin_sdk::{Finding, Severity};
use serde_json::{Number, Value};

use crate::CONFIGURATION_FIELD;

/// The values of a service. Maps merge deep; a list or scalar of the configuration replaces what the template has, and so does
/// `null`, which Helm takes to remove a default of the chart. A map against something else is reported as a warning.
pub fn merge(
    template: Option<Value>,
    configuration: Option<Value>,
    object: &str,
    findings: &mut Vec<Finding>,
) -> Option<Value> {
    match (template, configuration) {
        (Some(mut base), Some(over)) => {
            lay_over(&mut base, over, CONFIGURATION_FIELD, object, findings);
            Some(base)
        }
        (base, over) => over.or(base),
    }
}

fn lay_over(base: &mut Value, over: Value, path: &str, object: &str, findings: &mut Vec<Finding>) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(below) => {
                        lay_over(below, value, &format!("{path}.{key}"), object, findings)
                    }
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => {
            if base.is_object() != over.is_object() && !base.is_null() && !over.is_null() {
                findings.push(Finding {
                    severity: Severity::Warning,
                    object: object.to_owned(),
                    field: path.to_owned(),
                    message: format!(
                        "{path} is {}, but {} in the template; the configuration wins",
                        name(&over),
                        name(base)
                    ),
                });
            }
            *base = over;
        }
    }
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Writes `1.0` as `1`, as Go does. Version digests depend on it.
pub fn plain_numbers(value: &mut Value) {
    /// All integers up to here are floats as well.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64()
                && float.fract() == 0.0
                && float.abs() <= EXACT
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                let whole = float as i64;
                *number = Number::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_numbers),
        Value::Object(map) => map.values_mut().for_each(plain_numbers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

//! Go's comparison functions: only values of the same basic kind compare, and numbers of the data are floats.

use std::cmp::Ordering;

use crate::value::Value;

/// `eq`: equal to any of the others.
pub(crate) fn equal_any(first: &Value<'_>, others: &[Value<'_>]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn equal(left: &Value<'_>, right: &Value<'_>) -> Result<bool, String> {
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int()) {
        return Ok(left == right);
    }
    match (left, right) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Float(left), Value::Float(right)) => Ok(left == right),
        (Value::Complex(a, b), Value::Complex(c, d)) => Ok(a == c && b == d),
        (Value::Text(left), Value::Text(right)) => Ok(left == right),
        (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) => Err(format!(
            "values of type {} cannot be compared",
            left.type_name()
        )),
        _ => Err(incompatible(left, right)),
    }
}

/// The order of two values, for `lt`, `le`, `gt` and `ge`. None of a NaN.
pub(crate) fn order(left: &Value<'_>, right: &Value<'_>) -> Result<Option<Ordering>, String> {
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int()) {
        return Ok(Some(left.cmp(&right)));
    }
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => Ok(left.partial_cmp(right)),
        (Value::Text(left), Value::Text(right)) => Ok(Some(left.cmp(right))),
        (unordered, _) | (_, unordered)
            if matches!(
                unordered,
                Value::Nil | Value::Bool(_) | Value::Complex(..) | Value::List(_) | Value::Map(_)
            ) =>
        {
            Err(format!(
                "invalid type for comparison: {}",
                unordered.type_name()
            ))
        }
        _ => Err(incompatible(left, right)),
    }
}

fn incompatible(left: &Value<'_>, right: &Value<'_>) -> String {
    format!(
        "incompatible types for comparison: {} and {}",
        left.type_name(),
        right.type_name()
    )
}

//! What templates compute with: JSON data as Go's encoding/json decodes it, and constants.

use std::rc::Rc;

use serde_json::{Map, Value as Json};

/// A value. Numbers of the data are `Float`, as in Go; `Int` comes from constants, `len` and `range` only.
#[derive(Debug, Clone)]
pub(crate) enum Value<'d> {
    Nil,
    Bool(bool),
    Int(i64),
    /// A byte of a string.
    Byte(u8),
    Float(f64),
    Complex(f64, f64),
    Text(Rc<str>),
    List(&'d [Json]),
    Map(&'d Map<String, Json>),
}

impl<'d> Value<'d> {
    pub(crate) fn of(json: &'d Json) -> Self {
        match json {
            Json::Null => Value::Nil,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Value::Text(Rc::from(text.as_str())),
            Json::Array(items) => Value::List(items),
            Json::Object(map) => Value::Map(map),
        }
    }

    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Value::Text(Rc::from(text.as_ref()))
    }

    /// Go's name of the type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Byte(_) => "uint8",
            Value::Float(_) => "float64",
            Value::Complex(..) => "complex128",
            Value::Text(_) => "string",
            Value::List(_) => "[]interface {}",
            Value::Map(_) => "map[string]interface {}",
        }
    }

    /// Whether `if` takes its first branch.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Byte(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(map) => !map.is_empty(),
        }
    }

    /// As an integer, where Go converts between integer types.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            Value::Byte(value) => Some(i64::from(*value)),
            _ => None,
        }
    }
}

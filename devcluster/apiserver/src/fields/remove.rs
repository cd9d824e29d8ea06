//! Taking fields out of an object.

use serde_json::{Map, Value};

use super::set::{FieldSet, PathElement};
use crate::schema::types::{Shape, Type};

/// The object without the fields of `set`; None when it is a list of which nothing is left. An emptied map stays: if
/// it was to go, it would be in the set itself.
pub fn remove_items(value: &Value, set: &FieldSet, of: Type<'_>) -> Option<Value> {
    let shape = of.shape(Some(value));
    match (shape, value) {
        (Shape::Map, Value::Object(map)) => {
            let mut out = Map::new();
            for (key, child) in map {
                let element = PathElement::field(key);
                if set.has(&element) {
                    continue;
                }
                let kept = match set.child(&element) {
                    Some(below) => remove_items(child, below, of.step(&element)),
                    None => Some(child.clone()),
                };
                if let Some(kept) = kept {
                    out.insert(key.clone(), kept);
                }
            }
            Some(Value::Object(out))
        }
        (Shape::List, Value::Array(_)) => {
            let mut out = Vec::new();
            for (element, child) in of.indexed(Some(value)) {
                if set.has(&element) {
                    continue;
                }
                out.extend(match set.child(&element) {
                    Some(below) => remove_items(child, below, of.step(&element)),
                    None => Some(child.clone()),
                });
            }
            (!out.is_empty()).then_some(Value::Array(out))
        }
        _ => Some(value.clone()),
    }
}

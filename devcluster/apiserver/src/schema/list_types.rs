//! The rules a structural schema sets for lists: sets have no duplicates, keyed lists no two items with one key.

use serde_json::{Map, Value};

use super::default::child_schema;
use super::types::{Type, resolve};
use crate::error::FieldError;

/// Finds duplicates in sets and keyed lists.
pub fn check(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let schema = resolve(schema);
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                if let Some(node) = child_schema(schema, key) {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    check(child, node, &path, errors);
                }
            }
        }
        Value::Array(list) => {
            check_list(list, Type::of(schema), path, errors);
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter().enumerate() {
                    check(item, items, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

fn check_list(list: &[Value], of: Type<'_>, path: &str, errors: &mut Vec<FieldError>) {
    let keys = of.list_keys();
    if !of.is_set() && keys.is_empty() {
        return;
    }
    let mut seen: Vec<Value> = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let identity = if of.is_set() {
            item.clone()
        } else {
            let pairs = keys
                .iter()
                .filter_map(|k| Some(((*k).to_owned(), item.get(*k)?.clone())));
            Value::Object(pairs.collect::<Map<String, Value>>())
        };
        if seen.contains(&identity) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), &identity));
        } else {
            seen.push(identity);
        }
    }
}

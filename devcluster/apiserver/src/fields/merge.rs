//! Merging an applied configuration into the live object, by list and map types.

use serde_json::{Map, Value};

use super::set::PathElement;
use crate::schema::types::{Shape, Type};

/// The live object with the configuration's values put over it.
pub fn merge(live: &Value, config: &Value, of: Type<'_>) -> Value {
    let shape = of.shape(Some(config));
    if shape.is_leaf() || of.shape(Some(live)) != shape {
        return config.clone();
    }
    match (live, config) {
        (Value::Object(left), Value::Object(right)) => merge_maps(left, right, of),
        (Value::Array(_), Value::Array(_)) if shape == Shape::List => merge_lists(live, config, of),
        _ => config.clone(),
    }
}

fn merge_maps(left: &Map<String, Value>, right: &Map<String, Value>, of: Type<'_>) -> Value {
    let mut out = left.clone();
    for (key, value) in right {
        let merged = match left.get(key) {
            Some(old) => merge(old, value, of.step(&PathElement::field(key))),
            None => value.clone(),
        };
        out.insert(key.clone(), merged);
    }
    Value::Object(out)
}

/// Items keep their order: shared items follow the configuration's order, others stay beside their neighbours.
fn merge_lists(live: &Value, config: &Value, of: Type<'_>) -> Value {
    let left = of.indexed(Some(live));
    let right = of.indexed(Some(config));
    let in_left = |e: &PathElement| left.iter().find(|(other, _)| other == e).map(|(_, v)| *v);
    let in_right = |e: &PathElement| right.iter().any(|(other, _)| other == e);
    let mut shared = right
        .iter()
        .map(|(e, _)| e)
        .filter(|e| in_left(e).is_some());
    let mut next_shared = shared.next();
    let mut done: Vec<&PathElement> = Vec::new();
    let mut out = Vec::new();
    let (mut l, mut r) = (0, 0);
    let join = |element: &PathElement, value: &Value| match in_left(element) {
        Some(old) => merge(old, value, of.step(element)),
        None => value.clone(),
    };
    while l < left.len() || r < right.len() {
        if let (Some((le, _)), Some((re, rv))) = (left.get(l), right.get(r)) {
            if le == re {
                done.push(re);
                out.push(join(re, rv));
                l += 1;
                r += 1;
                next_shared = shared.next();
                continue;
            }
            if in_right(le) && next_shared.is_some_and(|n| n != le) {
                l += 1;
                continue;
            }
        }
        if let Some((le, lv)) = left.get(l) {
            if !in_right(le) {
                out.push((*lv).clone());
                l += 1;
                continue;
            }
            if done.contains(&le) {
                l += 1;
            }
        }
        if let Some((re, rv)) = right.get(r) {
            done.push(re);
            out.push(join(re, rv));
            r += 1;
            if next_shared == Some(re) {
                next_shared = shared.next();
            }
        }
    }
    Value::Array(out)
}

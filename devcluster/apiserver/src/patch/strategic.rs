//! Strategic merge patches: like a merge patch, but lists with a merge key are merged item by item.

use serde_json::{Map, Value};

use crate::fields::PathElement;
use crate::schema::types::Type;

/// The object with the patch applied.
pub fn merge(current: &Value, patch: &Value, of: Type<'_>) -> Value {
    match (current, patch) {
        (Value::Object(old), Value::Object(new)) => merge_maps(old, new, of),
        (_, Value::Object(new)) => merge_maps(crate::object::empty(), new, of),
        _ => patch.clone(),
    }
}

/// The field whose value identifies an item of a list, when its items are merged.
fn merge_key<'a>(of: Type<'a>) -> Option<&'a str> {
    of.list_keys().first().copied()
}

fn merge_maps(old: &Map<String, Value>, patch: &Map<String, Value>, of: Type<'_>) -> Value {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let rest = patch.iter().filter(|(k, _)| !k.starts_with('$'));
            return Value::Object(rest.map(|(k, v)| (k.clone(), v.clone())).collect());
        }
        Some("delete") => return Value::Object(Map::new()),
        _ => {}
    }
    let mut out = old.clone();
    if let Some(retain) = patch.get("$retainKeys").and_then(Value::as_array) {
        out.retain(|key, _| retain.iter().any(|r| r.as_str() == Some(key)));
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(Value::Array(list)) = out.get_mut(field) {
                list.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
        } else if value.is_null() {
            out.remove(key);
        } else {
            let below = of.step(&PathElement::field(key));
            let order = patch.get(&format!("$setElementOrder/{key}"));
            let merged = match (out.get(key), value) {
                (Some(Value::Array(old)), Value::Array(new)) => merge_lists(old, new, order, below),
                (_, Value::Array(new)) => merge_lists(&[], new, order, below),
                (old, new) => merge(old.unwrap_or(&Value::Null), new, below),
            };
            out.insert(key.clone(), merged);
        }
    }
    for (key, order) in patch
        .iter()
        .filter_map(|(k, v)| Some((k.strip_prefix("$setElementOrder/")?, v)))
    {
        if !patch.contains_key(key)
            && let Some(Value::Array(list)) = out.get(key)
        {
            let sorted = in_order(list.clone(), Some(order), of.step(&PathElement::field(key)));
            out.insert(key.to_owned(), Value::Array(sorted));
        }
    }
    Value::Object(out)
}

fn directive(item: &Value) -> Option<&str> {
    item.get("$patch").and_then(Value::as_str)
}

fn merge_lists(old: &[Value], patch: &[Value], order: Option<&Value>, of: Type<'_>) -> Value {
    if patch.iter().any(|item| directive(item) == Some("replace")) {
        return patch
            .iter()
            .filter(|i| directive(i).is_none())
            .cloned()
            .collect();
    }
    if of.is_set() {
        let mut out = old.to_vec();
        out.extend(patch.iter().filter(|item| !old.contains(item)).cloned());
        return Value::Array(in_order(out, order, of));
    }
    let Some(key) = merge_key(of) else {
        return Value::Array(patch.to_vec());
    };
    let items = of.step(&PathElement::Index(0));
    let mut out = old.to_vec();
    for item in patch {
        let position = out
            .iter()
            .position(|o| o.get(key).is_some() && o.get(key) == item.get(key));
        match (position, directive(item) == Some("delete")) {
            (Some(at), true) => {
                out.remove(at);
            }
            (Some(at), false) => {
                if let Some(slot) = out.get_mut(at) {
                    *slot = merge(slot, item, items);
                }
            }
            (None, true) => {}
            (None, false) => out.push(merge(&Value::Null, item, items)),
        }
    }
    Value::Array(in_order(out, order, of))
}

/// Sorts items as `$setElementOrder` lists them; unlisted ones keep their place behind their predecessor.
fn in_order(list: Vec<Value>, order: Option<&Value>, of: Type<'_>) -> Vec<Value> {
    let Some(order) = order.and_then(Value::as_array) else {
        return list;
    };
    let key = merge_key(of);
    let identity = |item: &Value| {
        key.map_or_else(
            || item.clone(),
            |k| item.get(k).cloned().unwrap_or_default(),
        )
    };
    let wanted: Vec<Value> = order.iter().map(identity).collect();
    let mut rank = 0;
    let mut ranked: Vec<(usize, Value)> = Vec::with_capacity(list.len());
    for item in list {
        if let Some(at) = wanted.iter().position(|w| *w == identity(&item)) {
            rank = at;
        }
        ranked.push((rank, item));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Type<'static> {
        Type::of(crate::builtin::definitions::definition("io.k8s.api.core.v1.Pod").unwrap())
    }

    #[test]
    fn keyed_lists_are_merged_and_plain_ones_replaced() {
        let old = json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "args": ["x"]}],
            "nodeSelector": {"k": "v"}}});
        let patch = json!({"spec": {"containers": [{"name": "b", "args": ["y"]}, {"name": "c"}],
            "nodeSelector": {"k": null},
            "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}});
        let new = merge(&old, &patch, pod());
        assert_eq!(
            new,
            json!({"spec": {"containers": [{"name": "c"}, {"name": "b", "args": ["y"]},
            {"name": "a", "image": "1"}], "nodeSelector": {}}})
        );
    }

    #[test]
    fn items_and_maps_can_be_deleted_or_replaced() {
        let old = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1"}},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"],
            "labels": {"$patch": "replace", "y": "2"}}, "spec": {"containers": [{"name": "a", "$patch": "delete"}]}});
        let new = merge(&old, &patch, pod());
        assert_eq!(
            new,
            json!({"metadata": {"finalizers": ["b"], "labels": {"y": "2"}},
            "spec": {"containers": [{"name": "b"}]}})
        );
    }
}

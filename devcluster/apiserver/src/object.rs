//! Reading and writing the parts every Kubernetes object has.

use serde_json::{Map, Value};

/// An empty map to borrow where an object has none.
pub fn empty() -> &'static Map<String, Value> {
    static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
    EMPTY.get_or_init(Map::new)
}

/// The object's metadata, or an empty map.
pub fn meta(object: &Value) -> &Map<String, Value> {
    object
        .get("metadata")
        .and_then(Value::as_object)
        .unwrap_or(empty())
}

/// The object's metadata for writing; creates it. None when the object is not a map.
pub fn meta_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    child_map(object.as_object_mut()?, "metadata")
}

/// The map at `key`, created (or replacing something else) when needed.
pub fn child_map<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    let slot = parent
        .entry(key)
        .or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
}

/// A text field of the metadata; empty when absent.
pub fn meta_str<'a>(object: &'a Value, key: &str) -> &'a str {
    meta(object)
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    meta_str(object, "name")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    meta_str(object, "namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    meta_str(object, "uid")
}

/// True when deletion has begun.
pub fn is_deleting(object: &Value) -> bool {
    meta(object)
        .get("deletionTimestamp")
        .is_some_and(|v| !v.is_null())
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = meta(object).get("finalizers").and_then(Value::as_array);
    list.map(|l| l.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Value) -> &[Value] {
    meta(object)
        .get("ownerReferences")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Sets a metadata field.
pub fn set_meta(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(meta) = meta_mut(object) {
        meta.insert(key.to_owned(), value.into());
    }
}

/// Removes a metadata field.
pub fn remove_meta(object: &mut Value, key: &str) -> Option<Value> {
    object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .and_then(|m| m.remove(key))
}

/// Replaces the finalizers; an empty list removes the field.
pub fn set_finalizers(object: &mut Value, list: Vec<String>) {
    if list.is_empty() {
        remove_meta(object, "finalizers");
    } else {
        set_meta(object, "finalizers", list);
    }
}

/// The value at a path of map keys.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| value.get(*key))
}

/// The text at a path of map keys; empty when absent.
pub fn text_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// Sets the value at a path of map keys, creating the maps on the way.
pub fn set_at(object: &mut Value, path: &[&str], value: Value) {
    let Some((last, front)) = path.split_last() else {
        return;
    };
    let Some(mut map) = object.as_object_mut() else {
        return;
    };
    for key in front {
        match child_map(map, key) {
            Some(child) => map = child,
            None => return,
        }
    }
    map.insert((*last).to_owned(), value);
}

/// Sets the value at a path unless something is there already.
pub fn default_at(object: &mut Value, path: &[&str], value: impl Into<Value>) {
    if at(object, path).is_none_or(Value::is_null) {
        set_at(object, path, value.into());
    }
}

/// Puts a key's value into `into` exactly as it is in `from`: also its absence.
pub fn copy_key(from: &Value, into: &mut Value, key: &str) {
    let Some(map) = into.as_object_mut() else {
        return;
    };
    match from.get(key) {
        Some(value) => map.insert(key.to_owned(), value.clone()),
        None => map.remove(key),
    };
}

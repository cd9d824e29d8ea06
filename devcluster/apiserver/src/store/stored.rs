//! An object at rest: its text as clients get it, and the few parts the server itself looks at.
//!
//! Text takes a fraction of the memory of a parsed tree, and lists and watches hand it out as it is: it is written
//! once, whoever reads it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::object::meta;

/// The parts of the metadata that are kept parsed: identity, selection, deletion and ownership.
const HEAD: [&str; 7] = [
    "name",
    "namespace",
    "uid",
    "labels",
    "finalizers",
    "ownerReferences",
    "deletionTimestamp",
];

/// A stored object.
#[derive(Debug, PartialEq)]
pub struct Stored {
    /// `apiVersion`, `kind` and the parts of `metadata` that [`HEAD`] names.
    head: Value,
    /// The object as a JSON text, without `apiVersion` and `kind`.
    text: Bytes,
}

impl Stored {
    /// Puts an object to rest.
    pub fn new(object: &Value) -> Self {
        let kept = HEAD
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), meta(object).get(*key)?.clone())));
        let head = json!({
            "apiVersion": object.get("apiVersion").cloned().unwrap_or_default(),
            "kind": object.get("kind").cloned().unwrap_or_default(),
            "metadata": kept.collect::<Map<String, Value>>(),
        });
        let map = object.as_object().unwrap_or(crate::object::empty());
        let mut text = Vec::with_capacity(512);
        if let Err(error) = serde_json::to_writer(&mut text, &WithoutType(map)) {
            tracing::error!(%error, "failed to write an object");
        }
        text.shrink_to_fit();
        Self {
            head,
            text: text.into(),
        }
    }

    /// An object with only kind, version, name, namespace, uid, labels, finalizers, owners and deletion.
    pub fn head(&self) -> &Value {
        &self.head
    }

    /// The whole object.
    pub fn value(&self) -> Value {
        let mut map: Map<String, Value> = match serde_json::from_slice(&self.text) {
            Ok(map) => map,
            Err(error) => {
                tracing::error!(%error, "failed to read an object back");
                Map::new()
            }
        };
        for key in ["apiVersion", "kind"] {
            let value = self.head.get(key).cloned().unwrap_or_default();
            map.insert(key.to_owned(), value);
        }
        Value::Object(map)
    }

    /// The object as JSON without `apiVersion` and `kind`, as lists of built-in kinds show it.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// What follows [`type_prefix`] to make the whole object.
    pub fn rest(&self) -> Bytes {
        self.text.slice(1.min(self.text.len())..)
    }
}

/// The beginning of an object of a kind, up to its first field.
pub fn type_prefix(api_version: &str, kind: &str) -> Bytes {
    let (version, kind) = (Value::from(api_version), Value::from(kind));
    format!("{{\"apiVersion\":{version},\"kind\":{kind},").into()
}

/// An object without what a list says once for all.
struct WithoutType<'a>(&'a Map<String, Value>);

impl serde::Serialize for WithoutType<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self
            .0
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind"));
        serializer.collect_map(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "\u{e9}\""},
            "metadata": {"name": "a", "labels": {"x": "y"}, "annotations": {"n": "v"}}});
        let stored = Stored::new(&object);
        assert_eq!(stored.value(), object);
        assert_eq!(
            stored.head()["metadata"],
            json!({"name": "a", "labels": {"x": "y"}})
        );
        let whole = [type_prefix("v1", "ConfigMap"), stored.rest()].concat();
        assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap(), object);
    }
}

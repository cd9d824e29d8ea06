//! Whether an object carries what its controller last decided: a write that changes nothing is not made.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Whether labels, annotations or owners of `observed` differ from what `manager` wants them to be.
///
/// Keys of others are left alone: only keys of `desired`, and keys that `manager` applied before and no longer wants,
/// count.
#[must_use]
pub fn metadata_drifted(manager: &str, desired: &ObjectMeta, observed: &ObjectMeta) -> bool {
    let owners = desired.owner_references.iter().flatten().any(|owner| {
        !observed
            .owner_references
            .iter()
            .flatten()
            .any(|o| o.uid == owner.uid)
    });
    owners
        || map_drifted(
            manager,
            "f:labels",
            desired.labels.as_ref(),
            observed.labels.as_ref(),
            observed,
        )
        || map_drifted(
            manager,
            "f:annotations",
            desired.annotations.as_ref(),
            observed.annotations.as_ref(),
            observed,
        )
}

fn map_drifted(
    manager: &str,
    field: &str,
    desired: Option<&BTreeMap<String, String>>,
    observed: Option<&BTreeMap<String, String>>,
    meta: &ObjectMeta,
) -> bool {
    let missing = desired
        .into_iter()
        .flatten()
        .any(|(key, value)| observed.and_then(|o| o.get(key)) != Some(value));
    missing
        || applied_keys(manager, field, meta)
            .iter()
            .any(|key| !desired.is_some_and(|d| d.contains_key(*key)))
}

/// Whether `manager` would change the spec of an object by applying `desired`.
///
/// `meta` is that of the object. A field that only others set stays, as server-side apply leaves it alone; a field of
/// `manager` that somebody else changed, or that `manager` no longer wants, counts. Without a record of what `manager`
/// applied, every difference counts.
#[must_use]
pub fn spec_drifted(manager: &str, desired: &Value, observed: &Value, meta: &ObjectMeta) -> bool {
    let owned = applied_fields(manager, meta).and_then(|fields| fields.get("f:spec"));
    match owned {
        Some(owned) => value_drifted(desired, observed, owned),
        None => desired != observed,
    }
}

fn value_drifted(desired: &Value, observed: &Value, owned: &Value) -> bool {
    let (Some(desired_fields), Some(observed_fields), Some(owned_fields)) =
        (desired.as_object(), observed.as_object(), nested(owned))
    else {
        // Owned as a whole: a scalar, an atomic list or map, or an empty map in which others may have fields.
        let empty = desired.as_object().is_some_and(Map::is_empty) && observed.is_object();
        return !empty && desired != observed;
    };
    let changed = desired_fields.iter().any(|(key, desired)| {
        match (
            observed_fields.get(key),
            owned_fields.get(&format!("f:{key}")),
        ) {
            (Some(observed), Some(owned)) => value_drifted(desired, observed, owned),
            // It is gone, or its value is another's.
            _ => true,
        }
    });
    changed
        || owned_fields
            .keys()
            .filter_map(|key| key.strip_prefix("f:"))
            .any(|key| !desired_fields.contains_key(key) && observed_fields.contains_key(key))
}

/// The fields below an entry of managed fields; nothing if it is owned as a whole.
fn nested(owned: &Value) -> Option<&Map<String, Value>> {
    let fields = owned.as_object()?;
    fields
        .keys()
        .any(|key| key.starts_with("f:"))
        .then_some(fields)
}

/// What `manager` wrote by server-side apply, as managed fields.
fn applied_fields<'a>(manager: &str, meta: &'a ObjectMeta) -> Option<&'a Value> {
    let mut entries = meta.managed_fields.iter().flatten();
    let entry = entries.find(|entry| {
        entry.manager.as_deref() == Some(manager)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    })?;
    entry.fields_v1.as_ref().map(|fields| &fields.0)
}

/// Keys below `metadata.<field>` that `manager` wrote by server-side apply.
fn applied_keys<'a>(manager: &str, field: &str, meta: &'a ObjectMeta) -> BTreeSet<&'a str> {
    meta.managed_fields
        .iter()
        .flatten()
        .filter(|entry| {
            entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply")
        })
        .filter_map(|entry| entry.fields_v1.as_ref())
        .filter_map(|fields| fields.0.get("f:metadata")?.get(field)?.as_object())
        .flat_map(|keys| keys.keys())
        .filter_map(|key| key.strip_prefix("f:"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
    use serde_json::json;

    #[test]
    fn fields_of_others_in_a_spec_do_not_count() {
        let meta = ObjectMeta {
            managed_fields: Some(vec![ManagedFieldsEntry {
                manager: Some("me".to_owned()),
                operation: Some("Apply".to_owned()),
                fields_v1: Some(FieldsV1(json!({"f:spec": {
                    "f:chart": {"f:version": {}, "f:old": {}}, "f:list": {}, "f:selector": {}, "f:values": {}
                }}))),
                ..ManagedFieldsEntry::default()
            }]),
            ..ObjectMeta::default()
        };
        let desired = json!({
            "chart": {"version": "1"}, "list": ["a"], "selector": {"key": "a"}, "values": {}
        });
        let drifted = |path: &str, value: Value| {
            let mut observed = desired.clone();
            let (parent, key) = path.rsplit_once('/').unwrap();
            observed.pointer_mut(parent).unwrap()[key] = value;
            spec_drifted("me", &desired, &observed, &meta)
        };
        for (path, value, expected) in [
            ("/list", json!(["a"]), false),
            ("/theirs", json!("x"), false),
            ("/chart/theirs", json!("x"), false),
            ("/values/theirs", json!("x"), false),
            ("/chart/old", json!("x"), true),
            ("/chart/version", json!("2"), true),
            ("/list", json!(["a", "b"]), true),
            ("/selector/more", json!("b"), true),
            ("/chart", json!({}), true),
        ] {
            assert_eq!(drifted(path, value.clone()), expected, "{path} {value}");
        }
        let mut theirs = desired.clone();
        theirs["added"] = json!(1);
        assert!(!spec_drifted("me", &desired, &theirs, &meta));
        assert!(
            spec_drifted("me", &theirs, &theirs, &meta),
            "a value that became another's is applied again"
        );
        assert!(
            spec_drifted("other", &desired, &theirs, &meta),
            "nothing is known"
        );
    }

    fn labelled(pairs: &[(&str, &str)]) -> ObjectMeta {
        ObjectMeta {
            labels: Some(
                pairs
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
            ),
            ..ObjectMeta::default()
        }
    }

    fn applied(mut meta: ObjectMeta, keys: &[&str]) -> ObjectMeta {
        let fields: serde_json::Map<_, _> = keys
            .iter()
            .map(|key| (format!("f:{key}"), json!({})))
            .collect();
        meta.managed_fields = Some(vec![ManagedFieldsEntry {
            manager: Some("me".to_owned()),
            operation: Some("Apply".to_owned()),
            fields_v1: Some(FieldsV1(json!({"f:metadata": {"f:labels": fields}}))),
            ..ManagedFieldsEntry::default()
        }]);
        meta
    }

    #[test]
    fn only_own_keys_count() {
        let desired = labelled(&[("a", "1")]);
        for (observed, drifted) in [
            (labelled(&[("a", "1")]), false),
            (labelled(&[("a", "2")]), true),
            (labelled(&[]), true),
            (
                applied(labelled(&[("a", "1"), ("theirs", "x")]), &["a"]),
                false,
            ),
            (
                applied(labelled(&[("a", "1"), ("old", "x")]), &["a", "old"]),
                true,
            ),
        ] {
            assert_eq!(
                metadata_drifted("me", &desired, &observed),
                drifted,
                "{observed:?}"
            );
        }
    }
}

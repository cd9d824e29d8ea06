//! Whether an object carries what its controller last decided: a write that changes nothing is not made.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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

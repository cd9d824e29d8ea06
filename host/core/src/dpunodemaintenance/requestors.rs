//! Who asks for an effect: joining, leaving, and what others hold.

use super::{effective, name};
use dpf_api::keys::{annotations, labels};
use dpf_api::provisioning::{Dpu, DpuNode, DpuNodeMaintenance, DpuNodeMaintenanceSpec, NodeEffect};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What a DPU does to have its effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Joining {
    /// Make the object.
    Create(Box<DpuNodeMaintenance>),
    /// Change it by a merge patch.
    Patch(Value),
    /// It is being deleted; a fresh one is made when it is gone.
    WaitUntilGone,
    /// Nothing: this DPU is among the requestors.
    Joined,
}

fn additional(effect: &NodeEffect) -> Vec<String> {
    let mut names = effect
        .node_maintenance_additional_requestors
        .clone()
        .unwrap_or_default();
    names.sort();
    names.dedup();
    names
}

fn record_key(dpu: &str) -> String {
    let digest = hex::encode(Sha256::digest(dpu));
    let short: String = digest.chars().take(16).collect();
    format!("{}{short}", annotations::LAST_APPLIED_REQUESTORS_PREFIX)
}

/// What a DPU does to have its effect on its host. `None` when it has no effect at all.
#[must_use]
pub fn join(dpu: &Dpu, node: &DpuNode, existing: Option<&DpuNodeMaintenance>) -> Option<Joining> {
    let effect = effective(dpu.spec.node_effect.as_ref());
    let node_name = node.metadata.name.clone().unwrap_or_default();
    let object_name = name(&node_name, &effect)?;
    let dpu_name = dpu.metadata.name.clone().unwrap_or_default();
    let extra = additional(&effect);
    let encoded = serde_json::to_string(&extra).unwrap_or_default();
    let Some(existing) = existing else {
        let mut requestor = extra;
        requestor.push(dpu_name.clone());
        let mut shared = effect;
        shared.node_maintenance_additional_requestors = None;
        return Some(Joining::Create(Box::new(DpuNodeMaintenance {
            metadata: ObjectMeta {
                name: Some(object_name),
                namespace: node.metadata.namespace.clone(),
                labels: Some(BTreeMap::from([(
                    labels::DPUNODE_NAME.to_owned(),
                    node_name.clone(),
                )])),
                annotations: Some(BTreeMap::from([(record_key(&dpu_name), encoded)])),
                ..ObjectMeta::default()
            },
            spec: DpuNodeMaintenanceSpec {
                dpu_node_name: node_name,
                node_effect: Some(shared),
                requestor: Some(requestor),
            },
            status: None,
        })));
    };
    if existing.metadata.deletion_timestamp.is_some() {
        return Some(Joining::WaitUntilGone);
    }
    let mut requestors = existing.spec.requestor.clone().unwrap_or_default();
    let force = effect.force == Some(true)
        && existing.spec.node_effect.as_ref().and_then(|e| e.force) != Some(true);
    if requestors.contains(&dpu_name) && !force {
        return Some(Joining::Joined);
    }
    if requestors.is_empty() {
        // Its removal has been decided: joining now could be too late.
        return Some(Joining::WaitUntilGone);
    }
    for requestor in extra.into_iter().chain([dpu_name.clone()]) {
        if !requestors.contains(&requestor) {
            requestors.push(requestor);
        }
    }
    let mut spec = json!({ "requestor": requestors });
    if force && let Some(fields) = spec.as_object_mut() {
        fields.insert("nodeEffect".to_owned(), json!({ "force": true }));
    }
    Some(Joining::Patch(json!({
        "metadata": {"annotations": {record_key(&dpu_name): encoded}},
        "spec": spec,
    })))
}

/// The requestors without this DPU; none when it is not among them.
///
/// What the DPU brought along stays: others release it.
#[must_use]
pub fn leave(dpu_name: &str, existing: &DpuNodeMaintenance) -> Option<Value> {
    let requestors = existing.spec.requestor.as_deref().unwrap_or_default();
    if !requestors.iter().any(|r| r == dpu_name) {
        return None;
    }
    let rest: Vec<&String> = requestors.iter().filter(|r| *r != dpu_name).collect();
    Some(json!({ "spec": { "requestor": rest } }))
}

/// What a DPU that is being deleted, or in `Error`, takes with it: itself and what it brought along, unless another DPU brought the same.
///
/// Nobody else would release that: those who do look at the services of DPUs that exist, and the host would stay disturbed
/// for ever.
#[must_use]
pub fn withdraw(dpu_name: &str, existing: &DpuNodeMaintenance) -> Option<Value> {
    let own_record = record_key(dpu_name);
    let records = existing.metadata.annotations.iter().flatten();
    let (own, others): (Vec<_>, Vec<_>) = records
        .filter(|(key, _)| key.starts_with(annotations::LAST_APPLIED_REQUESTORS_PREFIX))
        .partition(|(key, _)| **key == own_record);
    let names = |records: Vec<(&String, &String)>| -> Vec<String> {
        let lists = records.into_iter();
        lists
            .flat_map(|(_, record)| serde_json::from_str::<Vec<String>>(record).unwrap_or_default())
            .collect()
    };
    let recorded = !own.is_empty();
    let (brought, kept) = (names(own), names(others));
    let requestors = existing.spec.requestor.as_deref().unwrap_or_default();
    let rest: Vec<&String> = requestors
        .iter()
        .filter(|r| *r != dpu_name && (!brought.contains(r) || kept.contains(r)))
        .collect();
    if !recorded && rest.len() == requestors.len() {
        return None;
    }
    Some(json!({
        "metadata": {"annotations": {own_record: null}},
        "spec": {"requestor": rest},
    }))
}

/// The patch after a change of `nodeMaintenanceAdditionalRequestors`: only what this DPU brought along is replaced.
#[must_use]
pub fn sync_requestors(dpu: &Dpu, existing: &DpuNodeMaintenance) -> Option<Value> {
    let dpu_name = dpu.metadata.name.as_deref().unwrap_or_default();
    let key = record_key(dpu_name);
    let record = existing.metadata.annotations.as_ref()?.get(&key)?;
    let before: Vec<String> = serde_json::from_str(record).unwrap_or_default();
    let after = additional(&effective(dpu.spec.node_effect.as_ref()));
    if before == after || existing.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let requestors = existing.spec.requestor.as_deref().unwrap_or_default();
    if requestors.is_empty() {
        return None;
    }
    let mut next: Vec<String> = requestors
        .iter()
        .filter(|r| !before.contains(r) || after.contains(r))
        .cloned()
        .collect();
    for requestor in &after {
        if !before.contains(requestor) && !next.contains(requestor) {
            next.push(requestor.clone());
        }
    }
    let encoded = serde_json::to_string(&after).unwrap_or_default();
    Some(json!({
        "metadata": {"annotations": {key: encoded}},
        "spec": {"requestor": next},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dpu(name: &str, extra: &[&str]) -> Dpu {
        let mut dpu = Dpu::default();
        dpu.metadata.name = Some(name.to_owned());
        dpu.spec.node_effect = Some(NodeEffect {
            node_maintenance_additional_requestors: Some(
                extra.iter().map(|e| (*e).to_owned()).collect(),
            ),
            ..NodeEffect::drained()
        });
        dpu
    }

    fn node() -> DpuNode {
        let mut node = DpuNode::default();
        node.metadata.name = Some("w".to_owned());
        node.metadata.namespace = Some("n".to_owned());
        node
    }

    fn created(dpu: &Dpu) -> DpuNodeMaintenance {
        match join(dpu, &node(), None) {
            Some(Joining::Create(object)) => *object,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_creates_and_the_others_join() {
        let mut object = created(&dpu("a", &["svc"]));
        assert_eq!(object.metadata.name.as_deref(), Some("w-k8sdrain"));
        assert_eq!(object.spec.requestor.as_deref().unwrap(), ["svc", "a"]);
        assert_eq!(
            join(&dpu("a", &["svc"]), &node(), Some(&object)),
            Some(Joining::Joined)
        );
        let Some(Joining::Patch(patch)) = join(&dpu("b", &["svc"]), &node(), Some(&object)) else {
            panic!("b does not join");
        };
        assert_eq!(patch["spec"]["requestor"], json!(["svc", "a", "b"]));
        object.spec.requestor = Some(Vec::new());
        assert_eq!(
            join(&dpu("b", &[]), &node(), Some(&object)),
            Some(Joining::WaitUntilGone)
        );
    }

    #[test]
    fn leaving_takes_only_oneself() {
        let object = created(&dpu("a", &["svc"]));
        assert_eq!(
            leave("a", &object),
            Some(json!({"spec": {"requestor": ["svc"]}}))
        );
        assert_eq!(leave("b", &object), None);
    }

    #[test]
    fn what_a_deleted_dpu_brought_goes_with_it() {
        let object = created(&dpu("a", &["svc", "chain"]));
        let patch = withdraw("a", &object).unwrap();
        assert_eq!(patch["spec"]["requestor"], json!([]));
        assert_eq!(
            patch["metadata"]["annotations"],
            json!({ record_key("a"): null })
        );
        assert_eq!(withdraw("b", &object), None);

        // After it left by itself, what it brought may still hold the host.
        let mut left = object.clone();
        left.spec.requestor = Some(vec!["svc".to_owned(), "of-a-person".to_owned()]);
        let patch = withdraw("a", &left).unwrap();
        assert_eq!(patch["spec"]["requestor"], json!(["of-a-person"]));
    }

    #[test]
    fn what_another_dpu_brought_too_stays() {
        let mut object = created(&dpu("a", &["svc", "old"]));
        let Some(Joining::Patch(patch)) = join(&dpu("b", &["svc"]), &node(), Some(&object)) else {
            panic!("b does not join");
        };
        let record = patch["metadata"]["annotations"][record_key("b")].clone();
        let annotations = object.metadata.annotations.as_mut().unwrap();
        annotations.insert(record_key("b"), record.as_str().unwrap().to_owned());
        object.spec.requestor = serde_json::from_value(patch["spec"]["requestor"].clone()).unwrap();
        let patch = withdraw("a", &object).unwrap();
        assert_eq!(patch["spec"]["requestor"], json!(["svc", "b"]));
    }

    #[test]
    fn changed_extras_replace_only_ones_own() {
        let mut object = created(&dpu("a", &["v1", "shared"]));
        object
            .spec
            .requestor
            .as_mut()
            .unwrap()
            .push("of-b".to_owned());
        assert_eq!(sync_requestors(&dpu("a", &["shared", "v1"]), &object), None);
        let patch = sync_requestors(&dpu("a", &["shared", "v2"]), &object).unwrap();
        assert_eq!(
            patch["spec"]["requestor"],
            json!(["shared", "a", "of-b", "v2"])
        );
        assert_eq!(sync_requestors(&dpu("b", &["x"]), &object), None);
    }

    #[test]
    fn what_was_released_is_not_held_again() {
        let mut object = created(&dpu("a", &["v1"]));
        object.spec.requestor = Some(vec!["a".to_owned()]);
        assert_eq!(sync_requestors(&dpu("a", &["v1"]), &object), None);
        assert_eq!(
            join(&dpu("a", &["v1"]), &node(), Some(&object)),
            Some(Joining::Joined)
        );
    }
}

//! Which deployments an event concerns.

use crate::kit::remote::hash_of;
use dpf_api::keys::labels;
use dpf_api::provisioning::Dpu;
use dpf_api::svc::DpuDeployment;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

/// Maps an object to the deployments of its namespace that refer to it.
pub(super) fn referring<K: Resource<DynamicType = ()>>(
    store: &Store<DpuDeployment>,
    refers: impl Fn(&DpuDeployment, &str) -> bool + Send + Sync + 'static,
) -> impl Fn(K) -> Vec<ObjectRef<DpuDeployment>> + Send + Sync + 'static {
    let store = store.clone();
    move |object| {
        let (namespace, name) = (
            object.meta().namespace.as_deref(),
            object.meta().name.as_deref().unwrap_or_default(),
        );
        store
            .state()
            .iter()
            .filter(|deployment| {
                deployment.metadata.namespace.as_deref() == namespace && refers(deployment, name)
            })
            .map(|deployment| ObjectRef::from_obj(deployment.as_ref()))
            .collect()
    }
}

/// The deployment that made the DPUSet of this DPU: a set passes its labels on.
pub(super) fn owner_of(dpu: &Dpu) -> Vec<ObjectRef<DpuDeployment>> {
    let owner = dpu.labels().get(labels::OWNED_BY_DPUDEPLOYMENT);
    // No namespace has an underscore in its name.
    let owner = owner.and_then(|owner| owner.split_once('_'));
    owner
        .map(|(namespace, name)| ObjectRef::new(name).within(namespace))
        .into_iter()
        .collect()
}

/// What tells whether the node of a DPU still needs an older revision. Progress of an installation does not, so that a
/// fleet which is being installed does not keep its deployment busy.
pub(super) fn what_counts(dpu: &Dpu) -> Option<u64> {
    let status = dpu.status.as_ref();
    let parts = (
        &dpu.metadata.generation,
        dpu.metadata.deletion_timestamp.is_some(),
        dpu.labels().get(labels::DPUSET_NAME),
        status.map(|status| {
            (
                status.phase.as_str(),
                status.previous_phase.map(|phase| phase.as_str()),
                status.observed_generation,
                status.post_provisioning_node_effect,
            )
        }),
    );
    Some(hash_of(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn dpu(labels: Value, status: Value) -> Dpu {
        serde_json::from_value(json!({
            "apiVersion": "provisioning.dpu.nvidia.com/v1alpha1", "kind": "DPU",
            "metadata": {"name": "d", "namespace": "sets", "generation": 1, "labels": labels},
            "spec": {"dpuNodeName": "n", "dpuDeviceName": "d", "serialNumber": "s", "bfb": "b", "dpuFlavor": "f"},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_dpu_wakes_the_deployment_of_its_label_and_no_other() {
        let owned = dpu(json!({labels::OWNED_BY_DPUDEPLOYMENT: "team_a"}), json!({}));
        assert_eq!(owner_of(&owned), [ObjectRef::new("a").within("team")]);
        for labels in [json!({}), json!({labels::OWNED_BY_DPUDEPLOYMENT: "x"})] {
            assert_eq!(owner_of(&dpu(labels, json!({}))), []);
        }
    }

    #[test]
    fn phases_count_and_progress_does_not() {
        let at = |status| what_counts(&dpu(json!({}), status));
        let installing = at(json!({"phase": "OS Installing"}));
        let further = json!({"phase": "OS Installing", "conditions": [{"type": "OSInstalled", "status": "False",
            "reason": "Progress", "message": "40 %", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        assert_eq!(installing, at(further));
        assert_ne!(installing, at(json!({"phase": "Ready"})));
        assert_ne!(
            at(json!({"phase": "Ready"})),
            at(json!({"phase": "Ready", "observedGeneration": 2}))
        );
    }
}

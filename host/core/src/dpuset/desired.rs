//! The DPU object of one selected device.

use super::select::Selected;
use dpf_api::keys::{annotations, labels};
use dpf_api::provisioning::{ClusterAssignment, Dpu, DpuPhase, DpuSet, DpuSpec, NodeEffect};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Longest name of a Kubernetes object.
const NAME_MAX: usize = 253;

/// Name of the DPU of a device: `<node>-<device>`, the node cut so that it fits.
pub(super) fn dpu_name(node: &str, device: &str) -> String {
    let room = NAME_MAX.saturating_sub(device.len() + 1);
    let node: String = node.chars().take(room).collect();
    format!("{node}-{device}")
}

/// What the set wants of a DPU that may exist already.
///
/// Image and flavor of one that exists stay: they change by replacing it. Until then its labels stay, too: they bring services that
/// were checked against the new image. The action of the effect stays while the DPU is on its way, because the object that
/// applies it is found by it.
#[must_use]
pub fn desired_dpu(
    set: &DpuSet,
    selected: Selected<'_>,
    observed: Option<&Dpu>,
    version: &str,
) -> Dpu {
    let Selected { node, device } = selected;
    let node_name = node.metadata.name.clone().unwrap_or_default();
    let device_name = device.metadata.name.clone().unwrap_or_default();
    let template = set.spec.dpu_template.spec.clone().unwrap_or_default();
    let cluster = template.cluster.clone().unwrap_or_default();
    let mut node_labels = cluster.node_labels.unwrap_or_default();
    node_labels.insert(labels::NODE_HOST.to_owned(), node_name.clone());
    let provisioned_by = observed
        .and_then(|dpu| {
            dpu.spec
                .cluster
                .as_ref()?
                .node_labels
                .as_ref()?
                .get(labels::DPF_VERSION)
        })
        .cloned();
    node_labels.insert(
        labels::DPF_VERSION.to_owned(),
        provisioned_by.unwrap_or_else(|| version.to_owned()),
    );
    let mut wanted = explicit(
        template
            .node_effect
            .clone()
            .unwrap_or_else(NodeEffect::drained),
    );
    if let Some(dpu) = observed.filter(|dpu| is_outdated(set, dpu)) {
        if let Some(labels) = dpu
            .spec
            .cluster
            .as_ref()
            .and_then(|c| c.node_labels.clone())
        {
            node_labels = labels;
        }
        // Who releases the host is named after the services that the labels bring.
        let effect = dpu.spec.node_effect.clone().unwrap_or_default();
        wanted.apply_on_label_change = effect.apply_on_label_change.or(Some(false));
        wanted.node_maintenance_additional_requestors =
            effect.node_maintenance_additional_requestors;
    }
    let effect = match observed {
        Some(dpu) if dpu.status.as_ref().map(|s| s.phase) != Some(DpuPhase::Ready) => {
            let running = dpu
                .spec
                .node_effect
                .clone()
                .unwrap_or_else(NodeEffect::drained);
            explicit(wanted.with_action(running.action()))
        }
        _ => wanted,
    };
    let (bfb, flavor) = match observed {
        Some(dpu) => (dpu.spec.bfb.clone(), dpu.spec.dpu_flavor.clone()),
        None => (template.bfb.and_then(|bfb| bfb.name), template.dpu_flavor),
    };
    let mut dpu = Dpu {
        metadata: metadata(set, selected, &node_name, &device_name),
        spec: DpuSpec {
            dpu_node_name: observed.map_or(node_name, |dpu| dpu.spec.dpu_node_name.clone()),
            dpu_device_name: device_name,
            bfb,
            serial_number: observed.map_or_else(
                || device.spec.serial_number.clone(),
                |dpu| dpu.spec.serial_number.clone(),
            ),
            pci_address: device
                .status
                .as_ref()
                .and_then(|s| s.pci_address.clone())
                .or_else(|| observed.and_then(|dpu| dpu.spec.pci_address.clone())),
            node_effect: Some(effect),
            cluster: Some(ClusterAssignment {
                node_labels: Some(node_labels),
                node_annotations: cluster.node_annotations,
                selector: cluster.selector,
                ..ClusterAssignment::default()
            }),
            dpu_flavor: flavor,
            secure_boot: observed.map_or(template.secure_boot, |dpu| dpu.spec.secure_boot),
            ..DpuSpec::default()
        },
        status: None,
    };
    let encoded = serde_json::to_string(&what_vanishes(&dpu)).unwrap_or_default();
    let digest: String = hex::encode(Sha256::digest(encoded))
        .chars()
        .take(16)
        .collect();
    dpu.metadata
        .annotations
        .get_or_insert_default()
        .insert(annotations::DPUSET_APPLIED.to_owned(), digest);
    dpu
}

/// Whether image or flavor of a DPU are not those of the template. Only names count: both cannot change.
pub(super) fn is_outdated(set: &DpuSet, dpu: &Dpu) -> bool {
    let Some(template) = &set.spec.dpu_template.spec else {
        return false;
    };
    let bfb = template.bfb.as_ref().and_then(|b| b.name.as_ref());
    dpu.spec.bfb.as_ref() != bfb || dpu.spec.dpu_flavor != template.dpu_flavor
}

/// Booleans that the API server would default are said, so that a later change back is seen.
fn explicit(effect: NodeEffect) -> NodeEffect {
    NodeEffect {
        force: Some(effect.force.unwrap_or(false)),
        apply_on_label_change: Some(effect.apply_on_label_change.unwrap_or(false)),
        ..effect
    }
}

/// The parts of which keys can vanish: that the rest is there is seen by comparing it.
fn what_vanishes(dpu: &Dpu) -> impl serde::Serialize {
    let effect = dpu.spec.node_effect.as_ref();
    (
        dpu.metadata.labels.clone(),
        dpu.metadata.annotations.clone(),
        dpu.spec.cluster.clone(),
        effect.and_then(|e| e.node_maintenance_additional_requestors.clone()),
    )
}

fn metadata(
    set: &DpuSet,
    selected: Selected<'_>,
    node_name: &str,
    device_name: &str,
) -> ObjectMeta {
    let set_name = set.metadata.name.clone().unwrap_or_default();
    let set_namespace = set.metadata.namespace.clone().unwrap_or_default();
    let mut of_dpu = BTreeMap::from([
        (labels::DPUSET_NAME.to_owned(), set_name.clone()),
        (labels::DPUSET_NAMESPACE.to_owned(), set_namespace.clone()),
        (labels::DPUDEVICE_NAME.to_owned(), device_name.to_owned()),
        (labels::DPUNODE_NAME.to_owned(), node_name.to_owned()),
    ]);
    of_dpu.extend(set.metadata.labels.clone().unwrap_or_default());
    of_dpu.extend(selected.device.metadata.labels.clone().unwrap_or_default());
    ObjectMeta {
        name: Some(dpu_name(node_name, device_name)),
        namespace: Some(set_namespace),
        labels: Some(of_dpu),
        annotations: set.spec.dpu_template.annotations.clone(),
        owner_references: Some(vec![OwnerReference {
            api_version: "provisioning.dpu.nvidia.com/v1alpha1".to_owned(),
            kind: "DPUSet".to_owned(),
            name: set_name,
            uid: set.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

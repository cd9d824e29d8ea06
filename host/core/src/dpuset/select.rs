//! Which devices a DPUSet selects.

use crate::selectors::{self, with_canonical_pci};
use dpf_api::keys::labels;
use dpf_api::provisioning::{Dpu, DpuDevice, DpuNode, DpuSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// A device and its host.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// The host.
    pub node: &'a DpuNode,
    /// The card.
    pub device: &'a DpuDevice,
}

/// The devices that a set selects, in the order of namespace, node and device.
///
/// Nodes and devices are matched by the labels of their own objects. A device belongs to the node that its label
/// names, in the same namespace; nodes and devices that are being deleted are left out.
#[must_use]
pub fn select<'a>(
    set: &DpuSet,
    nodes: &'a [DpuNode],
    devices: &'a [DpuDevice],
) -> Vec<Selected<'a>> {
    let device_selector = device_selector(set);
    let mut selected = Vec::new();
    for node in nodes {
        if node.metadata.deletion_timestamp.is_some()
            || !selectors::matches(
                set.spec.dpu_node_selector.as_ref(),
                node.metadata.labels.as_ref(),
            )
        {
            continue;
        }
        for device in devices {
            let attached = device.metadata.namespace == node.metadata.namespace
                && device
                    .metadata
                    .labels
                    .as_ref()
                    .and_then(|l| l.get(labels::DPUNODE_NAME))
                    == node.metadata.name.as_ref();
            if attached
                && device.metadata.deletion_timestamp.is_none()
                && selectors::matches(device_selector.as_ref(), device.metadata.labels.as_ref())
            {
                selected.push(Selected { node, device });
            }
        }
    }
    selected.sort_by_key(|s| {
        (
            s.device.metadata.namespace.clone(),
            s.node.metadata.name.clone(),
            s.device.metadata.name.clone(),
        )
    });
    selected
}

/// The selector of devices in one form; PCI addresses as labels have them.
fn device_selector(set: &DpuSet) -> Option<LabelSelector> {
    let selector = set.spec.dpu_device_selector.clone().or_else(|| {
        set.spec
            .dpu_selector
            .clone()
            .map(|labels: BTreeMap<String, String>| LabelSelector {
                match_labels: Some(labels),
                match_expressions: None,
            })
    })?;
    Some(with_canonical_pci(selector))
}

/// The device that a DPU stands for: in its own namespace, else in the inventory.
#[must_use]
pub fn device_of<'a>(
    dpu: &Dpu,
    devices: &'a [DpuDevice],
    inventory: &str,
) -> Option<&'a DpuDevice> {
    let named = |namespace: Option<&str>| {
        devices.iter().find(|device| {
            device.metadata.name.as_deref() == Some(&dpu.spec.dpu_device_name)
                && device.metadata.namespace.as_deref() == namespace
        })
    };
    named(dpu.metadata.namespace.as_deref()).or_else(|| named(Some(inventory)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpuset::plan::tests::{device, node, set};

    #[test]
    fn both_spellings_of_a_pci_address_select_the_same_device() {
        let nodes = [node("w1", &[("rack", "a")]), node("w2", &[("rack", "b")])];
        let devices = [
            device("d1", "w1", "0000-0e-00"),
            device("d2", "w1", "0000-0f-00"),
            device("d3", "w2", "0000-0e-00"),
        ];
        for written in ["0000:0e:00.0", "0000-0e-00"] {
            let mut set = set("s");
            set.spec.dpu_selector = Some(BTreeMap::from([(
                labels::DPUDEVICE_PCI_ADDRESS.to_owned(),
                written.to_owned(),
            )]));
            let names = |set: &DpuSet| -> Vec<String> {
                select(set, &nodes, &devices)
                    .iter()
                    .filter_map(|s| s.device.metadata.name.clone())
                    .collect()
            };
            assert_eq!(names(&set), ["d1", "d3"]);
            set.spec.dpu_node_selector = Some(LabelSelector {
                match_labels: Some(BTreeMap::from([("rack".to_owned(), "b".to_owned())])),
                match_expressions: None,
            });
            assert_eq!(names(&set), ["d3"]);
        }
    }

    #[test]
    fn a_device_that_no_node_has_is_not_selected() {
        let nodes = [node("w1", &[])];
        let mut loose = device("d1", "w1", "0000-0e-00");
        loose.metadata.labels = None;
        assert!(select(&set("s"), &nodes, &[loose]).is_empty());
    }
}

//! What a DPUSet does: create, change and delete DPUs.

mod rolling;

use super::desired::{desired_dpu, dpu_name};
use super::select::{Selected, device_of, select};
use dpf_api::keys::{annotations, labels};
use dpf_api::provisioning::{Dpu, DpuDevice, DpuNode, DpuSet};
use rolling::roll;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a DPUSet is decided from.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The set.
    pub set: &'a DpuSet,
    /// DPUNodes of the namespace of the set and of the inventory.
    pub nodes: &'a [DpuNode],
    /// DPUDevices of these namespaces.
    pub devices: &'a [DpuDevice],
    /// All DPUs, of all sets and namespaces.
    pub dpus: &'a [Dpu],
    /// Namespace of the inventory.
    pub inventory: &'a str,
    /// Version of this controller manager.
    pub version: &'a str,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Action {
    /// Make a DPU, or change one in place.
    Apply(Box<Dpu>),
    /// Delete a DPU.
    Delete {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why, for the event.
        why: String,
    },
    /// All DPUs are gone: the set may go, too.
    Release,
}

/// What a set is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Number of selected devices.
    pub selected: usize,
    /// Devices that belong to a DPU of another set, one sentence each.
    pub conflicts: Vec<String>,
    /// DPUs whose image or flavor is not that of the template.
    pub outdated: Vec<String>,
    /// DPUs that go with the set.
    pub deleting: usize,
}

/// Writes and report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// What the status says.
    pub report: Report,
}

/// Whether a DPU was made by this set.
pub(super) fn owned(set: &DpuSet, dpu: &Dpu) -> bool {
    let label = |key: &str| dpu.metadata.labels.as_ref().and_then(|l| l.get(key));
    label(labels::DPUSET_NAME) == set.metadata.name.as_ref()
        && label(labels::DPUSET_NAMESPACE) == set.metadata.namespace.as_ref()
}

fn key(device: &DpuDevice) -> (Option<String>, Option<String>) {
    (
        device.metadata.namespace.clone(),
        device.metadata.name.clone(),
    )
}

/// What to do.
#[must_use]
pub fn plan(observed: Observed<'_>) -> Plan {
    let Observed {
        set,
        nodes,
        devices,
        dpus,
        inventory,
        version,
    } = observed;
    let own: Vec<&Dpu> = dpus.iter().filter(|dpu| owned(set, dpu)).collect();
    if set.metadata.deletion_timestamp.is_some() {
        return delete_all(&own);
    }
    let occupied: BTreeMap<_, &Dpu> = dpus
        .iter()
        .filter_map(|dpu| Some((key(device_of(dpu, devices, inventory)?), dpu)))
        .collect();
    let names: BTreeSet<_> = dpus
        .iter()
        .map(|dpu| (dpu.metadata.namespace.clone(), dpu.metadata.name.clone()))
        .collect();
    let selected = select(set, nodes, devices);
    let mut plan = Plan::default();
    plan.report.selected = selected.len();
    let mut kept = BTreeSet::new();
    for choice in &selected {
        let name = dpu_name(
            choice.node.metadata.name.as_deref().unwrap_or_default(),
            choice.device.metadata.name.as_deref().unwrap_or_default(),
        );
        match occupied.get(&key(choice.device)) {
            Some(dpu) if owned(set, dpu) => {
                kept.insert(dpu.metadata.uid.clone());
                update(set, *choice, dpu, version, &mut plan);
            }
            Some(dpu) => plan.report.conflicts.push(conflict(set, *choice, dpu)),
            None if names.contains(&(set.metadata.namespace.clone(), Some(name.clone()))) => {
                plan.report.conflicts.push(format!(
                    "DPUDevice {} needs the name {name}, which another DPU of this namespace has",
                    choice.device.metadata.name.as_deref().unwrap_or_default()
                ));
            }
            None => {
                let dpu = desired_dpu(set, *choice, None, version);
                plan.actions.push(Action::Apply(Box::new(dpu)));
            }
        }
    }
    for dpu in &own {
        if !kept.contains(&dpu.metadata.uid) && dpu.metadata.deletion_timestamp.is_none() {
            plan.actions
                .push(delete(dpu, "its device is not selected any more"));
        }
    }
    roll(set, &own, &kept, selected.len(), &mut plan);
    plan
}

fn delete_all(own: &[&Dpu]) -> Plan {
    let mut plan = Plan::default();
    plan.report.deleting = own.len();
    for dpu in own {
        if dpu.metadata.deletion_timestamp.is_none() {
            plan.actions
                .push(delete(dpu, "its DPUSet is being deleted"));
        }
    }
    if own.is_empty() {
        plan.actions.push(Action::Release);
    }
    plan
}

fn delete(dpu: &Dpu, why: &str) -> Action {
    Action::Delete {
        namespace: dpu.metadata.namespace.clone().unwrap_or_default(),
        name: dpu.metadata.name.clone().unwrap_or_default(),
        why: why.to_owned(),
    }
}

fn conflict(set: &DpuSet, choice: Selected<'_>, dpu: &Dpu) -> String {
    let label = |key: &str| {
        dpu.metadata
            .labels
            .as_ref()
            .and_then(|l| l.get(key))
            .map_or("unknown", String::as_str)
    };
    format!(
        "DPUDevice {}/{} is selected by DPUSet {}/{} and belongs to DPU {}/{} of DPUSet {}/{}: change one of the selectors",
        choice
            .device
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default(),
        choice.device.metadata.name.as_deref().unwrap_or_default(),
        set.metadata.namespace.as_deref().unwrap_or_default(),
        set.metadata.name.as_deref().unwrap_or_default(),
        dpu.metadata.namespace.as_deref().unwrap_or_default(),
        dpu.metadata.name.as_deref().unwrap_or_default(),
        label(labels::DPUSET_NAMESPACE),
        label(labels::DPUSET_NAME),
    )
}

/// Changes a DPU in place when what was written last is not what is wanted now, or when somebody changed it since.
fn update(set: &DpuSet, choice: Selected<'_>, dpu: &Dpu, version: &str, plan: &mut Plan) {
    if dpu.metadata.deletion_timestamp.is_some() {
        return;
    }
    let desired = desired_dpu(set, choice, Some(dpu), version);
    let digest = |dpu: &Dpu| {
        dpu.metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(annotations::DPUSET_APPLIED))
            .cloned()
    };
    let changed = digest(&desired) != digest(dpu)
        || !covers(
            &serde_json::to_value(&desired.spec),
            &serde_json::to_value(&dpu.spec),
        );
    if changed {
        plan.actions.push(Action::Apply(Box::new(desired)));
    }
}

type Encoded = serde_json::Result<serde_json::Value>;

fn covers(desired: &Encoded, observed: &Encoded) -> bool {
    match (desired, observed) {
        (Ok(desired), Ok(observed)) => contains(observed, desired),
        _ => false,
    }
}

/// Whether every field of `part` is in `whole` with the same value; lists are compared as a whole.
fn contains(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
    match (whole, part) {
        (serde_json::Value::Object(whole), serde_json::Value::Object(part)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|w| contains(w, value))),
        _ => whole == part,
    }
}

#[cfg(test)]
pub(in crate::dpuset) mod tests;

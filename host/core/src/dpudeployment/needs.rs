//! Which nodes still need an older revision.
//!
//! A revision reaches a node by a label: deployment → DPUSet → DPU → node. A DPU that is not Ready holds an older revision
//! only while its node may carry the label of that revision; what else is wrong with it is no reason to keep anything.

use super::validate::Validated;
use crate::conditions::is_true_for;
use crate::names::name_of;
use dpf_api::conditions::READY;
use dpf_api::keys::labels;
use dpf_api::provisioning::{Dpu, DpuPhase, DpuSet};
use std::collections::BTreeMap;

/// The label of the revision that replaces another, or of none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replacement<'a> {
    /// Key of the label.
    pub key: &'a str,
    /// Its value on nodes that follow; without one, they do not have it.
    pub value: Option<&'a str>,
}

/// What still needs the revision with this old label value: DPUs, and sets of which the DPUs are not known. An unknown
/// value (`None`) may be on any node that does not follow yet.
pub(super) fn needed_by(
    validated: &Validated<'_>,
    replacement: Replacement<'_>,
    old: Option<&str>,
) -> Vec<String> {
    let mut needed = Vec::new();
    for set in desired_sets(validated) {
        let name = name_of(set);
        let labelled = label(set_labels(set), replacement.key) == replacement.value;
        if labelled && set_ready(set) {
            continue;
        }
        let dpus = labelled.then(|| known_dpus(validated, set)).flatten();
        let Some(dpus) = dpus else {
            let without = match replacement.value {
                Some(_) => "with its replacement",
                None => "without it",
            };
            needed.push(format!("DPUSet {name} (not Ready {without})"));
            continue;
        };
        needed.extend(
            dpus.into_iter()
                .filter(|dpu| needs(dpu, replacement, old))
                .map(|dpu| {
                    let phase = dpu.status.as_ref().map(|s| s.phase).unwrap_or_default();
                    format!("DPU {} ({})", name_of(dpu), phase.as_str())
                }),
        );
    }
    // A message that follows the order of a list would change without a reason.
    needed.sort();
    needed
}

pub(super) fn set_ready(set: &DpuSet) -> bool {
    let conditions = set.status.as_ref().and_then(|s| s.conditions.as_deref());
    is_true_for(conditions, READY, set.metadata.generation)
}

/// Sets that the spec names; one that is about to go holds nothing.
fn desired_sets<'a>(validated: &Validated<'a>) -> impl Iterator<Item = &'a DpuSet> {
    let templates = validated.observed.deployment.spec.dpus.dpu_sets.iter();
    let names: Vec<String> = templates
        .flatten()
        .map(|template| format!("{}-{}", validated.name, template.name_suffix))
        .collect();
    let sets = validated.observed.sets.iter();
    sets.filter(move |set| {
        set.metadata.deletion_timestamp.is_none() && names.contains(&name_of(*set))
    })
}

fn set_labels(set: &DpuSet) -> Option<&BTreeMap<String, String>> {
    let template = set.spec.dpu_template.spec.as_ref()?;
    template.cluster.as_ref()?.node_labels.as_ref()
}

fn label<'a>(labels: Option<&'a BTreeMap<String, String>>, key: &str) -> Option<&'a str> {
    labels?.get(key).map(String::as_str)
}

/// The DPUs of a set, if it has spoken about its present spec and as many were read as it counts.
fn known_dpus<'a>(validated: &Validated<'a>, set: &DpuSet) -> Option<Vec<&'a Dpu>> {
    let status = set.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let ready = conditions.find(|condition| condition.type_ == READY)?;
    if ready.observed_generation != set.metadata.generation {
        return None;
    }
    let counted: i64 = status.dpu_statistics.as_ref()?.values().sum();
    let name = name_of(set);
    let dpus = validated.observed.dpus.iter();
    let dpus: Vec<&Dpu> = dpus
        .filter(|dpu| {
            label(dpu.metadata.labels.as_ref(), labels::DPUSET_NAME) == Some(name.as_str())
        })
        .collect();
    (i64::try_from(dpus.len()).ok()? >= counted).then_some(dpus)
}

/// Whether the node of a DPU carries the old label, or may carry it.
fn needs(dpu: &Dpu, replacement: Replacement<'_>, old: Option<&str>) -> bool {
    if dpu.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let cluster = dpu.spec.cluster.as_ref();
    let wanted = label(
        cluster.and_then(|c| c.node_labels.as_ref()),
        replacement.key,
    );
    match node_of(dpu, replacement.key) {
        // It joins, or has joined, with what its spec says.
        Node::None | Node::Labelled => match old {
            Some(old) => wanted == Some(old),
            None => wanted != replacement.value,
        },
        Node::Unknown => true,
    }
}

/// What is known of the labels of a node.
enum Node {
    /// There is none yet: the image is not installed.
    None,
    /// It has those of the spec.
    Labelled,
    /// It may have older ones.
    Unknown,
}

fn node_of(dpu: &Dpu, key: &str) -> Node {
    let Some(status) = &dpu.status else {
        return Node::None;
    };
    let labels_only = status.post_provisioning_node_effect == Some(true);
    let phase = match status.phase {
        DpuPhase::Error => status.previous_phase.unwrap_or(DpuPhase::Error),
        phase => phase,
    };
    let current = status.observed_generation.is_some()
        && status.observed_generation == dpu.metadata.generation;
    // The hosts of in-cluster services are labelled while the effect is on, the nodes of DPUs before it ends.
    let on_host = key.starts_with(labels::IN_CLUSTER_VERSION_PREFIX);
    match phase {
        DpuPhase::Ready if current && status.phase == DpuPhase::Ready => Node::Labelled,
        DpuPhase::NodeEffectRemoval if current && !on_host => Node::Labelled,
        DpuPhase::Initializing
        | DpuPhase::Pending
        | DpuPhase::InitializeInterface
        | DpuPhase::ConfigFwParameters
        | DpuPhase::PrepareBfb
        | DpuPhase::OsInstalling
        | DpuPhase::CheckingHostRebootRequired
        | DpuPhase::Rebooting
        | DpuPhase::HostNetworkConfiguration => Node::None,
        DpuPhase::NodeEffect if !labels_only && status.phase == DpuPhase::NodeEffect => Node::None,
        _ => Node::Unknown,
    }
}

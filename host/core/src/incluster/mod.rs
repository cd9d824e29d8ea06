//! Where in-cluster services run: labels on nodes of the management cluster, one key per service, the revision as value.
//!
//! ```text
//!   no label, host matches ─────────────────────────> current revision   nothing runs there that could be disturbed
//!   label ── maintenance in force asks for another ─> that revision      and its requestor leaves the maintenance
//!         ── host no longer matches ────────────────> no label
//!         ── deployment goes, service is unknown ───> no label
//!         ── anything else ─────────────────────────> as it is           a revision changes only under a node effect
//! ```
//!
//! The key of a service follows from the names of deployment and service; what node selectors say is not looked at.

mod hosts;
mod revisions;

use dpf_api::conditions::dpunodemaintenance::APPLIED;
use dpf_api::keys::labels::{IN_CLUSTER_VERSION_PREFIX, owner_value};
use dpf_api::provisioning::{DpuDevice, DpuNode, DpuNodeMaintenance, DpuSet};
use dpf_api::svc::{DpuDeployment, DpuService};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use revisions::Revisions;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::conditions::is_true;

pub use hosts::{devices_of, is_nodeless, kube_node};

/// What the labels of one node are decided from.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The node of the management cluster.
    pub node: &'a Node,
    /// DPUNodes of all namespaces.
    pub dpu_nodes: &'a [Arc<DpuNode>],
    /// DPUDevices of all namespaces.
    pub devices: &'a [Arc<DpuDevice>],
    /// DPUDeployments of all namespaces.
    pub deployments: &'a [Arc<DpuDeployment>],
    /// DPUServices of all namespaces that a deployment owns, of all revisions.
    pub services: &'a [Arc<DpuService>],
    /// DPUSets of all namespaces that a deployment owns: they name the current revisions.
    pub sets: &'a [Arc<DpuSet>],
    /// DPUNodeMaintenances of all namespaces.
    pub maintenances: &'a [Arc<DpuNodeMaintenance>],
    /// Namespace of the inventory.
    pub inventory: &'a str,
}

/// What to write, the node first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Labels to set, or to remove where there is no value.
    pub labels: BTreeMap<String, Option<String>>,
    /// Requestors to remove from maintenances.
    pub releases: Vec<Release>,
}

/// Requestors that leave one maintenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Namespace of the maintenance.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who leaves.
    pub requestors: Vec<String>,
}

/// Decides the labels of one node and who leaves its maintenances. The order of the inputs does not matter.
#[must_use]
pub fn plan(observed: &Observed<'_>) -> Plan {
    let node = observed.node;
    if node.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    let before: BTreeMap<&str, &str> = node
        .labels()
        .iter()
        .filter(|(key, _)| key.starts_with(IN_CLUSTER_VERSION_PREFIX))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let revisions = Revisions::new(observed.services, observed.sets);
    let mut after: BTreeMap<String, String> = before
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let releases = replace(observed, &revisions, &mut after);
    for deployment in observed.deployments {
        schedule(observed, deployment, &revisions, &mut after);
    }
    after.retain(|key, _| revisions.knows(key));

    let mut labels: BTreeMap<String, Option<String>> = BTreeMap::new();
    for key in before.keys().filter(|key| !after.contains_key(**key)) {
        labels.insert((*key).to_owned(), None);
    }
    for (key, value) in after {
        if before.get(key.as_str()) != Some(&value.as_str()) {
            labels.insert(key, Some(value));
        }
    }
    Plan { labels, releases }
}

/// Under a node effect in force: the revisions that ask for it take over.
fn replace(
    observed: &Observed<'_>,
    revisions: &Revisions<'_>,
    labels: &mut BTreeMap<String, String>,
) -> Vec<Release> {
    let node = observed.node.name_any();
    let in_force = observed.maintenances.iter().filter(|maintenance| {
        is_in_force(maintenance)
            && hosts::of_maintenance(observed.dpu_nodes, maintenance)
                .is_some_and(|host| kube_node(host).as_ref() == Some(&node))
    });
    let mut releases: Vec<Release> = in_force
        .filter_map(|maintenance| release(maintenance, revisions))
        .collect();
    releases.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let asking: BTreeSet<&String> = releases.iter().flat_map(|r| &r.requestors).collect();
    for key in revisions.keys() {
        if let Some(name) = revisions.preferred(key, |requestor| asking.contains(requestor)) {
            labels.insert(key.to_owned(), name);
        }
    }
    releases
}

/// Whether the effect is in place on the host.
#[must_use]
pub fn is_in_force(maintenance: &DpuNodeMaintenance) -> bool {
    let status = maintenance.status.as_ref();
    is_true(status.and_then(|s| s.conditions.as_deref()), APPLIED)
}

/// Who leaves a maintenance of a host that is no node of the management cluster: in-cluster services have no work there.
#[must_use]
pub fn release_nodeless(
    maintenance: &DpuNodeMaintenance,
    dpu_nodes: &[Arc<DpuNode>],
    services: &[Arc<DpuService>],
) -> Option<Release> {
    let host = hosts::of_maintenance(dpu_nodes, maintenance)?;
    if !is_in_force(maintenance) || !is_nodeless(host) {
        return None;
    }
    release(maintenance, &Revisions::new(services, &[]))
}

/// All in-cluster services among the requestors. One that is being deleted has nothing to wait for either.
fn release(maintenance: &DpuNodeMaintenance, revisions: &Revisions<'_>) -> Option<Release> {
    let requestors: Vec<String> = maintenance
        .spec
        .requestor
        .iter()
        .flatten()
        .filter(|requestor| revisions.is_requestor(requestor))
        .cloned()
        .collect();
    (!requestors.is_empty()).then(|| Release {
        namespace: maintenance.namespace().unwrap_or_default(),
        name: maintenance.name_any(),
        requestors,
    })
}

/// Without a node effect: the first label on hosts that match, no label where a service must not run.
fn schedule(
    observed: &Observed<'_>,
    deployment: &DpuDeployment,
    revisions: &Revisions<'_>,
    labels: &mut BTreeMap<String, String>,
) {
    let namespace = deployment.namespace().unwrap_or_default();
    let owner = owner_value(&namespace, &deployment.name_any());
    let runs_here =
        deployment.metadata.deletion_timestamp.is_none() && hosts::matches(observed, deployment);
    for key in revisions.keys_of(&owner) {
        if !runs_here {
            labels.remove(key);
            continue;
        }
        // A value that no object has stands for nothing that could be disturbed.
        let taken = labels
            .get(key)
            .is_some_and(|name| revisions.exists(key, name));
        if !taken && let Some(name) = revisions.preferred(key, |_| true) {
            labels.insert(key.to_owned(), name);
        }
    }
}

#[cfg(test)]
mod tests;

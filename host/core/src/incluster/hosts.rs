//! Which nodes of the management cluster are hosts of a deployment.

use super::Observed;
use crate::dpudeployment::build::{device_selector, node_selector_of};
use crate::selectors;
use dpf_api::keys::labels::DPUNODE_NAME;
use dpf_api::provisioning::{DpuDevice, DpuNode, DpuNodeMaintenance};
use dpf_api::svc::DpuDeployment;
use kube::ResourceExt;
use std::sync::Arc;

/// Name of the node of the management cluster that a host is, once that is known to exist.
#[must_use]
pub fn kube_node(host: &DpuNode) -> Option<String> {
    host.status.as_ref()?.kube_node_ref.clone()
}

/// Whether a host is no node of the management cluster, and does not wait to become one.
#[must_use]
pub fn is_nodeless(host: &DpuNode) -> bool {
    let of_node = host.owner_references().iter().any(|o| o.kind == "Node");
    host.status.is_some() && kube_node(host).is_none() && !of_node
}

/// The host of a maintenance, which lives beside it.
pub(super) fn of_maintenance<'a>(
    hosts: &'a [Arc<DpuNode>],
    maintenance: &DpuNodeMaintenance,
) -> Option<&'a DpuNode> {
    hosts.iter().map(Arc::as_ref).find(|host| {
        host.metadata.namespace == maintenance.metadata.namespace
            && host.name_any() == maintenance.spec.dpu_node_name
    })
}

/// The devices of a host: those it names, and those that name it.
pub fn devices_of<'a>(
    host: &'a DpuNode,
    devices: &'a [Arc<DpuDevice>],
) -> impl Iterator<Item = &'a DpuDevice> {
    devices.iter().map(Arc::as_ref).filter(|device| {
        let named = || {
            let mut names = host.spec.dpus.iter().flatten();
            names.any(|reference| reference.name.eq_ignore_ascii_case(&device.name_any()))
        };
        device.metadata.namespace == host.metadata.namespace
            && (device.labels().get(DPUNODE_NAME) == Some(&host.name_any()) || named())
    })
}

/// Whether a set of the deployment selects the node: the whole selector of hosts, and that of devices if there is one.
pub(super) fn matches(observed: &Observed<'_>, deployment: &DpuDeployment) -> bool {
    let node = observed.node.name_any();
    let namespace = deployment.metadata.namespace.as_deref();
    let hosts = || {
        observed.dpu_nodes.iter().filter(|host| {
            let place = host.metadata.namespace.as_deref();
            (place == namespace || place == Some(observed.inventory))
                && kube_node(host).as_ref() == Some(&node)
        })
    };
    let sets = deployment.spec.dpus.dpu_sets.as_deref().unwrap_or_default();
    sets.iter().any(|set| {
        let device_selector = device_selector(set);
        hosts().any(|host| {
            selectors::matches(node_selector_of(set), host.metadata.labels.as_ref())
                && device_selector.as_ref().is_none_or(|selector| {
                    devices_of(host, observed.devices).any(|device| {
                        selectors::matches(Some(selector), device.metadata.labels.as_ref())
                    })
                })
        })
    })
}

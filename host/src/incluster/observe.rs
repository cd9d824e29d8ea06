//! What is kept at hand, and which nodes a change concerns. Reads only.

use super::{InClusterError, Reference};
use crate::kit::get;
use crate::kit::remote::is_filled;
use dpf_api::keys::labels::IN_CLUSTER_VERSION_PREFIX;
use dpf_api::provisioning::{DpuDevice, DpuNode, DpuNodeMaintenance, DpuSet};
use dpf_api::svc::{DpuDeployment, DpuService};
use dpf_core::incluster::{self, Observed, devices_of, is_in_force, kube_node};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What watches keep.
pub(super) struct Stores {
    pub(super) nodes: Store<Node>,
    pub(super) hosts: Store<DpuNode>,
    pub(super) devices: Store<DpuDevice>,
    pub(super) deployments: Store<DpuDeployment>,
    pub(super) services: Store<DpuService>,
    pub(super) sets: Store<DpuSet>,
    pub(super) maintenances: Store<DpuNodeMaintenance>,
}

/// The stores at one moment.
pub(super) struct World {
    pub(super) hosts: Vec<Arc<DpuNode>>,
    pub(super) services: Vec<Arc<DpuService>>,
    devices: Vec<Arc<DpuDevice>>,
    deployments: Vec<Arc<DpuDeployment>>,
    sets: Vec<Arc<DpuSet>>,
    maintenances: Vec<Arc<DpuNodeMaintenance>>,
}

impl World {
    /// The view of one node.
    pub(super) fn observed<'a>(
        &'a self,
        node: &'a Node,
        maintenances: &'a [Arc<DpuNodeMaintenance>],
        inventory: &'a str,
    ) -> Observed<'a> {
        Observed {
            node,
            dpu_nodes: &self.hosts,
            devices: &self.devices,
            deployments: &self.deployments,
            services: &self.services,
            sets: &self.sets,
            maintenances,
            inventory,
        }
    }
}

impl Stores {
    /// Waits until all objects were listed once: what is not known yet must not look as if it were gone.
    ///
    /// False when the watches ended before that.
    pub(super) async fn are_complete(&self) -> bool {
        let (hosts, devices, deployments, services, sets, maintenances) = tokio::join!(
            is_filled(&self.hosts),
            is_filled(&self.devices),
            is_filled(&self.deployments),
            is_filled(&self.services),
            is_filled(&self.sets),
            is_filled(&self.maintenances),
        );
        hosts && devices && deployments && services && sets && maintenances
    }

    pub(super) fn world(&self) -> World {
        World {
            hosts: self.hosts.state(),
            services: self.services.state(),
            devices: self.devices.state(),
            deployments: self.deployments.state(),
            sets: self.sets.state(),
            maintenances: self.maintenances.state(),
        }
    }

    /// Nodes with DPUs, and nodes with labels that may have to go.
    pub(super) fn all_concerned(&self) -> Vec<Reference> {
        let mut names: BTreeSet<String> = self
            .hosts
            .state()
            .iter()
            .filter_map(|h| kube_node(h))
            .collect();
        let labelled = |node: &Node| {
            let mut keys = node.labels().keys();
            keys.any(|key| key.starts_with(IN_CLUSTER_VERSION_PREFIX))
        };
        names.extend(
            self.nodes
                .state_filter(labelled)
                .iter()
                .map(|n| n.name_any()),
        );
        names.iter().map(|name| ObjectRef::new(name)).collect()
    }

    /// Only in-cluster services concern nodes of this cluster.
    pub(super) fn of_service(&self, service: &DpuService) -> Vec<Reference> {
        if service.spec.deploy_in_cluster == Some(true) {
            self.all_concerned()
        } else {
            Vec::new()
        }
    }

    pub(super) fn of_device(&self, device: &DpuDevice) -> Vec<Reference> {
        let device = [Arc::new(device.clone())];
        let has = |host: &DpuNode| devices_of(host, &device).next().is_some();
        let hosts = self.hosts.state_filter(has);
        hosts.iter().flat_map(|host| of_host(host)).collect()
    }

    pub(super) fn of_maintenance(&self, maintenance: &DpuNodeMaintenance) -> Vec<Reference> {
        let of_it = |host: &DpuNode| is_beside(host, maintenance);
        let hosts = self.hosts.state_filter(of_it);
        hosts.iter().flat_map(|host| of_host(host)).collect()
    }
}

pub(super) fn of_host(host: &DpuNode) -> Vec<Reference> {
    let name = kube_node(host);
    name.iter().map(|name| ObjectRef::new(name)).collect()
}

fn is_beside(host: &DpuNode, maintenance: &DpuNodeMaintenance) -> bool {
    host.namespace() == maintenance.namespace() && host.name_any() == maintenance.spec.dpu_node_name
}

/// Whether the host of a maintenance is no node of this cluster.
pub(super) fn is_nodeless(hosts: &[Arc<DpuNode>], maintenance: &DpuNodeMaintenance) -> bool {
    let mut of_it = hosts.iter().filter(|host| is_beside(host, maintenance));
    of_it.any(|host| incluster::is_nodeless(host))
}

/// The maintenances in force on a node, as they are now.
pub(super) async fn current(
    client: &Client,
    node: &Node,
    world: &World,
) -> Result<Vec<Arc<DpuNodeMaintenance>>, InClusterError> {
    let name = Some(node.name_any());
    let hosts: Vec<&DpuNode> = world
        .hosts
        .iter()
        .map(Arc::as_ref)
        .filter(|host| kube_node(host) == name)
        .collect();
    let mut found = Vec::new();
    for known in &world.maintenances {
        if !is_in_force(known) || !hosts.iter().any(|host| is_beside(host, known)) {
            continue;
        }
        let namespace = known.namespace().unwrap_or_default();
        let now: Option<DpuNodeMaintenance> = get(client, &namespace, &known.name_any()).await?;
        found.extend(now.map(Arc::new));
    }
    Ok(found)
}

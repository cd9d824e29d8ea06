//! When a host may be given back: the services and the chain that a deployment wants on its DPUs are ready there.
//!
//! ```text
//!   DPUNodeMaintenance.spec.requestor: [dpu-1, ns_dep_service-abcde, ns_dep_dep-fghij]
//!                                              │                     └ ServiceChain of the DPU's node is ready
//!                                              └ a pod with the serviceID is ready on the DPU's node
//! ```
//!
//! A DPU counts only after it was provisioned: what ran on it before a new image was installed says nothing.

use crate::conditions::is_true_for;
use crate::dpuservice::service_id;
use crate::fanout::FanOut;
use crate::selectors::{matches, matches_node};
use dpf_api::conditions::READY;
use dpf_api::keys::labels;
use dpf_api::provisioning::DpuPhase;
use dpf_api::svc::{DpuService, DpuServiceChain, ServiceChain};
use kube::{Resource, ResourceExt};
use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// One DPU of the host.
#[derive(Clone, Debug, Default)]
pub struct Dpu {
    /// Its name, which is also the name of its node.
    pub name: String,
    /// Its labels, with the deployment that owns it.
    pub labels: Labels,
    /// How far its provisioning is.
    pub phase: DpuPhase,
    /// Labels of its DPUCluster.
    pub cluster_labels: Option<Labels>,
    /// Its node in the DPU cluster; `None` when it has not joined, or the cluster does not answer.
    pub node: Option<Node>,
}

/// What runs on the node of a DPU.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its labels.
    pub labels: Labels,
    /// Pods with a service ID.
    pub pods: Vec<Pod>,
    /// Its ServiceChains.
    pub chains: Vec<ServiceChain>,
}

/// A pod with a service ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its service ID.
    pub service_id: String,
    /// Running, ready, and not being deleted.
    pub ready: bool,
}

/// Who still needs the effect, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Requestors that are done.
    pub released: Vec<String>,
    /// What the others wait for, one sentence each.
    pub waiting: Vec<String>,
}

/// Finds the requestors that are done. Those that stand for nothing known here are not mentioned.
#[must_use]
pub fn plan(
    requestors: &[String],
    services: &[DpuService],
    chains: &[DpuServiceChain],
    dpus: &[Dpu],
) -> Plan {
    let mut plan = Plan::default();
    for requestor in requestors {
        let service = services
            .iter()
            .find(|service| requestor_of(*service).as_ref() == Some(requestor));
        let chain = chains
            .iter()
            .find(|chain| requestor_of(*chain).as_ref() == Some(requestor));
        let verdict = match (service, chain) {
            (Some(service), _) if service.spec.deploy_in_cluster != Some(true) => {
                service_done(service, dpus)
            }
            (None, Some(chain)) => chain_done(chain, dpus),
            _ => continue,
        };
        match verdict {
            Ok(()) => plan.released.push(requestor.clone()),
            Err(reason) => plan.waiting.push(reason),
        }
    }
    plan
}

/// `<owner label>_<name>`, for objects that a deployment owns.
fn requestor_of(object: &impl Resource) -> Option<String> {
    let owner = object.labels().get(labels::OWNED_BY_DPUDEPLOYMENT)?;
    Some(format!("{owner}_{}", object.name_any()))
}

fn service_done(service: &DpuService, dpus: &[Dpu]) -> Result<(), String> {
    let id = service_id(service);
    let namespace = service.namespace().unwrap_or_default();
    let set = service.spec.service_daemon_set.as_ref();
    let selector = set.and_then(|set| set.node_selector.as_ref());
    let name = service.name_any();
    done(
        &format!("DPUService {name}"),
        service.labels(),
        |cluster| matches(service.spec.dpu_cluster_selector.as_ref(), cluster),
        |node| matches_node(selector, Some(node)),
        dpus,
        |dpu, node| {
            let mut pods = node
                .pods
                .iter()
                .filter(|p| p.namespace == namespace && p.service_id == id);
            if pods.any(|pod| pod.ready) {
                Ok(())
            } else {
                Err(format!("DPUService {name} has no ready pod on DPU {dpu}"))
            }
        },
    )
}

fn chain_done(chain: &DpuServiceChain, dpus: &[Dpu]) -> Result<(), String> {
    let name = chain.name_any();
    let namespace = chain.namespace().unwrap_or_default();
    let selector = chain.spec.template.spec.node_selector.as_ref();
    done(
        &format!("DPUServiceChain {name}"),
        chain.labels(),
        |cluster| matches(chain.cluster_selector(), cluster),
        |node| matches(selector, Some(node)),
        dpus,
        |dpu, node| {
            let mut own = node.chains.iter().filter(|c| {
                c.labels().get(labels::SERVICECHAINSET_NAME) == Some(&name)
                    && c.labels().get(labels::SERVICECHAINSET_NAMESPACE) == Some(&namespace)
            });
            let ready = own.any(|c| {
                let conditions = c.status.as_ref().and_then(|s| s.conditions.as_deref());
                c.metadata.deletion_timestamp.is_none()
                    && is_true_for(conditions, READY, c.metadata.generation)
            });
            if ready {
                Ok(())
            } else {
                Err(format!("DPUServiceChain {name} is not ready on DPU {dpu}"))
            }
        },
    )
}

/// Whether the object is ready on every DPU of the host that should have it, and on one at least.
///
/// Those are the DPUs of the same deployment, and others whose nodes it selects. A DPU of the deployment whose node does
/// not carry the labels yet is waited for.
fn done(
    what: &str,
    object_labels: &Labels,
    selects_cluster: impl Fn(Option<&Labels>) -> bool,
    selects_node: impl Fn(&Labels) -> bool,
    dpus: &[Dpu],
    ready: impl Fn(&str, &Node) -> Result<(), String>,
) -> Result<(), String> {
    let owner = object_labels.get(labels::OWNED_BY_DPUDEPLOYMENT);
    let mut concerned = false;
    for dpu in dpus {
        let owned = dpu.labels.get(labels::OWNED_BY_DPUDEPLOYMENT) == owner;
        let selected = dpu
            .node
            .as_ref()
            .is_some_and(|node| selects_node(&node.labels));
        if !owned && !selected {
            continue;
        }
        concerned = true;
        if !selects_cluster(dpu.cluster_labels.as_ref()) {
            continue;
        }
        if !provisioned(dpu.phase) {
            return Err(format!(
                "{what} waits for DPU {}, which is in phase {}",
                dpu.name, dpu.phase
            ));
        }
        let Some(node) = &dpu.node else {
            return Err(format!("{what} waits for the node of DPU {}", dpu.name));
        };
        if !selected {
            return Err(format!(
                "{what} waits until the node of DPU {} has its labels",
                dpu.name
            ));
        }
        ready(&dpu.name, node)?;
    }
    if concerned {
        Ok(())
    } else {
        Err(format!("{what} runs on no DPU of this host"))
    }
}

/// Whether the DPU is past the steps that take its node away or relabel it.
fn provisioned(phase: DpuPhase) -> bool {
    matches!(
        phase,
        DpuPhase::NodeEffectRemoval | DpuPhase::ServiceReadiness | DpuPhase::Ready
    )
}

#[cfg(test)]
mod tests;

//! What runs on the DPUs of a host. Reads only.

use super::{ReadyError, concerns};
use crate::fanout::list_clusters;
use crate::kit::remote::key_of;
use crate::kit::{Context, explain};
use dpf_api::keys::labels;
use dpf_api::provisioning::{Dpu, DpuNodeMaintenance};
use dpf_api::svc::{DpuService, DpuServiceChain, ServiceChain};
use dpf_core::dpuready as core;
use dpf_core::fanout::ClusterKey;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is kept of one DPU cluster.
pub(super) struct Stores {
    pub(super) nodes: Store<Node>,
    pub(super) pods: Store<Pod>,
    pub(super) chains: Store<ServiceChain>,
}

/// What is kept of all DPU clusters.
#[derive(Clone, Default)]
pub(super) struct Clusters(Arc<Mutex<BTreeMap<ClusterKey, Arc<Stores>>>>);

impl Clusters {
    pub(super) fn add(&self, key: ClusterKey, stores: Arc<Stores>) {
        let mut clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.insert(key, stores);
    }

    /// Removes these stores, but not those of a watch that was started for the same cluster meanwhile.
    pub(super) fn remove(&self, key: &ClusterKey, stores: &Arc<Stores>) {
        let mut clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clusters
            .get(key)
            .is_some_and(|current| Arc::ptr_eq(current, stores))
        {
            clusters.remove(key);
        }
    }

    fn get(&self, key: &ClusterKey) -> Option<Arc<Stores>> {
        let clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.get(key).cloned()
    }
}

/// The world of one host.
pub(super) struct Observed {
    pub(super) services: Vec<DpuService>,
    pub(super) chains: Vec<DpuServiceChain>,
    pub(super) dpus: Vec<core::Dpu>,
}

pub(super) async fn observe(
    context: &Context,
    maintenance: &DpuNodeMaintenance,
    clusters: &Clusters,
    known: &Store<Dpu>,
) -> Result<Observed, ReadyError> {
    let client = &context.client;
    let owned = ListParams::default().labels(labels::OWNED_BY_DPUDEPLOYMENT);
    let services: Api<DpuService> = Api::all(client.clone());
    let chains: Api<DpuServiceChain> = Api::all(client.clone());
    let (services, chains, objects) = tokio::join!(
        services.list(&owned),
        chains.list(&owned),
        list_clusters(context)
    );
    let read = |what: &'static str| {
        move |error: kube::Error| ReadyError::Read {
            what,
            message: explain(&error),
        }
    };
    let cluster_labels: BTreeMap<ClusterKey, BTreeMap<String, String>> = objects?
        .iter()
        .map(|cluster| (key_of(cluster), cluster.labels().clone()))
        .collect();
    let inventory = &context.settings.inventory_namespace;
    let on_host = known.state_filter(|dpu| concerns(maintenance, dpu, inventory));
    let mut dpus = Vec::new();
    for dpu in on_host {
        // The phase must not be an old one: it says whether what runs on the DPU counts.
        let namespace = dpu.namespace().unwrap_or_default();
        let api: Api<Dpu> = Api::namespaced(client.clone(), &namespace);
        let current = api.get_opt(&dpu.name_any()).await.map_err(read("DPU"))?;
        if let Some(dpu) = current.filter(|dpu| dpu.metadata.deletion_timestamp.is_none()) {
            dpus.push(facts(&dpu, clusters, &cluster_labels));
        }
    }
    Ok(Observed {
        services: services.map_err(read("DPUServices"))?.items,
        chains: chains.map_err(read("DPUServiceChains"))?.items,
        dpus,
    })
}

fn facts(
    dpu: &Dpu,
    clusters: &Clusters,
    cluster_labels: &BTreeMap<ClusterKey, BTreeMap<String, String>>,
) -> core::Dpu {
    let key = dpu.spec.cluster.as_ref().and_then(|cluster| {
        Some(ClusterKey {
            name: cluster.name.clone()?,
            namespace: cluster.namespace.clone().or_else(|| dpu.namespace())?,
        })
    });
    let name = dpu.name_any();
    core::Dpu {
        labels: dpu.labels().clone(),
        phase: dpu
            .status
            .as_ref()
            .map(|status| status.phase)
            .unwrap_or_default(),
        cluster_labels: key
            .as_ref()
            .and_then(|key| cluster_labels.get(key).cloned()),
        node: key
            .and_then(|key| clusters.get(&key))
            .and_then(|stores| node(&stores, &name)),
        name,
    }
}

fn node(stores: &Stores, name: &str) -> Option<core::Node> {
    let node = stores.nodes.get(&ObjectRef::new(name))?;
    let pods = stores
        .pods
        .state_filter(|pod| pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(name));
    let chains = stores
        .chains
        .state_filter(|chain| chain.spec.node.as_deref() == Some(name));
    Some(core::Node {
        labels: node.labels().clone(),
        pods: pods
            .iter()
            .map(|pod| core::Pod {
                namespace: pod.namespace().unwrap_or_default(),
                service_id: pod
                    .labels()
                    .get(labels::SERVICE)
                    .cloned()
                    .unwrap_or_default(),
                ready: is_ready(pod),
            })
            .collect(),
        chains: chains
            .iter()
            .map(|chain| ServiceChain::clone(chain))
            .collect(),
    })
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let running = status.and_then(|s| s.phase.as_deref()) == Some("Running");
    let ready = status
        .and_then(|s| s.conditions.as_ref())
        .is_some_and(|list| {
            list.iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        });
    running && ready && pod.metadata.deletion_timestamp.is_none()
}

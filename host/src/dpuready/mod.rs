//! Gives hosts back: removes from DPUNodeMaintenances what waited for services and chains that are ready.

mod apply;
mod observe;

use crate::fanout::FanOutError;
use crate::kit::remote::{self, Feed, Remote};
use crate::kit::{CONFLICT, Classified, Context, Next, Retry, Shutdown, run as run_controller};
use dpf_api::conditions::dpunodemaintenance;
use dpf_api::keys::labels;
use dpf_api::provisioning::{Dpu, DpuNodeMaintenance};
use dpf_api::svc::{DpuService, DpuServiceChain, ServiceChain};
use dpf_core::conditions::is_true;
use dpf_core::dpuready::plan;
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use observe::{Clusters, Stores};
use std::sync::Arc;
use std::time::Duration;

/// How often a host that waits is looked at again; what it waits for also has events.
const WAIT_PAUSE: Duration = Duration::from_secs(15);

type Reference = ObjectRef<DpuNodeMaintenance>;

/// Why a host is looked at again.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// Something cannot be read.
    #[error("failed to read {what}: {message}")]
    Read {
        /// Kind.
        what: &'static str,
        /// What the API server said.
        message: String,
    },
    /// DPUClusters cannot be listed.
    #[error(transparent)]
    Clusters(#[from] FanOutError),
    /// The requestors cannot be written, for example because they changed meanwhile.
    #[error("failed to release requestors of DPUNodeMaintenance {name}: {message}")]
    Release {
        /// `namespace/name`.
        name: String,
        /// What the API server said.
        message: String,
        /// Whether somebody else wrote first.
        conflict: bool,
    },
}

impl Classified for ReadyError {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "ReadFailed",
            Self::Clusters(error) => error.reason(),
            Self::Release { conflict: true, .. } => CONFLICT,
            Self::Release { .. } => "ReleaseFailed",
        }
    }
}

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = context.client.clone();
    let maintenances: Api<DpuNodeMaintenance> = Api::all(client.clone());
    let services: Api<DpuService> = Api::all(client.clone());
    let chains: Api<DpuServiceChain> = Api::all(client.clone());
    let (dpu_feed, dpus) = Feed::new(Api::<Dpu>::all(client)).stored();
    let (sender, receiver) = remote::queue::<Reference>();
    let owned = || watcher::Config::default().labels(labels::OWNED_BY_DPUDEPLOYMENT);
    let controller = Controller::new(maintenances, watcher::Config::default());
    let known = controller.store();
    let (by_service, by_chain, by_dpu) = (known.clone(), known.clone(), known.clone());
    let controller = controller
        .watches(services, owned(), move |service| {
            waiting_for(&by_service, &service.name_any())
        })
        .watches(chains, owned(), move |chain| {
            waiting_for(&by_chain, &chain.name_any())
        })
        .reconcile_on(receiver);

    let clusters = Clusters::default();
    let (of_remotes, to_remotes, dpus_of_remotes) =
        (clusters.clone(), sender.clone(), dpus.clone());
    let inventory = context.settings.inventory_namespace.clone();
    let inventory_of_remotes = inventory.clone();
    let remotes =
        remote::for_each_cluster(context.clone(), shutdown.clone(), move |remote, stop| {
            let hosts = Hosts {
                maintenances: known.clone(),
                dpus: dpus_of_remotes.clone(),
                inventory_namespace: inventory_of_remotes.clone(),
            };
            watch_cluster(remote, stop, of_remotes.clone(), hosts, to_remotes.clone())
        });
    let reconcile = move |maintenance: Arc<DpuNodeMaintenance>, context: Arc<Context>| {
        let (clusters, dpus) = (clusters.clone(), dpus.clone());
        async move { reconcile(maintenance, context, clusters, dpus).await }
    };
    tokio::join!(
        dpu_feed.run(shutdown.clone(), vec![sender], |dpu| {
            on_host(&by_dpu, dpu, &inventory)
        }),
        remotes,
        run_controller(controller, context, shutdown, reconcile),
    );
}

/// From the node of a DPU cluster to what holds its host.
struct Hosts {
    maintenances: Store<DpuNodeMaintenance>,
    dpus: Store<Dpu>,
    inventory_namespace: String,
}

impl Hosts {
    /// The node of a DPU is named like the DPU.
    fn of_node(&self, node: &str) -> Vec<Reference> {
        self.dpus
            .state_filter(|dpu| dpu.name_any() == node)
            .iter()
            .flat_map(|dpu| on_host(&self.maintenances, dpu, &self.inventory_namespace))
            .collect()
    }
}

/// The maintenances of the host of a DPU.
fn on_host(known: &Store<DpuNodeMaintenance>, dpu: &Dpu, inventory: &str) -> Vec<Reference> {
    references(known, |maintenance| concerns(maintenance, dpu, inventory))
}

/// A maintenance lives beside its DPUNode: in the namespace of the DPU, or in the inventory namespace.
fn concerns(maintenance: &DpuNodeMaintenance, dpu: &Dpu, inventory: &str) -> bool {
    let namespace = maintenance.metadata.namespace.as_deref();
    maintenance.spec.dpu_node_name == dpu.spec.dpu_node_name
        && (namespace == dpu.metadata.namespace.as_deref() || namespace == Some(inventory))
}

/// Maintenances with a requestor that ends in this name.
fn waiting_for(known: &Store<DpuNodeMaintenance>, name: &str) -> Vec<Reference> {
    references(known, |maintenance| {
        let requestors = maintenance.spec.requestor.iter().flatten();
        requestors
            .filter_map(|requestor| requestor.strip_suffix(name))
            .any(|rest| rest.ends_with('_'))
    })
}

fn references(
    known: &Store<DpuNodeMaintenance>,
    concerned: impl Fn(&DpuNodeMaintenance) -> bool,
) -> Vec<Reference> {
    known
        .state_filter(concerned)
        .iter()
        .map(|maintenance| ObjectRef::from_obj(maintenance.as_ref()))
        .collect()
}

/// Keeps nodes, service pods and chains of one DPU cluster at hand.
async fn watch_cluster(
    remote: Remote,
    stop: Shutdown,
    clusters: Clusters,
    hosts: Hosts,
    sender: mpsc::Sender<Reference>,
) {
    let client = remote.client.clone();
    let (nodes_feed, nodes) = Feed::new(Api::<Node>::all(client.clone()))
        .only_label_changes()
        .stored();
    let pods = Feed::new(Api::<Pod>::all(client.clone())).labels(labels::SERVICE);
    let (pods_feed, pods) = pods.stored();
    let (chains_feed, chains) = Feed::new(Api::<ServiceChain>::all(client)).stored();
    let stores = Arc::new(Stores {
        nodes,
        pods,
        chains,
    });
    clusters.add(remote.key.clone(), stores.clone());
    let to = || vec![sender.clone()];
    tokio::join!(
        nodes_feed.run(stop.clone(), to(), |node| hosts.of_node(&node.name_any())),
        pods_feed.run(stop.clone(), to(), |pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            node.map(|node| hosts.of_node(node)).unwrap_or_default()
        }),
        chains_feed.run(stop.clone(), to(), |chain| {
            let node = chain.spec.node.as_deref();
            node.map(|node| hosts.of_node(node)).unwrap_or_default()
        }),
    );
    clusters.remove(&remote.key, &stores);
}

async fn reconcile(
    maintenance: Arc<DpuNodeMaintenance>,
    context: Arc<Context>,
    clusters: Clusters,
    dpus: Store<Dpu>,
) -> Result<Next, ReadyError> {
    let requestors = maintenance.spec.requestor.as_deref().unwrap_or_default();
    let conditions = maintenance
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref());
    if requestors.is_empty() || !is_true(conditions, dpunodemaintenance::APPLIED) {
        return Ok(Next::OnEvent);
    }
    let observed = observe::observe(&context, &maintenance, &clusters, &dpus).await?;
    let plan = plan(
        requestors,
        &observed.services,
        &observed.chains,
        &observed.dpus,
    );
    for reason in &plan.waiting {
        tracing::debug!(maintenance = maintenance.name_any(), "{reason}");
    }
    apply::release(&context, &maintenance, &plan.released).await?;
    Ok(if plan.waiting.is_empty() {
        Next::OnEvent
    } else {
        Next::After(WAIT_PAUSE)
    })
}

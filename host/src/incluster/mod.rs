//! Leads in-cluster services of deployments to hosts: labels of nodes, and requestors of node effects.
//!
//! ```text
//!   Node, DPUNode, DPUDevice, DPUDeployment, DPUService, DPUSet, DPUNodeMaintenance
//!                       │ kept at hand; every change names the nodes it concerns
//!                       v
//!   reconcile(node) ──> labels of the node ──> then requestors of its maintenances
//! ```
//!
//! Pods that a service has on the DPUs are waited for by [`crate::dpuready`]; here nothing is waited for: a label is all
//! that a host needs.

mod apply;
mod observe;

use crate::kit::remote::{self, Feed};
use crate::kit::{
    Classified, Context, Next, ReadError, Retry, Shutdown, WriteError, run as run_controller,
};
use dpf_api::keys::labels;
use dpf_api::provisioning::{DpuDevice, DpuNode, DpuNodeMaintenance, DpuSet};
use dpf_api::svc::{DpuDeployment, DpuService};
use dpf_core::incluster::{is_in_force, plan, release_nodeless};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use observe::Stores;
use std::sync::Arc;
use std::time::Duration;

/// How often a maintenance of a host that is no node is looked at again: a service may become known after it.
const NODELESS_PAUSE: Duration = Duration::from_secs(15);

type Reference = ObjectRef<Node>;

/// Why a node is looked at again.
#[derive(Debug, thiserror::Error)]
pub enum InClusterError {
    /// A maintenance cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A label or a requestor cannot be written, for example because the object changed meanwhile.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Classified for InClusterError {
    fn retry(&self) -> Retry {
        match self {
            Self::Read(error) => error.retry(),
            Self::Write(error) => error.retry(),
        }
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Read(error) => error.reason(),
            Self::Write(error) => error.reason(),
        }
    }
}

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = context.client.clone();
    let owned = labels::OWNED_BY_DPUDEPLOYMENT;
    let (hosts_feed, hosts) = Feed::new(Api::<DpuNode>::all(client.clone())).stored();
    let (devices_feed, devices) = Feed::new(Api::<DpuDevice>::all(client.clone()))
        .only_label_changes()
        .stored();
    let (deployments_feed, deployments) =
        Feed::new(Api::<DpuDeployment>::all(client.clone())).stored();
    let services = Feed::new(Api::<DpuService>::all(client.clone())).labels(owned);
    let (services_feed, services) = services.stored();
    let (sets_feed, sets) = Feed::new(Api::<DpuSet>::all(client.clone()))
        .labels(owned)
        .stored();
    let maintenances = Api::<DpuNodeMaintenance>::all(client.clone());
    let nodeless = Controller::new(maintenances, watcher::Config::default());
    let (maintenances_feed, maintenances) =
        Feed::new(Api::<DpuNodeMaintenance>::all(client.clone())).stored();
    let nodes = Controller::new(Api::<Node>::all(client), watcher::Config::default());
    let (sender, receiver) = remote::queue::<Reference>();
    let nodes = nodes.reconcile_on(receiver);
    let stores = Arc::new(Stores {
        nodes: nodes.store(),
        hosts,
        devices,
        deployments,
        services,
        sets,
        maintenances,
    });

    let of_nodes = stores.clone();
    let reconcile_node = move |node: Arc<Node>, context: Arc<Context>| {
        let stores = of_nodes.clone();
        async move { reconcile(node, context, &stores).await }
    };
    let of_maintenances = stores.clone();
    let reconcile_maintenance = move |object: Arc<DpuNodeMaintenance>, context: Arc<Context>| {
        let stores = of_maintenances.clone();
        async move { reconcile_nodeless(object, context, &stores).await }
    };
    let to = || vec![sender.clone()];
    let stop = || shutdown.clone();
    tokio::join!(
        hosts_feed.run(stop(), to(), observe::of_host),
        devices_feed.run(stop(), to(), |device| stores.of_device(device)),
        deployments_feed.run(stop(), to(), |_| stores.all_concerned()),
        services_feed.run(stop(), to(), |service| stores.of_service(service)),
        sets_feed.run(stop(), to(), |_| stores.all_concerned()),
        maintenances_feed.run(stop(), to(), |object| stores.of_maintenance(object)),
        run_controller(nodes, context.clone(), stop(), reconcile_node),
        run_controller(nodeless, context.clone(), stop(), reconcile_maintenance),
    );
}

async fn reconcile(
    node: Arc<Node>,
    context: Arc<Context>,
    stores: &Stores,
) -> Result<Next, InClusterError> {
    if !stores.are_complete().await {
        return Ok(Next::OnEvent);
    }
    let world = stores.world();
    let inventory = &context.settings.inventory_namespace;
    // What asks for a revision must not be an old one: a node effect that is over allows no change any more.
    let maintenances = observe::current(&context.client, &node, &world).await?;
    let plan = plan(&world.observed(&node, &maintenances, inventory));
    apply::label(&context.client, &node, &plan.labels).await?;
    for release in &plan.releases {
        apply::release(&context.client, &maintenances, release).await?;
    }
    Ok(Next::OnEvent)
}

/// The part of hosts that are no nodes of this cluster: there nothing runs, and nothing is waited for.
async fn reconcile_nodeless(
    maintenance: Arc<DpuNodeMaintenance>,
    context: Arc<Context>,
    stores: &Stores,
) -> Result<Next, InClusterError> {
    if !stores.are_complete().await {
        return Ok(Next::OnEvent);
    }
    let world = stores.world();
    if !is_in_force(&maintenance) || !observe::is_nodeless(&world.hosts, &maintenance) {
        return Ok(Next::OnEvent);
    }
    if let Some(release) = release_nodeless(&maintenance, &world.hosts, &world.services) {
        apply::release(&context.client, &[maintenance], &release).await?;
    }
    Ok(Next::After(NODELESS_PAUSE))
}

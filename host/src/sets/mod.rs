//! Controllers of ServiceChainSets and ServiceInterfaceSets. They live in the DPU clusters and run here, one pair each.
//!
//! ```text
//!   for each DPU cluster:  Nodes (labels) ──┬──> ServiceChainSet ──> ServiceChain per node
//!                                           └──> ServiceInterfaceSet ──> ServiceInterface per node
//! ```

mod apply;
mod crds;

use crate::kit::remote::{self, Feed, Remote, is_filled};
use crate::kit::{
    Classified, Context, Kind, Next, Retry, Shutdown, WriteError, add_finalizer, explain,
    remove_finalizer, run as run_controller, write_status,
};
use dpf_api::svc::{ServiceChainSet, ServiceInterfaceSet};
use dpf_core::sets::{Facts, NodeSet, Nodes, plan, status};
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// A set is not looked at before nodes and children were listed once; a cluster that does not answer is asked again then.
const SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a set is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// Nodes or children are not listed yet.
    #[error("DPU cluster {cluster} has not listed its nodes and children yet")]
    NotListed {
        /// The cluster.
        cluster: String,
    },
    /// The children cannot be listed.
    #[error("failed to list children in DPU cluster {cluster}: {message}")]
    ListChildren {
        /// The cluster.
        cluster: String,
        /// What it said.
        message: String,
    },
    /// The set itself cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Some children cannot be written; the others are.
    #[error("{count} children were not written: {first}")]
    Children {
        /// How many.
        count: usize,
        /// What the API server said to the first.
        first: String,
    },
}

impl Classified for SetError {
    fn retry(&self) -> Retry {
        match self {
            Self::NotListed { .. } => Retry::After(SYNC_TIMEOUT),
            Self::ListChildren { .. } | Self::Write(_) | Self::Children { .. } => Retry::Backoff,
        }
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::NotListed { .. } => "NotListed",
            Self::ListChildren { .. } => "ListChildrenFailed",
            Self::Write(error) => error.reason(),
            Self::Children { .. } => "ChildrenFailed",
        }
    }
}

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let per_cluster = context.clone();
    remote::for_each_cluster(context, shutdown, move |remote, stop| {
        run_in(per_cluster.clone(), remote, stop)
    })
    .await;
}

/// Both controllers for one DPU cluster.
async fn run_in(context: Arc<Context>, remote: Remote, stop: Shutdown) {
    crds::install(&remote, &stop).await;
    let nodes: Api<Node> = Api::all(remote.client.clone());
    let (feed, store) = Feed::new(nodes).only_label_changes().stored();
    let (to_chains, for_chains) = remote::queue();
    let (to_interfaces, for_interfaces) = remote::queue();
    tokio::join!(
        feed.run(stop.clone(), vec![to_chains, to_interfaces], |_| vec![()]),
        run_kind::<ServiceChainSet>(&context, &remote, store.clone(), for_chains, &stop),
        run_kind::<ServiceInterfaceSet>(&context, &remote, store.clone(), for_interfaces, &stop),
    );
}

/// What the reconciles of one kind in one cluster share.
struct Shared<S: NodeSet>
where
    S::Child: Kind,
{
    remote: Remote,
    nodes: Store<Node>,
    children: Store<S::Child>,
}

async fn run_kind<S>(
    context: &Arc<Context>,
    remote: &Remote,
    nodes: Store<Node>,
    node_changes: mpsc::Receiver<()>,
    stop: &Shutdown,
) where
    S: NodeSet + Kind + Send + Sync + 'static,
    S::DynamicType: Eq + Hash,
    S::Child: Kind + Send + Sync + 'static,
{
    let sets: Api<S> = Api::all(remote.client.clone());
    let children: Api<S::Child> = Api::all(remote.client.clone());
    let (feed, children) = Feed::new(children).stored();
    let (sender, receiver) = remote::queue::<ObjectRef<S>>();
    let shared = Arc::new(Shared::<S> {
        remote: remote.clone(),
        nodes,
        children,
    });
    let controller = Controller::new(sets, watcher::Config::default())
        .reconcile_on(receiver)
        .reconcile_all_on(node_changes);
    let reconcile = move |set: Arc<S>, context: Arc<Context>| {
        let shared = shared.clone();
        async move { reconcile(set, context, shared).await }
    };
    tokio::join!(
        feed.run(stop.clone(), vec![sender], |child| set_of::<S>(child)),
        run_controller(controller, context.clone(), stop.clone(), reconcile),
    );
}

/// The set of a child, by its labels.
fn set_of<S: NodeSet>(child: &S::Child) -> Vec<ObjectRef<S>> {
    let words = S::VOCABULARY;
    let labels = child.labels();
    match (
        labels.get(words.name_label),
        labels.get(words.namespace_label),
    ) {
        (Some(name), Some(namespace)) => vec![ObjectRef::new(name).within(namespace)],
        _ => Vec::new(),
    }
}

/// One reconcile. If cancelled, some children are written and others not; the next one goes on.
async fn reconcile<S>(
    set: Arc<S>,
    context: Arc<Context>,
    shared: Arc<Shared<S>>,
) -> Result<Next, SetError>
where
    S: NodeSet + Kind,
    S::Child: Kind,
{
    let words = S::VOCABULARY;
    let client = &shared.remote.client;
    let deleting = set.meta().deletion_timestamp.is_some();
    if !set.finalizers().iter().any(|f| f == words.finalizer) {
        if !deleting {
            add_finalizer(client, words.manager, set.as_ref(), words.finalizer).await?;
        }
        return Ok(Next::OnEvent);
    }
    let nodes = listed_nodes(&shared).await?;
    let children: Vec<S::Child> = shared
        .children
        .state_filter(|child| set_of::<S>(child) == [ObjectRef::from_obj(set.as_ref())])
        .iter()
        .map(|child| S::Child::clone(child))
        .collect();
    if deleting && children.is_empty() && remaining(&shared, set.as_ref()).await? == 0 {
        remove_finalizer(client, words.manager, set.as_ref(), words.finalizer).await?;
        return Ok(Next::OnEvent);
    }
    let plan = plan(set.as_ref(), &nodes, &children);
    let failures = apply::apply(
        client,
        words.manager,
        words.child_finalizer,
        plan.actions.clone(),
    )
    .await;
    let facts = Facts {
        children: &children,
        plan: &plan,
        failures: &failures,
        now: context.now(),
    };
    let outcome = status(set.as_ref(), facts);
    let fields = json!({
        "conditions": outcome.conditions,
        "numberApplied": outcome.number_applied,
        "numberReady": outcome.number_ready,
        "observedGeneration": set.meta().generation,
    });
    write_status(client, words.manager, set.as_ref(), fields).await?;
    match failures.first() {
        Some(first) => Err(SetError::Children {
            count: failures.len(),
            first: first.clone(),
        }),
        None => Ok(Next::OnEvent),
    }
}

/// Labels of all nodes; an error until they were listed once, because no node at all would mean to delete everything.
async fn listed_nodes<S: NodeSet>(shared: &Shared<S>) -> Result<Nodes, SetError>
where
    S::Child: Kind,
{
    let listed = async { is_filled(&shared.nodes).await && is_filled(&shared.children).await };
    if !tokio::time::timeout(SYNC_TIMEOUT, listed)
        .await
        .unwrap_or(false)
    {
        return Err(SetError::NotListed {
            cluster: shared.remote.key.to_string(),
        });
    }
    Ok(shared
        .nodes
        .state()
        .iter()
        .map(|node| (node.name_any(), node.labels().clone()))
        .collect())
}

/// Children of a set as the API server knows them: the store may not have seen the last ones yet.
async fn remaining<S>(shared: &Shared<S>, set: &S) -> Result<usize, SetError>
where
    S: NodeSet + Kind,
    S::Child: Kind,
{
    let words = S::VOCABULARY;
    let namespace = set.namespace().unwrap_or_default();
    let selector = format!(
        "{}={},{}={namespace}",
        words.name_label,
        set.name_any(),
        words.namespace_label
    );
    let api: Api<S::Child> = Api::namespaced(Client::clone(&shared.remote.client), &namespace);
    let list = api
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(|error| SetError::ListChildren {
            cluster: shared.remote.key.to_string(),
            message: explain(&error),
        })?;
    Ok(list.items.len())
}

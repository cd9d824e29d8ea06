//! Carries an object of the management cluster into DPU clusters; `dpf_core::fanout` decides what.

mod apply;
mod observe;

pub(crate) use apply::ensure_namespace;
pub(crate) use observe::list_clusters;

use crate::kit::remote::{self, Feed, Remote};
use crate::kit::{
    Classified, Context, Kind, Next, Retry, Shutdown, WriteError, add_finalizer, remove_finalizer,
    run as run_controller, write_status,
};
use dpf_api::provisioning::DpuCluster;
use dpf_core::fanout::{Facts, FanOut, Gate, conditions, is_gone, plan};
use futures::channel::mpsc;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// How often leftovers are looked at again; their deletion also has an event.
const LEFTOVER_PAUSE: Duration = Duration::from_secs(30);

/// Why a fan-out is tried again.
#[derive(Debug, thiserror::Error)]
pub enum FanOutError {
    /// The DPUClusters cannot be listed.
    #[error("failed to list DPUClusters")]
    ListClusters {
        /// Cause.
        source: Box<kube::Error>,
    },
    /// What the gate of the kind needs cannot be read.
    #[error("failed to read {what}")]
    ReadPrerequisite {
        /// Kind.
        what: &'static str,
        /// Cause.
        source: Box<kube::Error>,
    },
    /// The object itself cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Some DPU clusters failed; the others are done.
    #[error("{count} DPU clusters did not do what they should: {first}")]
    Clusters {
        /// How many.
        count: usize,
        /// What the first one answered.
        first: String,
    },
}

impl Classified for FanOutError {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::ListClusters { .. } => "ListClustersFailed",
            Self::ReadPrerequisite { .. } => "ReadPrerequisiteFailed",
            Self::Write(error) => error.reason(),
            Self::Clusters { .. } => "ClusterFailed",
        }
    }
}

/// Runs the controller of one kind until shutdown: woken by its objects, DPUClusters, and children in DPU clusters.
pub(crate) async fn run<P, F>(
    context: Arc<Context>,
    shutdown: Shutdown,
    reconcile: impl Fn(Arc<P>, Arc<Context>) -> F + Clone + Send + Sync + 'static,
) where
    P: FanOut + Kind + Send + Sync + 'static,
    P::Child: Kind + Send + Sync + 'static,
    P::DynamicType: Eq + Hash,
    F: Future<Output = Result<Next, FanOutError>> + Send + 'static,
{
    let (sender, receiver) = remote::queue::<ObjectRef<P>>();
    let parents: Api<P> = Api::all(context.client.clone());
    let clusters: Api<DpuCluster> = Api::all(context.client.clone());
    let controller = Controller::new(parents, watcher::Config::default());
    let store = controller.store();
    let controller = controller
        .watches(clusters, watcher::Config::default(), move |_| {
            store
                .state()
                .into_iter()
                .map(|p| ObjectRef::from_obj(p.as_ref()))
                .collect::<Vec<_>>()
        })
        .reconcile_on(receiver);
    let children =
        remote::for_each_cluster(context.clone(), shutdown.clone(), move |cluster, stop| {
            watch_children::<P>(cluster, stop, sender.clone())
        });
    tokio::join!(
        run_controller(controller, context.clone(), shutdown.clone(), reconcile),
        children
    );
}

async fn watch_children<P>(remote: Remote, stop: Shutdown, sender: mpsc::Sender<ObjectRef<P>>)
where
    P: FanOut,
    P::Child: Kind + Send + Sync + 'static,
{
    let api: Api<P::Child> = Api::all(remote.client);
    Feed::new(api)
        .run(stop, vec![sender], |child| {
            let name = child.name_any();
            child
                .namespace()
                .map(|ns| ObjectRef::new(&name).within(&ns))
                .into_iter()
                .collect()
        })
        .await;
}

/// One reconcile. If cancelled, some clusters have the child and others do not; the next one goes on.
pub(crate) async fn reconcile<P>(
    parent: Arc<P>,
    context: Arc<Context>,
    gate: Gate,
) -> Result<Next, FanOutError>
where
    P: FanOut + Kind,
    P::Child: Kind,
{
    let words = P::VOCABULARY;
    let deleting = parent.meta().deletion_timestamp.is_some();
    let guarded = parent.finalizers().iter().any(|f| f == words.finalizer);
    if !guarded {
        if !deleting {
            add_finalizer(
                &context.client,
                words.manager,
                parent.as_ref(),
                words.finalizer,
            )
            .await?;
        }
        return Ok(Next::OnEvent);
    }
    let clusters = if gate == Gate::Open || deleting {
        let clusters = list_clusters(&context).await?;
        let remotes = observe::observe(&context, parent.as_ref(), &clusters).await;
        let observed: Vec<_> = remotes.iter().map(|r| r.observed.clone()).collect();
        apply::apply(words.manager, remotes, plan(parent.as_ref(), &observed)).await
    } else {
        Vec::new()
    };
    let facts = Facts {
        deleting,
        gate: &gate,
        clusters: &clusters,
        now: context.now(),
    };
    let status = json!({
        "conditions": conditions(parent.as_ref(), facts),
        "observedGeneration": parent.meta().generation,
    });
    if deleting && is_gone(&clusters) {
        remove_finalizer(
            &context.client,
            words.manager,
            parent.as_ref(),
            words.finalizer,
        )
        .await?;
        return Ok(Next::OnEvent);
    }
    write_status(&context.client, words.manager, parent.as_ref(), status).await?;
    let failed: BTreeSet<&String> = clusters
        .iter()
        .filter_map(|c| c.child.as_ref().err())
        .collect();
    if let Some(first) = failed.first() {
        return Err(FanOutError::Clusters {
            count: failed.len(),
            first: (*first).clone(),
        });
    }
    let leftovers = deleting || clusters.iter().any(|c| !c.selected && c.child != Ok(None));
    Ok(if leftovers {
        Next::After(LEFTOVER_PAUSE)
    } else {
        Next::OnEvent
    })
}

//! Controller of DPUSet: one DPU object per selected device.
//!
//! Everything is decided in `dpf_core::dpuset`. Reads and writes of all sets go one after the other: two sets that select
//! the same device could otherwise both find it free.

use crate::kit::in_one_line;
use crate::kit::{
    self, Context, Failure, Next, Shutdown, add_finalizer, apply, delete, remove_finalizer,
    run as run_controller, write_status,
};
use dpf_api::keys::{finalizers, managers};
use dpf_api::provisioning::{Dpu, DpuDevice, DpuNode, DpuSet};
use dpf_core::dpuset::{Action, Observed, Plan, plan, status};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How often a set that waits for others to go is looked at.
const RECHECK: Duration = Duration::from_secs(15);

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = context.client.clone();
    let config = watcher::Config::default();
    let controller = Controller::new(Api::<DpuSet>::all(client.clone()), config.clone());
    let store = controller.store();
    let controller = controller
        .owns(Api::<Dpu>::all(client.clone()), config.clone())
        .watches(
            Api::<DpuNode>::all(client.clone()),
            config.clone(),
            all_sets(&store),
        )
        .watches(Api::<DpuDevice>::all(client), config, all_sets(&store));
    let one_at_a_time = Arc::new(Mutex::new(()));
    run_controller(controller, context, shutdown, move |set, context| {
        let one_at_a_time = one_at_a_time.clone();
        async move { reconcile(set, context, one_at_a_time).await }
    })
    .await;
}

/// Any node or device may be selected by any set.
fn all_sets<K: Resource>(store: &Store<DpuSet>) -> impl Fn(K) -> Vec<ObjectRef<DpuSet>> + use<K> {
    let store = store.clone();
    move |_| {
        store
            .state()
            .into_iter()
            .map(|set| ObjectRef::from_obj(set.as_ref()))
            .collect()
    }
}

/// What a set is decided from, as the API server has it now.
struct Seen {
    set: DpuSet,
    nodes: Vec<DpuNode>,
    devices: Vec<DpuDevice>,
    dpus: Vec<Dpu>,
}

impl Seen {
    async fn read(context: &Context, set: &DpuSet) -> Result<Option<Self>, Failure> {
        let client = &context.client;
        let namespace = set.namespace().unwrap_or_default();
        let now: Option<DpuSet> = kit::get(client, &namespace, &set.name_any()).await?;
        let Some(set) = now.filter(|now| now.uid() == set.uid()) else {
            return Ok(None);
        };
        let mut nodes: Vec<DpuNode> = kit::list(client, Some(&namespace)).await?;
        let mut devices: Vec<DpuDevice> = kit::list(client, Some(&namespace)).await?;
        let inventory = &context.settings.inventory_namespace;
        if *inventory != namespace {
            nodes.extend(kit::list(client, Some(inventory)).await?);
            devices.extend(kit::list(client, Some(inventory)).await?);
        }
        Ok(Some(Self {
            set,
            nodes,
            devices,
            dpus: kit::list(client, None).await?,
        }))
    }
}

async fn reconcile(
    set: Arc<DpuSet>,
    context: Arc<Context>,
    one_at_a_time: Arc<Mutex<()>>,
) -> Result<Next, Failure> {
    let client = &context.client;
    let deleting = set.metadata.deletion_timestamp.is_some();
    if deleting && !set.finalizers().iter().any(|f| f == finalizers::DPUSET) {
        return Ok(Next::OnEvent);
    }
    if !deleting
        && add_finalizer(client, managers::DPUSET, set.as_ref(), finalizers::DPUSET).await?
    {
        return Ok(Next::OnEvent);
    }
    let turn = one_at_a_time.lock().await;
    let Some(seen) = Seen::read(&context, &set).await? else {
        return Ok(Next::OnEvent);
    };
    let plan = plan(Observed {
        set: &seen.set,
        nodes: &seen.nodes,
        devices: &seen.devices,
        dpus: &seen.dpus,
        inventory: &context.settings.inventory_namespace,
        version: &context.settings.version,
    });
    let written = carry_out(&context, &seen, &plan).await;
    drop(turn);
    if plan.actions.contains(&Action::Release) {
        written?;
        return Ok(Next::OnEvent);
    }
    let failure = written.as_ref().err().map(|error| in_one_line(error));
    let summary = status(
        &seen.set,
        &seen.dpus,
        &plan.report,
        !plan.actions.is_empty(),
        failure.as_deref(),
        context.now(),
    );
    let mut statistics = json!(summary.statistics);
    // A merge patch keeps phases that no DPU is in any more: clear them by name.
    let before = seen
        .set
        .status
        .as_ref()
        .and_then(|s| s.dpu_statistics.as_ref());
    if let Some(fields) = statistics.as_object_mut() {
        for phase in before.iter().flat_map(|b| b.keys()) {
            fields.entry(phase.clone()).or_insert(json!(null));
        }
    }
    let fields = json!({
        "dpuStatistics": statistics,
        "observedGeneration": seen.set.metadata.generation,
        "conditions": summary.conditions,
    });
    write_status(client, managers::DPUSET, &seen.set, fields).await?;
    written?;
    let waits = plan.report.deleting > 0 || !plan.report.conflicts.is_empty();
    Ok(if waits {
        Next::After(RECHECK)
    } else {
        Next::OnEvent
    })
}

/// The only writer. If cancelled, what was not done is planned again.
async fn carry_out(context: &Context, seen: &Seen, plan: &Plan) -> Result<(), Failure> {
    let client = &context.client;
    for action in &plan.actions {
        match action {
            Action::Apply(dpu) => {
                apply(client, managers::DPUSET, dpu.as_ref()).await?;
            }
            Action::Delete {
                namespace,
                name,
                why,
            } => {
                let found = seen.dpus.iter().find(|dpu| {
                    dpu.namespace().as_deref() == Some(namespace) && dpu.name_any() == *name
                });
                if let Some(dpu) = found {
                    tracing::info!(namespace, name, "deleting DPU: {why}");
                    delete(client, dpu).await?;
                }
            }
            Action::Release => {
                remove_finalizer(client, managers::DPUSET, &seen.set, finalizers::DPUSET).await?;
            }
        }
    }
    Ok(())
}

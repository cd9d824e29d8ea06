//! Controller of DPUNodeMaintenance: applies one effect to one host while anybody asks for it, and undoes it after that.
//!
//! Who asks and when it may begin is decided in `dpf_core::dpunodemaintenance`; `effects` changes the host.

mod effects;

use crate::kit::{
    self, Context, Failure, Next, Shutdown, add_finalizer, delete, remove_finalizer,
    run as run_controller, write_status,
};
use crate::kit::{in_one_line, whole_seconds, write_whole_status};
use dpf_api::conditions::{READY, dpunode, dpunodemaintenance as types, reasons};
use dpf_api::keys::{finalizers, managers};
use dpf_api::provisioning::{DpuNode, DpuNodeMaintenance, DpuNodeMaintenanceStatus};
use dpf_core::conditions::{Conditions, Verdict, is_true};
use dpf_core::dpunodemaintenance::{Gate, gate, unavailable_others};
use effects::Progress;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How often a host that waits for its turn is looked at.
const TURN: Duration = Duration::from_secs(10);
/// How often a drain is looked at.
const DRAIN: Duration = Duration::from_secs(3);

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = context.client.clone();
    let controller = Controller::new(
        Api::<DpuNodeMaintenance>::all(client.clone()),
        watcher::Config::default(),
    );
    let store = controller.store();
    let controller = controller.watches(
        Api::<DpuNode>::all(client),
        watcher::Config::default(),
        move |node| {
            store
                .state()
                .into_iter()
                .filter(|m| m.namespace() == node.namespace())
                .map(|m| ObjectRef::from_obj(m.as_ref()))
                .collect::<Vec<_>>()
        },
    );
    let one_at_a_time = Arc::new(tokio::sync::Mutex::new(()));
    run_controller(controller, context, shutdown, move |object, context| {
        let one_at_a_time = one_at_a_time.clone();
        async move { reconcile(object, context, one_at_a_time).await }
    })
    .await;
}

async fn reconcile(
    object: Arc<DpuNodeMaintenance>,
    context: Arc<Context>,
    one_at_a_time: Arc<tokio::sync::Mutex<()>>,
) -> Result<Next, Failure> {
    let client = &context.client;
    let namespace = object.namespace().unwrap_or_default();
    let now: Option<DpuNodeMaintenance> = kit::get(client, &namespace, &object.name_any()).await?;
    let Some(object) = now.filter(|now| now.uid() == object.uid()) else {
        return Ok(Next::OnEvent);
    };
    let wanted = object
        .spec
        .requestor
        .as_ref()
        .is_some_and(|r| !r.is_empty());
    let deleting = object.metadata.deletion_timestamp.is_some();
    let node: Option<DpuNode> = kit::get(client, &namespace, &object.spec.dpu_node_name).await?;
    if deleting {
        if wanted {
            // Somebody still needs the effect; it goes when they leave.
            return Ok(Next::OnEvent);
        }
        return undo(&context, &object, node.as_ref()).await;
    }
    if add_finalizer(
        client,
        managers::DPUNODEMAINTENANCE,
        &object,
        finalizers::DPUNODEMAINTENANCE,
    )
    .await?
    {
        return Ok(Next::OnEvent);
    }
    if !wanted {
        delete(client, &object).await?;
        return Ok(Next::OnEvent);
    }
    let observed = object.status.as_ref().and_then(|s| s.conditions.as_deref());
    if is_true(observed, types::APPLIED) {
        return Ok(Next::OnEvent);
    }
    let Some(node) = node else {
        let said = Verdict::no(
            "DPUNodeNotFound",
            format!("DPUNode {} does not exist", object.spec.dpu_node_name),
        );
        report(
            &context,
            &object,
            object.status.clone().unwrap_or_default(),
            &said,
        )
        .await?;
        return Ok(Next::After(TURN));
    };
    // One decision at a time, so that two hosts cannot both take the last free place.
    let turn = one_at_a_time.lock().await;
    let opened = open(&context, &object, &node).await?;
    drop(turn);
    match opened {
        Some(next) => Ok(next),
        None => carry_on(&context, &object, &node).await,
    }
}

/// Waits for the turn of the host, and marks it as disturbed when it has come.
async fn open(
    context: &Context,
    object: &DpuNodeMaintenance,
    node: &DpuNode,
) -> Result<Option<Next>, Failure> {
    let limits = crate::dpu::limits(context).await?;
    let mut status = object.status.clone().unwrap_or_default();
    if status.node_effect_sync_start_time.is_none() {
        status.node_effect_sync_start_time = Some(whole_seconds(context.now()));
        status.multi_dpu_operations_sync_wait_time =
            Some(format!("{}s", limits.sync_wait.as_secs()));
        status.max_unavailable_dpu_nodes = Some(limits.unavailable);
    }
    let mut with_start = object.clone();
    with_start.status = Some(status.clone());
    let nodes: Vec<DpuNode> = kit::list(&context.client, node.namespace().as_deref()).await?;
    let others = unavailable_others(node, &nodes);
    let (verdict, next) = match gate(&with_start, node, others, &limits, context.now()) {
        Gate::Open => {
            mark(context, node).await?;
            (
                Verdict::no("NodeEffectIsProcessing", "the effect is being applied"),
                None,
            )
        }
        Gate::TooMany { unavailable, limit } => (
            Verdict::no(
                reasons::PENDING,
                format!(
                    "{unavailable} other DPUNodes are unavailable, at most {limit} may be (maxUnavailableDPUNodes)"
                ),
            ),
            Some(Next::After(TURN)),
        ),
        Gate::WaitForSiblings { left } => (
            Verdict::no(
                "NodeEffectSyncInProgress",
                "waiting for other DPUs of the host, so that the host is disturbed once",
            ),
            Some(Next::After(left.max(Duration::from_secs(1)))),
        ),
    };
    if next.is_some() || !begun(object) {
        report(context, object, status, &verdict).await?;
    }
    Ok(next)
}

fn begun(object: &DpuNodeMaintenance) -> bool {
    object
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_ref())
        .is_some_and(|c| {
            c.iter()
                .any(|c| c.type_ == types::APPLIED && c.reason == "NodeEffectIsProcessing")
        })
}

/// Says on the host that it is disturbed: other hosts count it from now on.
async fn mark(context: &Context, node: &DpuNode) -> Result<(), Failure> {
    let mut status = node.status.clone().unwrap_or_default();
    let generation = node.metadata.generation.unwrap_or_default();
    let mut conditions =
        Conditions::new(status.conditions.as_deref(), &[], generation, context.now());
    let in_progress = dpunode::NODE_EFFECT_IN_PROGRESS;
    conditions.put(in_progress, "True", in_progress, "");
    conditions.set(
        READY,
        &Verdict::no(
            "NodeEffectInProgress",
            "an effect on the host is in force for its DPUs",
        ),
    );
    status.conditions = Some(conditions.into_list());
    let fields = json!({ "conditions": status.conditions });
    write_status(&context.client, managers::DPUNODE, node, fields).await?;
    Ok(())
}

async fn carry_on(
    context: &Context,
    object: &DpuNodeMaintenance,
    node: &DpuNode,
) -> Result<Next, Failure> {
    let namespace = object.namespace().unwrap_or_default();
    let now: Option<DpuNodeMaintenance> =
        kit::get(&context.client, &namespace, &object.name_any()).await?;
    let Some(object) = now else {
        return Ok(Next::OnEvent);
    };
    let status = object.status.clone().unwrap_or_default();
    let progress = effects::apply(context, &object, node).await;
    match progress {
        Ok(Progress::Done) => {
            report(context, &object, status, &Verdict::True).await?;
            Ok(Next::OnEvent)
        }
        Ok(Progress::Waiting { message, poll }) => {
            report(
                context,
                &object,
                status,
                &Verdict::no("NodeEffectIsProcessing", message),
            )
            .await?;
            Ok(if poll {
                Next::After(DRAIN)
            } else {
                Next::OnEvent
            })
        }
        Ok(Progress::Impossible { message }) => {
            report(
                context,
                &object,
                status,
                &Verdict::no("InvalidNodeEffect", message),
            )
            .await?;
            Ok(Next::OnEvent)
        }
        Err(error) => {
            report(
                context,
                &object,
                status,
                &Verdict::no(reasons::ERROR, in_one_line(&error)),
            )
            .await?;
            Err(error)
        }
    }
}

async fn undo(
    context: &Context,
    object: &DpuNodeMaintenance,
    node: Option<&DpuNode>,
) -> Result<Next, Failure> {
    effects::undo(context, object, node).await?;
    remove_finalizer(
        &context.client,
        managers::DPUNODEMAINTENANCE,
        object,
        finalizers::DPUNODEMAINTENANCE,
    )
    .await?;
    Ok(Next::OnEvent)
}

async fn report(
    context: &Context,
    object: &DpuNodeMaintenance,
    mut status: DpuNodeMaintenanceStatus,
    applied: &Verdict,
) -> Result<(), Failure> {
    let generation = object.metadata.generation.unwrap_or_default();
    let mut conditions =
        Conditions::new(status.conditions.as_deref(), &[], generation, context.now());
    conditions.set(types::APPLIED, applied);
    let mut list = conditions.into_list();
    // This kind has no summary.
    list.retain(|c| c.type_ != READY);
    status.conditions = Some(list);
    write_whole_status(context, managers::DPUNODEMAINTENANCE, object, &status, &[]).await?;
    Ok(())
}

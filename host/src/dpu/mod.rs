//! Controller of DPU: from a card to a node of a DPU cluster, and back.
//!
//! The life of a DPU is decided in `dpf_core::dpu`. Here each phase looks at the world and says what it found as an event:
//!
//! ```text
//!   phase ──> work (reads, BMC, files) ──> event ──> step (pure) ──> status, written last
//! ```
//!
//! Nothing is kept in memory: phase, times and the task of the BMC are in the status.

mod cluster;
mod effect;
mod initialize;
mod install;
mod inventory;
mod prepare;
mod reboot;
pub mod redfish;
mod work;

use crate::kit::write_whole_status;
use crate::kit::{
    self, Context, Failure, Next, Shutdown, add_finalizer, patch_metadata, remove_finalizer,
    run as run_controller,
};
use dpf_api::keys::{annotations, finalizers, managers};
use dpf_api::operator::DpfOperatorConfig;
use dpf_api::provisioning::{
    Bfb, Dpu, DpuCluster, DpuDevice, DpuNode, DpuNodeMaintenance, DpuPhase, DpuStatus,
    InstallInterface,
};
use dpf_core::dpu::{Event, Limits, Position, enter, judge, remaining, retry_after, step};
use kube::api::ListParams;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use work::Work;

/// Fields of the status that are cleared when they are unset.
const REMOVABLE: [&str; 7] = [
    "automaticRetries",
    "previousPhase",
    "postProvisioningNodeEffect",
    "redfishTaskId",
    "installPercent",
    "armResetBefore",
    "installFailures",
];

/// What the reconciles of all DPUs share.
pub(crate) struct Shared {
    context: Arc<Context>,
    /// Held from counting to writing where a limit is shared: clusters and slots.
    turns: Mutex<()>,
}

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = context.client.clone();
    let config = watcher::Config::default();
    let controller = Controller::new(Api::<Dpu>::all(client.clone()), config.clone());
    let store = controller.store();
    let controller = controller
        .watches(
            Api::<Bfb>::all(client.clone()),
            config.clone(),
            concerned(&store, |dpu, bfb: &Bfb| {
                dpu.spec.bfb == bfb.metadata.name && dpu.namespace() == bfb.namespace()
            }),
        )
        .watches(
            Api::<DpuNode>::all(client.clone()),
            config.clone(),
            concerned(&store, |dpu, node: &DpuNode| {
                dpu.spec.dpu_node_name == node.name_any()
            }),
        )
        .watches(
            Api::<DpuDevice>::all(client.clone()),
            config.clone(),
            concerned(&store, |dpu, device: &DpuDevice| {
                dpu.spec.dpu_device_name == device.name_any()
            }),
        )
        .watches(
            Api::<DpuNodeMaintenance>::all(client.clone()),
            config.clone(),
            concerned(&store, |dpu, object: &DpuNodeMaintenance| {
                dpu.spec.dpu_node_name == object.spec.dpu_node_name
            }),
        )
        .watches(
            Api::<DpuCluster>::all(client),
            config,
            concerned(&store, |dpu, cluster: &DpuCluster| {
                let assigned = dpu.spec.cluster.as_ref();
                assigned
                    .and_then(|c| c.name.as_ref())
                    .is_none_or(|name| Some(name) == cluster.metadata.name.as_ref())
            }),
        );
    let shared = Arc::new(Shared {
        context: context.clone(),
        turns: Mutex::new(()),
    });
    run_controller(controller, context, shutdown, move |dpu, _| {
        let shared = shared.clone();
        async move { reconcile(&dpu, &shared).await }
    })
    .await;
}

/// The DPUs that a change of another object concerns.
fn concerned<K: Resource, F: Fn(&Dpu, &K) -> bool>(
    store: &Store<Dpu>,
    about: F,
) -> impl Fn(K) -> Vec<ObjectRef<Dpu>> + use<K, F> {
    let store = store.clone();
    move |object| {
        store
            .state()
            .into_iter()
            .filter(|dpu| about(dpu, &object))
            .map(|dpu| ObjectRef::from_obj(dpu.as_ref()))
            .collect()
    }
}

/// Limits of the installation: from the DPFOperatorConfig when there is one.
///
/// # Errors
/// [`Failure`] when the API server does not answer.
pub async fn limits(context: &Context) -> Result<Limits, Failure> {
    let namespace = &context.settings.operator_namespace;
    let api: Api<DpfOperatorConfig> = Api::namespaced(context.client.clone(), namespace);
    match api.list(&ListParams::default().limit(1)).await {
        Ok(list) => Ok(list.items.first().map(Limits::from).unwrap_or_default()),
        // The kind itself may be missing.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Limits::default()),
        Err(source) => Err(Failure::Read(kit::ReadError::List {
            kind: "DPFOperatorConfig".to_owned(),
            source: Box::new(source),
        })),
    }
}

async fn reconcile(dpu: &Dpu, shared: &Shared) -> Result<Next, Failure> {
    let context = &shared.context;
    let client = &context.client;
    let namespace = dpu.namespace().unwrap_or_default();
    // The queue may hold an older state than the one this controller wrote last.
    let now: Option<Dpu> = kit::get(client, &namespace, &dpu.name_any()).await?;
    let Some(dpu) = now.filter(|now| now.uid() == dpu.uid()) else {
        return Ok(Next::OnEvent);
    };
    let status = dpu.status.clone().unwrap_or_default();
    let deleting = dpu.metadata.deletion_timestamp.is_some();
    if deleting && !dpu.finalizers().iter().any(|f| f == finalizers::DPU) {
        return Ok(Next::OnEvent);
    }
    if !deleting && add_finalizer(client, managers::DPU, &dpu, finalizers::DPU).await? {
        return Ok(Next::OnEvent);
    }
    if deleting && status.phase != DpuPhase::Deleting {
        let work = Work::from(Event::Deleted);
        return conclude(context, &dpu, &status, work, &Limits::default()).await;
    }
    if !deleting {
        if let Some(next) = asked_to_retry(context, &dpu, &status).await? {
            return Ok(next);
        }
        effect::sync(context, &dpu).await?;
    }
    let limits = limits(context).await?;
    let work = match status.phase {
        phase if is_mock(&status) && mock_passes(phase) => Work::done(),
        DpuPhase::Initializing => initialize::initialize(shared, &dpu, &limits).await?,
        DpuPhase::Pending => {
            // The slot is taken by the write of the status: nobody else counts before that.
            let _turn = shared.turns.lock().await;
            let work = initialize::pending(context, &dpu, &limits).await?;
            return conclude(context, &dpu, &status, work, &limits).await;
        }
        DpuPhase::NodeEffect => effect::wait_until_applied(context, &dpu).await?,
        DpuPhase::InitializeInterface => install::initialize_interface(context, &dpu).await?,
        DpuPhase::ConfigFwParameters => install::configure_firmware(context, &dpu).await?,
        DpuPhase::PrepareBfb => prepare::prepare(context, &dpu, &limits).await?,
        DpuPhase::OsInstalling => install::install(context, &dpu, &limits).await?,
        DpuPhase::Rebooting => reboot::reboot(context, &dpu).await?,
        DpuPhase::DpuClusterConfig => cluster::configure(context, &dpu).await?,
        DpuPhase::NodeEffectRemoval => cluster::give_back(context, &dpu).await?,
        DpuPhase::Ready => cluster::watch_over(context, &dpu).await?,
        DpuPhase::Error => {
            // The host is given back: nothing happens to it until somebody decides.
            effect::withdraw(context, &dpu).await?;
            match retry_after(&status, &limits, context.now()) {
                None => return Ok(Next::OnEvent),
                Some(Duration::ZERO) => Work::from(Event::Retry).with(|status| {
                    let used = status.automatic_retries.unwrap_or(0);
                    status.automatic_retries = Some(used.saturating_add(1));
                }),
                Some(pause) => return Ok(Next::After(pause)),
            }
        }
        DpuPhase::Deleting => return delete(context, &dpu, &status).await,
        DpuPhase::CheckingHostRebootRequired
        | DpuPhase::HostNetworkConfiguration
        | DpuPhase::UpdateFirmware
        | DpuPhase::DpuConfig
        | DpuPhase::ServiceReadiness
        | DpuPhase::PerformArmForceRestart => Work::from(Event::done()),
    };
    conclude(context, &dpu, &status, work, &limits).await
}

fn is_mock(status: &DpuStatus) -> bool {
    status.dpu_install_interface == Some(InstallInterface::Mock)
}

/// The phases in which a DPU, or its node, would be asked.
const fn mock_passes(phase: DpuPhase) -> bool {
    matches!(
        phase,
        DpuPhase::InitializeInterface
            | DpuPhase::ConfigFwParameters
            | DpuPhase::PrepareBfb
            | DpuPhase::OsInstalling
            | DpuPhase::Rebooting
            | DpuPhase::DpuClusterConfig
            | DpuPhase::Ready
    )
}

/// From what a phase found to the status.
async fn conclude(
    context: &Context,
    dpu: &Dpu,
    observed: &DpuStatus,
    work: Work,
    limits: &Limits,
) -> Result<Next, Failure> {
    let Work {
        event,
        change,
        by_person,
        poll,
    } = work;
    let left = remaining(observed, by_person, limits, context.now());
    let event = judge(event, observed, by_person, limits, context.now());
    let mut status = observed.clone();
    if let Some(change) = change {
        change(&mut status);
    }
    let outcome = step(Position::from(&status), event);
    let generation = dpu.metadata.generation.unwrap_or_default();
    let next = enter(&status, &outcome, generation, context.now());
    if next.phase != observed.phase {
        tracing::info!(
            namespace = dpu.namespace(),
            name = dpu.name_any(),
            from = %observed.phase,
            to = %next.phase,
            "DPU"
        );
    }
    write_whole_status(context, managers::DPU, dpu, &next, &REMOVABLE).await?;
    if next.phase != observed.phase {
        return Ok(Next::After(Duration::ZERO));
    }
    // At the deadline it is looked at, even when nothing else happens.
    Ok(match (poll, left.filter(|left| !left.is_zero())) {
        (Some(poll), Some(left)) => Next::After(poll.min(left)),
        (Some(wait), None) | (None, Some(wait)) => Next::After(wait),
        (None, None) => Next::OnEvent,
    })
}

/// Starts the failed phase again when the annotation asks for it, and takes the annotation away afterwards.
async fn asked_to_retry(
    context: &Context,
    dpu: &Dpu,
    status: &DpuStatus,
) -> Result<Option<Next>, Failure> {
    if !dpu.annotations().contains_key(annotations::RETRY) {
        return Ok(None);
    }
    if status.phase == DpuPhase::Error {
        // A person gives a new budget, too.
        let work = Work::from(Event::Retry).with(|status| status.automatic_retries = None);
        return conclude(context, dpu, status, work, &Limits::default())
            .await
            .map(Some);
    }
    let patch = json!({"annotations": {annotations::RETRY: null}});
    patch_metadata(&context.client, managers::DPU, dpu, patch).await?;
    Ok(Some(Next::OnEvent))
}

/// Takes back what the DPU left elsewhere, then lets the object go.
async fn delete(context: &Context, dpu: &Dpu, status: &DpuStatus) -> Result<Next, Failure> {
    effect::withdraw(context, dpu).await?;
    prepare::remove_configuration(context, dpu).await?;
    if !is_mock(status)
        && let Some(said) = cluster::remove_node(context, dpu).await?
    {
        let work = Work::waiting(said).polled(cluster::UNREACHABLE);
        return conclude(context, dpu, status, work, &Limits::default()).await;
    }
    remove_finalizer(&context.client, managers::DPU, dpu, finalizers::DPU).await?;
    Ok(Next::OnEvent)
}

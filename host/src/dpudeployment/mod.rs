//! Controller of DPUDeployment: services and a chain on a set of DPUs.
//!
//! `observe` reads, `consult` runs the plugins, `apply` writes; every decision is in `dpf_core::dpudeployment`.
//! Conditions are patched last, also after an error.

mod apply;
mod child;
mod consult;
mod error;
mod observe;
mod status;
mod strays;
mod wake;

use crate::kit::remote::{self, Feed};
use crate::kit::{Context, Next, Shutdown, add_finalizer, run as run_controller};
use crate::plugins;
use consult::Decision;
use dpf_api::keys::{finalizers, labels, managers};
use dpf_api::provisioning::{Bfb, Dpu, DpuFlavor, DpuSet};
use dpf_api::svc::{
    DpuDeployment, DpuService, DpuServiceChain, DpuServiceConfiguration, DpuServiceInterface,
    DpuServiceTemplate,
};
use dpf_core::dpudeployment::status::{Outcome, Readiness};
use dpf_core::dpudeployment::{Action, Observed, plan_deletion};
use error::Error;
use kube::runtime::controller::Controller;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use status::{Pace, Status};
use std::sync::Arc;
use std::time::Duration;
use strays::Strays;

/// Pause of a pass that waits for a plugin; one that was loaded wakes it earlier.
const HOLD: Duration = Duration::from_secs(1);

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = &context.client;
    let config = watcher::Config::default();
    let controller = Controller::new(Api::<DpuDeployment>::all(client.clone()), config.clone());
    let store = controller.store();
    let strays = Strays::default();
    let controller = controller
        .watches(
            Api::<DpuService>::all(client.clone()),
            config.clone(),
            strays.owner(),
        )
        .watches(
            Api::<DpuServiceInterface>::all(client.clone()),
            config.clone(),
            strays.owner(),
        )
        .watches(
            Api::<DpuServiceChain>::all(client.clone()),
            config.clone(),
            strays.owner(),
        )
        .watches(
            Api::<DpuSet>::all(client.clone()),
            config.clone(),
            strays.owner(),
        )
        .watches(
            Api::<Bfb>::all(client.clone()),
            config.clone(),
            wake::referring(&store, |deployment, name| {
                deployment.spec.dpus.bfb.as_deref() == Some(name)
            }),
        )
        .watches(
            Api::<DpuFlavor>::all(client.clone()),
            config.clone(),
            wake::referring(&store, |deployment, name| {
                deployment.spec.dpus.flavor.as_deref() == Some(name)
            }),
        )
        .watches(
            Api::<DpuServiceTemplate>::all(client.clone()),
            config.clone(),
            wake::referring(&store, |deployment, name| {
                deployment
                    .spec
                    .services
                    .values()
                    .any(|service| service.service_template == name)
            }),
        )
        .watches(
            Api::<DpuServiceConfiguration>::all(client.clone()),
            config,
            wake::referring(&store, |deployment, name| {
                deployment
                    .spec
                    .services
                    .values()
                    .any(|service| service.service_configuration == name)
            }),
        );
    let (sender, receiver) = remote::queue();
    let dpus = Feed::new(Api::<Dpu>::all(client.clone()))
        .labels(labels::OWNED_BY_DPUDEPLOYMENT)
        .only_changes_of(wake::what_counts);
    let dpus = dpus.run(shutdown.clone(), vec![sender], wake::owner_of);
    let controller = controller
        .reconcile_on(receiver)
        .reconcile_on(plugins::woken(context.plugins.clone()));
    let memory = Memory {
        strays,
        pace: Pace::default(),
    };
    let reconcile = move |deployment: Arc<DpuDeployment>, context: Arc<Context>| {
        let memory = memory.clone();
        async move { reconcile(deployment, context, memory).await }
    };
    tokio::join!(
        dpus,
        run_controller(controller, context, shutdown, reconcile)
    );
}

/// What passes leave to the next; a restart may forget it.
#[derive(Clone)]
struct Memory {
    strays: Strays,
    pace: Pace,
}

/// One pass. If it is cancelled, or the process dies, at any point, the next pass goes on from what the API holds: names
/// are derived and writes are idempotent.
async fn reconcile(
    deployment: Arc<DpuDeployment>,
    context: Arc<Context>,
    memory: Memory,
) -> Result<Next, Error> {
    let read = observe::observe(&context.client, &deployment, &memory.strays);
    let Some(observed) = read.await? else {
        forget(&context, &memory, &deployment);
        return Ok(Next::OnEvent);
    };
    let deleting = observed.deployment.metadata.deletion_timestamp.is_some();
    if !deleting
        && add_finalizer(
            &context.client,
            managers::DPUDEPLOYMENT,
            &observed.deployment,
            finalizers::DPUDEPLOYMENT,
        )
        .await?
    {
        // The event of this write starts the next pass.
        let mut status = Status::new(&context, &memory.pace, &observed);
        status.write(&Outcome::Started, &Readiness::new()).await?;
        return Ok(Next::OnEvent);
    }
    if deleting {
        delete(&context, &memory, &observed).await
    } else {
        roll_out(&context, &memory, observed).await
    }
}

async fn roll_out(context: &Context, memory: &Memory, observed: Observed) -> Result<Next, Error> {
    let observed = Arc::new(observed);
    let mut status = Status::new(context, &memory.pace, &observed);
    let plan = match consult::decide(context, observed.clone()).await? {
        Decision::Planned(plan) => plan,
        Decision::Hold => {
            if !status.is_current() {
                status.begin().await?;
            }
            return Ok(Next::After(HOLD));
        }
        Decision::Invalid(invalid) => {
            let children = child::readiness(&observed);
            let outcome = Outcome::Invalid(&invalid);
            let postponed = status.write(&outcome, &children).await?;
            // Whatever mends this is watched: the deployment itself or something it refers to.
            return Ok(next(None, postponed));
        }
        Decision::Rejected(rejection) => {
            let children = child::readiness(&observed);
            let outcome = Outcome::Rejected(&rejection);
            let postponed = status.write(&outcome, &children).await?;
            if !rejection.fault {
                return Ok(next(None, postponed));
            }
            let messages: Vec<String> = rejection
                .failed
                .into_iter()
                .map(|(_, _, message)| message)
                .collect();
            return Err(Error::Plugin {
                message: messages.join("; "),
            });
        }
    };
    if plan.writes_children() {
        status.begin().await?;
    }
    let applied = apply::apply(context, &observed, plan.actions).await;
    let outcome = Outcome::Applied {
        report: &plan.report,
        errors: &applied.errors,
    };
    let postponed = status.write(&outcome, &applied.readiness).await?;
    match applied.errors.first() {
        Some((_, message)) => Err(Error::Apply {
            message: message.clone(),
            count: applied.errors.len(),
        }),
        None if !plan.report.faulted_services.is_empty() => {
            let faulted: Vec<String> = plan.report.faulted_services.into_values().collect();
            Err(Error::Plugin {
                message: faulted.join("; "),
            })
        }
        None => Ok(next(plan.requeue_seconds, postponed)),
    }
}

async fn delete(context: &Context, memory: &Memory, observed: &Observed) -> Result<Next, Error> {
    if !observed
        .deployment
        .finalizers()
        .iter()
        .any(|f| f == finalizers::DPUDEPLOYMENT)
    {
        return Ok(Next::OnEvent);
    }
    let plan = plan_deletion(observed);
    if !plan.actions.contains(&Action::RemoveFinalizer) {
        let outcome = Outcome::Deleting {
            report: &plan.report,
        };
        let children = child::readiness(observed);
        Status::new(context, &memory.pace, observed)
            .write(&outcome, &children)
            .await?;
    }
    let applied = apply::apply(context, observed, plan.actions).await;
    forget(context, memory, &observed.deployment);
    match applied.errors.first() {
        Some((_, message)) => Err(Error::Apply {
            message: message.clone(),
            count: applied.errors.len(),
        }),
        None => Ok(next(plan.requeue_seconds, None)),
    }
}

/// No plugin serves a deployment that goes.
fn forget(context: &Context, memory: &Memory, deployment: &DpuDeployment) {
    let key = (
        deployment.namespace().unwrap_or_default(),
        deployment.name_any(),
    );
    context.plugins.forget(&key);
    memory.pace.forget(&key);
}

/// The earlier of both.
fn next(requeue_seconds: Option<u64>, postponed: Option<Duration>) -> Next {
    let requeue = requeue_seconds.map(Duration::from_secs);
    let pauses = requeue.into_iter().chain(postponed);
    pauses.min().map_or(Next::OnEvent, Next::After)
}

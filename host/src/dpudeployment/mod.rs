//! Controller of DPUDeployment: services and a chain on a set of DPUs.
//!
//! `observe` reads, `consult` runs the plugins, `apply` writes; every decision is in `dpf_core::dpudeployment`.
//! Conditions are patched last, also after an error.

mod apply;
mod child;
mod consult;
mod error;
mod observe;
mod wake;

use crate::kit::remote::{self, Feed};
use crate::kit::{Context, Next, Shutdown, add_finalizer, run as run_controller, write_status};
use crate::plugins;
use consult::Decision;
use dpf_api::keys::{finalizers, labels, managers};
use dpf_api::provisioning::{Bfb, Dpu, DpuFlavor, DpuSet};
use dpf_api::svc::{
    DpuDeployment, DpuService, DpuServiceChain, DpuServiceConfiguration, DpuServiceInterface,
    DpuServiceTemplate,
};
use dpf_core::dpudeployment::status::{Outcome, Readiness, observed_dependencies};
use dpf_core::dpudeployment::{Action, Observed, conditions, plan_deletion};
use error::Error;
use kube::runtime::controller::Controller;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Pause of a pass that waits for a plugin; one that was loaded wakes it earlier.
const HOLD: Duration = Duration::from_secs(1);

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = &context.client;
    let config = watcher::Config::default();
    let controller = Controller::new(Api::<DpuDeployment>::all(client.clone()), config.clone());
    let store = controller.store();
    let controller = controller
        .owns(Api::<DpuService>::all(client.clone()), config.clone())
        .owns(
            Api::<DpuServiceInterface>::all(client.clone()),
            config.clone(),
        )
        .owns(Api::<DpuServiceChain>::all(client.clone()), config.clone())
        .owns(Api::<DpuSet>::all(client.clone()), config.clone())
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
    tokio::join!(
        dpus,
        run_controller(controller, context, shutdown, reconcile)
    );
}

/// One pass. If it is cancelled, or the process dies, at any point, the next pass goes on from what the API holds: names
/// are derived and writes are idempotent.
async fn reconcile(deployment: Arc<DpuDeployment>, context: Arc<Context>) -> Result<Next, Error> {
    let Some(observed) = observe::observe(&context.client, &deployment).await? else {
        forget(&context, &deployment);
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
        write_conditions(&context, &observed, &Outcome::Started, &Readiness::new()).await?;
        return Ok(Next::OnEvent);
    }
    if deleting {
        delete(&context, &observed).await
    } else {
        roll_out(&context, observed).await
    }
}

async fn roll_out(context: &Context, observed: Observed) -> Result<Next, Error> {
    let observed = Arc::new(observed);
    let plan = match consult::decide(context, observed.clone()).await? {
        Decision::Planned(plan) => plan,
        Decision::Hold => return Ok(Next::After(HOLD)),
        Decision::Invalid(invalid) => {
            write_conditions(
                context,
                &observed,
                &Outcome::Invalid(&invalid),
                &child::readiness(&observed),
            )
            .await?;
            // Whatever mends this is watched: the deployment itself or something it refers to.
            return Ok(Next::OnEvent);
        }
        Decision::Rejected(rejection) => {
            write_conditions(
                context,
                &observed,
                &Outcome::Rejected(&rejection),
                &child::readiness(&observed),
            )
            .await?;
            if !rejection.fault {
                return Ok(Next::OnEvent);
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
    let applied = apply::apply(context, &observed, plan.actions).await;
    let outcome = Outcome::Applied {
        report: &plan.report,
        errors: &applied.errors,
    };
    write_conditions(context, &observed, &outcome, &applied.readiness).await?;
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
        None => Ok(next(plan.requeue_seconds)),
    }
}

async fn delete(context: &Context, observed: &Observed) -> Result<Next, Error> {
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
        write_conditions(context, observed, &outcome, &child::readiness(observed)).await?;
    }
    let applied = apply::apply(context, observed, plan.actions).await;
    forget(context, &observed.deployment);
    match applied.errors.first() {
        Some((_, message)) => Err(Error::Apply {
            message: message.clone(),
            count: applied.errors.len(),
        }),
        None => Ok(next(plan.requeue_seconds)),
    }
}

/// No plugin serves a deployment that goes.
fn forget(context: &Context, deployment: &DpuDeployment) {
    let key = (
        deployment.namespace().unwrap_or_default(),
        deployment.name_any(),
    );
    context.plugins.forget(&key);
}

fn next(requeue_seconds: Option<u64>) -> Next {
    requeue_seconds.map_or(Next::OnEvent, |seconds| {
        Next::After(Duration::from_secs(seconds))
    })
}

async fn write_conditions(
    context: &Context,
    observed: &Observed,
    outcome: &Outcome<'_>,
    children: &Readiness,
) -> Result<(), Error> {
    let conditions = conditions(&observed.deployment, outcome, children, context.now());
    let status = json!({
        "conditions": conditions,
        "observedGeneration": observed.deployment.metadata.generation,
        "observedDependencies": observed_dependencies(observed),
    });
    write_status(
        &context.client,
        managers::DPUDEPLOYMENT,
        &observed.deployment,
        status,
    )
    .await?;
    Ok(())
}

//! Controller of DPUServices: writes Argo CD Applications and reports what becomes of them.

mod apply;
mod observe;
mod prerequisites;

use crate::fanout::FanOutError;
use crate::kit::{
    Classified, Context, Next, Retry, Shutdown, WriteError, add_finalizer, remove_finalizer,
    run as run_controller, write_status,
};
use dpf_api::keys::{finalizers, labels, managers};
use dpf_api::provisioning::DpuCluster;
use dpf_api::svc::{DpuService, DpuServiceInterface};
use dpf_core::dpuservice::argo::Application;
use dpf_core::dpuservice::{
    Facts, Networks, Target, application, conditions, networks, plan, service_id, values,
};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use observe::Observed;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often a deletion is looked at again; the end of an Application also has an event.
const DELETION_PAUSE: Duration = Duration::from_secs(30);

/// Why a service is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Something it depends on cannot be read.
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
    /// The service itself cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A step failed; the conditions say which, and the others are done.
    #[error("{count} problems: {first}")]
    Steps {
        /// How many.
        count: usize,
        /// The first.
        first: String,
    },
}

impl Classified for ServiceError {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "ReadFailed",
            Self::Clusters(error) => error.reason(),
            Self::Write(error) => error.reason(),
            Self::Steps { .. } => "StepFailed",
        }
    }
}

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = context.client.clone();
    let services: Api<DpuService> = Api::all(client.clone());
    let applications: Api<Application> =
        Api::namespaced(client.clone(), &context.settings.operator_namespace);
    let interfaces: Api<DpuServiceInterface> = Api::all(client.clone());
    let clusters: Api<DpuCluster> = Api::all(client);
    let everything = watcher::Config::default;
    let controller = Controller::new(services, everything());
    let (by_interface, by_cluster) = (controller.store(), controller.store());
    let controller = controller
        .watches(
            applications,
            everything().labels(labels::DPUSERVICE_NAME),
            |application| {
                let labels = application.labels();
                let name = labels.get(labels::DPUSERVICE_NAME)?;
                let namespace = labels.get(labels::DPUSERVICE_NAMESPACE)?;
                Some(ObjectRef::<DpuService>::new(name).within(namespace))
            },
        )
        .watches(interfaces, everything(), move |interface| {
            let name = interface.name_any();
            let users = by_interface.state_filter(|service: &DpuService| {
                service.namespace() == interface.namespace()
                    && service
                        .spec
                        .interfaces
                        .iter()
                        .flatten()
                        .any(|used| *used == name)
            });
            users
                .iter()
                .map(|s| ObjectRef::from_obj(s.as_ref()))
                .collect::<Vec<_>>()
        })
        .watches(clusters, everything(), move |_| {
            let all = by_cluster.state();
            all.iter()
                .map(|s| ObjectRef::from_obj(s.as_ref()))
                .collect::<Vec<_>>()
        });
    run_controller(controller, context, shutdown, reconcile).await;
}

/// One reconcile. If cancelled, some Applications are written and others not; the next one goes on.
async fn reconcile(service: Arc<DpuService>, context: Arc<Context>) -> Result<Next, ServiceError> {
    let deleting = service.metadata.deletion_timestamp.is_some();
    if !service
        .finalizers()
        .iter()
        .any(|f| f == finalizers::DPUSERVICE)
    {
        if !deleting {
            let manager = managers::DPUSERVICE;
            add_finalizer(
                &context.client,
                manager,
                service.as_ref(),
                finalizers::DPUSERVICE,
            )
            .await?;
        }
        return Ok(Next::OnEvent);
    }
    let observed = observe::observe(&context, &service).await?;
    if deleting {
        delete(&service, &context, &observed).await
    } else if service.spec.paused == Some(true) {
        pause(&service, &context, &observed).await
    } else {
        deploy(&service, &context, &observed).await
    }
}

async fn deploy(
    service: &DpuService,
    context: &Context,
    observed: &Observed,
) -> Result<Next, ServiceError> {
    let id = service_id(service);
    let attached = networks(service, &id, &observed.interfaces, &observed.nads);
    let mut interface_problems: Vec<String> = attached
        .as_ref()
        .err()
        .map(ToString::to_string)
        .into_iter()
        .collect();
    let mut facts = Facts {
        interfaces: None,
        prerequisites: None,
        applications: None,
        config_ports: None,
        desired: None,
        observed: &observed.applications,
        now: context.now(),
    };
    let Ok(attached) = attached else {
        facts.interfaces = Some(&interface_problems);
        return finish(service, context, &id, facts).await;
    };
    interface_problems.extend(apply::mark(context, service, &attached.unmarked, observed).await);
    facts.interfaces = Some(&interface_problems);

    let prepared = prerequisites::prepare(context, service, observed).await;
    facts.prerequisites = Some(&prepared.problems);

    let desired = desired(service, context, observed, &id, &attached);
    let actions = plan(service, &desired, &observed.applications, &observed.keys());
    let (applications, problems) =
        apply::apply(context, actions, &observed.applications, &prepared.unusable).await;
    facts.applications = Some(&problems);
    let ports = config_port_problems(service);
    facts.config_ports = Some(&ports);
    facts.desired = Some(&desired);
    facts.observed = &applications;
    finish(service, context, &id, facts).await
}

/// The Applications of a service, one per target.
fn desired(
    service: &DpuService,
    context: &Context,
    observed: &Observed,
    id: &str,
    networks: &Networks,
) -> Vec<Application> {
    let values = values(service, id, networks);
    let targets = if service.spec.deploy_in_cluster == Some(true) {
        vec![Target::InCluster]
    } else {
        observed
            .selected(service)
            .into_iter()
            .map(Target::Dpu)
            .collect()
    };
    targets
        .iter()
        .map(|target| {
            application(
                service,
                target,
                values.clone(),
                &context.settings.operator_namespace,
            )
        })
        .collect()
}

fn config_port_problems(service: &DpuService) -> Vec<String> {
    let wanted = service
        .spec
        .config_ports
        .as_ref()
        .is_some_and(|ports| !ports.ports.is_empty());
    let problem = "configPorts are not exposed in the management cluster by this version: remove spec.configPorts, or \
                   reach the ports on the nodes of the DPU cluster";
    wanted.then(|| problem.to_owned()).into_iter().collect()
}

async fn pause(
    service: &DpuService,
    context: &Context,
    observed: &Observed,
) -> Result<Next, ServiceError> {
    let actions = plan(service, &[], &observed.applications, &observed.keys());
    let (applications, problems) =
        apply::apply(context, actions, &observed.applications, &BTreeSet::new()).await;
    let facts = Facts {
        interfaces: None,
        prerequisites: None,
        applications: (!problems.is_empty()).then_some(problems.as_slice()),
        config_ports: None,
        desired: None,
        observed: &applications,
        now: context.now(),
    };
    finish(service, context, &service_id(service), facts).await
}

async fn delete(
    service: &DpuService,
    context: &Context,
    observed: &Observed,
) -> Result<Next, ServiceError> {
    let actions = plan(service, &[], &observed.applications, &observed.keys());
    let (applications, mut problems) =
        apply::apply(context, actions, &observed.applications, &BTreeSet::new()).await;
    if applications.is_empty() && problems.is_empty() {
        problems.extend(apply::unmark(context, service, observed).await);
        problems.extend(prerequisites::clean_up(context, service, observed).await);
    }
    if applications.is_empty() && problems.is_empty() {
        let manager = managers::DPUSERVICE;
        remove_finalizer(&context.client, manager, service, finalizers::DPUSERVICE).await?;
        return Ok(Next::OnEvent);
    }
    let facts = Facts {
        interfaces: None,
        prerequisites: (!problems.is_empty()).then_some(problems.as_slice()),
        applications: None,
        config_ports: None,
        desired: None,
        observed: &applications,
        now: context.now(),
    };
    finish(service, context, &service_id(service), facts).await?;
    Ok(Next::After(DELETION_PAUSE))
}

/// Writes the status, also after a step that failed.
async fn finish(
    service: &DpuService,
    context: &Context,
    id: &str,
    facts: Facts<'_>,
) -> Result<Next, ServiceError> {
    let status = json!({
        "conditions": conditions(service, facts),
        "observedGeneration": service.metadata.generation,
        "serviceID": id,
    });
    write_status(&context.client, managers::DPUSERVICE, service, status).await?;
    let problems: Vec<&String> = [facts.interfaces, facts.prerequisites, facts.applications]
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    match problems.first() {
        Some(first) => Err(ServiceError::Steps {
            count: problems.len(),
            first: (*first).clone(),
        }),
        None => Ok(Next::OnEvent),
    }
}

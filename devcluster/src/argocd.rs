//! Argo CD: what an Application names is deployed, watched, and removed with it.
//!
//! There is no Helm in here. Every chart for DPUs has to render one DaemonSet whose pods carry what
//! `valuesObject.serviceDaemonSet` says; that contract is what is rendered. Whether chart and version exist is asked
//! from the repository, over HTTP, as the real one would; a repository that is not served here has them.
//!
//! ```text
//!   Application ──> the repository has chart and version? ──no──> Unknown, condition ComparisonError
//!                        │ yes
//!                        └──> DaemonSet in the destination ──> sync, health from its status
//! ```

mod application;
mod render;

pub use application::{Application, ApplicationSpec, ApplicationStatus, crds};

use crate::charts;
use crate::kit::{Failed, While, optional, run};
use crate::outside;
use application::Outcome;
use dpf_api::keys::{annotations, finalizers};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Field manager of everything that is deployed.
const MANAGER: &str = "argocd-controller";

/// What the simulated Argo CD can reach.
#[derive(Clone)]
pub struct Settings {
    /// Clusters by name; `in-cluster` is the one with the Applications.
    pub destinations: BTreeMap<String, Client>,
    /// Chart repositories: URL that Applications use, URL that is fetched.
    pub repositories: Vec<(String, String)>,
    /// Outgoing HTTP.
    pub http: reqwest::Client,
}

/// Name of the destination that holds the Applications themselves.
pub const IN_CLUSTER: &str = "in-cluster";

struct Context {
    applications: Client,
    settings: Settings,
}

/// Runs until `stop`.
pub async fn simulate(applications: Client, settings: Settings, stop: CancellationToken) {
    let everything = watcher::Config::default;
    let api: Api<Application> = Api::all(applications.clone());
    let mut controller = Controller::new(api, everything());
    for client in settings.destinations.values() {
        let known = controller.store();
        let sets: Api<DaemonSet> = Api::all(client.clone());
        controller = controller.watches(sets, everything(), move |set| {
            let of = set.labels().get(render::INSTANCE).cloned();
            let all = known.state();
            all.iter()
                .filter(|application| Some(application.name_any()) == of)
                .map(|application| ObjectRef::from_obj(application.as_ref()))
                .collect::<Vec<_>>()
        });
    }
    let context = Arc::new(Context {
        applications,
        settings,
    });
    run(controller, context, stop, reconcile).await;
}

async fn reconcile(application: Arc<Application>, context: Arc<Context>) -> Result<(), Failed> {
    let skip = application
        .annotations()
        .get(annotations::ARGO_SKIP_RECONCILE);
    if skip.is_some_and(|value| value == "true") {
        return Ok(());
    }
    let namespace = application.namespace().unwrap_or_default();
    let name = application.name_any();
    let api: Api<Application> = Api::namespaced(context.applications.clone(), &namespace);
    let destination = &application.spec.destination;
    let client = context.settings.destinations.get(destination.cluster());
    if application.metadata.deletion_timestamp.is_some() {
        if let Some(client) = client
            && remove(&application, client).await?
        {
            return Ok(());
        }
        return release(&api, &application).await;
    }
    let outcome = match client {
        None => Outcome::Unknown(format!(
            "cluster {:?} is not known here; known are: {}",
            destination.cluster(),
            Vec::from_iter(context.settings.destinations.keys().cloned()).join(", ")
        )),
        Some(client) => match available(&application, &context.settings).await {
            Err(message) => Outcome::Unknown(message),
            Ok(()) => deploy(&application, client).await?,
        },
    };
    let status = outcome.status(&application, Timestamp::now());
    if !status.says_the_same(application.status.as_ref()) {
        write_status(&api, &name, &status)
            .await
            .during(|| format!("write status of Application {namespace}/{name}"))?;
    }
    Ok(())
}

/// Replaces the status as a whole. Merged into the old one, a message that no longer holds would stay, and the status would
/// be written again for ever because it never says what it should.
async fn write_status(
    api: &Api<Application>,
    name: &str,
    status: &ApplicationStatus,
) -> Result<(), kube::Error> {
    let operations = json!([{"op": "add", "path": "/status", "value": status}]);
    let operations = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
    let patch = Patch::Json::<()>(operations);
    api.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Whether the repository has the chart in this version; the reason for people when it has not.
async fn available(application: &Application, settings: &Settings) -> Result<(), String> {
    let source = application.spec.source.clone().unwrap_or_default();
    let url = source.repo_url.trim_end_matches('/');
    let mirrored = settings.repositories.iter().find(|(from, _)| {
        let host = from.trim_start_matches("https://");
        url.trim_start_matches("https://") == host
    });
    let Some((_, mirror)) = mirrored else {
        // Repositories of others have what is asked of them; see `outside`.
        return match outside::is_unreachable(url) {
            true => Err(format!(
                "repository {url} cannot be reached: names that end in .invalid never are"
            )),
            false => Ok(()),
        };
    };
    let fetched = async {
        let answer = settings
            .http
            .get(format!("{mirror}/index.yaml"))
            .send()
            .await?;
        answer.error_for_status()?.text().await
    };
    let index = fetched
        .await
        .map_err(|error| format!("failed to read the index of {url}: {error}"))?;
    charts::find(&index, &source.chart_name(), &source.target_revision)
}

async fn deploy(application: &Application, client: &Client) -> Result<Outcome, Failed> {
    let desired = match render::daemon_set(application) {
        Ok(desired) => desired,
        Err(message) => return Ok(Outcome::Unknown(message)),
    };
    let namespace = desired.namespace().unwrap_or_default();
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), &namespace);
    let manager = PatchParams::apply(MANAGER).force();
    let applied = sets
        .patch(&desired.name_any(), &manager, &Patch::Apply(&desired))
        .await;
    match applied {
        Ok(set) => Ok(Outcome::Deployed(Box::new(set))),
        // What the destination refuses is the user's to see; it is tried again when something changes.
        Err(kube::Error::Api(status))
            if (400..500).contains(&status.code) && status.code != 409 =>
        {
            Ok(Outcome::Refused(status.message.clone()))
        }
        Err(error) => {
            Err(error).during(|| format!("apply DaemonSet {namespace}/{}", desired.name_any()))
        }
    }
}

/// Deletes what was deployed; true while it is still there.
async fn remove(application: &Application, client: &Client) -> Result<bool, Failed> {
    let cascade = application
        .finalizers()
        .iter()
        .any(|f| f == finalizers::ARGO_RESOURCES);
    if !cascade {
        return Ok(false);
    }
    let namespace = application.spec.destination.namespace();
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), &namespace);
    let name = render::release(application);
    let Some(set) = sets
        .get_opt(&name)
        .await
        .during(|| format!("read DaemonSet {namespace}/{name}"))?
    else {
        return Ok(false);
    };
    // A DaemonSet that another Application deployed since is not ours to remove.
    if set.labels().get(render::INSTANCE) != Some(&application.name_any()) {
        return Ok(false);
    }
    if set.metadata.deletion_timestamp.is_none() {
        optional(sets.delete(&name, &DeleteParams::foreground()).await)
            .during(|| format!("delete DaemonSet {namespace}/{name}"))?;
        // Gone at once when nothing depends on it; else the watch reports when it is.
        let left = sets.get_opt(&name).await;
        return Ok(left
            .during(|| format!("read DaemonSet {namespace}/{name}"))?
            .is_some());
    }
    Ok(true)
}

async fn release(api: &Api<Application>, application: &Application) -> Result<(), Failed> {
    let name = application.name_any();
    let rest: Vec<_> = application
        .finalizers()
        .iter()
        .filter(|finalizer| *finalizer != finalizers::ARGO_RESOURCES)
        .collect();
    if rest.len() == application.finalizers().len() {
        return Ok(());
    }
    let patch = json!({"metadata": {
        "finalizers": rest, "resourceVersion": application.resource_version()
    }});
    let patched = api
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    optional(patched).during(|| format!("release Application {name}"))?;
    Ok(())
}

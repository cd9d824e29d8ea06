//! Controller of DPUServiceTemplates: reads the version constraints of their charts.

mod fetch;

use crate::kit::{
    Classified, Context, Next, Retry, Shutdown, WriteError, add_finalizer, remove_finalizer,
    run as run_controller, write_status,
};
use dpf_api::keys::{finalizers, managers};
use dpf_api::svc::{DpuServiceTemplate, VersionsFrom};
use dpf_core::dpuservicetemplate::{ChartError, Location, Versions, conditions, known, locate};
use fetch::{FetchError, Fetched};
use kube::runtime::controller::Controller;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Chart versions whose constraints are kept in memory.
const CACHE_MAX: usize = 1024;

/// Why a template is tried again.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The source does not name a chart.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// The chart cannot be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The template itself cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Classified for TemplateError {
    fn retry(&self) -> Retry {
        match self {
            Self::Chart(
                ChartError::NoRepository | ChartError::NoChart { .. } | ChartError::Scheme { .. },
            ) => Retry::OnChange,
            Self::Chart(_) | Self::Fetch(_) | Self::Write(_) => Retry::Backoff,
        }
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Chart(_) => "ChartNotFound",
            Self::Fetch(_) => "FetchFailed",
            Self::Write(error) => error.reason(),
        }
    }
}

/// Constraints by location: a published chart version does not change.
#[derive(Default)]
struct Cache(Mutex<BTreeMap<String, Versions>>);

impl Cache {
    fn get(&self, key: &str) -> Option<Versions> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(key).cloned()
    }

    fn put(&self, key: String, versions: Versions) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_MAX {
            cache.clear();
        }
        cache.insert(key, versions);
    }
}

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let templates: Api<DpuServiceTemplate> = Api::all(context.client.clone());
    let controller = Controller::new(templates, watcher::Config::default());
    let cache = Arc::new(Cache::default());
    let reconcile = move |template: Arc<DpuServiceTemplate>, context: Arc<Context>| {
        let cache = cache.clone();
        async move { reconcile(template, context, cache).await }
    };
    run_controller(controller, context, shutdown, reconcile).await;
}

async fn reconcile(
    template: Arc<DpuServiceTemplate>,
    context: Arc<Context>,
    cache: Arc<Cache>,
) -> Result<Next, TemplateError> {
    let client = &context.client;
    let manager = managers::DPUSERVICETEMPLATE;
    let finalizer = finalizers::DPUSERVICETEMPLATE;
    if template.metadata.deletion_timestamp.is_some() {
        remove_finalizer(client, manager, template.as_ref(), finalizer).await?;
        return Ok(Next::OnEvent);
    }
    if !template.finalizers().iter().any(|f| f == finalizer) {
        add_finalizer(client, manager, template.as_ref(), finalizer).await?;
        return Ok(Next::OnEvent);
    }
    let read = constraints(&template, &context, &cache).await;
    let outcome = match &read {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    let conditions = conditions(
        &template,
        outcome.as_ref().copied().map_err(String::as_str),
        context.now(),
    );
    let mut status = json!({
        "conditions": conditions,
        "observedGeneration": template.metadata.generation,
    });
    if let (Ok((versions, from)), Some(fields)) = (&read, status.as_object_mut()) {
        fields.insert("versions".to_owned(), replaced(&template, versions));
        fields.insert("versionsFrom".to_owned(), json!(from));
    }
    write_status(client, manager, template.as_ref(), status).await?;
    read.map(|_| Next::OnEvent)
}

/// The constraints as a merge patch of what the status has: a key that went is `null`.
fn replaced(template: &DpuServiceTemplate, versions: &Versions) -> serde_json::Value {
    let observed = template.status.as_ref().and_then(|s| s.versions.as_ref());
    let gone = observed
        .into_iter()
        .flat_map(BTreeMap::keys)
        .filter(|key| !versions.contains_key(*key))
        .map(|key| (key.clone(), serde_json::Value::Null));
    let kept = versions
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)));
    serde_json::Value::Object(kept.chain(gone).collect())
}

async fn constraints(
    template: &DpuServiceTemplate,
    context: &Context,
    cache: &Cache,
) -> Result<(Versions, VersionsFrom), TemplateError> {
    let location = locate(template)?;
    let from = location.source();
    let key = match &location {
        Location::Annotated(versions) => return Ok((versions.clone(), from)),
        Location::Index {
            url,
            chart,
            version,
        } => format!("{url} {chart} {version}"),
        Location::Manifest { url } => url.clone(),
    };
    if let Some(versions) = cache.get(&key) {
        return Ok((versions, from));
    }
    let versions = match known(template) {
        Some(versions) => versions.clone(),
        None => {
            let Fetched(versions) = fetch::fetch(context, template, &location).await?;
            versions
        }
    };
    cache.put(key, versions.clone());
    Ok((versions, from))
}

//! Plugins of vendors: DPUPlugin objects, what they load, and which deployment uses what.
//!
//! ```text
//!   DPUPlugin ──watch──> registry (who may serve whom) <──consult── DPUDeployment reconcile
//!       │                    ^                  │
//!       └──controller──> admission          wake: exactly those for whom something else holds now
//!             │              │
//!           status      store, compiler (child process), engine
//! ```
//!
//! * [`registry`]: selection and waking; the rules are in `dpf_core::dpuplugin`.
//! * `admission`, `source`, `store`, `compiler`: from an object to a plugin that may serve.
//! * `served`, `stages`: what one pass of a deployment is given, and how its calls end.
//!
//! An admission that fails leaves what served before; after a restart that comes from the local store.

mod admission;
pub mod compiler;
pub mod registry;
mod served;
mod source;
mod stages;
mod status;
mod store;

pub use registry::Registry;
pub(crate) use stages::PluginStages;
pub use store::Store;

use crate::kit::{Classified, Context, Next, Retry, Shutdown, run as run_controller};
use admission::{Admitted, Wanted};
use dpf_api::plugin::{DpuPlugin, FailurePolicy};
use dpf_api::svc::DpuDeployment;
use dpf_core::dpuplugin::{CallLimits, Candidate, Progress, Stopped};
use dpf_engine::Circuit;
use futures::stream::unfold;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How often something that somebody else can mend is tried again.
const RETRY: Duration = Duration::from_secs(15);
/// The longest time between two such tries.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// How often the signature of a plugin that serves is checked again: keys may be replaced.
const RECHECK: Duration = Duration::from_secs(600);

/// What the operator chose about plugins.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// Components on disk.
    pub store: Store,
    /// Machine code on disk, private to this user; the engine uses the same.
    pub compiled_dir: PathBuf,
    /// Directory from which DPUPlugins may take files, if any.
    pub file_dir: Option<PathBuf>,
    /// The program that compiles, this one; without it components are compiled in this process.
    pub compiler: Option<PathBuf>,
    /// The most a DPUPlugin may ask for, and what it gets when it does not ask.
    pub caps: CallLimits,
    /// Removed at the end, when the operator named no directory.
    pub temporary: Option<Arc<TempDir>>,
}

impl PluginSettings {
    /// Uses this directory, or, without one, a temporary one that ends with the settings.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn new(dir: Option<&Path>, caps: CallLimits) -> io::Result<Self> {
        let temporary = match dir {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("dpf-host-plugins-")
                    .tempdir()?,
            ),
        };
        let dir = dir.or(temporary.as_ref().map(TempDir::path));
        let dir = dir.unwrap_or(Path::new("."));
        Ok(Self {
            store: Store::open(dir)?,
            compiled_dir: dir.join("compiled"),
            file_dir: None,
            compiler: None,
            caps,
            temporary: temporary.map(Arc::new),
        })
    }
}

/// A status that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Read.
    #[error("failed to read DPUPlugin {name}")]
    Read {
        /// Its name.
        name: String,
        /// Cause.
        source: Box<kube::Error>,
    },
    /// Written.
    #[error("failed to write the status of DPUPlugin {name}")]
    Write {
        /// Its name.
        name: String,
        /// Cause.
        source: Box<kube::Error>,
    },
}

impl Classified for Error {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "ReadFailed",
            Self::Write { .. } => "WriteRefused",
        }
    }
}

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let attempts = Arc::new(Attempts::default());
    let controller = Controller::new(
        Api::<DpuPlugin>::all(context.client.clone()),
        watcher::Config::default(),
    )
    .reconcile_on(touched(context.plugins.clone()));
    let controller = run_controller(
        controller,
        context.clone(),
        shutdown.clone(),
        move |plugin, context| {
            let attempts = attempts.clone();
            async move { reconcile(plugin, context, attempts).await }
        },
    );
    tokio::join!(
        controller,
        watch_plugins(context.clone(), shutdown.clone()),
        watch_namespaces(context, shutdown),
    );
}

/// The deployments to look at again because of a plugin.
pub fn woken(registry: Arc<Registry>) -> impl Stream<Item = ObjectRef<DpuDeployment>> + Send {
    unfold(registry, |registry| async move {
        let (namespace, name) = registry.next_deployment().await;
        Some((ObjectRef::new(&name).within(&namespace), registry))
    })
}

/// The plugins whose status may have changed.
fn touched(registry: Arc<Registry>) -> impl Stream<Item = ObjectRef<DpuPlugin>> + Send {
    unfold(registry, |registry| async move {
        let name = registry.next_plugin().await;
        Some((ObjectRef::new(&name), registry))
    })
}

/// Tells the registry which plugins there are. It is the only one that adds and removes them.
async fn watch_plugins(context: Arc<Context>, shutdown: Shutdown) {
    let api: Api<DpuPlugin> = Api::all(context.client.clone());
    let mut events = pin!(watch(api, watcher::Config::default()).default_backoff());
    let mut listed: BTreeMap<String, String> = BTreeMap::new();
    let registry = &context.plugins;
    let observe = |plugin: &DpuPlugin| {
        let policy = plugin.spec.failure_policy.unwrap_or(FailurePolicy::Fail);
        registry.observe(Candidate::of(plugin), policy);
    };
    let forget = |name: &str| {
        registry.remove(name);
        context.engine.forget_statistics(name);
    };
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(Event::Init)) => listed.clear(),
            Some(Ok(Event::InitApply(plugin))) => {
                listed.insert(plugin.name_any(), plugin.uid().unwrap_or_default());
                observe(&plugin);
            }
            Some(Ok(Event::InitDone)) => {
                for name in registry.names() {
                    if !listed.contains_key(&name) {
                        forget(&name);
                    }
                }
                let uids: BTreeSet<String> = listed.values().cloned().collect();
                context.settings.plugins.store.retain(&uids);
                registry.set_plugins_known();
            }
            Some(Ok(Event::Apply(plugin))) => observe(&plugin),
            Some(Ok(Event::Delete(plugin))) => forget(&plugin.name_any()),
            Some(Err(error)) => {
                if is_refused(&error) {
                    // An installation without the kind, or without the right to see it, has no plugins.
                    registry.set_plugins_known();
                }
                tracing::debug!("watch of DPUPlugins failed and is restarted: {error}");
            }
            None => return,
        }
    }
}

/// Tells the registry the labels of namespaces.
async fn watch_namespaces(context: Arc<Context>, shutdown: Shutdown) {
    let api: Api<Namespace> = Api::all(context.client.clone());
    let mut events = pin!(watch(api, watcher::Config::default()).default_backoff());
    let registry = &context.plugins;
    let labels = |namespace: &Namespace| {
        registry.label_namespace(&namespace.name_any(), Some(namespace.labels().clone()));
    };
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(Event::Init)) => {}
            Some(Ok(Event::InitApply(namespace) | Event::Apply(namespace))) => labels(&namespace),
            Some(Ok(Event::InitDone)) => registry.set_namespaces_known(),
            Some(Ok(Event::Delete(namespace))) => {
                registry.label_namespace(&namespace.name_any(), None);
            }
            Some(Err(error)) => {
                if is_refused(&error) {
                    tracing::warn!(
                        "namespaces cannot be listed, so no namespaceSelector of a DPUPlugin selects by label: {error}"
                    );
                    registry.set_namespaces_known();
                }
                tracing::debug!("watch of Namespaces failed and is restarted: {error}");
            }
            None => return,
        }
    }
}

fn is_refused(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if matches!(status.code, 403 | 404)
    )
}

/// What became of the last admission of each plugin, so that nothing is admitted twice without a reason.
#[derive(Default)]
struct Attempts(Mutex<BTreeMap<String, Attempt>>);

#[derive(Clone)]
struct Attempt {
    uid: Option<String>,
    generation: Option<i64>,
    /// When it is made again although nothing changed; never, if nobody else can mend it.
    again_at: Option<Instant>,
    failures: u32,
    stopped: Option<Stopped>,
    signed_by: Option<String>,
    serving: Option<Wanted>,
}

impl Attempt {
    fn is_of(&self, plugin: &DpuPlugin) -> bool {
        self.uid == plugin.metadata.uid && self.generation == plugin.metadata.generation
    }

    fn again_in(&self) -> Option<Duration> {
        let again_at = self.again_at?;
        Some(again_at.saturating_duration_since(Instant::now()))
    }
}

impl Attempts {
    fn get(&self, name: &str) -> Option<Attempt> {
        let attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.get(name).cloned()
    }

    fn set(&self, name: &str, attempt: Option<Attempt>) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match attempt {
            Some(attempt) => attempts.insert(name.to_owned(), attempt),
            None => attempts.remove(name),
        };
    }
}

async fn reconcile(
    plugin: Arc<DpuPlugin>,
    context: Arc<Context>,
    attempts: Arc<Attempts>,
) -> Result<Next, Error> {
    let name = plugin.name_any();
    let api: Api<DpuPlugin> = Api::all(context.client.clone());
    let read = api.get_opt(&name).await.map_err(|source| Error::Read {
        name: name.clone(),
        source: Box::new(source),
    })?;
    let Some(plugin) = read.filter(|p| p.metadata.deletion_timestamp.is_none()) else {
        attempts.set(&name, None);
        return Ok(Next::OnEvent);
    };
    let registry = &context.plugins;
    if !registry.knows(&name) {
        // The watch that tells the registry is a moment behind.
        return Ok(Next::After(Duration::from_millis(200)));
    }
    let last_fault = plugin.status.as_ref().and_then(|s| s.last_fault.as_ref());
    registry.remember_fault(&name, last_fault);
    let before = attempts.get(&name).filter(|a| a.uid == plugin.metadata.uid);
    let due = before
        .as_ref()
        .is_none_or(|a| !a.is_of(&plugin) || a.again_in().is_some_and(|d| d.is_zero()));
    let attempt = match before {
        Some(attempt) if !due => attempt,
        before => {
            let attempt = attempt(&context, &plugin, before).await;
            attempts.set(&name, Some(attempt.clone()));
            attempt
        }
    };
    let progress = Progress {
        stopped: attempt.stopped.clone(),
        ..status::progress(registry, &name)
    };
    status::write(&context, &plugin, &progress, attempt.signed_by.as_deref()).await?;
    let recovery = look_after_circuit(registry, &name);
    let next = attempt.again_in().into_iter().chain(recovery).min();
    Ok(next.map_or(Next::OnEvent, Next::After))
}

/// When the pause of an open circuit is over, those who use the plugin try it again.
fn look_after_circuit(registry: &Registry, name: &str) -> Option<Duration> {
    match registry.loaded(name)?.circuit() {
        Circuit::Closed => None,
        Circuit::Open { retry_in } => Some(retry_in + Duration::from_millis(100)),
        Circuit::HalfOpen => {
            registry.wake_users(name);
            None
        }
    }
}

/// One admission, and what serves after it.
async fn attempt(context: &Context, plugin: &DpuPlugin, before: Option<Attempt>) -> Attempt {
    let name = plugin.name_any();
    let registry = &context.plugins;
    let failures = before.as_ref().filter(|b| b.is_of(plugin));
    let failures = failures.map_or(0, |before| before.failures);
    let before = before.filter(|_| registry.loaded(&name).is_some());
    let mut attempt = Attempt {
        uid: plugin.metadata.uid.clone(),
        generation: plugin.metadata.generation,
        again_at: None,
        failures: 0,
        stopped: None,
        signed_by: before.as_ref().and_then(|b| b.signed_by.clone()),
        serving: before.as_ref().and_then(|b| b.serving.clone()),
    };
    match admission::admit(context, plugin, attempt.serving.as_ref()).await {
        Ok((admitted, signed_by)) => {
            attempt.signed_by = signed_by;
            if let Some(admitted) = admitted {
                install(context, plugin, admitted, &mut attempt);
            }
            if plugin.spec.signature.is_some() {
                attempt.again_at = Some(Instant::now() + RECHECK);
            }
        }
        Err(missing) => {
            let stopped = missing.stopped;
            tracing::warn!(
                plugin = name,
                reason = stopped.reason,
                "{}",
                stopped.message
            );
            if registry.loaded(&name).is_none()
                && let Some(admitted) = admission::restore(context, plugin).await
            {
                install(context, plugin, admitted, &mut attempt);
            }
            attempt.failures = failures.saturating_add(1);
            if missing.transient {
                attempt.again_at = Some(Instant::now() + pause_after(attempt.failures));
            }
            registry.fail(&name, &stopped.message);
            attempt.stopped = Some(stopped);
        }
    }
    attempt
}

/// Longer with each failure of one generation; a new one begins anew.
fn pause_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(8);
    RETRY.saturating_mul(1 << doublings).min(RETRY_MAX)
}

fn install(context: &Context, plugin: &DpuPlugin, admitted: Admitted, attempt: &mut Attempt) {
    let Admitted {
        plugin: guarded,
        wanted,
        signed_by,
    } = admitted;
    let name = plugin.name_any();
    let descriptor = guarded.plugin().descriptor();
    tracing::info!(
        plugin = name,
        digest = guarded.digest(),
        version = descriptor.version,
        "the plugin serves"
    );
    if let Some(uid) = plugin.uid() {
        let record = store::LastGood {
            digest: wanted.digest.clone(),
            settings: wanted.settings.clone(),
            signed_by: signed_by.clone(),
        };
        context.settings.plugins.store.note_last_good(&uid, &record);
    }
    attempt.signed_by = signed_by;
    attempt.serving = Some(wanted);
    context.plugins.install(&name, guarded);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_have_an_end() {
        let pauses = [1, 2, 3, 5, 6, 100].map(|failures| pause_after(failures).as_secs());
        assert_eq!(pauses, [15, 30, 60, 240, 300, 300]);
    }
}

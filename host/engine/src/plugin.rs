//! Calls of plugins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use wasmtime::Store;

use crate::bindings::base::BasePre;
use crate::bindings::base::dpf::plugin::types;
use crate::bindings::chain::ChainPre;
use crate::bindings::check::CheckPre;
use crate::bindings::values::ValuesPre;
use crate::convert;
use crate::error::{CallError, Fault, FaultKind};
use crate::limits::Limits;
use crate::log::{Log, Subject};
use crate::results::{self, Kept, Key};
use crate::runtime::Runtime;
use crate::sandbox::Sandbox;
use crate::slots::Slot;
use crate::stage::{
    ChainRequest, ChainResponse, CheckRequest, Descriptor, Finding, MergeRequest, MergeResponse,
    Stage,
};
use crate::statistics::Statistics;
use crate::usage::{Observer, Usage};

/// An admitted plugin with its settings. Clones share everything.
///
/// Every call runs in a fresh instance, so calls share no state and may run at the same time.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    runtime: Arc<Runtime>,
    stage: Stage,
    digest: String,
    label: String,
    settings: String,
    descriptor: Descriptor,
    prepared: Prepared,
    observer: Option<Arc<dyn Observer>>,
    limits: Limits,
    log: Arc<Log>,
}

/// How a call ended. A result is shared with those who asked the same.
pub type Answer<T> = Result<Arc<T>, CallError>;

/// A component whose imports and exports are resolved.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) base: BasePre<Sandbox>,
    pub(crate) entry: Entry,
}

/// The export of its stage.
#[derive(Clone)]
pub(crate) enum Entry {
    Values(ValuesPre<Sandbox>),
    Check(CheckPre<Sandbox>),
    Chain(ChainPre<Sandbox>),
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("stage", &self.inner.stage)
            .field("label", &self.inner.label)
            .finish()
    }
}

impl Plugin {
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        stage: Stage,
        digest: String,
        label: String,
        prepared: Prepared,
    ) -> Self {
        let settings = "{}".to_owned();
        let descriptor = Descriptor::default();
        let limits = runtime.limits.clone();
        let log = Arc::new(Log::new(&label, limits.log_lines_per_minute, None));
        Self {
            inner: Arc::new(Inner {
                limits,
                log,
                runtime,
                stage,
                digest,
                label,
                settings,
                descriptor,
                prepared,
                observer: None,
            }),
        }
    }

    pub(crate) fn named(self, descriptor: Descriptor, label: String) -> Self {
        let inner = Arc::unwrap_or_clone(self.inner);
        let log = Log::new(&label, inner.limits.log_lines_per_minute, None);
        Self {
            inner: Arc::new(Inner {
                descriptor,
                label,
                log: Arc::new(log),
                ..inner
            }),
        }
    }

    /// The same plugin, whose calls `observer` hears of.
    pub fn observed_by(&self, observer: Arc<dyn Observer>) -> Self {
        let inner = Inner::clone(&self.inner);
        Self {
            inner: Arc::new(Inner {
                observer: Some(observer),
                ..inner
            }),
        }
    }

    /// The plugin under another name, with limits of its own and numbers about it.
    pub(crate) fn confined(self, name: &str, limits: Limits, statistics: Arc<Statistics>) -> Self {
        let inner = Arc::unwrap_or_clone(self.inner);
        let log = Log::new(name, limits.log_lines_per_minute, Some(statistics));
        Self {
            inner: Arc::new(Inner {
                log: Arc::new(log),
                limits,
                ..inner
            }),
        }
    }

    pub(crate) fn with_settings(&self, settings: &str) -> Self {
        let inner = Inner::clone(&self.inner);
        Self {
            inner: Arc::new(Inner {
                settings: settings.to_owned(),
                ..inner
            }),
        }
    }

    /// A slot of those that all vendors' plugins share.
    pub(crate) fn take_shared_slot(&self, wait: Duration) -> Option<Slot<'_>> {
        self.inner.runtime.shared_slots.take(wait)
    }

    /// The kept result of the call with this key.
    pub(crate) fn kept<T: Send + Sync + 'static>(&self, key: Option<&Key>) -> Option<Answer<T>> {
        let kept: Kept<T> = self.inner.runtime.results.get(key?)?;
        Some(kept.map_err(CallError::Failure))
    }

    /// What the result of a call is kept under, when any are.
    pub(crate) fn key(&self, request: &impl Serialize) -> Option<Key> {
        if !self.inner.runtime.results.keeps() {
            return None;
        }
        results::key(
            &self.inner.digest,
            self.inner.stage.as_str(),
            &self.inner.settings,
            request,
        )
    }

    /// The stage it serves.
    pub fn stage(&self) -> Stage {
        self.inner.stage
    }

    /// `sha256:` and the digest of the component in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// Who it says it is.
    pub fn descriptor(&self) -> &Descriptor {
        &self.inner.descriptor
    }

    /// The settings it was loaded with.
    pub fn settings(&self) -> &str {
        &self.inner.settings
    }

    /// The JSON Schema of its settings, as text.
    ///
    /// # Errors
    /// The plugin is at fault.
    pub fn settings_schema(&self) -> Result<String, Fault> {
        self.run(Subject::default(), |store| {
            let world = self.inner.prepared.base.instantiate(&mut *store)?;
            world.dpf_plugin_plugin().call_settings_schema(store)
        })
    }

    /// Merges and renders values. Blocks. Only for a plugin of stage template-merge.
    ///
    /// # Errors
    /// The user's input is wrong, or the plugin is at fault.
    pub fn merge(&self, request: &MergeRequest) -> Answer<MergeResponse> {
        let key = self.key(request);
        let kept = self.kept(key.as_ref());
        kept.unwrap_or_else(|| self.merge_anew(request, key))
    }

    pub(crate) fn merge_anew(
        &self,
        request: &MergeRequest,
        key: Option<Key>,
    ) -> Answer<MergeResponse> {
        let Entry::Values(entry) = &self.inner.prepared.entry else {
            return Err(self.other_stage());
        };
        let sent = convert::merge_request(request, &self.inner.settings);
        let subject = Subject::of(&request.deployment, &request.service.name);
        let result = self.run(subject, |store| {
            let world = entry.instantiate(&mut *store)?;
            world.dpf_plugin_values().call_merge(store, &sent)
        })?;
        self.keep(key, self.answer(result, convert::merge_response))
    }

    /// Checks versions and resources. Blocks. Only for a plugin of stage version-check.
    ///
    /// # Errors
    /// The user's input cannot be checked, or the plugin is at fault.
    pub fn check(&self, request: &CheckRequest) -> Answer<Vec<Finding>> {
        let key = self.key(request);
        let kept = self.kept(key.as_ref());
        kept.unwrap_or_else(|| self.check_anew(request, key))
    }

    pub(crate) fn check_anew(
        &self,
        request: &CheckRequest,
        key: Option<Key>,
    ) -> Answer<Vec<Finding>> {
        let Entry::Check(entry) = &self.inner.prepared.entry else {
            return Err(self.other_stage());
        };
        let sent = convert::check_request(request, &self.inner.settings);
        let result = self.run(Subject::of(&request.deployment, ""), |store| {
            let world = entry.instantiate(&mut *store)?;
            world.dpf_plugin_check().call_check(store, &sent)
        })?;
        let accept = |findings| Ok(convert::findings(findings));
        self.keep(key, self.answer(result, accept))
    }

    /// Builds the switches of a chain. Blocks. Only for a plugin of stage chain-builder.
    ///
    /// # Errors
    /// A port names something that does not exist, or the plugin is at fault.
    pub fn build_chain(&self, request: &ChainRequest) -> Answer<ChainResponse> {
        let key = self.key(request);
        let kept = self.kept(key.as_ref());
        kept.unwrap_or_else(|| self.build_chain_anew(request, key))
    }

    pub(crate) fn build_chain_anew(
        &self,
        request: &ChainRequest,
        key: Option<Key>,
    ) -> Answer<ChainResponse> {
        let Entry::Chain(entry) = &self.inner.prepared.entry else {
            return Err(self.other_stage());
        };
        let sent = convert::chain_request(request, &self.inner.settings);
        let result = self.run(Subject::of(&request.deployment, ""), |store| {
            let world = entry.instantiate(&mut *store)?;
            world.dpf_plugin_chain().call_build(store, &sent)
        })?;
        let accept = |response| convert::chain_response(response, request);
        self.keep(key, self.answer(result, accept))
    }

    pub(crate) fn describe(&self) -> Result<Descriptor, Fault> {
        self.run(Subject::default(), |store| {
            let world = self.inner.prepared.base.instantiate(&mut *store)?;
            world.dpf_plugin_plugin().call_describe(store)
        })
        .map(convert::descriptor)
    }

    pub(crate) fn validate_settings(&self) -> Result<Result<(), Vec<types::Finding>>, Fault> {
        self.run(Subject::default(), |store| {
            let world = self.inner.prepared.base.instantiate(&mut *store)?;
            world
                .dpf_plugin_plugin()
                .call_validate_settings(store, &self.inner.settings)
        })
    }

    /// One call in a store of its own.
    fn run<T>(
        &self,
        subject: Subject<'_>,
        call: impl FnOnce(&mut Store<Sandbox>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let runtime = &self.inner.runtime;
        let limits = &self.inner.limits;
        let Some(_slot) = runtime.slots.take(limits.wait) else {
            return Err(self.fault(FaultKind::Busy { limit: limits.wait }));
        };
        let begin = Instant::now();
        let sandbox = Sandbox::new(self.inner.stage, &self.inner.log, subject, limits);
        let mut store = runtime.store(sandbox, limits);
        let result = call(&mut store);
        let fuel = runtime.fuel(&store);
        let sandbox = store.into_data();
        let memory_bytes = sandbox.memory_used();
        self.inner.log.memory_used(memory_bytes);
        let result = result.map_err(|error| self.fault(sandbox.fault(&error, limits)));
        if let Some(observer) = &self.inner.observer {
            let usage = Usage {
                duration: begin.elapsed(),
                memory_bytes,
                fuel,
            };
            observer.called(&usage, result.as_ref().err());
        }
        result
    }

    /// The plugin's answer in the host's words, checked like any input that is not trusted.
    fn answer<T, U>(
        &self,
        result: Result<T, types::Failure>,
        accept: impl FnOnce(T) -> Result<U, String>,
    ) -> Result<U, CallError> {
        let malformed = |detail| CallError::Fault(self.fault(FaultKind::Output { detail }));
        match result {
            Ok(response) => accept(response).map_err(malformed),
            Err(failure) if failure.findings.is_empty() => {
                Err(malformed("a failure without findings".to_owned()))
            }
            Err(failure) => Err(CallError::Failure(convert::failure(failure))),
        }
    }

    /// Keeps a result unless it is a fault.
    fn keep<T: Serialize + Send + Sync + 'static>(
        &self,
        key: Option<Key>,
        result: Result<T, CallError>,
    ) -> Answer<T> {
        let kept: Kept<T> = match result {
            Ok(response) => Ok(Arc::new(response)),
            Err(CallError::Failure(failure)) => Err(failure),
            Err(fault) => return Err(fault),
        };
        if let Some(key) = key {
            self.inner.runtime.results.put(key, kept.clone());
        }
        kept.map_err(CallError::Failure)
    }

    fn other_stage(&self) -> CallError {
        let detail = format!(
            "it was loaded for stage {} and called for another",
            self.inner.stage
        );
        CallError::Fault(self.fault(FaultKind::Trap { detail }))
    }

    pub(crate) fn fault(&self, kind: FaultKind) -> Fault {
        Fault {
            stage: self.inner.stage,
            plugin: self.inner.label.clone(),
            kind,
        }
    }
}

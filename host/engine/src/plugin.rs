//! Calls of plugins.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use wasmtime::Store;

use crate::bindings::base::BasePre;
use crate::bindings::base::dpf::plugin::types;
use crate::bindings::chain::ChainPre;
use crate::bindings::check::CheckPre;
use crate::bindings::values::ValuesPre;
use crate::convert;
use crate::error::{CallError, Fault, FaultKind};
use crate::results;
use crate::runtime::Runtime;
use crate::sandbox::Sandbox;
use crate::stage::{
    ChainRequest, ChainResponse, CheckRequest, Descriptor, Failure, Finding, MergeRequest,
    MergeResponse, Stage,
};
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
}

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
        Self {
            inner: Arc::new(Inner {
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
        Self {
            inner: Arc::new(Inner {
                descriptor,
                label,
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

    pub(crate) fn with_settings(&self, settings: &str) -> Self {
        let inner = Inner::clone(&self.inner);
        Self {
            inner: Arc::new(Inner {
                settings: settings.to_owned(),
                ..inner
            }),
        }
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
        self.run(|store| {
            let world = self.inner.prepared.base.instantiate(&mut *store)?;
            world.dpf_plugin_plugin().call_settings_schema(store)
        })
    }

    /// Merges and renders values. Blocks. Only for a plugin of stage template-merge.
    ///
    /// # Errors
    /// The user's input is wrong, or the plugin is at fault.
    pub fn merge(&self, request: &MergeRequest) -> Result<MergeResponse, CallError> {
        let Entry::Values(entry) = &self.inner.prepared.entry else {
            return Err(self.other_stage());
        };
        self.cached(request, || {
            let sent = convert::merge_request(request, &self.inner.settings);
            let result = self.run(|store| {
                let world = entry.instantiate(&mut *store)?;
                world.dpf_plugin_values().call_merge(store, &sent)
            })?;
            self.answer(result, convert::merge_response)
        })
    }

    /// Checks versions and resources. Blocks. Only for a plugin of stage version-check.
    ///
    /// # Errors
    /// The user's input cannot be checked, or the plugin is at fault.
    pub fn check(&self, request: &CheckRequest) -> Result<Vec<Finding>, CallError> {
        let Entry::Check(entry) = &self.inner.prepared.entry else {
            return Err(self.other_stage());
        };
        self.cached(request, || {
            let sent = convert::check_request(request, &self.inner.settings);
            let result = self.run(|store| {
                let world = entry.instantiate(&mut *store)?;
                world.dpf_plugin_check().call_check(store, &sent)
            })?;
            self.answer(result, |findings| Ok(convert::findings(findings)))
        })
    }

    /// Builds the switches of a chain. Blocks. Only for a plugin of stage chain-builder.
    ///
    /// # Errors
    /// A port names something that does not exist, or the plugin is at fault.
    pub fn build_chain(&self, request: &ChainRequest) -> Result<ChainResponse, CallError> {
        let Entry::Chain(entry) = &self.inner.prepared.entry else {
            return Err(self.other_stage());
        };
        self.cached(request, || {
            let sent = convert::chain_request(request, &self.inner.settings);
            let result = self.run(|store| {
                let world = entry.instantiate(&mut *store)?;
                world.dpf_plugin_chain().call_build(store, &sent)
            })?;
            self.answer(result, |response| {
                convert::chain_response(response, request)
            })
        })
    }

    pub(crate) fn describe(&self) -> Result<Descriptor, Fault> {
        self.run(|store| {
            let world = self.inner.prepared.base.instantiate(&mut *store)?;
            world.dpf_plugin_plugin().call_describe(store)
        })
        .map(convert::descriptor)
    }

    pub(crate) fn validate_settings(&self) -> Result<Result<(), Vec<types::Finding>>, Fault> {
        self.run(|store| {
            let world = self.inner.prepared.base.instantiate(&mut *store)?;
            world
                .dpf_plugin_plugin()
                .call_validate_settings(store, &self.inner.settings)
        })
    }

    /// One call in a store of its own.
    fn run<T>(
        &self,
        call: impl FnOnce(&mut Store<Sandbox>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let runtime = &self.inner.runtime;
        let limits = &runtime.limits;
        let Some(_slot) = runtime.slots.take(limits.wait) else {
            return Err(self.fault(FaultKind::Busy { limit: limits.wait }));
        };
        let begin = Instant::now();
        let mut store = runtime.store(self.inner.stage, &self.inner.label);
        let result = call(&mut store);
        let fuel = runtime.fuel(&store);
        let memory_bytes = store.data().memory_used();
        let result = match result {
            Ok(value) => {
                drop(store);
                Ok(value)
            }
            Err(error) => Err(self.fault(store.into_data().fault(&error, limits))),
        };
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

    /// The kept result of an equal request, else that of the call, which is kept unless it is a fault.
    fn cached<R: Serialize, T: Clone + Serialize + Send + Sync + 'static>(
        &self,
        request: &R,
        call: impl FnOnce() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let results = &self.inner.runtime.results;
        if !results.keeps() {
            return call();
        }
        let key = results::key(
            &self.inner.digest,
            self.inner.stage.as_str(),
            &self.inner.settings,
            request,
        );
        if let Some(kept) = key.and_then(|key| results.get::<Result<T, Failure>>(&key)) {
            return kept.map_err(CallError::Failure);
        }
        let result = match call() {
            Ok(response) => Ok(response),
            Err(CallError::Failure(failure)) => Err(failure),
            Err(fault) => return Err(fault),
        };
        if let Some(key) = key {
            results.put(key, result.clone());
        }
        result.map_err(CallError::Failure)
    }

    fn other_stage(&self) -> CallError {
        let detail = format!(
            "it was loaded for stage {} and called for another",
            self.inner.stage
        );
        CallError::Fault(self.fault(FaultKind::Trap { detail }))
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault {
            stage: self.inner.stage,
            plugin: self.inner.label.clone(),
            kind,
        }
    }
}

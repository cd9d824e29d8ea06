//! Admission and calls.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{CallError, EngineError, Fault, FaultKind, LoadError};
use crate::stage::{
    ChainRequest, ChainResponse, CheckRequest, Descriptor, Finding, MergeRequest, MergeResponse,
    Stage,
};

/// What a plugin may use, per call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory in bytes.
    pub memory_bytes: usize,
    /// Time for one call.
    pub deadline: Duration,
    /// Size of a result in bytes, all its strings together.
    pub output_bytes: usize,
    /// Size of a component in bytes.
    pub component_bytes: usize,
    /// Calls that run at the same time, over all plugins.
    pub concurrency: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            deadline: Duration::from_secs(2),
            output_bytes: 8 << 20,
            component_bytes: 32 << 20,
            concurrency: 16,
        }
    }
}

/// How an [`Engine`] is set up.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Where compiled code is kept; created with mode 0700. Without it every start compiles again.
    pub cache_dir: Option<PathBuf>,
    /// What plugins may use.
    pub limits: Limits,
}

/// Loads and runs plugins. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    defaults: Arc<[Plugin; 3]>,
}

impl Engine {
    /// Starts the engine and loads the three default plugins.
    pub fn new(options: EngineOptions) -> Result<Engine, EngineError> {
        let _ = options;
        Err(EngineError::Configure {
            detail: "this build has no plugins yet".into(),
        })
    }

    /// Admits a component for a stage. `settings` is a JSON document, `{}` for none.
    ///
    /// Compiling can take seconds: keep it off the reconcile path.
    pub fn load(&self, stage: Stage, bytes: &[u8], settings: &str) -> Result<Plugin, LoadError> {
        let _ = (stage, bytes, settings);
        Err(LoadError::Compile {
            detail: "this build has no engine yet".into(),
        })
    }

    /// The plugin of a stage that is compiled into the binary.
    pub fn default_plugin(&self, stage: Stage) -> Plugin {
        let [merge, check, chain] = &*self.defaults;
        match stage {
            Stage::TemplateMerge => merge.clone(),
            Stage::VersionCheck => check.clone(),
            Stage::ChainBuilder => chain.clone(),
        }
    }
}

/// An admitted plugin with its settings. Clones share everything.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

struct Inner {
    stage: Stage,
    digest: String,
    descriptor: Descriptor,
}

impl Plugin {
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

    /// Merges and renders values. Only for a plugin of stage template-merge; any other faults.
    pub fn merge(&self, request: &MergeRequest) -> Result<MergeResponse, CallError> {
        let _ = request;
        Err(self.unavailable())
    }

    /// Checks versions and resources. Only for a plugin of stage version-check; any other faults.
    pub fn check(&self, request: &CheckRequest) -> Result<Vec<Finding>, CallError> {
        let _ = request;
        Err(self.unavailable())
    }

    /// Builds the switches of a chain. Only for a plugin of stage chain-builder; any other faults.
    pub fn build_chain(&self, request: &ChainRequest) -> Result<ChainResponse, CallError> {
        let _ = request;
        Err(self.unavailable())
    }

    fn unavailable(&self) -> CallError {
        CallError::Fault(Fault {
            stage: self.inner.stage,
            plugin: self.inner.descriptor.name.clone(),
            kind: FaultKind::Trap {
                detail: "this build has no engine yet".into(),
            },
        })
    }
}

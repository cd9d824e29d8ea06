//! What can go wrong with plugins, and whose fault it is.

use std::time::Duration;

use crate::stage::{Failure, Finding, Stage};

/// The engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The directory for compiled code cannot be used.
    #[error(
        "failed to prepare the cache directory {path} (it must be writable and private to this user)"
    )]
    CacheDir {
        /// Which one.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// wasmtime refuses its configuration on this machine.
    #[error("failed to start the WebAssembly engine: {detail}")]
    Configure {
        /// What wasmtime says.
        detail: String,
    },
    /// The clock thread that enforces deadlines cannot start.
    #[error("failed to start the deadline thread")]
    StartClock(#[source] std::io::Error),
    /// A plugin that is compiled into this binary does not load: the binary is broken.
    #[error("failed to load the built-in {stage} plugin")]
    LoadDefault {
        /// Its stage.
        stage: Stage,
        /// Why.
        source: Box<LoadError>,
    },
}

/// A component is not admitted. Nothing of it stays loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It is larger than allowed.
    #[error("the component has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It is not a WebAssembly component.
    #[error("not a valid WebAssembly component: {detail}")]
    Parse {
        /// What the parser says.
        detail: String,
    },
    /// It asks for something plugins do not get.
    #[error(
        "the component imports {}; a plugin may import only dpf:plugin/log and dpf:plugin/types (build it for wasm32-unknown-unknown, without WASI)",
        imports.join(", ")
    )]
    ForbiddenImports {
        /// What it imports and must not.
        imports: Vec<String>,
    },
    /// It lacks an export of the world or has one of another shape.
    #[error("the component does not fit the world dpf:plugin/{stage}: {detail}")]
    WrongWorld {
        /// The stage it was loaded for.
        stage: Stage,
        /// What does not fit.
        detail: String,
    },
    /// Machine code cannot be made of it.
    #[error("failed to compile the component: {detail}")]
    Compile {
        /// What the compiler says.
        detail: String,
    },
    /// It does not survive `describe` or `validate-settings`.
    #[error("the plugin failed while it was admitted")]
    Faulted(#[source] Fault),
    /// Its descriptor is not usable.
    #[error("the plugin describes itself badly: {detail}")]
    Descriptor {
        /// What is wrong with it.
        detail: String,
    },
    /// The schema of its settings cannot be used.
    #[error("the plugin exports an unusable schema of its settings: {detail}")]
    SettingsSchema {
        /// What is wrong with it.
        detail: String,
    },
    /// It does not accept its settings.
    #[error("the plugin refuses its settings: {}", summary(findings))]
    Settings {
        /// What it says.
        findings: Vec<Finding>,
    },
}

fn summary(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|finding| format!("{}: {}", finding.field, finding.message))
        .collect::<Vec<_>>()
        .join("; ")
}

impl LoadError {
    /// A CamelCase constant for condition, event and metric.
    pub fn reason(&self) -> &'static str {
        match self {
            LoadError::TooLarge { .. } => "ComponentTooLarge",
            LoadError::Parse { .. } => "ComponentInvalid",
            LoadError::ForbiddenImports { .. } => "ForbiddenImports",
            LoadError::WrongWorld { .. } => "WrongWorld",
            LoadError::Compile { .. } => "CompileFailed",
            LoadError::Faulted(fault) => fault.reason(),
            LoadError::Descriptor { .. } => "DescriptorInvalid",
            LoadError::SettingsSchema { .. } => "SettingsSchemaInvalid",
            LoadError::Settings { .. } => "SettingsInvalid",
        }
    }
}

/// A call has no result. Whose fault it is decides what happens next, so the two are never mixed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The user's input is wrong: a condition, and no call until it changes.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The plugin is at fault: a condition, back-off and the failure policy.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl CallError {
    /// A CamelCase constant for condition, event and metric. That of a failure is the plugin's to choose.
    pub fn reason(&self) -> &str {
        match self {
            CallError::Failure(failure) => &failure.code,
            CallError::Fault(fault) => fault.reason(),
        }
    }
}

/// What a plugin did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {stage} plugin {plugin} {kind}")]
pub struct Fault {
    /// The stage it serves.
    pub stage: Stage,
    /// Its name and the start of its digest.
    pub plugin: String,
    /// What it did.
    pub kind: FaultKind,
}

impl Fault {
    /// A CamelCase constant for condition, event and metric.
    pub fn reason(&self) -> &'static str {
        match self.kind {
            FaultKind::Trap { .. } => "PluginTrapped",
            FaultKind::Deadline { .. } => "PluginDeadlineExceeded",
            FaultKind::Memory { .. } => "PluginMemoryExceeded",
            FaultKind::Output { .. } => "PluginOutputInvalid",
            FaultKind::Busy { .. } => "PluginsBusy",
            FaultKind::CircuitOpen { .. } => "PluginCircuitOpen",
        }
    }

    /// Whether the plugin did something wrong in this call. Otherwise it did not run.
    pub fn is_of_plugin(&self) -> bool {
        match self.kind {
            FaultKind::Trap { .. }
            | FaultKind::Deadline { .. }
            | FaultKind::Memory { .. }
            | FaultKind::Output { .. } => true,
            FaultKind::Busy { .. } | FaultKind::CircuitOpen { .. } => false,
        }
    }
}

/// The ways a plugin can be at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// It panicked or did something WebAssembly forbids.
    #[error("trapped: {detail}")]
    Trap {
        /// The last words it logged as errors, else what wasmtime says.
        detail: String,
    },
    /// It did not finish in time.
    #[error("did not finish within {limit:?}")]
    Deadline {
        /// The time it had.
        limit: Duration,
    },
    /// It wanted more memory than it may have.
    #[error("needs more than its {limit} bytes of memory")]
    Memory {
        /// The limit in bytes.
        limit: usize,
    },
    /// It returned something that is too large or malformed.
    #[error("returned unusable output: {detail}")]
    Output {
        /// What is wrong with it.
        detail: String,
    },
    /// Not its fault: every slot for running plugins stayed taken.
    #[error("could not run: no slot became free within {limit:?}")]
    Busy {
        /// How long the call waited.
        limit: Duration,
    },
    /// It failed several times in a row and is left alone for a while.
    #[error("was not asked, because it failed several times in a row; it is tried again in {} s", retry_in.as_secs() + 1)]
    CircuitOpen {
        /// Until the next try.
        retry_in: Duration,
    },
}

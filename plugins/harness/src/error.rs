//! Why a test cannot run. That a plugin fails its test is not an error but a report.

use std::path::PathBuf;

use dpf_engine::Stage;

/// Why a test cannot run.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// The engine does not start.
    #[error("failed to start the plugin engine")]
    StartEngine(#[from] dpf_engine::EngineError),
    /// The component is not admitted.
    #[error("the component is not admitted")]
    Admit(#[from] dpf_engine::LoadError),
    /// The plugin does not build.
    #[error(transparent)]
    Build(#[from] dpf_plugin_build::BuildError),
    /// The component serves no stage.
    #[error(
        "the component exports no stage: it needs dpf:plugin/values, dpf:plugin/check or dpf:plugin/chain (it has {})",
        if exports.is_empty() { "no exports".to_owned() } else { exports.join(", ") }
    )]
    NoStage {
        /// What it exports.
        exports: Vec<String>,
    },
    /// The component serves several stages.
    #[error(
        "the component serves several stages ({}); say which with --stage",
        join(stages)
    )]
    SeveralStages {
        /// Which.
        stages: Vec<Stage>,
    },
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("failed to write {}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is not {what}: {detail}", path.display())]
    Malformed {
        /// Which one.
        path: PathBuf,
        /// What it should be.
        what: String,
        /// What is wrong.
        detail: String,
    },
    /// The directory has no cases.
    #[error(
        "no cases in {}: a case is a directory with a request.yaml or request.json in it",
        path.display()
    )]
    NoCases {
        /// The directory.
        path: PathBuf,
    },
}

fn join(stages: &[Stage]) -> String {
    let names: Vec<&str> = stages.iter().map(|stage| stage.as_str()).collect();
    names.join(", ")
}

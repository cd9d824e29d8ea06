//! Errors of a pass.

use crate::kit::{Classified, Retry, WriteError};

/// A pass that could not be finished.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Reading failed.
    #[error("failed to read {what}")]
    Read {
        /// Kind and, where one object is meant, its name.
        what: String,
        /// Cause.
        source: Box<kube::Error>,
    },
    /// A write of the deployment itself failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Writes of children failed; the conditions say which.
    #[error("{count} of the planned writes failed, the first: {message}")]
    Apply {
        /// The first failure.
        message: String,
        /// How many failed.
        count: usize,
    },
    /// A plugin failed; the conditions say which.
    #[error("a plugin failed: {message}")]
    Plugin {
        /// What the conditions say.
        message: String,
    },
    /// The thread that runs plugins ended.
    #[error("failed to run the plugins")]
    RunPlugins {
        /// Cause.
        source: tokio::task::JoinError,
    },
}

impl Classified for Error {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "ReadFailed",
            Self::Write(error) => error.reason(),
            Self::Apply { .. } => "ApplyFailed",
            Self::Plugin { .. } | Self::RunPlugins { .. } => "PluginFaulted",
        }
    }
}

//! What can go wrong between us and a registry.

use crate::key::KeyError;

/// Why an artifact cannot be pulled or pushed. Messages never contain credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A reference that cannot be read.
    #[error("{text:?} is not a reference to an artifact (registry/path:tag): {problem}")]
    Reference {
        /// As written.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A digest that cannot be read.
    #[error("{text:?} is not a digest: write sha256: and 64 lower-case hexadecimal digits")]
    Digest {
        /// As written.
        text: String,
    },
    /// The registry cannot be reached or stopped in the middle.
    #[error("failed to reach {url}: {message}")]
    Request {
        /// Without its query.
        url: String,
        /// The chain of causes.
        message: String,
    },
    /// The registry refused.
    #[error("{url}: the registry answered {status}{hint}")]
    Answer {
        /// Without its query.
        url: String,
        /// Status code.
        status: u16,
        /// What to do about it.
        hint: &'static str,
    },
    /// The registry sent more than it may.
    #[error("{url}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// Without its query.
        url: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The registry sent something else than what was asked for.
    #[error("{url}: {problem}")]
    Malformed {
        /// Without its query.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The bytes are not those that the digest stands for.
    #[error("{url}: the content has digest {found} instead of {wanted}")]
    DigestMismatch {
        /// Without its query.
        url: String,
        /// Of the content.
        found: String,
        /// As asked for.
        wanted: String,
    },
    /// There is an artifact, but not of a plugin.
    #[error("{reference} is not a plugin: {problem}")]
    NotAPlugin {
        /// The reference.
        reference: String,
        /// What is wrong.
        problem: String,
    },
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No signature verifies.
    #[error(transparent)]
    Verify(#[from] crate::signature::VerifyError),
}

impl Error {
    /// Whether the same request may succeed later although nobody changed anything: the network, or a server with troubles.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Request { .. } => true,
            Self::Answer { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            _ => false,
        }
    }

    /// Whether the registry said that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Answer { status: 404, .. })
    }
}

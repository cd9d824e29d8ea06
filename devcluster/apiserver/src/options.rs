//! How a server is set up.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::Audit;

/// A bearer token and the user it stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What the client sends.
    pub secret: String,
    /// User name.
    pub user: String,
    /// Groups of the user.
    pub groups: Vec<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("user", &self.user)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// A token of a cluster administrator.
    pub fn admin(secret: impl Into<String>) -> Self {
        Self {
            secret: secret.into(),
            user: "admin".into(),
            groups: vec!["system:masters".into()],
        }
    }
}

/// Tells the time. Tests and simulations pass their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock made of a function.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How a server is set up; `Options::default()` serves anonymous clients.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bearer tokens the listener accepts.
    pub tokens: Vec<Token>,
    /// Whether requests without credentials are served over the listener; they may do everything. In-process clients
    /// never need credentials.
    pub anonymous: bool,
    /// Whether the roles of a user decide what it may do. Members of `system:masters` may do everything in any case.
    pub rbac: bool,
    /// Events remembered per resource: a watch that falls further behind ends with 410.
    pub history_limit: usize,
    /// Bytes of objects remembered per resource for watches: the other bound of the history.
    pub history_bytes: usize,
    /// Largest request body in bytes; etcd's own limit is why the original has 3 MiB.
    pub body_limit: usize,
    /// Time between two bookmarks of a quiet watch.
    pub bookmark_interval: Duration,
    /// How long a watch lasts when the client does not say.
    pub watch_timeout: Duration,
    /// Whether the background jobs (garbage collection, namespace and CRD clean-up) run after each request.
    /// Without, call [`ApiServer::settle`](crate::ApiServer::settle).
    pub automatic_jobs: bool,
    /// Whether a deleted pod vanishes at once, as if a kubelet had stopped it. Without, a pod bound to a node stays
    /// until somebody deletes it with a grace period of zero, as on a real cluster.
    pub immediate_pod_deletion: bool,
    /// Where uids and generated names come from: the same seed gives the same ones.
    pub seed: u64,
    /// The clock.
    pub clock: Clock,
    /// Is told of every request that asks for a change.
    pub audit: Option<Audit>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            anonymous: true,
            rbac: true,
            history_limit: 10_000,
            history_bytes: 32 * 1024 * 1024,
            body_limit: 3 * 1024 * 1024,
            bookmark_interval: Duration::from_secs(60),
            watch_timeout: Duration::from_secs(30 * 60),
            automatic_jobs: true,
            immediate_pod_deletion: true,
            seed: std::hash::RandomState::new().build_hasher().finish(),
            clock: Clock::new(Timestamp::now),
            audit: None,
        }
    }
}

//! What every controller needs: a context, server-side apply, finalizers, a loop with back-off.
//!
//! What it is not: there is no decision about any kind in here.
//!
//! ```text
//!   watch ──> queue ──> reconcile(object, context) ──> Ok(requeue) | Err(retry, reason)
//!                            │                                 │
//!                            └── apply / status / finalizers    └── back-off per object, event, log line
//! ```

mod apply;
mod clusters;
mod context;
mod failure;
mod read;
pub mod remote;
mod runner;
mod status;

pub use apply::{
    Kind, WriteError, add_finalizer, apply, delete, patch_metadata, remove_finalizer, write_status,
};
pub use clusters::{ClusterError, Connect, Connection, DpuClusters, identify};
pub use context::{Clock, Context, Mirrors, Settings};
pub use failure::{CONFLICT, Classified, Retry, explain, in_one_line};
pub use read::{Failure, ReadError, get, list};
pub use runner::{Next, Shutdown, run};
pub use status::{whole_seconds, write_whole_status};

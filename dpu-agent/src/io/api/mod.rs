//! The API of the DPU cluster: what this node should have, and what became of it.

mod node;
mod objects;
mod status;
mod watch;

pub use node::report;
pub use objects::Objects;
pub use status::write;
pub use watch::watch;

use std::time::Duration;

/// A call that takes longer has failed.
const CALL: Duration = Duration::from_secs(10);
/// First and longest pause after a failed call.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

//! From nothing to DPUs that run, and back: the real controllers against the development cluster.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic in a test is a failed test, and what was counted is worth reading"
)]

mod crashes;
mod lives;
mod world;

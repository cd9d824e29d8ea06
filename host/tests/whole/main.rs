//! The whole host against the development cluster, in one process.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic in a test is a failed test, and what was counted is worth reading"
)]

mod adoption;
mod chart_server;
mod charts;
mod quiet;
mod unreachable;
mod world;

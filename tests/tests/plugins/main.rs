//! Plugins of vendors through the running host: installed from a real registry, replaced, broken, rolled back, removed; signed,
//! unsigned and wrongly signed; hostile.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a panic is a failed test, and figures are worth reading"
)]

mod choice;
mod hostile;
mod lifecycle;
mod shop;
mod sources;

//! Decisions: from what the API says and what the switch has to what must be changed.
//!
//! ```text
//!   Inputs (chains, interfaces, pods of this node) ──┐
//!                                                    ├─> desired() ──> Desired ──┐
//!   Observed (bridges, ports, flows, devices) ───────┤                           ├─> plan() ──> Vec<Action>
//!                                                    └───────────────────────────┘
//!   Desired.interfaces, Desired.chains ──> status::conditions() ──> conditions in the API
//! ```
//!
//! Everything here is a function of its arguments: no clock, no input or output, no order that changes from run to run.

pub mod desired;
pub mod flow;
pub mod inputs;
pub mod names;
pub mod observed;
pub mod plan;
mod resolve;
pub mod status;
mod switching;

#[cfg(test)]
mod tests;

pub use desired::{Desired, desired};
pub use inputs::{Inputs, Settings};
pub use observed::Observed;
pub use plan::{Action, FlowChange, plan};

//! The daemon on each DPU: it wires the interfaces and programs the chains of its node in Open vSwitch.
//!
//! What this crate is: a loop that reads the ServiceChains, ServiceInterfaces and pods of one node, reads what the switch
//! has, and changes only what differs.
//!
//! What it is not: it carries no packet. Killed, or cut off from the API, the switch goes on forwarding.
//!
//! ```text
//!   API ──> io::kube ──> Inputs ─┐                                       ┌─> io::ovsdb    ports
//!                                ├─> core: desired, plan ──> io::driver ─┤
//!   OVS ──> Observed ────────────┘                                       └─> io::openflow flows, one bundle
//! ```
//!
//! ```
//! use dpu_agent::core::{Inputs, Observed, Settings, desired, plan};
//! // A node without chains whose switch is empty gets its bridges and nothing else.
//! let (inputs, observed) = (Inputs::default(), Observed::default());
//! let settings = Settings::new("node-1");
//! let plan = plan(&observed, &desired(&inputs, &observed, &settings));
//! assert_eq!(plan.actions.len(), settings.bridges.len());
//! ```

pub mod cli;
pub mod core;
pub mod io;

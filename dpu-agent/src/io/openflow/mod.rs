//! OpenFlow 1.4 to one bridge, over its management socket.
//!
//! Version 1.4 is the first with bundles as part of the standard, and the last whose flow statistics have a fixed head.
//! What is here is what the agent needs: all flows, all ports, and one atomic bundle of changes.

mod connection;
pub mod wire;

pub use connection::{Connection, SwitchError};

//! The database of Open vSwitch (RFC 7047): a mirror of what the agent needs, and transactions.

mod changes;
mod client;
pub mod frame;
pub mod mirror;

pub use changes::operations;
pub use client::{Database, DatabaseError};

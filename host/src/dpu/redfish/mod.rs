//! A small Redfish client for the BMC of a DPU. The protocol is described in `README.md` beside this file.

mod client;
mod error;
mod model;

pub use client::Bmc;
pub use error::RedfishError;
pub use model::{BootProgress, Card, Message, Payload, System, Task, TaskOutcome};

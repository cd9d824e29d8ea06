//! What a call cost.

use std::time::Duration;

use crate::error::Fault;

/// What one call of a plugin cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Time in the plugin, instantiation included. Waiting for a slot is not.
    pub duration: Duration,
    /// Linear memory at the end of the call in bytes; it never shrinks, so this is the peak.
    pub memory_bytes: usize,
    /// Fuel, about one unit per instruction and the same for the same request on every machine. Only with
    /// [`crate::EngineOptions::count_fuel`].
    pub fuel: Option<u64>,
}

/// Hears of every call that ran, not of those a kept result answered.
pub trait Observer: Send + Sync {
    /// A call ended, with a fault or without. It is called on the thread of the call, after its instance is gone.
    fn called(&self, usage: &Usage, fault: Option<&Fault>);
}

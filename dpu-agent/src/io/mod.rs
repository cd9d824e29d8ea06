//! Effects: the database and the switch of Open vSwitch, the API, the clock.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "effects need a clock; decisions are in crate::core"
)]

pub mod api;
pub mod devices;
pub mod driver;
pub mod openflow;
pub mod ovsdb;
mod socket;

//! The kinds every Kubernetes API server has.

pub mod defaults;
pub mod definitions;
pub mod events;
pub mod kinds;
pub mod rules;
pub mod zero;

//! The requests and responses, which this crate shares with whoever decides.

pub use dpf_stage::*;

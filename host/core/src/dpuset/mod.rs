//! Which devices a DPUSet selects, and which DPU objects it makes, changes and deletes for them.
//!
//! ```text
//!  nodes ── dpuNodeSelector ──> devices of these nodes ── dpuDeviceSelector ──> one DPU each
//!                                                                │
//!                           a DPU of another set is there ───────┴──> conflict, never a second DPU
//! ```

mod desired;
mod plan;
mod select;
mod status;

pub use desired::desired_dpu;
pub use plan::{Action, Observed, Plan, Report, plan};
pub use select::{Selected, device_of, select};
pub use status::{SetStatus, status};

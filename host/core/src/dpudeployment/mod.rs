//! Decisions about a DPUDeployment.
//!
//! ```text
//!   Observed ──validate──> Validated ──consult(stages)──> Advice ──plan──> Plan { actions, report, requeue }
//!       │                                                                      │
//!       └── terminating? ──plan_deletion──────────────────────────────────────┤
//!                                                                   status(report, applied) ──> conditions
//! ```
//!
//! * [`validate`]: everything that is wrong with the user's input, found before anything is written.
//! * [`consult`]: asks the plugins, in the order of the dependencies, and names every revision.
//! * [`plan`]: compares with what runs; the rules of a rollout are in [`rollout`].
//! * [`status`]: a pure function of the report and what was applied.

pub mod build;
pub mod consult;
pub mod digest;
mod observed;
pub mod plan;
pub mod rollout;
pub mod status;
pub mod validate;

pub use consult::{Advice, Refusal, Rejection, Stages, consult};
pub use observed::{Marked, Observed};
pub use plan::{Action, ChildKind, DependencyKind, Plan, Report, plan, plan_deletion};
pub use status::{Outcome, conditions};
pub use validate::{Invalid, Validated, validate};

//! Decisions about a DPUDeployment.
//!
//! ```text
//!   Observed ──validate──> Validated ──consult(stages)──> Advice ──plan──> Plan { actions, report, requeue }
//!       │                                                                      │
//!       └── terminating? ──plan_deletion──────────────────────────────────────┤
//!                                                                   status(report, applied) ──> conditions
//! ```
//!
//! * [`mod@validate`]: everything that is wrong with the user's input, found before anything is written.
//! * [`mod@consult`]: asks the plugins, in the order of the dependencies, and names every revision; `identity` tells whether
//!   what they answered is a revision that exists.
//! * [`mod@plan`]: compares with what runs; the rules of a rollout are in [`rollout`], the objects in [`build`];
//!   `needs` tells which nodes still need an older revision, `removed` what stays of a service that is not in the spec any more.
//! * [`deletion`]: the same for a deployment that goes; [`marks`]: what keeps the things it refers to.
//! * [`status`]: a pure function of the report and what was applied; [`dependencies`]: what it speaks of.

pub mod action;
pub mod build;
pub mod consult;
pub mod deletion;
pub mod dependencies;
pub mod digest;
mod identity;
pub mod marks;
mod needs;
mod observed;
pub mod plan;
pub mod rejection;
mod removed;
mod requests;
pub mod rollout;
pub mod status;
pub mod validate;

pub use action::{Action, ChildKind, DependencyKind, Plan, Report};
pub use consult::{Advice, Answer, Refusal, Stages, consult};
pub use deletion::plan_deletion;
pub use observed::{Marked, Observed};
pub use plan::plan;
pub use rejection::Rejection;
pub use status::{Outcome, conditions};
pub use validate::{Invalid, Validated, validate};

//! Decisions about plugins: which one serves a service, what it may use, what its conditions say, and whether what it answers
//! may be used.
//!
//! ```text
//!   template annotation ──> selector, highest priority first ──> the built-in plugin        template-merge, chain-builder
//!   the built-in plugin  +  every one named or selected                                      version-check
//! ```

pub mod limits;
pub mod output;
pub mod select;
pub mod status;
mod text;

pub use limits::{CallLimits, LimitError};
pub use select::{Candidate, Choice, DeploymentFacts, Selection, ServiceFacts, select};
pub use status::{Progress, Step, Stopped};
pub use text::stage;

//! Who asks, and what they may do: identities, RBAC, ServiceAccount tokens and impersonation.
//!
//! ```text
//!   token / certificate ── identity ──┐
//!   Impersonate-* headers ────────────┴─ User ── Ask (verb, resource or path) ── Policy ── allowed?
//! ```

pub mod ask;
pub mod bootstrap;
pub mod identity;
pub mod policy;
pub mod reviews;
pub mod token;

pub use ask::Ask;
pub use identity::{Caller, User};

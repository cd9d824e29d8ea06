//! Field ownership: sets of field paths, and the typed operations server-side apply is made of.

pub mod compare;
pub mod declared;
pub mod managed;
pub mod merge;
pub mod remove;
pub mod set;

pub use set::{FieldSet, PathElement};

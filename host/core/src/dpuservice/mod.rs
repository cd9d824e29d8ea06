//! Decisions about this kind.

//! Decisions of the controllers as pure functions.

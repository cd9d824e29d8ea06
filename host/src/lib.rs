//! The controller manager: watches, rolls out and provisions.

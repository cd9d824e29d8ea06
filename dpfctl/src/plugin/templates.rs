//! The templates in Rust, compiled natively with the tests they bring along: what `new` writes is a plugin that works.

#[path = "templates/rust/chain-builder.rs"]
mod chain_builder;
#[path = "templates/rust/template-merge.rs"]
mod template_merge;
#[path = "templates/rust/version-check.rs"]
mod version_check;

//! `dpfctl describe`: what exists, how it hangs together, and what it waits for.
//!
//! ```text
//!   fetch (reads the cluster) -> tree (objects to nodes) -> table | machine (nodes to text)
//! ```
//!
//! Everything after `fetch` is a function of its arguments; the time is one of them.

mod age;
mod fetch;
mod machine;
mod object;
mod table;
mod tree;

pub use fetch::{Observed, Scope, observe};
pub use object::{Condition, conditions};
pub use table::{Appearance, ShowConditions};

use jiff::Timestamp;

/// How the result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A table whose first column is a tree.
    Tree,
    /// The same as JSON: objects by kind, and the tree.
    Json,
    /// The same as YAML.
    Yaml,
}

/// The tree of these objects as a table.
#[must_use]
pub fn as_table(observed: &Observed, appearance: &Appearance, now: Timestamp) -> String {
    table::render(&tree::build(observed, now, true), appearance, now)
}

/// The objects as JSON or YAML.
///
/// # Errors
/// When the encoder refuses, which no object read from an API server causes.
pub fn as_machine(observed: &Observed, yaml: bool, now: Timestamp) -> anyhow::Result<String> {
    machine::encode(&tree::build(observed, now, false), yaml)
}

#[cfg(test)]
mod tests;

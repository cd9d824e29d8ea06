//! How an error wants to be treated.

use std::time::Duration;

/// The reason of a write that lost against another one.
pub const CONFLICT: &str = "Conflict";

/// When to try again after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Soon, then less and less often.
    Backoff,
    /// After this time.
    After(Duration),
    /// Only when the object, or something it depends on, changes.
    OnChange,
}

/// Every error of a reconcile answers these two questions.
pub trait Classified: std::error::Error {
    /// When to try again.
    fn retry(&self) -> Retry;
    /// One CamelCase word for condition, event and metric.
    fn reason(&self) -> &'static str;
}

/// What an API server or the way to it said, in words for a condition.
#[must_use]
pub fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => super::runner::chain(other),
    }
}

/// An error and its causes in one line, in words for a condition.
#[must_use]
pub fn in_one_line(error: &dyn std::error::Error) -> String {
    super::runner::chain(error)
}

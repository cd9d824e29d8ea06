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
        other => in_one_line(other),
    }
}

/// An error and all its causes in one line, joined by colons: for conditions and logs.
#[must_use]
pub fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        if let Some(kube::Error::Api(status)) = cause.downcast_ref::<kube::Error>() {
            // Its own text repeats the message and adds the whole answer.
            text.push_str(&status.message);
            break;
        }
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

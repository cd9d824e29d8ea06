//! Where and why a template fails.

use std::fmt;

/// When a template failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its text is not a template.
    Parse,
    /// It is one, but does not fit its data.
    Execute,
}

/// Where and why a template fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// When.
    pub stage: Stage,
    /// Line in the template, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    /// Why.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )
    }
}

impl std::error::Error for Error {}

/// A reason and its place as a byte offset; [`locate`] turns it into an [`Error`].
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

impl At {
    pub(crate) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
        }
    }
}

pub(crate) fn locate(stage: Stage, text: &str, at: At) -> Error {
    let offset = text.len().min(at.offset);
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    Error {
        stage,
        line,
        column,
        message: at.message,
    }
}

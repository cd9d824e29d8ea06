//! Responses as the store makes them.

use bytes::Bytes;
use serde_json::Value;

use crate::error::ApiError;

/// A complete response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// The body in pieces: lists share the texts of their objects with the store.
    pub body: Vec<Bytes>,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

impl Response {
    /// A JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, "application/json", body.to_string().into_bytes())
    }

    /// A body of any type.
    pub fn bytes(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self::pieces(status, content_type, vec![body.into()])
    }

    /// A body made of pieces.
    pub fn pieces(status: u16, content_type: &str, body: Vec<Bytes>) -> Self {
        Self {
            status,
            content_type: content_type.to_owned(),
            body,
            warnings: Vec::new(),
        }
    }

    /// Plain text.
    pub fn text(status: u16, body: &str) -> Self {
        Self::bytes(
            status,
            "text/plain; charset=utf-8",
            body.as_bytes().to_vec(),
        )
    }

    /// An error as a Status object (or as text, where the original answers with text).
    pub fn error(error: &ApiError) -> Self {
        match error.plain {
            true => Self::text(error.code, &error.message),
            false => Self::json(error.code, &error.to_status()),
        }
    }

    /// The same response with warnings.
    pub fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }
}

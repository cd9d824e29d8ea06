//! A request as the store sees it: no sockets, no async body.

use bytes::Bytes;

use crate::auth::identity::{Caller, Impersonation};

/// HTTP verbs the API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read one, read many, or watch.
    Get,
    /// Like GET without a body.
    Head,
    /// Create.
    Post,
    /// Replace.
    Put,
    /// Change a part.
    Patch,
    /// Delete one or many.
    Delete,
}

/// One request with its body read.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    /// The verb.
    pub method: Method,
    /// Path with percent escapes resolved per segment.
    pub path: Vec<String>,
    /// Query parameters in order.
    pub query: Vec<(String, String)>,
    /// `Accept`, empty when absent.
    pub accept: String,
    /// `Content-Type`, empty when absent.
    pub content_type: String,
    /// `User-Agent`, empty when absent.
    pub user_agent: String,
    /// The body.
    pub body: Bytes,
    /// What the request says about its sender.
    pub caller: Caller,
    /// Whom the sender wants to act as.
    pub impersonation: Impersonation,
}

impl ApiRequest {
    /// Splits path and query of a request target.
    pub fn parse_target(path: &str, query: Option<&str>) -> (Vec<String>, Vec<(String, String)>) {
        let segments = path
            .split('/')
            .filter(|s| !s.is_empty())
            .map(|s| percent_decode(s, false))
            .collect();
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (percent_decode(key, true), percent_decode(value, true))
            })
            .collect();
        (segments, pairs)
    }

    /// The last value given for a query parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A query parameter that means yes.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.param(name), Some("true" | "1"))
    }

    /// The field manager: the parameter, else the first word of the user agent.
    pub fn field_manager(&self) -> String {
        match self.param("fieldManager") {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => {
                let agent = self.user_agent.split('/').next().unwrap_or_default();
                let agent: String = agent.chars().take(128).collect();
                if agent.is_empty() {
                    "unknown".to_owned()
                } else {
                    agent
                }
            }
        }
    }
}

/// Resolves `%xx` (and `+` as a blank when `form`); broken escapes stay as they are.
pub fn percent_decode(text: &str, form: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' if form => out.push(b' '),
            b'%' => {
                let mut ahead = bytes.clone();
                let pair = ahead.next().zip(ahead.next());
                match pair.and_then(|(high, low)| Some(hex_digit(high)? * 16 + hex_digit(low)?)) {
                    Some(value) => {
                        out.push(value);
                        bytes = ahead;
                    }
                    None => out.push(b'%'),
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_split_and_decoded() {
        let (path, query) =
            ApiRequest::parse_target("/api/v1/a%2Fb", Some("labelSelector=a%3Db&x=1+2&bad=%zz"));
        assert_eq!(path, ["api", "v1", "a/b"]);
        assert_eq!(query[0], ("labelSelector".into(), "a=b".into()));
        assert_eq!(query[1], ("x".into(), "1 2".into()));
        assert_eq!(query[2], ("bad".into(), "%zz".into()));
    }
}

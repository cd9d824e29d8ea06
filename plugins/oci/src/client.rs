//! HTTP with a registry: addresses, credentials, bounds.

use crate::credentials::{Credentials, Login};
use crate::error::Error;
use crate::reference::Reference;
use crate::repository::Repository;
use reqwest::header::{self, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One request, with its body. A component of 32 MiB takes that long on a line of 1 MiB per second.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest token answer that is read.
const TOKEN_SIZE_MAX: usize = 256 << 10;

/// Changes an address before it is used.
type Rewrite = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Talks to registries. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    rewrite: Option<Rewrite>,
    plain_http: bool,
}

impl Client {
    /// Uses this HTTP client and its TLS settings.
    #[must_use]
    pub fn new(http: reqwest::Client) -> Self {
        Self {
            http,
            rewrite: None,
            plain_http: false,
        }
    }

    /// Passes every address through `rewrite` before it is used, as a site with mirrors by URL needs.
    #[must_use]
    pub fn with_rewrite(
        mut self,
        rewrite: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        self.rewrite = Some(Arc::new(rewrite));
        self
    }

    /// Speaks plain HTTP to every registry, not only to those on this machine.
    #[must_use]
    pub fn with_plain_http(mut self, plain_http: bool) -> Self {
        self.plain_http = plain_http;
        self
    }

    /// The repository of a reference.
    #[must_use]
    pub fn repository(&self, reference: &Reference, credentials: Credentials) -> Repository {
        Repository {
            session: Session {
                client: self.clone(),
                login: credentials
                    .login(reference.registry(), reference.repository())
                    .cloned(),
                authorization: Mutex::new(None),
                plain: self.plain_http || reference.is_loopback(),
            },
            reference: reference.clone(),
        }
    }

    pub(crate) fn address(&self, url: &str) -> String {
        self.rewrite
            .as_ref()
            .map_or_else(|| url.to_owned(), |rewrite| rewrite(url))
    }
}

/// Requests to one repository; what authorised one is used for the next.
pub(crate) struct Session {
    client: Client,
    login: Option<Login>,
    authorization: Mutex<Option<Authorization>>,
    plain: bool,
}

#[derive(Clone)]
enum Authorization {
    Basic(Login),
    Bearer(String),
}

/// What is sent.
pub(crate) struct Message<'m> {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(header::HeaderName, &'m str)>,
    pub(crate) body: Vec<u8>,
}

impl<'m> Message<'m> {
    pub(crate) fn new(method: Method, url: String) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: header::HeaderName, value: &'m str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }
}

impl Session {
    /// `http` or `https` for this registry.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.plain { "http" } else { "https" }
    }

    /// Sends a message, and sends it again with what the registry asks for when it answers 401.
    pub(crate) async fn send(&self, message: Message<'_>) -> Result<Response, Error> {
        let url = self.client.address(&message.url);
        let answer = self.once(&url, &message).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let challenges = challenges(answer.headers());
        let Some(authorization) = self.authorize(&url, &challenges).await? else {
            return Ok(answer);
        };
        *self
            .authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(authorization);
        self.once(&url, &message).await
    }

    async fn once(&self, url: &str, message: &Message<'_>) -> Result<Response, Error> {
        let mut request = self
            .client
            .http
            .request(message.method.clone(), url)
            .timeout(TIMEOUT);
        for (name, value) in &message.headers {
            request = request.header(name, *value);
        }
        if !message.body.is_empty() {
            request = request.body(message.body.clone());
        }
        let known = self
            .authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        request = match known {
            Some(Authorization::Basic(login)) => {
                request.basic_auth(login.username, Some(login.password))
            }
            Some(Authorization::Bearer(token)) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.map_err(|error| failed(url, error))
    }

    async fn authorize(
        &self,
        url: &str,
        challenges: &[Challenge],
    ) -> Result<Option<Authorization>, Error> {
        for challenge in challenges {
            match challenge {
                Challenge::Bearer { realm, query } => {
                    return self.token(realm, query).await.map(Some);
                }
                Challenge::Basic => {
                    if let Some(login) = &self.login {
                        // Never in clear to a server that was not meant to be spoken to in clear.
                        if url.starts_with("http://") && !self.plain {
                            continue;
                        }
                        return Ok(Some(Authorization::Basic(login.clone())));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn token(&self, realm: &str, query: &[(String, String)]) -> Result<Authorization, Error> {
        let malformed = |problem: String| Error::Malformed {
            url: bare(realm),
            problem,
        };
        let mut url = reqwest::Url::parse(realm)
            .map_err(|error| malformed(format!("the address of the tokens: {error}")))?;
        if url.scheme() != "https" && !(self.plain && url.scheme() == "http") {
            return Err(malformed(
                "the registry wants credentials to be sent in clear".to_owned(),
            ));
        }
        url.query_pairs_mut().extend_pairs(query);
        let url = self.client.address(url.as_str());
        let mut request = self.client.http.get(&url).timeout(TIMEOUT);
        if let Some(login) = &self.login {
            request = request.basic_auth(&login.username, Some(&login.password));
        }
        let answer = request.send().await.map_err(|error| failed(&url, error))?;
        let body = body(&url, checked(&url, answer)?, TOKEN_SIZE_MAX).await?;
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|_| malformed("the answer is not JSON".to_owned()))?;
        ["token", "access_token"]
            .iter()
            .find_map(|key| answer.get(*key)?.as_str())
            .map(|token| Authorization::Bearer(token.to_owned()))
            .ok_or_else(|| malformed("the answer has no token".to_owned()))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer {
        realm: String,
        query: Vec<(String, String)>,
    },
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| challenge(value.to_str().ok()?))
        .collect()
}

fn challenge(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = BTreeMap::new();
    let mut rest = rest;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        let key = key.trim_matches([' ', ',']).to_ascii_lowercase();
        parameters.insert(key, value.trim().to_owned());
        rest = next;
    }
    let realm = parameters
        .remove("realm")
        .filter(|realm| !realm.is_empty())?;
    let query = ["service", "scope"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), parameters.remove(key)?)))
        .collect();
    Some(Challenge::Bearer { realm, query })
}

/// Only a success is read further.
pub(crate) fn checked(url: &str, answer: Response) -> Result<Response, Error> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    Err(Error::Answer {
        url: bare(url),
        status: status.as_u16(),
        hint: match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; give credentials that may read (or for a push write) this repository"
            }
            StatusCode::NOT_FOUND => "; check repository and tag",
            StatusCode::TOO_MANY_REQUESTS => "; it wants fewer requests",
            _ => "",
        },
    })
}

/// The body, cut off at `limit`.
pub(crate) async fn body(url: &str, mut answer: Response, limit: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(url, error))? {
        if body.len() + chunk.len() > limit {
            return Err(Error::TooLarge {
                url: bare(url),
                limit,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failed(url: &str, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    Error::Request {
        url: bare(url),
        message,
    }
}

/// Without its query, which may hold signatures of storage services.
pub(crate) fn bare(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_ask_for() {
        assert_eq!(challenge("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(
            challenge(
                "Bearer realm=\"https://auth.example.com/token\",service=\"r\",scope=\"repository:a:pull,push\""
            ),
            Some(Challenge::Bearer {
                realm: "https://auth.example.com/token".to_owned(),
                query: vec![
                    ("service".to_owned(), "r".to_owned()),
                    ("scope".to_owned(), "repository:a:pull,push".to_owned()),
                ],
            })
        );
        assert_eq!(challenge("Bearer scope=x"), None);
        assert_eq!(challenge("Negotiate"), None);
    }
}

//! Reads chart repositories and registries.

use crate::kit::{Context, explain};
use dpf_api::svc::DpuServiceTemplate;
use dpf_core::dpuservicetemplate::{
    Challenge, ChartError, Location, Versions, in_index, in_manifest, is_same_repository,
    parse_challenge,
};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde_json::Value;
use std::time::Duration;

/// One request, with its body.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest index that is read; public ones have a few megabytes.
const INDEX_SIZE_MAX: usize = 64 << 20;
/// Largest manifest or token that is read; registries refuse manifests above 4 MiB.
const MANIFEST_SIZE_MAX: usize = 4 << 20;
/// What a manifest may be.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
/// Argo CD marks credentials of repositories with this label.
const REPOSITORY_SECRETS: &str = "argocd.argoproj.io/secret-type=repository";

/// Why a chart cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Credentials cannot be listed.
    #[error("failed to list repository Secrets in namespace {namespace}: {message}")]
    ListSecrets {
        /// Namespace.
        namespace: String,
        /// What the API server said.
        message: String,
    },
    /// The server cannot be reached or stopped in the middle.
    #[error("failed to get {url}: {message}")]
    Request {
        /// URL.
        url: String,
        /// The chain of causes.
        message: String,
    },
    /// The server refused.
    #[error("failed to get {url}: the server answered {status}{hint}")]
    Answer {
        /// URL.
        url: String,
        /// Status.
        status: StatusCode,
        /// What to do.
        hint: &'static str,
    },
    /// The answer is too large.
    #[error("failed to get {url}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// URL.
        url: String,
        /// Limit.
        limit: usize,
    },
    /// The answer is not what it should be.
    #[error("{url} is not {what}: {message}")]
    Malformed {
        /// URL.
        url: String,
        /// What was expected.
        what: &'static str,
        /// Where it is wrong.
        message: String,
    },
    /// A mirror cannot be read; the template names another address.
    #[error("{source}; this is the mirror of {url}")]
    Mirror {
        /// URL that the template leads to.
        url: String,
        /// What is wrong with the mirror.
        source: Box<FetchError>,
    },
    /// The chart is not there.
    #[error("{url}: {source}")]
    Chart {
        /// URL.
        url: String,
        /// Cause.
        source: ChartError,
    },
}

/// Constraints that came over the network.
pub(super) struct Fetched(pub(super) Versions);

struct Credentials {
    username: String,
    password: String,
}

/// Fetches the constraints. Nothing is written; cancelling it is harmless.
pub(super) async fn fetch(
    context: &Context,
    template: &DpuServiceTemplate,
    location: &Location,
) -> Result<Fetched, FetchError> {
    let repository = &template.spec.helm_chart.source.repo_url;
    let credentials = credentials(context, repository).await?;
    let url = match location {
        Location::Annotated(versions) => return Ok(Fetched(versions.clone())),
        Location::Index { url, .. } | Location::Manifest { url } => url,
    };
    let at = context.settings.mirrors.resolve(url);
    match fetch_at(context, &at, location, credentials.as_ref()).await {
        Err(source) if at != *url => Err(FetchError::Mirror {
            url: url.clone(),
            source: Box::new(source),
        }),
        fetched => fetched.map(Fetched),
    }
}

async fn fetch_at(
    context: &Context,
    url: &str,
    location: &Location,
    credentials: Option<&Credentials>,
) -> Result<Versions, FetchError> {
    match location {
        Location::Annotated(versions) => Ok(versions.clone()),
        Location::Index { chart, version, .. } => {
            let answer = send(url, with_basic(context.http.get(url), credentials)).await?;
            let body = body(url, checked(url, answer)?, INDEX_SIZE_MAX).await?;
            let index = index(url, &body)?;
            in_index(&index, chart, version).map_err(|source| FetchError::Chart {
                url: url.to_owned(),
                source,
            })
        }
        Location::Manifest { .. } => {
            let answer = manifest(context, url, credentials).await?;
            let body = body(url, answer, MANIFEST_SIZE_MAX).await?;
            let manifest: Value =
                serde_json::from_slice(&body).map_err(|error| FetchError::Malformed {
                    url: url.to_owned(),
                    what: "a manifest",
                    message: error.to_string(),
                })?;
            Ok(in_manifest(&manifest))
        }
    }
}

/// The index; JSON is tried first because it is read faster, and is YAML, too.
fn index(url: &str, body: &[u8]) -> Result<Value, FetchError> {
    let malformed = |message: String| FetchError::Malformed {
        url: url.to_owned(),
        what: "an index of charts",
        message,
    };
    if let Ok(index) = serde_json::from_slice(body) {
        return Ok(index);
    }
    let text = std::str::from_utf8(body).map_err(|_| malformed("it is not text".to_owned()))?;
    serde_saphyr::from_str(text).map_err(|error| malformed(error.to_string()))
}

/// User and password that Argo CD has for this repository.
async fn credentials(
    context: &Context,
    repository: &str,
) -> Result<Option<Credentials>, FetchError> {
    let namespace = &context.settings.operator_namespace;
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let secrets = api
        .list(&ListParams::default().labels(REPOSITORY_SECRETS))
        .await
        .map_err(|error| FetchError::ListSecrets {
            namespace: namespace.clone(),
            message: explain(&error),
        })?;
    Ok(secrets.items.into_iter().find_map(|secret| {
        let data = secret.data.unwrap_or_default();
        let text = |key: &str| {
            data.get(key)
                .and_then(|v| String::from_utf8(v.0.clone()).ok())
        };
        let applies = text("type").as_deref() == Some("helm")
            && is_same_repository(&text("url").unwrap_or_default(), repository);
        applies.then(|| {
            Some(Credentials {
                username: text("username")?,
                password: text("password").unwrap_or_default(),
            })
        })?
    }))
}

/// A manifest. A registry that wants a token is given one, for the credentials or for nobody.
async fn manifest(
    context: &Context,
    url: &str,
    credentials: Option<&Credentials>,
) -> Result<Response, FetchError> {
    let request = || context.http.get(url).header(header::ACCEPT, MANIFEST_TYPES);
    let answer = send(url, request()).await?;
    if answer.status() != StatusCode::UNAUTHORIZED {
        return checked(url, answer);
    }
    let challenge = answer
        .headers()
        .get(header::WWW_AUTHENTICATE)
        .and_then(|value| value.to_str().ok())
        .and_then(parse_challenge);
    let second = match challenge {
        Some(Challenge::Bearer { realm, query }) => {
            let token = token(context, &realm, &query, credentials).await?;
            request().bearer_auth(token)
        }
        Some(Challenge::Basic) if credentials.is_some() => with_basic(request(), credentials),
        _ => return checked(url, answer),
    };
    checked(url, send(url, second).await?)
}

async fn token(
    context: &Context,
    realm: &str,
    query: &[(String, String)],
    credentials: Option<&Credentials>,
) -> Result<String, FetchError> {
    let malformed = |message: String| FetchError::Malformed {
        url: realm.to_owned(),
        what: "a service that issues tokens",
        message,
    };
    let mut url = reqwest::Url::parse(realm).map_err(|error| malformed(error.to_string()))?;
    url.query_pairs_mut().extend_pairs(query);
    let url = context.settings.mirrors.resolve(url.as_str());
    let answer = send(&url, with_basic(context.http.get(&url), credentials)).await?;
    let body = body(&url, checked(&url, answer)?, MANIFEST_SIZE_MAX).await?;
    let answer: Value =
        serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
    ["token", "access_token"]
        .iter()
        .find_map(|key| answer.get(*key)?.as_str().map(str::to_owned))
        .ok_or_else(|| malformed("the answer has no token".to_owned()))
}

fn with_basic(request: RequestBuilder, credentials: Option<&Credentials>) -> RequestBuilder {
    match credentials {
        Some(credentials) => request.basic_auth(&credentials.username, Some(&credentials.password)),
        None => request,
    }
}

async fn send(url: &str, request: RequestBuilder) -> Result<Response, FetchError> {
    request
        .timeout(TIMEOUT)
        .send()
        .await
        .map_err(|error| failed(url, error))
}

/// Only a success is read further.
fn checked(url: &str, answer: Response) -> Result<Response, FetchError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    Err(FetchError::Answer {
        url: url.to_owned(),
        status,
        hint: match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; give credentials in an Argo CD repository Secret of type helm for this URL"
            }
            StatusCode::NOT_FOUND => "; check repoURL, chart and version",
            _ => "",
        },
    })
}

/// The body, cut off at `limit`.
async fn body(url: &str, mut answer: Response, limit: usize) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(url, error))? {
        if body.len() + chunk.len() > limit {
            return Err(FetchError::TooLarge {
                url: url.to_owned(),
                limit,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failed(url: &str, error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    FetchError::Request {
        url: url.to_owned(),
        message,
    }
}

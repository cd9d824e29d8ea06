//! Reads from the API server, and the error of controllers that only read and write.

use super::apply::{Kind, WriteError};
use super::clusters::ClusterError;
use super::failure::{Classified, Retry};
use kube::api::ListParams;
use kube::{Api, Client};

/// A read that the API server refused or never answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// One object.
    #[error("failed to read {kind} {name}")]
    Get {
        /// Kind of the object.
        kind: String,
        /// `namespace/name`.
        name: String,
        /// Cause.
        source: Box<kube::Error>,
    },
    /// Many objects.
    #[error("failed to list {kind}")]
    List {
        /// Kind of the objects.
        kind: String,
        /// Cause.
        source: Box<kube::Error>,
    },
}

impl Classified for ReadError {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
    fn reason(&self) -> &'static str {
        "ReadFailed"
    }
}

/// Why a reconcile that reads and writes is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A write.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A DPU cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The store of images.
    #[error("failed to {action} {path}")]
    Store {
        /// What was done.
        action: &'static str,
        /// To which file.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
}

impl Failure {
    /// An error of the file system.
    pub fn store(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Store {
            action,
            path,
            source,
        }
    }
}

impl Classified for Failure {
    fn retry(&self) -> Retry {
        match self {
            Self::Read(error) => error.retry(),
            Self::Write(error) => error.retry(),
            Self::Cluster(error) => error.retry(),
            Self::Store { .. } => Retry::Backoff,
        }
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Read(error) => error.reason(),
            Self::Write(error) => error.reason(),
            Self::Cluster(error) => error.reason(),
            Self::Store { .. } => "StoreFailed",
        }
    }
}

/// An object, or none when there is none of this name.
///
/// # Errors
/// [`ReadError`] when the API server does not answer.
pub async fn get<K: Kind>(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, ReadError> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.get_opt(name).await.map_err(|source| ReadError::Get {
        kind: K::kind(&()).into_owned(),
        name: format!("{namespace}/{name}"),
        source: Box::new(source),
    })
}

/// All objects of a kind, in one namespace or in all.
///
/// # Errors
/// [`ReadError`] when the API server does not answer.
pub async fn list<K: Kind>(client: &Client, namespace: Option<&str>) -> Result<Vec<K>, ReadError> {
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(source) => Err(ReadError::List {
            kind: K::kind(&()).into_owned(),
            source: Box::new(source),
        }),
    }
}

//! Clients of the DPU clusters, made from the kubeconfig Secrets that DPUCluster objects name.

use super::failure::{Classified, Retry};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::header::{HeaderValue, USER_AGENT};
use k8s_openapi::api::core::v1::Secret;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Key of the kubeconfig inside the Secret.
const KUBECONFIG_KEYS: [&str; 3] = ["admin.conf", "super-admin.conf", "kubeconfig"];
/// A DPU cluster that does not answer within this time is unreachable, and delays nobody else.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A watch that is silent for this long is cut: longer than [`super::remote::WATCH_TIMEOUT`], after which the server ends it.
const READ_TIMEOUT: Duration = Duration::from_secs(75);

/// A DPU cluster that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// `spec.kubeconfig` is not set.
    #[error("DPUCluster {cluster} names no kubeconfig Secret in spec.kubeconfig")]
    NoKubeconfig {
        /// `namespace/name`.
        cluster: String,
    },
    /// The Secret cannot be read.
    #[error("failed to read Secret {secret} with the kubeconfig of DPUCluster {cluster}")]
    ReadSecret {
        /// `namespace/name` of the cluster.
        cluster: String,
        /// `namespace/name` of the Secret.
        secret: String,
        /// Cause.
        source: Box<kube::Error>,
    },
    /// The Secret holds no usable kubeconfig.
    #[error(
        "Secret {secret} of DPUCluster {cluster} holds no usable kubeconfig under key admin.conf: {message}"
    )]
    Malformed {
        /// `namespace/name` of the cluster.
        cluster: String,
        /// `namespace/name` of the Secret.
        secret: String,
        /// What is wrong; never the content.
        message: String,
    },
}

impl Classified for ClusterError {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::NoKubeconfig { .. } => "EmptyKubeconfig",
            Self::ReadSecret { .. } => "ReadKubeconfigFailed",
            Self::Malformed { .. } => "MalformedKubeconfig",
        }
    }
}

/// A DPU cluster whose kubeconfig was read.
#[derive(Clone)]
pub struct Connection {
    /// Its client.
    pub client: Client,
    /// What the Secret holds; credentials, so never printed.
    pub kubeconfig: Arc<Kubeconfig>,
    /// `resourceVersion` of the Secret: another one means another client.
    pub revision: Option<String>,
}

/// Makes the client for a kubeconfig; the error says what is wrong without quoting it.
pub type Connect =
    Arc<dyn Fn(Kubeconfig) -> BoxFuture<'static, Result<Client, String>> + Send + Sync>;

/// Clients by cluster; a changed Secret makes a new client.
#[derive(Clone)]
pub struct DpuClusters {
    management: Client,
    connect: Connect,
    cache: Arc<Mutex<BTreeMap<(String, String), Connection>>>,
}

impl DpuClusters {
    /// Reads Secrets with this client.
    #[must_use]
    pub fn new(management: Client) -> Self {
        Self::connecting_by(management, Arc::new(|config| connect(config).boxed()))
    }

    /// As [`Self::new`], with clients that are made in another way: for a cluster in the same process.
    #[must_use]
    pub fn connecting_by(management: Client, connect: Connect) -> Self {
        Self {
            management,
            connect,
            cache: Arc::default(),
        }
    }

    /// The client of the cluster `namespace/name` whose kubeconfig is in `secret`.
    ///
    /// # Errors
    /// [`ClusterError`] when there is no usable kubeconfig. That the cluster answers is not checked here.
    pub async fn client(
        &self,
        namespace: &str,
        name: &str,
        secret: Option<&str>,
    ) -> Result<Client, ClusterError> {
        Ok(self.connection(namespace, name, secret).await?.client)
    }

    /// Client and kubeconfig of the cluster `namespace/name` whose kubeconfig is in `secret`.
    ///
    /// # Errors
    /// [`ClusterError`] when there is no usable kubeconfig. That the cluster answers is not checked here.
    pub async fn connection(
        &self,
        namespace: &str,
        name: &str,
        secret: Option<&str>,
    ) -> Result<Connection, ClusterError> {
        let cluster = format!("{namespace}/{name}");
        let secret_name = secret.ok_or_else(|| ClusterError::NoKubeconfig {
            cluster: cluster.clone(),
        })?;
        let secrets: Api<Secret> = Api::namespaced(self.management.clone(), namespace);
        let full_secret_name = format!("{namespace}/{secret_name}");
        let secret = secrets
            .get(secret_name)
            .await
            .map_err(|source| ClusterError::ReadSecret {
                cluster: cluster.clone(),
                secret: full_secret_name.clone(),
                source: Box::new(source),
            })?;
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(cached) = self.cache.lock().await.get(&key)
            && cached.revision == secret.metadata.resource_version
        {
            return Ok(cached.clone());
        }
        let malformed = |message: String| ClusterError::Malformed {
            cluster: cluster.clone(),
            secret: full_secret_name.clone(),
            message,
        };
        let data = secret.data.unwrap_or_default();
        let text = KUBECONFIG_KEYS
            .iter()
            .find_map(|k| data.get(*k))
            .ok_or_else(|| malformed("the key is missing".to_owned()))?;
        let text =
            std::str::from_utf8(&text.0).map_err(|_| malformed("it is not text".to_owned()))?;
        let kubeconfig = Kubeconfig::from_yaml(text)
            .map_err(|_| malformed("it is not a kubeconfig".to_owned()))?;
        let client = (self.connect)(kubeconfig.clone())
            .await
            .map_err(malformed)?;
        let connection = Connection {
            client,
            kubeconfig: Arc::new(kubeconfig),
            revision: secret.metadata.resource_version,
        };
        self.cache.lock().await.insert(key, connection.clone());
        Ok(connection)
    }
}

/// Lets the audit of an API server tell these requests from others.
pub fn identify(config: &mut Config) {
    let name = HeaderValue::from_static(concat!("dpf-host/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, name));
}

/// The error names what is wrong without quoting the kubeconfig, which holds credentials.
async fn connect(kubeconfig: Kubeconfig) -> Result<Client, String> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|_| "it has no usable context".to_owned())?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    identify(&mut config);
    config.read_timeout = Some(READ_TIMEOUT);
    Client::try_from(config).map_err(|_| "its certificates cannot be used".to_owned())
}

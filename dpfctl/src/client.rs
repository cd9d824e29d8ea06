//! A client for the cluster that a kubeconfig names.

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::Path;
use std::time::Duration;

/// A server that does not answer within this time is not running.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects with `path`, else with `$KUBECONFIG`, `~/.kube/config` or the service account of the pod.
///
/// # Errors
/// When there is no usable kubeconfig. Whether the server answers shows with the first request.
pub async fn connect(path: Option<&Path>) -> anyhow::Result<Client> {
    // Fails only when a provider is already there, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = match path {
        None => Config::infer().await.context(
            "failed to find a cluster: set KUBECONFIG or --kubeconfig, for example to .dev/host.kubeconfig",
        )?,
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("failed to read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("kubeconfig {} has no usable context", path.display()))?
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).context("the certificates of the kubeconfig cannot be used")
}

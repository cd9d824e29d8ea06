//! What runs on a DPU once it has started: a kubelet that joins the DPU cluster.

use crate::bmc::{Booted, Join};
use crate::kit::{Failed, While};
use crate::kubelet::{Machine, register};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A DPU that cannot join tries again after this time.
const RETRY: Duration = Duration::from_secs(1);
/// Namespace of bootstrap tokens.
const TOKENS: &str = "kube-system";

/// Why a DPU does not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinFailure {
    /// The image was made for another cluster.
    #[error("API server {given} does not answer: the simulated DPU cluster is {expected}")]
    OtherCluster {
        /// From bf.cfg.
        given: String,
        /// Where it really is.
        expected: String,
    },
    /// The API server does not know the token.
    #[error("bootstrap token {id} is not accepted by the DPU cluster")]
    Token {
        /// The public half.
        id: String,
    },
    /// The API server refused.
    #[error(transparent)]
    Refused(#[from] Failed),
}

/// The DPU cluster.
#[derive(Clone)]
pub struct DpuCluster {
    /// Client with all rights.
    pub client: Client,
    /// URL of its API server, as DPUs are told.
    pub url: String,
}

/// Lets started systems join until `stop`.
pub async fn simulate(
    cluster: DpuCluster,
    mut booted: mpsc::Receiver<Booted>,
    stop: CancellationToken,
) {
    let mut running = JoinSet::new();
    let mut latest: BTreeMap<u16, AbortHandle> = BTreeMap::new();
    let members = Arc::new(Mutex::new(BTreeSet::new()));
    loop {
        let booted = tokio::select! {
            () = stop.cancelled() => return,
            booted = booted.recv() => booted,
        };
        let Some(booted) = booted else { return };
        while running.try_join_next().is_some() {}
        let number = booted.number;
        let task = running.spawn(start(cluster.clone(), booted, members.clone()));
        // A system that starts replaces the one before it.
        if let Some(before) = latest.insert(number, task) {
            before.abort();
        }
    }
}

async fn start(cluster: DpuCluster, booted: Booted, members: Arc<Mutex<BTreeSet<String>>>) {
    let uid = booted.join.dpu_uid.clone();
    loop {
        let lock = || members.lock().unwrap_or_else(PoisonError::into_inner);
        // A kubelet that joined once has a certificate and needs no token any more.
        let is_member = lock().contains(&uid);
        match join(&cluster, &booted, is_member).await {
            Ok(()) => {
                lock().insert(uid);
                return;
            }
            Err(error) => {
                tracing::warn!(node = %booted.join.node_name, "DPU does not join: {error}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn join(cluster: &DpuCluster, booted: &Booted, is_member: bool) -> Result<(), JoinFailure> {
    let join = &booted.join;
    if join.api_server.trim_end_matches('/') != cluster.url.trim_end_matches('/') {
        return Err(JoinFailure::OtherCluster {
            given: join.api_server.clone(),
            expected: cluster.url.clone(),
        });
    }
    if !is_member {
        check_token(cluster, join).await?;
    }
    let [high, low] = (booted.number + 1).to_be_bytes();
    let capacity = [
        ("cpu", "16"),
        ("memory", "32Gi"),
        ("pods", "110"),
        ("nvidia.com/sf", "20"),
    ];
    let machine = Machine {
        name: join.node_name.clone(),
        address: Ipv4Addr::new(10, 1, high, low),
        architecture: "arm64",
        labels: BTreeMap::new(),
        capacity: capacity.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    };
    register(&cluster.client, &machine).await?;
    Ok(())
}

/// As the API server would: the Secret of the token holds the other half.
async fn check_token(cluster: &DpuCluster, join: &Join) -> Result<(), JoinFailure> {
    let (id, secret) = join.token.split_once('.').unwrap_or_default();
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), TOKENS);
    let name = format!("bootstrap-token-{id}");
    let found = secrets
        .get_opt(&name)
        .await
        .during(|| format!("read Secret {TOKENS}/{name}"))?;
    let data = found.and_then(|secret| secret.data).unwrap_or_default();
    let known = data.get("token-secret").map(|bytes| bytes.0.as_slice());
    if known == Some(secret.as_bytes()) && !secret.is_empty() {
        return Ok(());
    }
    Err(JoinFailure::Token { id: id.to_owned() })
}

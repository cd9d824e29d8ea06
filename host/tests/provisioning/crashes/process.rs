//! One process of the host: all controllers of provisioning and the registry of images.

use super::fate::Life;
use super::wires;
use crate::world::{context_with, controllers};
use dpf_devcluster::DevCluster;
use dpf_host::kit::{Clock, DpuClusters, Shutdown};
use futures::FutureExt as _;
use jiff::Timestamp;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A process that runs until it is buried.
pub struct Process {
    /// Its life.
    pub life: Life,
    tasks: JoinSet<()>,
    proxy: JoinSet<()>,
}

impl Process {
    /// Starts all controllers.
    pub async fn start(
        cluster: &DevCluster,
        dir: &Path,
        life: Life,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = wires::client(&cluster.host, &life);
        let (http, proxy) = wires::http(&life).await;
        let dpu = wires::client(&cluster.dpu, &life);
        let clusters = DpuClusters::connecting_by(
            client.clone(),
            Arc::new(move |_| {
                let dpu = dpu.clone();
                async move { Ok(dpu) }.boxed()
            }),
        );
        let mut context = context_with(cluster, client, clusters, dir, &url);
        context.http = http;
        context.clock = Clock::new(now);
        let context = Arc::new(context);
        let shutdown = Shutdown::new();
        let mut tasks = controllers(&context, &shutdown);
        tasks.spawn(dpf_host::registry::serve(listener, context, shutdown));
        Self { life, tasks, proxy }
    }

    /// Nothing of the process is left; nothing was finished.
    pub async fn bury(mut self) {
        self.tasks.shutdown().await;
        self.proxy.shutdown().await;
    }
}

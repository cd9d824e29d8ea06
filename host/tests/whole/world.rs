//! All controllers and the development cluster in one process.

use dpf_api::svc::DpuDeployment;
use dpf_core::dpuplugin::CallLimits;
use dpf_devcluster::{DevCluster, Options};
use dpf_engine::{Engine, EngineOptions};
use dpf_host::kit::{Clock, Context, DpuClusters, Mirrors, Settings, Shutdown, identify};
use dpf_host::plugins::PluginSettings;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, Config, ResourceExt};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Namespace of the example.
pub const NAMESPACE: &str = "customer-namespace";
/// Its deployment.
pub const NAME: &str = "producer-consumer";
/// Namespace of the operator.
pub const INVENTORY: &str = "dpf-operator-system";
/// Longest wait for anything, by the real clock.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running world.
pub struct World {
    /// The clusters and their simulated neighbours.
    pub cluster: DevCluster,
    dir: PathBuf,
    audits: [PathBuf; 2],
    host: Option<Host>,
}

struct Host {
    shutdown: Shutdown,
    controllers: JoinHandle<Result<(), String>>,
    registry: JoinHandle<()>,
}

impl World {
    /// A development cluster with two DPUs and no host.
    pub async fn start(dir: &Path) -> Self {
        let options = Options {
            dpus: 2,
            audit: true,
            ..Options::new(dir.join("dev"))
        };
        let cluster = dpf_devcluster::start(options).await.unwrap();
        Self {
            audits: [
                cluster.host_kubeconfig.with_extension("audit"),
                cluster.dpu_kubeconfig.with_extension("audit"),
            ],
            dir: dir.to_owned(),
            host: None,
            cluster,
        }
    }

    /// Starts all controllers.
    pub async fn start_host(&mut self) {
        self.start_host_with(&[]).await;
    }

    /// Starts all controllers with further mirrors, each `FROM=TO`.
    pub async fn start_host_with(&mut self, mirrors: &[String]) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let context = context(&self.cluster, mirrors, &self.dir, &listener).await;
        let shutdown = Shutdown::new();
        let registry = dpf_host::registry::serve(listener, context.clone(), shutdown.clone());
        self.host = Some(Host {
            registry: tokio::spawn(registry),
            controllers: tokio::spawn(dpf_host::manager::run(context, shutdown.clone())),
            shutdown,
        });
    }

    /// Ends the controllers.
    pub async fn stop_host(&mut self) {
        if let Some(host) = self.host.take() {
            host.shutdown.cancel();
            host.controllers.await.unwrap().unwrap();
            host.registry.await.unwrap();
        }
    }

    /// Ends everything in order.
    pub async fn stop(mut self) {
        self.stop_host().await;
        self.cluster.shutdown().await;
    }

    /// Applies the manifests of the example.
    pub async fn apply_example(&self) {
        self.apply_example_with(str::to_owned).await;
    }

    /// Applies the manifests of the example as this edits them.
    pub async fn apply_example_with(&self, edit: impl Fn(&str) -> String) {
        let mut files: Vec<PathBuf> = std::fs::read_dir("../examples/producer-consumer")
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
            .collect();
        files.sort();
        for file in files {
            let text = edit(&std::fs::read_to_string(file).unwrap());
            let manifest: Value = serde_saphyr::from_str(&text).unwrap();
            apply(&self.cluster.host, "test", &manifest).await;
        }
    }

    /// Waits, by the real clock, until the deployment is Ready and the host has nothing left to write.
    pub async fn converge(&self) {
        let (mut last, mut since) = (0, Instant::now());
        let started = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = self.writes().len();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() > Duration::from_secs(3) && self.is_ready().await {
                return;
            }
            if started.elapsed() > PATIENCE {
                panic!("not Ready in time: {:#?}", self.conditions().await);
            }
        }
    }

    async fn is_ready(&self) -> bool {
        let conditions = self.conditions().await;
        let mut ready = conditions.iter().filter(|c| c.type_ == "Ready");
        ready.any(|c| c.status == "True")
    }

    /// Conditions of the deployment.
    pub async fn conditions(&self) -> Vec<Condition> {
        let api: Api<DpuDeployment> = Api::namespaced(self.cluster.host.clone(), NAMESPACE);
        let status = api.get(NAME).await.unwrap().status.unwrap_or_default();
        status.conditions.unwrap_or_default()
    }

    /// Requests of the host that asked for a change, so far.
    pub fn writes(&self) -> Vec<String> {
        let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
        self.audits
            .iter()
            .map(read)
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| line.contains("\"userAgent\":\"dpf-host/"))
            .collect()
    }
}

async fn context(
    cluster: &DevCluster,
    mirrors: &[String],
    dir: &Path,
    listener: &tokio::net::TcpListener,
) -> Arc<Context> {
    let kubeconfig = Kubeconfig::read_from(&cluster.host_kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    identify(&mut config);
    let client = Client::try_from(config).unwrap();
    let reporter = Reporter {
        controller: "test".to_owned(),
        instance: None,
    };
    Arc::new(Context {
        dpu_clusters: DpuClusters::new(client.clone()),
        engine: Engine::new(EngineOptions::default()).unwrap(),
        plugins: Arc::default(),
        recorder: Recorder::new(client.clone(), reporter),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        clock: Clock::default(),
        settings: Settings {
            operator_namespace: INVENTORY.to_owned(),
            inventory_namespace: INVENTORY.to_owned(),
            bfb_dir: dir.join("bfb"),
            registry_url: format!("http://{}", listener.local_addr().unwrap()),
            mirrors: Mirrors::parse(cluster.mirrors.iter().chain(mirrors).map(String::as_str))
                .unwrap(),
            plugins: PluginSettings::new(None, CallLimits::default()).unwrap(),
            version: "v0.0.0-test".to_owned(),
        },
        client,
    })
}

/// Applies an object server-side.
pub async fn apply(client: &Client, manager: &str, manifest: &Value) -> DynamicObject {
    let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
    let types = object.types.clone().unwrap();
    let gvk = kube::core::GroupVersionKind::try_from(&types).unwrap();
    let (resource, _) = kube::discovery::pinned_kind(client, &gvk).await.unwrap();
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply(manager).force();
    api.patch(&object.name_any(), &params, &Patch::Apply(manifest))
        .await
        .unwrap()
}

//! What every test of provisioning needs: registry, controllers, objects, and waiting.

use dpf_api::keys::{annotations, labels};
use dpf_api::provisioning::{Bfb, Dpu, DpuDevice, DpuFlavor, DpuNodeMaintenance, DpuPhase, DpuSet};
use dpf_core::dpuplugin::CallLimits;
use dpf_devcluster::DevCluster;
use dpf_engine::{Engine, EngineOptions};
use dpf_host::kit::{Clock, Context, DpuClusters, Mirrors, Settings, Shutdown};
use dpf_host::plugins::PluginSettings;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

pub const NAMESPACE: &str = "customer-namespace";
pub const INVENTORY: &str = "dpf-operator-system";
pub const IMAGE: &str = "http://internal-nfs/bf-bundle-2.9.0-33_24.04_ubuntu-22.04_unsigned.bfb";
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The image registry, which BMCs use at any time.
pub struct Registry {
    pub url: String,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

impl Registry {
    pub async fn start(cluster: &DevCluster, dir: &std::path::Path) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let context = context(cluster, dir, &url);
        let shutdown = Shutdown::new();
        let task = tokio::spawn(dpf_host::registry::serve(
            listener,
            context,
            shutdown.clone(),
        ));
        Self {
            url,
            shutdown,
            task,
        }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

/// What one process has in common, with its own ways to the clusters.
pub fn context_with(
    cluster: &DevCluster,
    client: Client,
    dpu_clusters: DpuClusters,
    dir: &std::path::Path,
    registry_url: &str,
) -> Context {
    // Compiling the default plugins takes a while, and no controller here calls them.
    static ENGINE: LazyLock<Engine> =
        LazyLock::new(|| Engine::new(EngineOptions::default()).unwrap());
    let reporter = Reporter {
        controller: "test".to_owned(),
        instance: None,
    };
    Context {
        dpu_clusters,
        engine: ENGINE.clone(),
        plugins: Arc::default(),
        recorder: Recorder::new(client.clone(), reporter),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        clock: Clock::default(),
        settings: Settings {
            operator_namespace: INVENTORY.to_owned(),
            inventory_namespace: INVENTORY.to_owned(),
            bfb_dir: dir.join("bfb"),
            registry_url: registry_url.to_owned(),
            mirrors: Mirrors::parse(cluster.mirrors.iter().map(String::as_str)).unwrap(),
            plugins: PluginSettings::new(None, CallLimits::default()).unwrap(),
            version: "v0.0.0-test".to_owned(),
        },
        client,
    }
}

pub fn context(cluster: &DevCluster, dir: &std::path::Path, registry_url: &str) -> Arc<Context> {
    let client = cluster.host.clone();
    let clusters = DpuClusters::new(client.clone());
    Arc::new(context_with(cluster, client, clusters, dir, registry_url))
}

/// The controllers of provisioning.
pub fn controllers(context: &Arc<Context>, shutdown: &Shutdown) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (c, s) = (context, shutdown);
    tasks.spawn(dpf_host::bfb::run(c.clone(), s.clone()));
    tasks.spawn(dpf_host::dpucluster::run(c.clone(), s.clone()));
    tasks.spawn(dpf_host::dpunode::run(c.clone(), s.clone()));
    tasks.spawn(dpf_host::dpudevice::run(c.clone(), s.clone()));
    tasks.spawn(dpf_host::dpuset::run(c.clone(), s.clone()));
    tasks.spawn(dpf_host::dpunodemaintenance::run(c.clone(), s.clone()));
    tasks.spawn(dpf_host::dpu::run(c.clone(), s.clone()));
    tasks
}

/// The controllers of provisioning, as one process has them.
pub struct Host {
    context: Arc<Context>,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

impl Host {
    pub fn start(context: Arc<Context>) -> Self {
        let shutdown = Shutdown::new();
        let tasks = controllers(&context, &shutdown);
        Self {
            context,
            shutdown,
            tasks,
        }
    }

    /// As a crash: nothing is finished. Another one takes over.
    pub async fn crash_and_restart(mut self) -> Self {
        self.tasks.shutdown().await;
        Self::start(self.context)
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// Waits for a condition with a deadline; what was seen last is shown when it passes.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("{what} did not happen: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

pub async fn create<K>(client: &Client, object: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    let object: K = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

pub async fn patch<K>(client: &Client, namespace: &str, name: &str, patch: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

pub async fn all<K>(client: &Client) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    api.list(&ListParams::default()).await.unwrap().items
}

/// The namespace of the user.
pub async fn namespace(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(NAMESPACE.to_owned());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
}

pub async fn prepare(client: &Client) {
    namespace(client).await;
    create::<Bfb>(
        client,
        json!({"metadata": {"name": "image"}, "spec": {"url": IMAGE}}),
    )
    .await;
    create::<DpuFlavor>(
        client,
        json!({"metadata": {"name": "flavor"}, "spec": {
            "grub": {"kernelParameters": ["console=hvc0"]},
            "nvconfig": [{"device": "*", "parameters": ["PF_TOTAL_SF=20"]}]
        }}),
    )
    .await;
}

pub fn dpu_set(name: &str, pci: Option<&str>, effect: Value) -> Value {
    let mut set = json!({
        "metadata": {"name": name},
        "spec": {
            "dpuTemplate": {"spec": {
                "bfb": {"name": "image"},
                "dpuFlavor": "flavor",
                "nodeEffect": effect,
                "cluster": {"nodeLabels": {"example.com/service": "v1"}}
            }}
        }
    });
    if let Some(pci) = pci {
        set["spec"]["dpuSelector"] = json!({labels::DPUDEVICE_PCI_ADDRESS: pci});
    }
    set
}

pub async fn all_ready(client: &Client, count: usize) -> Vec<Dpu> {
    eventually("every DPU is Ready", async || {
        let dpus: Vec<Dpu> = all(client).await;
        let seen: Vec<String> = dpus
            .iter()
            .map(|dpu| {
                let status = dpu.status.clone().unwrap_or_default();
                let open: Vec<String> = status
                    .conditions
                    .iter()
                    .flatten()
                    .filter(|c| c.status != "True" && !c.message.is_empty())
                    .map(|c| format!("{}: {}", c.reason, c.message))
                    .collect();
                format!("{} {} {}", dpu.name_any(), status.phase, open.join("; "))
            })
            .collect();
        let ready = dpus.iter().filter(|dpu| {
            dpu.status.as_ref().is_some_and(|s| {
                s.phase == DpuPhase::Ready
                    && s.observed_generation == dpu.metadata.generation
                    && s.conditions
                        .iter()
                        .flatten()
                        .any(|c| c.type_ == "Ready" && c.status == "True")
            })
        });
        if ready.count() == count && dpus.len() == count {
            Ok(dpus)
        } else {
            Err(seen.join("\n"))
        }
    })
    .await
}

pub async fn phases(client: &Client) -> Vec<DpuPhase> {
    let dpus: Vec<Dpu> = all(client).await;
    dpus.iter()
        .map(|dpu| dpu.status.as_ref().map(|s| s.phase).unwrap_or_default())
        .collect()
}

/// How many installations the BMC of a DPU was asked for.
pub async fn installations_of(client: &Client, dpu: &Dpu) -> usize {
    let devices: Api<DpuDevice> = Api::namespaced(client.clone(), INVENTORY);
    let device = devices.get(&dpu.spec.dpu_device_name).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), INVENTORY);
    let secret = secrets.get("bmc-shared-password").await.unwrap();
    let password = String::from_utf8(secret.data.unwrap()["password"].0.clone()).unwrap();
    let url = format!(
        "http://{}:{}/redfish/v1/TaskService/Tasks",
        device.spec.bmc_ip.unwrap(),
        device.spec.bmc_port.unwrap()
    );
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.get(url).basic_auth("root", Some(password));
    let tasks: Value = request.send().await.unwrap().json().await.unwrap();
    tasks["Members"].as_array().unwrap().len()
}

/// Hosts as they were before anything happened: schedulable, without records of effects.
pub async fn hosts_are_as_before(client: &Client) {
    eventually("hosts are given back", async || {
        let maintenances: Vec<DpuNodeMaintenance> = all(client).await;
        if !maintenances.is_empty() {
            return Err(format!("{} effects are in force", maintenances.len()));
        }
        for node in all::<Node>(client).await {
            let spec = node.spec.clone().unwrap_or_default();
            if spec.unschedulable == Some(true)
                || node
                    .annotations()
                    .contains_key(annotations::NODE_EFFECT_RECORD)
            {
                return Err(format!("Node {} is still disturbed", node.name_any()));
            }
        }
        Ok(())
    })
    .await;
}

pub async fn delete_set(client: &Client, name: &str) {
    let sets: Api<DpuSet> = Api::namespaced(client.clone(), NAMESPACE);
    sets.delete(name, &DeleteParams::default()).await.unwrap();
    eventually("the DPUSet is gone", async || {
        let dpus: Vec<Dpu> = all(client).await;
        match sets.get_opt(name).await.unwrap() {
            None => Ok(()),
            Some(_) => Err(format!("{} DPUs are left", dpus.len())),
        }
    })
    .await;
}

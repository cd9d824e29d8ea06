//! From nothing to DPUs that run, and back: the real controllers against the development cluster.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

use dpf_api::keys::{annotations, labels};
use dpf_api::provisioning::{
    Bfb, BfbPhase, Dpu, DpuDevice, DpuFlavor, DpuNode, DpuNodeMaintenance, DpuPhase, DpuSet,
};
use dpf_core::dpuplugin::CallLimits;
use dpf_devcluster::bmc::InstallFault;
use dpf_devcluster::{DevCluster, Options, start};
use dpf_engine::{Engine, EngineOptions};
use dpf_host::kit::{Context, DpuClusters, Mirrors, Settings, Shutdown};
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
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const NAMESPACE: &str = "customer-namespace";
const INVENTORY: &str = "dpf-operator-system";
const IMAGE: &str = "http://internal-nfs/bf-bundle-2.9.0-33_24.04_ubuntu-22.04_unsigned.bfb";
const PATIENCE: Duration = Duration::from_secs(90);

/// The image registry, which BMCs use at any time.
struct Registry {
    url: String,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

impl Registry {
    async fn start(cluster: &DevCluster, dir: &std::path::Path) -> Self {
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

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

fn context(cluster: &DevCluster, dir: &std::path::Path, registry_url: &str) -> Arc<Context> {
    let client = cluster.host.clone();
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
    })
}

/// The controllers of provisioning, as one process has them.
struct Host {
    context: Arc<Context>,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

impl Host {
    fn start(context: Arc<Context>) -> Self {
        let shutdown = Shutdown::new();
        let mut tasks = JoinSet::new();
        let (c, s) = (&context, &shutdown);
        tasks.spawn(dpf_host::bfb::run(c.clone(), s.clone()));
        tasks.spawn(dpf_host::dpucluster::run(c.clone(), s.clone()));
        tasks.spawn(dpf_host::dpunode::run(c.clone(), s.clone()));
        tasks.spawn(dpf_host::dpudevice::run(c.clone(), s.clone()));
        tasks.spawn(dpf_host::dpuset::run(c.clone(), s.clone()));
        tasks.spawn(dpf_host::dpunodemaintenance::run(c.clone(), s.clone()));
        tasks.spawn(dpf_host::dpu::run(c.clone(), s.clone()));
        Self {
            context,
            shutdown,
            tasks,
        }
    }

    /// As a crash: nothing is finished. Another one takes over.
    async fn crash_and_restart(mut self) -> Self {
        self.tasks.shutdown().await;
        Self::start(self.context)
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// Waits for a condition with a deadline; what was seen last is shown when it passes.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("{what} did not happen: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn create<K>(client: &Client, object: Value)
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

async fn patch<K>(client: &Client, namespace: &str, name: &str, patch: Value)
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

async fn all<K>(client: &Client) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    api.list(&ListParams::default()).await.unwrap().items
}

async fn prepare(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(NAMESPACE.to_owned());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
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

fn dpu_set(name: &str, pci: Option<&str>, effect: Value) -> Value {
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

async fn all_ready(client: &Client, count: usize) -> Vec<Dpu> {
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

async fn phases(client: &Client) -> Vec<DpuPhase> {
    let dpus: Vec<Dpu> = all(client).await;
    dpus.iter()
        .map(|dpu| dpu.status.as_ref().map(|s| s.phase).unwrap_or_default())
        .collect()
}

/// How many installations the BMC of a DPU was asked for.
async fn installations_of(client: &Client, dpu: &Dpu) -> usize {
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
async fn hosts_are_as_before(client: &Client) {
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

async fn delete_set(client: &Client, name: &str) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_dpus_are_provisioned_relabelled_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(Options::new(dir.path().join("dev"))).await.unwrap();
    let client = cluster.host.clone();
    let registry = Registry::start(&cluster, dir.path()).await;
    let host = Host::start(context(&cluster, dir.path(), &registry.url));
    prepare(&client).await;
    create::<DpuSet>(&client, dpu_set("racks", None, json!({"drain": true}))).await;

    let dpus = all_ready(&client, 4).await;
    let images: Vec<Bfb> = all(&client).await;
    let image = images[0].status.clone().unwrap();
    assert_eq!(image.phase, BfbPhase::Ready);
    assert_eq!(image.versions.unwrap().doca.as_deref(), Some("2.9.0"));
    assert!(image.checksum.unwrap().starts_with("sha256:"));
    hosts_are_as_before(&client).await;

    for dpu in &dpus {
        let nodes: Api<Node> = Api::all(cluster.dpu.clone());
        let node = nodes.get(&dpu.name_any()).await.unwrap();
        assert_eq!(node.labels()["example.com/service"], "v1");
        assert_eq!(node.labels()[labels::NODE_HOST], dpu.spec.dpu_node_name);
        assert_eq!(node.labels()[labels::DPF_VERSION], "v0.0.0-test");
        let status = dpu.status.clone().unwrap();
        assert!(!status.addresses.unwrap().is_empty());
        assert_eq!(status.redfish_task_id, None);
    }
    let tokens: Vec<Secret> = all(&cluster.dpu).await;
    assert!(
        !tokens
            .iter()
            .any(|s| s.name_any().starts_with("bootstrap-token-")),
        "bootstrap tokens are revoked after use"
    );

    // A change of labels reaches the nodes without another installation.
    let change = json!({"spec": {"dpuTemplate": {"spec": {
        "nodeEffect": {"applyOnLabelChange": true},
        "cluster": {"nodeLabels": {"example.com/service": "v2"}}
    }}}});
    patch::<DpuSet>(&client, NAMESPACE, "racks", change).await;
    eventually("the new label is on every node", async || {
        let nodes: Vec<Node> = all(&cluster.dpu).await;
        let done = nodes
            .iter()
            .filter(|n| {
                n.labels()
                    .get("example.com/service")
                    .is_some_and(|v| v == "v2")
            })
            .count();
        if done == 4 {
            Ok(())
        } else {
            Err(format!("{done} of 4"))
        }
    })
    .await;
    let after = all_ready(&client, 4).await;
    for (before, after) in dpus.iter().zip(&after) {
        assert_eq!(before.uid(), after.uid(), "not replaced");
    }
    hosts_are_as_before(&client).await;

    // The image is used: it stays until the DPUs are gone.
    let bfbs: Api<Bfb> = Api::namespaced(client.clone(), NAMESPACE);
    bfbs.delete("image", &DeleteParams::default())
        .await
        .unwrap();
    eventually("deletion of the image names its users", async || {
        let bfb = bfbs.get("image").await.unwrap();
        let conditions = bfb.status.and_then(|s| s.conditions).unwrap_or_default();
        match conditions.iter().find(|c| c.type_ == "Deleted") {
            Some(c) if c.message.contains("DPUSet racks") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    delete_set(&client, "racks").await;
    hosts_are_as_before(&client).await;
    assert!(
        all::<Node>(&cluster.dpu).await.is_empty(),
        "nodes go with their DPUs"
    );
    host.stop().await;
    registry.stop().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_are_survived_and_devices_are_never_shared() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(Options::new(dir.path().join("dev"))).await.unwrap();
    let client = cluster.host.clone();
    let registry = Registry::start(&cluster, dir.path()).await;
    let mut host = Host::start(context(&cluster, dir.path(), &registry.url));
    prepare(&client).await;
    let set = dpu_set("racks", Some("0000:0e:00.0"), json!({"noEffect": true}));
    create::<DpuSet>(&client, set).await;

    // Killed whenever a phase was left, until everything runs.
    let mut before = Vec::new();
    loop {
        let phases = eventually("a phase is left", async || {
            let now = phases(&client).await;
            if now == before {
                Err(format!("{now:?}"))
            } else {
                Ok(now)
            }
        })
        .await;
        if phases == [DpuPhase::Ready, DpuPhase::Ready] {
            break;
        }
        assert!(!phases.contains(&DpuPhase::Error), "{phases:?}");
        before = phases;
        host = host.crash_and_restart().await;
    }
    let dpus = all_ready(&client, 2).await;
    let on: Vec<_> = dpus.iter().map(|d| d.spec.dpu_node_name.clone()).collect();
    assert_eq!(
        on,
        ["worker-1", "worker-3"],
        "both spellings of a PCI address select"
    );
    for dpu in &dpus {
        assert_eq!(
            installations_of(&client, dpu).await,
            1,
            "{}",
            dpu.name_any()
        );
    }

    // Another set that selects the same devices gets none of them and says whose they are.
    create::<DpuSet>(
        &client,
        dpu_set("others", Some("0000-0e-00"), json!({"noEffect": true})),
    )
    .await;
    eventually("the conflict is reported", async || {
        let sets: Api<DpuSet> = Api::namespaced(client.clone(), NAMESPACE);
        let set = sets.get("others").await.unwrap();
        let conditions = set.status.and_then(|s| s.conditions).unwrap_or_default();
        match conditions.iter().find(|c| c.type_ == "Ready") {
            Some(c) if c.message.contains("/racks") && c.message.contains("/others") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(all::<Dpu>(&client).await.len(), 2);
    delete_set(&client, "others").await;
    delete_set(&client, "racks").await;
    host.stop().await;
    registry.stop().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_and_an_external_reboot_wait_for_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        dpus: 1,
        ..Options::new(dir.path().join("dev"))
    };
    let cluster = start(options).await.unwrap();
    let client = cluster.host.clone();
    let registry = Registry::start(&cluster, dir.path()).await;
    let host = Host::start(context(&cluster, dir.path(), &registry.url));
    prepare(&client).await;
    let external = json!({"spec": {"nodeRebootMethod": {"external": {}, "hostAgent": null}}});
    patch::<DpuNode>(&client, INVENTORY, "worker-1", external).await;
    create::<DpuSet>(&client, dpu_set("racks", None, json!({"hold": true}))).await;

    let key = annotations::WAIT_FOR_EXTERNAL_NODEEFFECT;
    let held: Api<DpuNodeMaintenance> = Api::namespaced(client.clone(), INVENTORY);
    eventually("the host is held", async || {
        match held.get_opt("worker-1-hold").await.unwrap() {
            Some(object) if object.annotations().get(key).is_some_and(|v| v == "true") => Ok(()),
            other => Err(format!("{:?}", other.map(|o| o.status))),
        }
    })
    .await;
    let release = json!({"metadata": {"annotations": {key: "false"}}});
    patch::<DpuNodeMaintenance>(&client, INVENTORY, "worker-1-hold", release).await;

    let key = annotations::EXTERNAL_REBOOT_REQUIRED;
    let nodes: Api<DpuNode> = Api::namespaced(client.clone(), INVENTORY);
    eventually("a restart is asked for", async || {
        let node = nodes.get("worker-1").await.unwrap();
        let asked = node.annotations().contains_key(key);
        let dpus: Vec<Dpu> = all(&client).await;
        let phase = dpus[0].status.clone().unwrap_or_default().phase;
        if asked && phase == DpuPhase::Rebooting {
            Ok(())
        } else {
            Err(phase.to_string())
        }
    })
    .await;
    let done = json!({"metadata": {"annotations": {key: null}}});
    patch::<DpuNode>(&client, INVENTORY, "worker-1", done).await;
    all_ready(&client, 1).await;
    hosts_are_as_before(&client).await;
    delete_set(&client, "racks").await;
    host.stop().await;
    registry.stop().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_installation_is_tried_again_and_then_waits_for_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        dpus: 1,
        ..Options::new(dir.path().join("dev"))
    };
    let cluster = start(options).await.unwrap();
    let client = cluster.host.clone();
    let registry = Registry::start(&cluster, dir.path()).await;
    let host = Host::start(context(&cluster, dir.path(), &registry.url));
    prepare(&client).await;
    create::<DpuSet>(&client, dpu_set("racks", None, json!({"drain": true}))).await;
    let failed = eventually("the DPU gives up", async || {
        cluster.bmcs[0].fail_next_install(InstallFault::Exception("no space left".to_owned()));
        let dpus: Vec<Dpu> = all(&client).await;
        let failed = dpus.into_iter().find(|dpu| {
            dpu.status
                .as_ref()
                .is_some_and(|s| s.phase == DpuPhase::Error)
        });
        failed.ok_or_else(|| "no DPU is in Error".to_owned())
    })
    .await;
    assert_eq!(installations_of(&client, &failed).await, 3);
    let conditions = failed.status.clone().unwrap().conditions.unwrap();
    let error = conditions.iter().find(|c| c.type_ == "Error").unwrap();
    assert!(
        error.message.contains("no space left") && error.message.contains(annotations::RETRY),
        "{}",
        error.message
    );
    hosts_are_as_before(&client).await;

    let retry = json!({"metadata": {"annotations": {annotations::RETRY: "true"}}});
    patch::<Dpu>(&client, NAMESPACE, &failed.name_any(), retry).await;
    let dpus = all_ready(&client, 1).await;
    assert_eq!(dpus[0].uid(), failed.uid());
    assert!(!dpus[0].annotations().contains_key(annotations::RETRY));
    delete_set(&client, "racks").await;
    host.stop().await;
    registry.stop().await;
    cluster.shutdown().await;
}

//! In-cluster services find their hosts: the real controller against the management cluster of a development cluster.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

use dpf_api::keys::managers;
use dpf_api::provisioning::{DpuNodeMaintenance, DpuSet};
use dpf_api::svc::{DpuDeployment, DpuService};
use dpf_core::dpuplugin::CallLimits;
use dpf_devcluster::{DevCluster, Options, start};
use dpf_engine::{Engine, EngineOptions};
use dpf_host::kit::{Clock, Context, DpuClusters, Mirrors, Settings, Shutdown};
use dpf_host::plugins::PluginSettings;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::wait::await_condition;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const NAMESPACE: &str = "customer-namespace";
const INVENTORY: &str = "dpf-operator-system";
const OWNER: &str = "customer-namespace_producer-consumer";
/// The key of service `observer` of deployment `producer-consumer`.
const KEY: &str = "svc.dpu.nvidia.com/dpuservice-in-cluster-version-71aa5e755a";
const RACK: &str = "datacenter.nvidia.com/rack";
/// Everything that is waited for happens within this time, or the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

fn context(cluster: &DevCluster) -> Arc<Context> {
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
        clock: Clock::default(),
        settings: Settings {
            operator_namespace: INVENTORY.to_owned(),
            inventory_namespace: INVENTORY.to_owned(),
            bfb_dir: std::path::PathBuf::new(),
            registry_url: String::new(),
            mirrors: Mirrors::default(),
            plugins: PluginSettings::new(None, CallLimits::default()).unwrap(),
            version: "v0.0.0-test".to_owned(),
        },
        client,
    })
}

async fn create<K>(client: &Client, namespace: &str, name: &str, labels: Value, spec: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let object: K = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "finalizers": ["test/held"]},
        "spec": spec
    }))
    .unwrap();
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &object).await.unwrap();
}

async fn service(client: &Client, name: &str) {
    create::<DpuService>(
        client,
        NAMESPACE,
        name,
        json!({"svc.dpu.nvidia.com/owned-by-dpudeployment": OWNER}),
        json!({"helmChart": {"source": {"repoURL": "oci://a/b", "version": "1"}}, "deployInCluster": true}),
    )
    .await;
}

/// Waits until the node has this value under the key of the service, or no value.
async fn labelled(client: &Client, name: &str, value: Option<&str>) -> Node {
    let nodes: Api<Node> = Api::all(client.clone());
    let reached = await_condition(nodes.clone(), name, |node: Option<&Node>| {
        node.is_some_and(|node| node.labels().get(KEY).map(String::as_str) == value)
    });
    match tokio::time::timeout(DEADLINE, reached).await {
        Ok(node) => node.unwrap().unwrap(),
        Err(_) => {
            let last = nodes.get(name).await.unwrap();
            panic!("node {name} has labels {:?}, not {value:?}", last.labels());
        }
    }
}

async fn label_node(client: &Client, name: &str, labels: Value) {
    let nodes: Api<Node> = Api::all(client.clone());
    let patch = json!({"metadata": {"labels": labels}});
    let params = PatchParams::default();
    nodes
        .patch(name, &params, &Patch::Merge(&patch))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_follow_hosts_maintenances_and_deletion() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    options.dpus = 2;
    let cluster = start(options).await.unwrap();
    let client = cluster.host.clone();
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": NAMESPACE}})).unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let context = context(&cluster);
    let stop = Shutdown::new();
    let mut controllers = JoinSet::new();
    controllers.spawn(dpf_host::incluster::run(context.clone(), stop.clone()));
    controllers.spawn(dpf_host::dpunode::run(context.clone(), stop.clone()));

    first_label(&client).await;
    rollout(&client).await;
    moves_with_the_host(&client).await;
    goes_with_the_deployment(&client).await;

    stop.cancel();
    while let Some(ended) = controllers.join_next().await {
        ended.unwrap();
    }
    cluster.shutdown().await;
}

/// Without any node effect, and only on the host whose DPU the deployment selects.
async fn first_label(client: &Client) {
    label_node(client, "worker-2", json!({KEY: "left-behind"})).await;
    create::<DpuDeployment>(
        client,
        NAMESPACE,
        "producer-consumer",
        json!({}),
        json!({
            "dpus": {"bfb": "b", "flavor": "f", "dpuSets": [{
                "nameSuffix": "s", "nodeSelector": {"matchExpressions": [
                    {"key": RACK, "operator": "In", "values": ["b-100", "b-101"]}
                ]},
                "dpuSelector": {"provisioning.dpu.nvidia.com/dpudevice-pciAddress": "0000:0e:00.0"}
            }]},
            "services": {"observer": {"serviceTemplate": "t", "serviceConfiguration": "c"}}
        }),
    )
    .await;
    service(client, "observer-bbbbb").await;
    let node = labelled(client, "worker-1", Some("observer-bbbbb")).await;
    let managers_of_node = node.metadata.managed_fields.unwrap_or_default();
    assert!(
        managers_of_node
            .iter()
            .any(|entry| entry.manager.as_deref() == Some(managers::DPUDEPLOYMENT_NODE)),
        "{managers_of_node:?}"
    );
    labelled(client, "worker-2", None).await;
}

/// The second revision takes over when its requestor holds the host, and lets go of it.
async fn rollout(client: &Client) {
    let next = format!("{OWNER}_observer-ccccc");
    create::<DpuNodeMaintenance>(
        client,
        INVENTORY,
        "worker-1-hold",
        json!({}),
        json!({"dpuNodeName": "worker-1", "requestor": ["worker-1-mt2550xz0001", next, "stranger"]}),
    )
    .await;
    service(client, "observer-ccccc").await;
    // As the deployment leaves it: the sets name the current revision.
    create::<DpuSet>(
        client,
        NAMESPACE,
        "producer-consumer-s",
        json!({"svc.dpu.nvidia.com/owned-by-dpudeployment": OWNER}),
        json!({"dpuTemplate": {"spec": {
            "bfb": {"name": "b"}, "dpuFlavor": "f", "cluster": {"nodeLabels": {KEY: "observer-ccccc"}}
        }}}),
    )
    .await;
    let maintenances: Api<DpuNodeMaintenance> = Api::namespaced(client.clone(), INVENTORY);
    let nodes: Api<Node> = Api::all(client.clone());
    let node = nodes.get("worker-1").await.unwrap();
    assert_eq!(node.labels()[KEY], "observer-bbbbb", "not in force yet");
    let applied = json!({"status": {"conditions": [{
        "type": "NodeEffectApplied", "status": "True", "reason": "Success", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"
    }]}});
    let params = PatchParams::default();
    maintenances
        .patch_status("worker-1-hold", &params, &Patch::Merge(&applied))
        .await
        .unwrap();
    let released = await_condition(
        maintenances,
        "worker-1-hold",
        |object: Option<&DpuNodeMaintenance>| {
            object.is_some_and(|object| {
                object.spec.requestor.as_deref()
                    == Some(&["worker-1-mt2550xz0001".to_owned(), "stranger".to_owned()])
            })
        },
    );
    tokio::time::timeout(DEADLINE, released)
        .await
        .unwrap()
        .unwrap();
    let node = nodes.get("worker-1").await.unwrap();
    assert_eq!(node.labels()[KEY], "observer-ccccc", "the node comes first");
}

async fn moves_with_the_host(client: &Client) {
    label_node(client, "worker-1", json!({RACK: "b-999"})).await;
    labelled(client, "worker-1", None).await;
    label_node(client, "worker-1", json!({RACK: "b-100"})).await;
    labelled(client, "worker-1", Some("observer-ccccc")).await;
}

/// The finalizer keeps deployment and services, so that the label goes before them.
async fn goes_with_the_deployment(client: &Client) {
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    deployments
        .delete("producer-consumer", &DeleteParams::default())
        .await
        .unwrap();
    labelled(client, "worker-1", None).await;
    assert!(deployments.get("producer-consumer").await.is_ok());
}

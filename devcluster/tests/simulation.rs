//! The whole simulation over its protocols: what a controller would do, done by hand.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like tests"
)]

use dpf_api::svc::{ServiceChain, ServiceInterface};
use dpf_devcluster::argocd::Application;
use dpf_devcluster::bmc::InstallFault;
use dpf_devcluster::images::{Versions, image};
use dpf_devcluster::servers::{Handler, Listener, body};
use dpf_devcluster::{DevCluster, Options, start};
use futures::FutureExt as _;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::runtime::wait::{Condition, await_condition, conditions};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Nothing in here takes a tenth of this.
const DEADLINE: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "customer";
const NODE: &str = "worker-1-mt2550xz0001";

async fn wait<K>(api: Api<K>, name: &str, what: &str, condition: impl Condition<K>) -> Option<K>
where
    K: Resource + Clone + Debug + Send + DeserializeOwned + 'static,
{
    let waiting = await_condition(api.clone(), name, condition);
    match tokio::time::timeout(DEADLINE, waiting).await {
        Ok(result) => result.unwrap(),
        Err(_) => panic!("{name} is not {what}: {:?}", api.get_opt(name).await),
    }
}

fn status_at<K: serde::Serialize>(object: &K, pointer: &str) -> Value {
    json!(object).pointer(pointer).cloned().unwrap_or_default()
}

async fn create<K>(client: &Client, object: Value) -> K
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + serde::Serialize,
{
    let object: K = from_value(object).unwrap();
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap());
    api.create(&PostParams::default(), &object).await.unwrap()
}

async fn namespace(client: &Client) {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = from_value(json!({"metadata": {"name": NAMESPACE}})).unwrap();
    api.create(&PostParams::default(), &namespace)
        .await
        .unwrap();
}

async fn cluster() -> (DevCluster, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        dpus: 2,
        ..Options::new(directory.path())
    };
    let cluster = start(options).await.unwrap();
    namespace(&cluster.dpu).await;
    (cluster, directory)
}

/// URL of the DPU cluster as a kubeconfig names it.
fn api_server(kubeconfig: &std::path::Path) -> String {
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    let line = text
        .lines()
        .find(|line| line.trim().starts_with("server:"))
        .unwrap();
    line.trim().trim_start_matches("server:").trim().to_owned()
}

/// The first DPU, through its BMC: address and password as the inventory says.
async fn redfish(cluster: &DevCluster) -> (String, String) {
    let kind = GroupVersionKind::gvk("provisioning.dpu.nvidia.com", "v1alpha1", "DPUDevice");
    let kind = kube::api::ApiResource::from_gvk(&kind);
    let devices: Api<DynamicObject> =
        Api::namespaced_with(cluster.host.clone(), "dpf-operator-system", &kind);
    let device = devices.get("mt2550xz0001").await.unwrap();
    assert_eq!(device.data["status"]["pciAddress"], "0000-0e-00");
    let (ip, port) = (
        &device.data["spec"]["bmcIp"],
        &device.data["spec"]["bmcPort"],
    );
    let secrets: Api<Secret> = Api::namespaced(cluster.host.clone(), "dpf-operator-system");
    let secret = secrets.get("bmc-shared-password").await.unwrap();
    let password = String::from_utf8(secret.data.unwrap()["password"].0.clone()).unwrap();
    (
        format!("http://{}:{port}/redfish/v1", ip.as_str().unwrap()),
        password,
    )
}

/// Installs an image on the first DPU; the state in which the task ends.
async fn install(cluster: &DevCluster, token: &str) -> Value {
    let block = format!(
        "# dpf:begin 1\n# dpf:node-name={NODE}\n# dpf:dpu-namespace=ns\n# dpf:dpu-name={NODE}\n# dpf:dpu-uid=u1\n\
         # dpf:api-server={}\n# dpf:token={token}\n# dpf:flavor=f\n# dpf:end\n",
        api_server(&cluster.dpu_kubeconfig)
    );
    let versions = Versions::of_bundle("bf-bundle-2.9.0-33_x.bfb").unwrap();
    let bytes = [image(&versions).to_vec(), block.into_bytes()].concat();
    let handler: Handler = Arc::new(move |_| {
        let answer = body(
            hyper::StatusCode::OK,
            "application/octet-stream",
            bytes.clone(),
        );
        std::future::ready(answer).boxed()
    });
    let registry = Listener::bind().await.unwrap();
    let uri = format!("{}/bfb", registry.url());
    let stop = CancellationToken::new();
    let server = tokio::spawn(registry.serve(stop.clone(), handler));
    let (base, password) = redfish(cluster).await;
    let http = reqwest::Client::new();
    let rshim = json!({"BmcRShim": {"BmcRShimEnabled": true}});
    let manager = http.patch(format!("{base}/Managers/Bluefield_BMC/Oem/Nvidia"));
    manager
        .basic_auth("root", Some(&password))
        .json(&rshim)
        .send()
        .await
        .unwrap();
    let update = json!({"ImageURI": uri, "TransferProtocol": "HTTP",
        "Targets": ["redfish/v1/UpdateService/FirmwareInventory/DPU_OS"]});
    let action = http.post(format!(
        "{base}/UpdateService/Actions/UpdateService.SimpleUpdate"
    ));
    let answer = action
        .basic_auth("root", Some(&password))
        .json(&update)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    let task: Value = answer.json().await.unwrap();
    let link = format!("{base}/TaskService/Tasks/{}", task["Id"].as_str().unwrap());
    let state = loop {
        let request = http.get(&link).basic_auth("root", Some(&password));
        let task: Value = request.send().await.unwrap().json().await.unwrap();
        if task["TaskState"] != "Running" {
            break task["TaskState"].clone();
        }
        tokio::task::yield_now().await;
    };
    stop.cancel();
    server.await.unwrap();
    state
}

async fn token(cluster: &DevCluster) {
    let secret = json!({
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef"}
    });
    create::<Secret>(&cluster.dpu, secret).await;
}

const TOKEN: &str = "abcdef.0123456789abcdef";

fn node_ready(node: Option<&Node>) -> bool {
    let conditions = node
        .and_then(|n| n.status.as_ref())
        .and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|list| {
        list.iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installed_dpu_joins_when_its_token_is_accepted() {
    let (cluster, _directory) = cluster().await;
    cluster.bmcs[0].fail_next_install(InstallFault::Exception("worn out".to_owned()));
    assert_eq!(install(&cluster, TOKEN).await, "Exception");
    assert_eq!(install(&cluster, TOKEN).await, "Completed");
    let nodes: Api<Node> = Api::all(cluster.dpu.clone());
    assert!(
        nodes.get_opt(NODE).await.unwrap().is_none(),
        "nobody made the token yet"
    );
    token(&cluster).await;
    let node = wait(nodes, NODE, "ready", node_ready).await.unwrap();
    let addresses = status_at(&node, "/status/addresses");
    assert_eq!(
        addresses[0],
        json!({"type": "InternalIP", "address": "10.1.0.1"})
    );
    assert_eq!(node.labels()["kubernetes.io/arch"], "arm64");
    cluster.shutdown().await;
}

fn application(name: &str, chart: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {
            "name": name, "namespace": "dpf-operator-system",
            "finalizers": ["resources-finalizer.argocd.argoproj.io"]
        },
        "spec": {
            "project": "doca-platform-project-dpu",
            "source": {
                "repoURL": "https://example.com/charts", "path": chart, "targetRevision": "v0.0.1",
                "helm": {"releaseName": "", "valuesObject": {"serviceDaemonSet": {
                    "labels": {"svc.dpu.nvidia.com/service": "id1"},
                    "nodeSelector": {"nodeSelectorTerms": [{"matchExpressions":
                        [{"key": "revision", "operator": "In", "values": ["one"]}]}]}
                }}}
            },
            "destination": {"name": "dpu-cluster", "namespace": NAMESPACE},
            "syncPolicy": {"automated": {"prune": true, "selfHeal": true}}
        }
    })
}

fn health(expected: &'static str) -> impl Condition<Application> {
    move |application: Option<&Application>| {
        application.is_some_and(|a| status_at(a, "/status/health/status") == expected)
    }
}

async fn join_by_hand(cluster: &DevCluster, labels: Value) {
    let machine = dpf_devcluster::kubelet::Machine {
        name: NODE.to_owned(),
        address: std::net::Ipv4Addr::new(10, 1, 0, 1),
        architecture: "arm64",
        labels: from_value(labels).unwrap(),
        capacity: Default::default(),
    };
    dpf_devcluster::kubelet::register(&cluster.dpu, &machine)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_become_pods_and_go_again() {
    let (cluster, _directory) = cluster().await;
    join_by_hand(&cluster, json!({"revision": "one"})).await;
    let applications: Api<Application> =
        Api::namespaced(cluster.host.clone(), "dpf-operator-system");
    let name = "dpu-cluster-producer-abcde";
    create::<Application>(&cluster.host, application(name, "producer")).await;
    let healthy = wait(applications.clone(), name, "healthy", health("Healthy"))
        .await
        .unwrap();
    assert_eq!(status_at(&healthy, "/status/sync/status"), "Synced");
    let pods: Api<Pod> = Api::namespaced(cluster.dpu.clone(), NAMESPACE);
    let of_service = ListParams::default().labels("svc.dpu.nvidia.com/service=id1");
    // Healthy may be said of a DaemonSet whose nodes were not counted yet, as by the real one: wait for the pod itself.
    let sets: Api<DaemonSet> = Api::namespaced(cluster.dpu.clone(), NAMESPACE);
    let ready =
        |set: Option<&DaemonSet>| set.is_some_and(|s| status_at(s, "/status/numberReady") == 1);
    wait(sets.clone(), name, "ready", ready).await;
    let pod = pods.list(&of_service).await.unwrap().items.remove(0);
    assert_eq!(status_at(&pod, "/spec/nodeName"), NODE);
    assert_eq!(status_at(&pod, "/status/phase"), "Running");

    // The node moves to another revision, and the pod leaves it.
    let nodes: Api<Node> = Api::all(cluster.dpu.clone());
    let moved = Patch::Merge(json!({"metadata": {"labels": {"revision": "two"}}}));
    nodes
        .patch(NODE, &PatchParams::default(), &moved)
        .await
        .unwrap();
    let uid = pod.uid().unwrap();
    wait(
        pods.clone(),
        &pod.name_any(),
        "gone",
        conditions::is_deleted(&uid),
    )
    .await;

    create::<Application>(&cluster.host, application("wrong", "no-such-chart")).await;
    let wrong = wait(
        applications.clone(),
        "wrong",
        "degraded",
        health("Degraded"),
    )
    .await
    .unwrap();
    let message = status_at(&wrong, "/status/conditions/0/message");
    assert!(
        message.as_str().unwrap().contains("consumer, producer"),
        "{message}"
    );
    // Corrected, it says nothing of what was wrong: a status that keeps an old message would be written for ever.
    let right = Patch::Merge(json!({"spec": {"source": {"path": "producer"}}}));
    applications
        .patch("wrong", &PatchParams::default(), &right)
        .await
        .unwrap();
    let corrected = wait(
        applications.clone(),
        "wrong",
        "corrected",
        health("Healthy"),
    )
    .await
    .unwrap();
    assert_eq!(
        status_at(&corrected, "/status/health"),
        json!({"status": "Healthy"})
    );
    assert_eq!(status_at(&corrected, "/status/conditions"), json!([]));

    for name in [name, "wrong"] {
        let uid = applications.get(name).await.unwrap().uid().unwrap();
        applications
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
        wait(
            applications.clone(),
            name,
            "gone",
            conditions::is_deleted(&uid),
        )
        .await;
    }
    assert_eq!(
        sets.list(&ListParams::default()).await.unwrap().items.len(),
        0
    );
    cluster.shutdown().await;
}

fn interface(name: &str) -> Value {
    json!({
        "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "ServiceInterface",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"svc.dpu.nvidia.com/interface": name}},
        "spec": {"node": NODE, "interfaceType": "service",
            "service": {"serviceID": "id1", "network": "mynad", "interfaceName": "eth1"}}
    })
}

fn ready_is<K: serde::Serialize>(expected: &'static str) -> impl Fn(Option<&K>) -> bool {
    move |object| {
        let conditions = object.map(|o| status_at(o, "/status/conditions"));
        let conditions = conditions.as_ref().and_then(Value::as_array);
        conditions.is_some_and(|list| {
            list.iter()
                .any(|c| c["type"] == "Ready" && c["status"] == expected)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_take_interfaces_and_chains_of_their_node_and_release_them() {
    let (cluster, _directory) = cluster().await;
    let port = |name: &str| json!({"serviceInterface": {"matchLabels": {"svc.dpu.nvidia.com/interface": name}}});
    let chain = json!({
        "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "ServiceChain",
        "metadata": {"name": "chain", "namespace": NAMESPACE},
        "spec": {"node": NODE, "switches": [{"ports": [port("a"), port("b")]}]}
    });
    create::<ServiceInterface>(&cluster.dpu, interface("a")).await;
    create::<ServiceChain>(&cluster.dpu, chain).await;
    let chains: Api<ServiceChain> = Api::namespaced(cluster.dpu.clone(), NAMESPACE);
    let interfaces: Api<ServiceInterface> = Api::namespaced(cluster.dpu.clone(), NAMESPACE);
    join_by_hand(&cluster, json!({})).await;
    let open = wait(chains.clone(), "chain", "refused", ready_is("False"))
        .await
        .unwrap();
    let message = status_at(&open, "/status/conditions/1/message");
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("svc.dpu.nvidia.com/interface=b"),
        "{message}"
    );
    create::<ServiceInterface>(&cluster.dpu, interface("b")).await;
    let done = wait(chains.clone(), "chain", "ready", ready_is("True"))
        .await
        .unwrap();
    assert_eq!(
        done.finalizers(),
        ["svc.dpu.nvidia.com/ServiceChain-finalizer"]
    );

    // The Node is gone, the system on the DPU still runs: nothing hangs.
    let nodes: Api<Node> = Api::all(cluster.dpu.clone());
    nodes.delete(NODE, &DeleteParams::default()).await.unwrap();
    let uid = done.uid().unwrap();
    chains
        .delete("chain", &DeleteParams::default())
        .await
        .unwrap();
    wait(chains, "chain", "gone", conditions::is_deleted(&uid)).await;
    let uid = interfaces.get("a").await.unwrap().uid().unwrap();
    interfaces
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    wait(interfaces, "a", "gone", conditions::is_deleted(&uid)).await;
    cluster.shutdown().await;
}

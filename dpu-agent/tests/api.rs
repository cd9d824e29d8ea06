//! The whole agent: the binary, an API server with enforced rights, a real switch.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "helpers of tests: a panic is a failed test with a line number"
)]

mod support;

use dpf_api::svc::{ServiceChain, ServiceInterface};
use dpf_apiserver::{ApiServer, Listening, Options, Tls, Token};
use dpf_ovs_sandbox::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Flood, NAMESPACE, NODE, Node, SOON, isolated, reaches, skipped};

const AGENT: &str = "system:serviceaccount:dpf-operator-system:dpu-agent";

/// An API server that can go away and come back under the same address.
struct Cluster {
    server: ApiServer,
    listening: Option<Listening>,
    address: SocketAddr,
    client: Client,
}

impl Cluster {
    async fn start() -> Self {
        let agent = Token {
            secret: "agent".to_owned(),
            user: AGENT.to_owned(),
            groups: vec![],
        };
        let server = ApiServer::new(Options {
            tokens: vec![agent],
            anonymous: false,
            ..Options::default()
        });
        let client = Client::new(server.service(), "default");
        let listening = server
            .listen(([127, 0, 0, 1], 0).into(), Tls::Plain)
            .await
            .unwrap();
        let cluster = Self {
            address: listening.local_addr(),
            listening: Some(listening),
            server,
            client,
        };
        for crd in dpf_api::all_crds() {
            cluster.apply(serde_json::to_value(crd).unwrap()).await;
        }
        for name in ["dpf-operator-system", NAMESPACE] {
            cluster
                .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
                .await;
        }
        cluster
            .apply(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}))
            .await;
        let rights = std::fs::read_to_string("../deploy/dpu-agent/rbac.yaml").unwrap();
        for document in rights.split("\n---\n") {
            cluster
                .apply(serde_saphyr::from_str(document).unwrap())
                .await;
        }
        cluster
    }

    async fn apply(&self, object: Value) {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (api_version, kind) = if kind.is_empty() {
            (
                "apiextensions.k8s.io/v1".to_owned(),
                "CustomResourceDefinition".to_owned(),
            )
        } else {
            (api_version, kind)
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap();
        let api: Api<DynamicObject> = match metadata["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let mut object = object.clone();
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        let params = PatchParams::apply("test").force();
        api.patch(name, &params, &Patch::Apply(object))
            .await
            .unwrap();
    }

    async fn go(&mut self) {
        self.listening.take().unwrap().stop().await;
    }

    async fn come_back(&mut self) {
        self.listening = Some(self.server.listen(self.address, Tls::Plain).await.unwrap());
    }

    fn chains(&self) -> Api<ServiceChain> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn interfaces(&self) -> Api<ServiceInterface> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Applies what the node should have.
    async fn publish(&self, node: &Node) {
        for (key, pod) in &node.wanted.pods {
            self.apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": key.name, "namespace": NAMESPACE,
                "labels": {"svc.dpu.nvidia.com/service": pod.service_id}},
                "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "i"}]}}))
                .await;
        }
        for interface in node.wanted.interfaces.values() {
            self.apply(bare(serde_json::to_value(interface).unwrap()))
                .await;
        }
        for chain in node.wanted.chains.values() {
            self.apply(bare(serde_json::to_value(chain).unwrap())).await;
        }
    }

    async fn ready(&self, name: &str) {
        let deadline = Instant::now() + SOON;
        loop {
            let chain = self.chains().get(name).await.unwrap();
            let status = chain.status.clone().unwrap_or_default();
            let conditions = status.conditions.unwrap_or_default();
            let current = status.observed_generation == chain.metadata.generation;
            if current && conditions.len() == 2 && conditions.iter().all(|c| is_true(c, &chain)) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{name} is not ready: {conditions:#?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn is_true(condition: &Condition, chain: &ServiceChain) -> bool {
    condition.status == "True" && condition.observed_generation == chain.metadata.generation
}

fn bare(mut object: Value) -> Value {
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("generation");
    object
}

/// The binary; it goes with the value.
struct Agent(Child);

impl Agent {
    fn start(run_dir: &Path, kubeconfig: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_dpu-agent"))
            .args(["run", "--node", NODE, "--port-type", "system"])
            .arg("--ovs-run-dir")
            .arg(run_dir)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .stdin(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // SIGKILL: it has no chance to tidy up.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn setup() -> (Cluster, Node, PathBuf) {
    let cluster = Cluster::start().await;
    let mut node = Node::start().await;
    node.kill_agent().await;
    let kubeconfig = node.sandbox.directory().join("kubeconfig");
    let text = cluster.listening.as_ref().unwrap().kubeconfig("agent");
    std::fs::write(&kubeconfig, text).unwrap();
    (cluster, node, kubeconfig)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_become_paths_and_paths_outlive_the_agent_and_the_api_server() {
    if skipped() {
        return;
    }
    let (mut cluster, mut node, kubeconfig) = setup().await;
    let agent = Agent::start(node.sandbox.directory(), &kubeconfig);
    let a = node.service("a", "10.8.0.1/24");
    let b = node.service("b", "10.8.0.2/24");
    node.chain("c", &[&["a", "b"]]);
    cluster.publish(&node).await;
    // Nobody's business here: a chain of another node.
    let mut elsewhere =
        bare(serde_json::to_value(node.wanted.chains.values().next().unwrap()).unwrap());
    elsewhere["metadata"]["name"] = json!("elsewhere");
    elsewhere["spec"]["node"] = json!("dpu-2");
    cluster.apply(elsewhere).await;
    cluster.ready("c").await;
    assert!(reaches(&a, "10.8.0.2"));
    let interface = cluster.interfaces().get("a").await.unwrap();
    assert_eq!(
        interface.finalizers(),
        ["svc.dpu.nvidia.com/ServiceInterface-finalizer"]
    );

    // The API server goes, then the agent is killed, and a new one starts without an API server.
    let flood = Flood::start(&a, "10.8.0.2", 3000);
    cluster.go().await;
    drop(agent);
    let _agent = Agent::start(node.sandbox.directory(), &kubeconfig);
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.come_back().await;
    let c = node.service("c", "10.8.0.3/24");
    node.chain("c", &[&["a", "b", "c"]]);
    cluster.publish(&node).await;
    cluster.ready("c").await;
    assert!(reaches(&c, "10.8.0.1") && reaches(&b, "10.8.0.3"));
    assert_eq!(flood.finish().await, (3000, 3000));

    // What is wrong is said where the user looks, and the rest goes on.
    node.chain("c", &[&["a", "b", "nobody"]]);
    cluster.publish(&node).await;
    eventually(async || {
        let chain = cluster.chains().get("c").await.unwrap();
        let conditions = chain.status.unwrap().conditions.unwrap();
        conditions
            .iter()
            .any(|c| c.reason == "Error" && c.message.contains("labels(name=nobody)"))
    })
    .await;
    assert!(reaches(&a, "10.8.0.2") && isolated(&c, "10.8.0.1"));

    // Deleted objects go when nothing of them is left.
    cluster
        .chains()
        .delete("c", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .interfaces()
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    eventually(async || {
        let chain = cluster.chains().get_opt("c").await.unwrap();
        chain.is_none() && cluster.interfaces().get_opt("a").await.unwrap().is_none()
    })
    .await;
    let flows = node
        .sandbox
        .ofctl(&["dump-flows", "--no-stats"], "br-sfc", &[])
        .unwrap();
    assert!(!flows.contains("actions"), "{flows}");
    let elsewhere = cluster.chains().get("elsewhere").await.unwrap();
    assert!(elsewhere.status.is_none() && elsewhere.finalizers().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_replaced_keeps_its_place_in_the_chain() {
    if skipped() {
        return;
    }
    let (cluster, mut node, kubeconfig) = setup().await;
    let _agent = Agent::start(node.sandbox.directory(), &kubeconfig);
    let a = node.service("a", "10.9.0.1/24");
    let old = node.service("b", "10.9.0.2/24");
    node.chain("c", &[&["a", "b"]]);
    cluster.publish(&node).await;
    cluster.ready("c").await;
    assert!(reaches(&a, "10.9.0.2"));
    let pods: Api<k8s_openapi::api::core::v1::Pod> =
        Api::namespaced(cluster.client.clone(), NAMESPACE);
    pods.delete("b-x7k2p", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    node.sandbox.detach("rb").unwrap();
    drop(old);
    let new = Namespace::new(&format!("dpf-new-{}", std::process::id())).unwrap();
    let port = dpf_ovs_sandbox::PodPort {
        namespace: NAMESPACE,
        pod: "b-second",
        interface: "eth1",
        bridge: "br-sfc",
        address: Some("10.9.0.2/24"),
        mtu: 1400,
        representor: "rb2",
    };
    node.sandbox.attach(&new, &port).unwrap();
    let second: k8s_openapi::api::core::v1::Pod = serde_json::from_value(json!({
        "metadata": {"name": "b-second", "labels": {"svc.dpu.nvidia.com/service": "b"}},
        "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "i"}]}}))
    .unwrap();
    pods.create(&PostParams::default(), &second).await.unwrap();
    cluster.ready("c").await;
    eventually(async || {
        // A real CNI announces the new address to the neighbours.
        a.run("ip", &["neigh", "flush", "all"]).unwrap();
        reaches(&a, "10.9.0.2")
    })
    .await;
    assert!(
        new.run("ip", &["link", "show", "eth1"])
            .unwrap()
            .contains("mtu 1400")
    );
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

//! The kubelets of all nodes of a cluster: pods become ready, and go with their node.

use crate::kit::{Failed, While, optional, run};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// From a pod on a node to a container that runs.
const START: Duration = Duration::from_millis(200);
/// Version that the nodes report.
const VERSION: &str = "v1.34.2";

/// Runs until `stop`.
pub async fn simulate(client: Client, stop: CancellationToken) {
    let everything = watcher::Config::default;
    let pods: Api<Pod> = Api::all(client.clone());
    let nodes: Api<Node> = Api::all(client.clone());
    let controller = Controller::new(pods, everything());
    let known = controller.store();
    let controller = controller.watches(nodes, everything(), move |node| {
        let on_it = |pod: &Pod| node_of(pod) == Some(node.name_any().as_str());
        let all = known.state();
        all.iter()
            .filter(|pod| on_it(pod))
            .map(|pod| ObjectRef::from_obj(pod.as_ref()))
            .collect::<Vec<_>>()
    });
    run(controller, Arc::new(client), stop, reconcile).await;
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

async fn reconcile(pod: Arc<Pod>, client: Arc<Client>) -> Result<(), Failed> {
    let Some(node) = node_of(&pod) else {
        return Ok(());
    };
    let namespace = pod.namespace().unwrap_or_default();
    let name = pod.name_any();
    let pods: Api<Pod> = Api::namespaced(client.as_ref().clone(), &namespace);
    let nodes: Api<Node> = Api::all(client.as_ref().clone());
    let host = nodes
        .get_opt(node)
        .await
        .during(|| format!("read node {node}"))?;
    let (Some(host), None) = (host, &pod.metadata.deletion_timestamp) else {
        let now = DeleteParams::default().grace_period(0);
        optional(pods.delete(&name, &now).await)
            .during(|| format!("delete pod {namespace}/{name}"))?;
        return Ok(());
    };
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    if phase == Some("Running") {
        return Ok(());
    }
    tokio::time::sleep(START).await;
    let status = json!({"status": running(&pod, &host, Timestamp::now())});
    let patched = pods
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await;
    // A pod that was deleted meanwhile needs no status.
    optional(patched).during(|| format!("write status of pod {namespace}/{name}"))?;
    Ok(())
}

fn running(pod: &Pod, host: &Node, now: Timestamp) -> Value {
    let condition =
        |type_: &str| json!({"type": type_, "status": "True", "lastTransitionTime": now});
    let types = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];
    let containers = pod.spec.as_ref().map(|s| s.containers.as_slice());
    let containers = containers.unwrap_or_default().iter();
    let containers: Vec<_> = containers
        .map(|container| {
            json!({
                "name": container.name, "image": container.image, "imageID": "", "ready": true, "started": true,
                "restartCount": 0, "state": {"running": {"startedAt": now}}
            })
        })
        .collect();
    let address = |seed: &str, net: [u8; 2]| {
        let digest = crate::kit::suffix(&[seed], 8);
        let sum = digest.bytes().fold(7u16, |sum, b| {
            sum.wrapping_mul(31).wrapping_add(u16::from(b))
        });
        let [high, low] = sum.to_be_bytes();
        let [first, second] = net;
        Ipv4Addr::new(first, second, high, low.max(1)).to_string()
    };
    let pod_address = address(&pod.uid().unwrap_or_default(), [10, 244]);
    json!({
        "phase": "Running", "startTime": now, "qosClass": "Burstable",
        "conditions": types.map(condition), "containerStatuses": containers,
        "podIP": pod_address, "podIPs": [{"ip": pod_address}],
        "hostIP": internal_address(host),
    })
}

fn internal_address(node: &Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let internal = addresses.iter().find(|a| a.type_ == "InternalIP")?;
    Some(internal.address.clone())
}

/// A node that a kubelet registers.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Name of the node.
    pub name: String,
    /// Address of the node.
    pub address: Ipv4Addr,
    /// `amd64` or `arm64`.
    pub architecture: &'static str,
    /// Labels besides those that every kubelet sets.
    pub labels: BTreeMap<String, String>,
    /// What the node has.
    pub capacity: BTreeMap<String, String>,
}

/// Registers the node and reports it ready, as a kubelet does when it starts.
///
/// # Errors
/// When the API server refuses. If cancelled, the node may exist without a status; repeating completes it.
pub async fn register(client: &Client, machine: &Machine) -> Result<Node, Failed> {
    let nodes: Api<Node> = Api::all(client.clone());
    let name = machine.name.as_str();
    let mut labels = machine.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine.architecture),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    let manager = PatchParams::apply("kubelet").force();
    let node =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    nodes
        .patch(name, &manager, &Patch::Apply(node))
        .await
        .during(|| format!("register node {name}"))?;
    let now = Timestamp::now();
    let status = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": machine.address},
                {"type": "Hostname", "address": name}
            ],
            "capacity": machine.capacity, "allocatable": machine.capacity,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "kubelet is posting ready status", "lastTransitionTime": now, "lastHeartbeatTime": now
            }],
            "nodeInfo": {
                "architecture": machine.architecture, "operatingSystem": "linux", "kubeletVersion": VERSION,
                "kubeProxyVersion": VERSION, "osImage": "Ubuntu 22.04 (simulated)", "kernelVersion": "5.15.0-bluefield",
                "containerRuntimeVersion": "containerd://2.1.4", "machineID": name, "systemUUID": name, "bootID": name
            }
        }
    });
    nodes
        .patch_status(name, &manager, &Patch::Apply(status))
        .await
        .during(|| format!("report node {name} ready"))
}

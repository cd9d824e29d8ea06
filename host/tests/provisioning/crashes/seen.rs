//! What can be seen of the world, without what differs from run to run: times, uids, counts of attempts.

use crate::world::all;
use dpf_api::provisioning::{Bfb, Dpu, DpuDevice, DpuNode, DpuNodeMaintenance, DpuPhase, DpuSet};
use dpf_devcluster::DevCluster;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::ResourceExt;
use serde_json::{Value, json};

/// What can be seen of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    hosts: Vec<Value>,
    dpu_nodes: Vec<Value>,
    devices: Vec<Value>,
    sets: Vec<Value>,
    images: Vec<Value>,
    dpus: Vec<Value>,
    effects: Vec<String>,
    guests: Vec<String>,
    joined: Vec<Value>,
    tokens: Vec<String>,
}

impl Seen {
    /// Looks at both clusters.
    pub async fn look(cluster: &DevCluster) -> Self {
        let (host, dpu) = (&cluster.host, &cluster.dpu);
        let tokens: Vec<Secret> = all(dpu).await;
        Self {
            hosts: all::<Node>(host).await.iter().map(describe).collect(),
            dpu_nodes: all::<DpuNode>(host).await.iter().map(describe).collect(),
            devices: all::<DpuDevice>(host).await.iter().map(describe).collect(),
            sets: all::<DpuSet>(host).await.iter().map(describe).collect(),
            images: all::<Bfb>(host).await.iter().map(describe).collect(),
            dpus: all::<Dpu>(host).await.iter().map(describe).collect(),
            effects: names(&all::<DpuNodeMaintenance>(host).await),
            guests: names(&all::<Pod>(host).await),
            joined: all::<Node>(dpu).await.iter().map(describe).collect(),
            tokens: names(&tokens)
                .into_iter()
                .filter(|name| name.starts_with("bootstrap-token-"))
                .collect(),
        }
    }

    /// The DPU runs this image, hosts are as before, and the status of everything says so.
    pub fn is_running(&self, image: &str, before: &Self) -> bool {
        let [dpu] = &self.dpus[..] else { return false };
        dpu["spec"]["bfb"] == image
            && dpu["status"]["phase"] == DpuPhase::Ready.as_str()
            && ready(dpu)
            && self.is_given_back(before)
            && self.sets.iter().chain(&self.dpu_nodes).all(ready)
            && self.tokens.is_empty()
    }

    /// Nothing is left of what a user asked for.
    pub fn is_empty(&self, before: &Self) -> bool {
        let none = self.sets.is_empty() && self.images.is_empty() && self.dpus.is_empty();
        let none_there = self.joined.is_empty() && self.tokens.is_empty();
        none && none_there && self.is_given_back(before) && self.dpu_nodes.iter().all(ready)
    }

    /// No taint, no cordon, no label and no record is left, and nobody runs on the host who had to go.
    fn is_given_back(&self, before: &Self) -> bool {
        self.effects.is_empty() && self.guests.is_empty() && self.hosts == before.hosts
    }

    /// Hosts as Kubernetes knows them, and what is in the DPU cluster.
    pub fn without_kinds(&self) -> (&[Value], &[Value], &[String]) {
        (&self.hosts, &self.joined, &self.tokens)
    }
}

fn names<K: ResourceExt>(objects: &[K]) -> Vec<String> {
    objects.iter().map(ResourceExt::name_any).collect()
}

fn ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    })
}

fn describe<K: ResourceExt + serde::Serialize>(object: &K) -> Value {
    let whole = json!(object);
    let mut status = whole["status"].clone();
    if let Some(fields) = status.as_object_mut() {
        for volatile in [
            "phaseStartTime",
            "bfCFGFile",
            "installations",
            "observedGeneration",
            "dpuStatistics",
            "images",
        ] {
            fields.remove(volatile);
        }
    }
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        if let Some(fields) = condition.as_object_mut() {
            for volatile in [
                "lastTransitionTime",
                "lastHeartbeatTime",
                "observedGeneration",
            ] {
                fields.remove(volatile);
            }
        }
    }
    json!({
        "name": object.name_any(),
        "labels": object.labels(),
        "annotations": object.annotations(),
        "finalizers": object.finalizers(),
        "deleting": object.meta().deletion_timestamp.is_some(),
        "spec": whole["spec"],
        "status": status,
    })
}

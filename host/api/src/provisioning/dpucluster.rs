//! `DPUCluster`: a cluster whose nodes are DPUs.

use super::text_enum::text_enum;
use crate::common::{conditions_schema, open_object_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A cluster whose nodes are DPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUCluster",
    root = "DpuCluster",
    plural = "dpuclusters",
    namespaced,
    status = "DpuClusterStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "A cluster whose nodes are DPUs.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "State of the cluster"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type", description = "Who manages the cluster"),
    printcolumn(name = "MaxNodes", type_ = "integer", json_path = ".spec.maxNodes", description = "How many DPUs it may have"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", description = "Version of Kubernetes"),
    printcolumn(name = "NodesCount", type_ = "integer", json_path = ".status.nodesCount", description = "DPUs assigned to it"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuClusterSpec {
    /// Who manages the cluster: `static`, `kamaji` or `<vendor>/<name>`.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = "kamaji|static|[^/]+/.*"))]
    pub type_: String,
    /// How many DPUs it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "max_nodes_schema")]
    pub max_nodes: Option<i32>,
    /// Name of the Secret with the kubeconfig, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "oldSelf == '' || self == oldSelf", "message": "kubeconfig cannot be changed once it is set"}
    ]))]
    pub kubeconfig: Option<String>,
    /// How the API server is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_endpoint: Option<ClusterEndpoint>,
    /// Later releases: how nodes join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub join_token: Option<Value>,
    /// Older releases: the version is observed now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How many DPUs a cluster may have when its spec does not say.
pub const MAX_NODES_DEFAULT: i32 = 1000;

fn max_nodes_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": 1000, "default": MAX_NODES_DEFAULT})
}

/// How an API server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ClusterEndpoint {
    /// An address that moves with a leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalived: Option<Keepalived>,
}

/// An address that moves with a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keepalived {
    /// The address.
    pub vip: String,
    /// Identifies the group of routers.
    #[serde(rename = "virtualRouterID")]
    #[schemars(schema_with = "router_id_schema")]
    pub virtual_router_id: i32,
    /// The interface on the hosts.
    #[schemars(length(min = 1))]
    pub interface: String,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
}

fn router_id_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": 255})
}

text_enum! {
    /// State of a DPU cluster.
    DpuClusterPhase {
        /// Seen for the first time.
        Pending = "Pending",
        /// Not usable yet.
        Creating = "Creating",
        /// It answers.
        Ready = "Ready",
        /// It answered before and does not now.
        NotReady = "NotReady",
        /// It cannot be made.
        Failed = "Failed",
    }
}

/// State of a DPU cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuClusterStatus {
    /// State.
    #[serde(default)]
    pub phase: DpuClusterPhase,
    /// Version of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// DPUs assigned to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub nodes_count: Option<i32>,
    /// `Created` and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
}

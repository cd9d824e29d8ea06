//! `DPUServiceIPAM`: a pool of addresses in the DPU clusters.

use crate::common::{TemplateMeta, conditions_schema, label_selector_schema, node_selector_schema};
use k8s_openapi::api::core::v1::NodeSelector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A pool of addresses that the ports of chains draw from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUServiceIPAM",
    root = "DpuServiceIpam",
    plural = "dpuserviceipams",
    namespaced,
    status = "DpuServiceIpamStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "A pool of addresses that the ports of chains draw from.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.ipv4Network) != has(self.ipv4Subnet)",
    "exactly one of ipv4Network or ipv4Subnet must be specified"
))]
#[x_kube(validation = (
    "has(self.ipv4Network) == has(oldSelf.ipv4Network)",
    "a pool cannot change between ipv4Network and ipv4Subnet: delete it and create another"
))]
pub struct DpuServiceIpamSpec {
    /// Labels and annotations of the pool; chains select it by these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// Each node gets a subnet of its own, with its own gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_network: Option<Ipv4Network>,
    /// Each node gets a block of one subnet; all share its gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_subnet: Option<Ipv4Subnet>,
    /// Older name of `dpuClusterSelector`, used when that is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub cluster_selector: Option<LabelSelector>,
    /// Which DPUClusters; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub dpu_cluster_selector: Option<LabelSelector>,
    /// Which nodes of a DPU cluster; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "node_selector_schema")]
    pub node_selector: Option<NodeSelector>,
}

/// A network that is cut into one subnet per node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ipv4Network {
    /// The network as address and prefix length.
    pub network: String,
    /// Prefix length of a node's subnet.
    pub prefix_size: i32,
    /// Index of the gateway in a node's subnet; none when unset, so that both addresses of a /31 are usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_index: Option<i32>,
    /// Single addresses that are not given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusions: Option<Vec<String>>,
    /// Ranges that are not given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_ranges: Option<Vec<IpRange>>,
    /// Fixed subnets by the name of the node in the DPU cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocations: Option<BTreeMap<String, String>>,
    /// Whether the gateway becomes the default gateway of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_gateway: Option<bool>,
    /// Routes through the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<IpamRoute>>,
    /// Subnets that each DPU cluster gets when there are several.
    #[serde(
        rename = "subnetsPerDPUCluster",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub subnets_per_dpu_cluster: Option<i32>,
}

/// A subnet that is cut into one block per node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ipv4Subnet {
    /// The subnet as address and prefix length.
    pub subnet: String,
    /// Address of the gateway.
    pub gateway: String,
    /// Addresses per node.
    #[serde(rename = "perNodeIPCount")]
    pub per_node_ip_count: i64,
    /// Ranges that are not given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_ranges: Option<Vec<IpRange>>,
    /// Whether the gateway becomes the default gateway of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_gateway: Option<bool>,
    /// Routes through the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<IpamRoute>>,
    /// Blocks that each DPU cluster gets when there are several.
    #[serde(
        rename = "blocksPerDPUCluster",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub blocks_per_dpu_cluster: Option<i32>,
}

/// Addresses from first to last, both included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct IpRange {
    /// First address.
    #[serde(rename = "startIP")]
    pub start_ip: String,
    /// Last address.
    #[serde(rename = "endIP")]
    pub end_ip: String,
}

/// A route through the gateway of the pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct IpamRoute {
    /// Destination as address and prefix length.
    pub dst: String,
}

/// What each DPU cluster was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceIpamStatus {
    /// `Ready`, `DPUIPAMObjectReconciled` and `DPUIPAMObjectReady`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ranges by DPU cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["dpuCluster"]))]
    pub dpu_cluster_allocations: Option<Vec<DpuClusterAllocation>>,
}

/// The ranges of one DPU cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuClusterAllocation {
    /// `namespace/name` of the DPUCluster.
    pub dpu_cluster: String,
    /// Its ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_ranges: Option<Vec<IpRange>>,
}

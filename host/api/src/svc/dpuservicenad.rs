//! `DPUServiceNAD`: a network of OVS bridges that pods attach to.

use crate::common::{TemplateMeta, conditions_schema, label_selector_schema, open_object_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// A NetworkAttachmentDefinition in every selected DPU cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUServiceNAD",
    root = "DpuServiceNad",
    plural = "dpuservicenads",
    namespaced,
    status = "DpuServiceNadStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "A NetworkAttachmentDefinition in every selected DPU cluster."
)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceNadSpec {
    /// What the CNI gives to a pod: `vf`, `sf` or `veth`.
    #[schemars(extend("enum" = ["vf", "sf", "veth"]))]
    pub resource_type: String,
    /// OVS bridge that exists on the DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// MTU of the interfaces, in bytes.
    #[serde(
        rename = "serviceMTU",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "super::dpudeployment::mtu_schema")]
    pub service_mtu: Option<i64>,
    /// Whether pods get addresses on this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<bool>,
    /// Plugins that run after the OVS one.
    #[serde(
        rename = "chainedCNIs",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub chained_cnis: Option<Vec<ChainedCni>>,
    /// Accepted from older manifests and not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// Which DPUClusters; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub dpu_cluster_selector: Option<LabelSelector>,
}

/// A plugin that runs after the OVS one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ChainedCni {
    /// `rdma`.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["rdma"]))]
    pub type_: String,
    /// Its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub config: Option<serde_json::Value>,
}

/// Whether the network is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceNadStatus {
    /// `Ready`, `DPUNADObjectReconciled` and `DPUNADObjectReady`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

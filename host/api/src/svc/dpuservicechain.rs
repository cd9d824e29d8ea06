//! `DPUServiceChain`: the same chain on DPUs of all DPU clusters.

use super::ServiceChainSetSpec;
use crate::common::{TemplateMeta, conditions_schema, label_selector_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The same chain on DPUs of all selected DPU clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUServiceChain",
    root = "DpuServiceChain",
    plural = "dpuservicechains",
    namespaced,
    status = "DpuServiceChainStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "The same chain on DPUs of all selected DPU clusters.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceChainSpec {
    /// Older name of `dpuClusterSelector`, used when that is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub cluster_selector: Option<LabelSelector>,
    /// Which DPUClusters; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub dpu_cluster_selector: Option<LabelSelector>,
    /// The ServiceChainSet that each DPU cluster gets.
    pub template: ServiceChainSetTemplate,
}

/// A ServiceChainSet without a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ServiceChainSetTemplate {
    /// Labels and annotations of the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// The set.
    pub spec: ServiceChainSetSpec,
}

/// How far the chain is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceChainStatus {
    /// One condition per step, and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

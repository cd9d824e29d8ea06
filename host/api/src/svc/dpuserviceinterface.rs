//! `DPUServiceInterface`: the same interface on DPUs of all DPU clusters.

use super::ServiceInterfaceSetSpec;
use crate::common::{TemplateMeta, conditions_schema, label_selector_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The same interface on DPUs of all selected DPU clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUServiceInterface",
    root = "DpuServiceInterface",
    plural = "dpuserviceinterfaces",
    namespaced,
    status = "DpuServiceInterfaceStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "The same interface on DPUs of all selected DPU clusters.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "IfType", type_ = "string", json_path = ".spec.template.spec.template.spec.interfaceType"),
    printcolumn(name = "IfName", type_ = "string", json_path = ".spec.template.spec.template.spec['service','physical'].interfaceName"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceInterfaceSpec {
    /// Older name of `dpuClusterSelector`, used when that is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub cluster_selector: Option<LabelSelector>,
    /// Which DPUClusters; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub dpu_cluster_selector: Option<LabelSelector>,
    /// The ServiceInterfaceSet that each DPU cluster gets.
    pub template: ServiceInterfaceSetTemplate,
}

/// A ServiceInterfaceSet without a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ServiceInterfaceSetTemplate {
    /// Labels and annotations of the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// The set.
    pub spec: ServiceInterfaceSetSpec,
}

/// How far the interface is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceInterfaceStatus {
    /// One condition per step, and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

//! `DPUSet`: one DPU object per selected device.

use super::NodeEffect;
use super::node_effect::drain_default;
use super::text_enum::text_enum;
use crate::common::{conditions_schema, label_selector_schema};
use crate::svc::RollingUpdate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One DPU object per selected device, all with the same image, flavor and labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUSet",
    root = "DpuSet",
    plural = "dpusets",
    namespaced,
    status = "DpuSetStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "One DPU object per selected device, all with the same image, flavor and labels.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!(has(self.dpuSelector) && has(self.dpuDeviceSelector))",
    "only one of dpuSelector or dpuDeviceSelector can be specified"
))]
pub struct DpuSetSpec {
    /// How changes of image and flavor reach DPUs that run; `OnDelete` when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Selects DPUNodes; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub dpu_node_selector: Option<LabelSelector>,
    /// Older form of `dpuDeviceSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_selector: Option<BTreeMap<String, String>>,
    /// Selects DPUDevices; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub dpu_device_selector: Option<LabelSelector>,
    /// What the DPUs are made from.
    pub dpu_template: DpuTemplate,
}

/// How changes of image and flavor reach DPUs that run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Strategy {
    /// `OnDelete` or `RollingUpdate`.
    #[serde(rename = "type", default)]
    pub type_: StrategyType,
    /// Limits of a rolling update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
}

text_enum! {
    /// How changes of image and flavor reach DPUs that run.
    StrategyType {
        /// A DPU changes when somebody deletes it.
        OnDelete = "OnDelete",
        /// DPUs are replaced a few at a time.
        RollingUpdate = "RollingUpdate",
    }
}

/// What the DPUs of a set are made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct DpuTemplate {
    /// Annotations of the DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Spec of the DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<DpuTemplateSpec>,
}

/// Spec of the DPUs of a set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuTemplateSpec {
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfb: Option<BfbReference>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue_field_software: Option<BfbReference>,
    /// What happens to the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = drain_default()))]
    pub node_effect: Option<NodeEffect>,
    /// The cluster that the DPUs join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterTemplate>,
    /// Name of the DPUFlavor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub dpu_flavor: Option<String>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_flavor_template: Option<String>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub astra_enabled: Option<bool>,
    /// Later releases: passed on to the DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
}

/// Names an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct BfbReference {
    /// Name in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub name: Option<String>,
}

/// The cluster that DPUs join.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTemplate {
    /// Labels of the nodes that the DPUs become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_labels: Option<BTreeMap<String, String>>,
    /// Later releases: annotations of the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_annotations: Option<BTreeMap<String, String>>,
    /// Selects DPUClusters; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub selector: Option<LabelSelector>,
}

/// How far the DPUs of a set are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuSetStatus {
    /// Number of DPUs per phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_statistics: Option<BTreeMap<String, i64>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One condition per step, and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
}

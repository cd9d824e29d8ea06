//! `DPUFlavorTemplate`: text from which later releases make a DPUFlavor for each DPU.

use crate::common::{ResourceList, conditions_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Text from which later releases make a DPUFlavor for each DPU, with the values of its DPUDevice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUFlavorTemplate",
    root = "DpuFlavorTemplate",
    plural = "dpuflavortemplates",
    namespaced,
    status = "DpuFlavorTemplateStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "Text from which later releases make a DPUFlavor for each DPU, with the values of its DPUDevice.",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuFlavorTemplateSpec {
    /// A DPUFlavor in YAML or JSON with actions of Go templates.
    #[schemars(length(min = 1))]
    pub template: String,
    /// `dpuResources` of the flavors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_resources: Option<ResourceList>,
    /// `systemReservedResources` of the flavors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_reserved_resources: Option<ResourceList>,
}

/// State of a flavor template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuFlavorTemplateStatus {
    /// `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
}

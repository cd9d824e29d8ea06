//! `DPUNodeMaintenance`: one effect on one host and who asked for it.

use super::NodeEffect;
use crate::common::conditions_schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// One effect on one host and who asked for it; it is removed when nobody asks any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUNodeMaintenance",
    root = "DpuNodeMaintenance",
    plural = "dpunodemaintenances",
    namespaced,
    status = "DpuNodeMaintenanceStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "One effect on one host and who asked for it; it is removed when nobody asks any more.",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuNodeMaintenanceSpec {
    /// Name of the DPUNode.
    pub dpu_node_name: String,
    /// What happens to the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_effect: Option<NodeEffect>,
    /// Who needs the effect: names of DPUs, and others that hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requestor: Option<Vec<String>>,
}

/// How far an effect is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuNodeMaintenanceStatus {
    /// `NodeEffectApplied` and `NodeEffectRemoved`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Since when sibling DPUs are waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_effect_sync_start_time: Option<Time>,
    /// How long sibling DPUs are waited for.
    #[serde(
        rename = "multiDPUOperationsSyncWaitTime",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub multi_dpu_operations_sync_wait_time: Option<String>,
    /// How many DPUNodes may be unavailable.
    #[serde(
        rename = "maxUnavailableDPUNodes",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1))]
    pub max_unavailable_dpu_nodes: Option<i32>,
}

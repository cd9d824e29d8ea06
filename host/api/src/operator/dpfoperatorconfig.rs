//! `DPFOperatorConfig`: settings of an installation. Nothing requires that one exists.

use crate::common::conditions_schema;
use crate::provisioning::rules::duration_schema;
use crate::provisioning::{DpuPhase, Nothing};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of an installation. What this controller manager does not read is kept as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "operator.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPFOperatorConfig",
    root = "DpfOperatorConfig",
    plural = "dpfoperatorconfigs",
    namespaced,
    status = "DpfOperatorConfigStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "Settings of an installation.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct DpfOperatorConfigSpec {
    /// Provisioning of DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_controller: Option<ProvisioningSettings>,
    /// Networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networking: Option<Networking>,
    /// What replaces detected values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,
    /// Names of Secrets to pull images with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secrets: Option<Vec<String>>,
    /// Later releases: whether hosts are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["zero-trust", "host-trusted"]))]
    pub deployment_mode: Option<String>,
}

/// Provisioning of DPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ProvisioningSettings {
    /// PersistentVolumeClaim for images.
    #[serde(
        rename = "bfbPVCName",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub bfb_pvc_name: Option<String>,
    /// ConfigMap with another template of bf.cfg.
    #[serde(
        rename = "bfCFGTemplateConfigMap",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub bf_cfg_template_config_map: Option<String>,
    /// How images get onto DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_interface: Option<InstallSettings>,
    /// How many DPUs are installed at the same time.
    #[serde(
        rename = "maxDPUParallelInstallations",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "fifty_schema")]
    pub max_dpu_parallel_installations: Option<i32>,
    /// How many DPUNodes may be unavailable.
    #[serde(
        rename = "maxUnavailableDPUNodes",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "fifty_schema")]
    pub max_unavailable_dpu_nodes: Option<i32>,
    /// How long a host with several DPUs waits for all of them before it is disturbed.
    #[serde(
        rename = "multiDPUOperationsSyncWaitTime",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "sync_wait_schema")]
    pub multi_dpu_operations_sync_wait_time: Option<String>,
    /// How long the removal of an effect may take; `0s` is for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "removal_timeout_schema")]
    pub node_effect_removal_timeout: Option<String>,
    /// How long an installation may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "install_timeout_schema")]
    pub os_install_timeout: Option<String>,
    /// How often an installation that failed is started again before the DPU goes to `Error`; 2 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub os_install_retries: Option<i32>,
    /// How long a DPU may stay in a phase before it goes to `Error`, by the name of the phase; `0s` is for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "deadlines_schema")]
    pub phase_deadlines: Option<BTreeMap<String, String>>,
    /// How often a DPU in `Error` tries again by itself, with growing pauses, until it was Ready; 0 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub retry_budget: Option<i32>,
}

/// How many DPUs are installed, and DPUNodes unavailable, at the same time when nothing else is set.
pub const PARALLEL_DEFAULT: i32 = 50;

fn fifty_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "default": PARALLEL_DEFAULT})
}

fn sync_wait_schema(_: &mut SchemaGenerator) -> Schema {
    duration_schema("30s")
}

fn removal_timeout_schema(_: &mut SchemaGenerator) -> Schema {
    duration_schema("0s")
}

fn install_timeout_schema(_: &mut SchemaGenerator) -> Schema {
    duration_schema("45m")
}

fn deadlines_schema(_: &mut SchemaGenerator) -> Schema {
    let mut duration = duration_schema("0s");
    duration.remove("default");
    json_schema!({
        "type": "object",
        "maxProperties": DpuPhase::ALL.len(),
        "additionalProperties": duration,
    })
}

/// How images get onto DPUs: one way is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
#[x_kube(validation = (
    "[has(self.installViaHostAgent) || has(self.installViaGNOI), has(self.installViaRedfish), has(self.installViaMock)].filter(x, x).size() == 1",
    "exactly one of installViaHostAgent (or installViaGNOI), installViaRedfish and installViaMock must be set"
))]
pub struct InstallSettings {
    /// Through an agent on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_via_host_agent: Option<Nothing>,
    /// Older name of `installViaHostAgent`.
    #[serde(
        rename = "installViaGNOI",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub install_via_gnoi: Option<Nothing>,
    /// Through the BMC of the DPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_via_redfish: Option<RedfishSettings>,
    /// Not at all: every step passes at once, and nothing joins a cluster. For tests of what is around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_via_mock: Option<Nothing>,
}

/// Installation through BMCs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct RedfishSettings {
    /// Address under which BMCs reach the image registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub bfb_registry_address: Option<String>,
    /// Whether DPUNodes are made by people.
    #[serde(
        rename = "skipDPUNodeDiscovery",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("default" = true))]
    pub skip_dpu_node_discovery: Option<bool>,
}

/// Networks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Networking {
    /// MTU of the control plane in bytes.
    #[serde(
        rename = "controlPlaneMTU",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "mtu_schema")]
    pub control_plane_mtu: Option<i32>,
    /// MTU of the data plane in bytes.
    #[serde(
        rename = "highSpeedMTU",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "mtu_schema")]
    pub high_speed_mtu: Option<i32>,
}

fn mtu_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "default": 1500, "minimum": 1280, "maximum": 9216})
}

/// What replaces detected values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Overrides {
    /// Address of the API server.
    #[serde(
        rename = "kubernetesAPIServerVIP",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub kubernetes_api_server_vip: Option<String>,
    /// Port of the API server.
    #[serde(
        rename = "kubernetesAPIServerPort",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub kubernetes_api_server_port: Option<i32>,
    /// Whether reconciling is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// State of an installation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct DpfOperatorConfigStatus {
    /// Conditions, `Ready` among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Version of the installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

//! `BlueFieldSoftware`: the software of BlueField-4 cards, in several files.

use crate::common::conditions_schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The software of BlueField-4 cards, in several files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "BlueFieldSoftware",
    root = "BlueFieldSoftware",
    plural = "bluefieldsoftwares",
    namespaced,
    status = "BlueFieldSoftwareStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "The software of BlueField-4 cards, in several files.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "How far the download is"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct BlueFieldSoftwareSpec {
    /// URL of the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_iso: Option<String>,
    /// URL of the firmware bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pldm_fw_bundle: Option<String>,
    /// URLs of single parts of the firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmp_fw_components: Option<FirmwareParts>,
}

/// URLs of single parts of the firmware.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FirmwareParts {
    /// Firmware of the network card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub astra_nic_fw: Option<String>,
    /// Root of trust of the BMC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc_erot: Option<String>,
    /// Firmware of the BMC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc_fw: Option<String>,
    /// Root of trust of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_erot: Option<String>,
    /// Firmware of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_fw: Option<String>,
}

/// State of software. What other implementations record about files and versions is kept as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlueFieldSoftwareStatus {
    /// How far the download is. Text, because later releases know more phases, and one of them must not stop the watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "phase_schema")]
    pub phase: Option<String>,
    /// `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Files by component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_schema")]
    pub downloaded_components: Option<serde_json::Value>,
    /// Versions by component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_schema")]
    pub versions: Option<serde_json::Value>,
}

fn phase_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "default": "Initializing",
        "enum": ["Initializing", "Downloading", "Extracting", "Ready", "Deleting", "Error"]
    })
}

fn open_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

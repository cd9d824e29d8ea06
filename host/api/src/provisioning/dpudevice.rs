//! `DPUDevice`: a card.

use super::rules::{bmc_port_schema, immutable, ipv4_schema};
use super::{DpuMode, DpuType, SecureBoot};
use crate::common::{conditions_schema, open_object_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A card: its serial number and how to reach its BMC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUDevice",
    root = "DpuDevice",
    plural = "dpudevices",
    namespaced,
    status = "DpuDeviceStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "A card: its serial number and how to reach its BMC.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuDeviceSpec {
    /// Serial number of the card.
    #[schemars(length(min = 1), extend("x-kubernetes-validations" = immutable()))]
    pub serial_number: String,
    /// Older releases: board identification, now in the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^MT_?[A-Z0-9]+$"), extend("x-kubernetes-validations" = immutable()))]
    pub psid: Option<String>,
    /// Older releases: part number, now in the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^\d{3}-[A-Z0-9]{5}-[A-Z0-9]{4}-[A-Z0-9]{3}$"), extend("x-kubernetes-validations" = immutable()))]
    pub opn: Option<String>,
    /// Older releases: name of the first function on the host, now in the status.
    #[serde(rename = "pf0Name", default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub pf0_name: Option<String>,
    /// IPv4 address of the BMC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "ipv4_schema")]
    pub bmc_ip: Option<String>,
    /// Port of the BMC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "immutable_bmc_port_schema")]
    pub bmc_port: Option<u16>,
    /// Physical functions of the card.
    #[serde(
        rename = "numberOfPFs",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "number_of_pfs_schema")]
    pub number_of_pfs: Option<i32>,
    /// Later releases: network devices of the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8), extend("x-kubernetes-validations" = immutable()))]
    pub nic_device_count: Option<i32>,
    /// Secret in the same namespace with the password of this BMC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc_credential_secret_name: Option<String>,
    /// Later releases: labels and annotations of the node that the card becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<DeviceClusterMetadata>,
    /// Later releases: values for flavor templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub values: Option<Value>,
}

fn immutable_bmc_port_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = bmc_port_schema(generator);
    schema.insert("maximum".to_owned(), 65_535.into());
    schema.insert("x-kubernetes-validations".to_owned(), immutable());
    schema
}

fn number_of_pfs_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "default": 1, "x-kubernetes-validations": immutable()})
}

/// Labels and annotations of the node that a card becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceClusterMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_annotations: Option<BTreeMap<String, String>>,
}

/// What is known of a card.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuDeviceStatus {
    /// Board identification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^MT_?[A-Z0-9]+$"))]
    pub psid: Option<String>,
    /// Serial number as the card reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// Part number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opn: Option<String>,
    /// IPv4 address of the BMC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "ipv4_schema")]
    pub bmc_ip: Option<String>,
    /// Port of the BMC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bmc_port_schema")]
    pub bmc_port: Option<u16>,
    /// PCI address with dashes and without function, `0000-03-00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_address: Option<String>,
    /// Name of the first function on the host.
    #[serde(rename = "pf0Name", default, skip_serializing_if = "Option::is_none")]
    pub pf0_name: Option<String>,
    /// Hardware address of the first function.
    #[serde(rename = "pf0Mac", default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9A-Fa-f]{2}[:-]){5}([0-9A-Fa-f]{2})$"))]
    pub pf0_mac: Option<String>,
    /// Generation of the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Unknown"))]
    pub dpu_type: Option<DpuType>,
    /// Mode of the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "dpu"))]
    pub dpu_mode: Option<DpuMode>,
    /// Conditions, `Ready` among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Secure boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<SecureBoot>,
    /// Later releases: Secret whose password the BMC has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc_credential_secret_name: Option<String>,
    /// Later releases: certificate of the BMC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub bmc_server_certificate: Option<Value>,
    /// Later releases: certificate authorities on the DPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub ca_trust_bundle: Option<Value>,
}

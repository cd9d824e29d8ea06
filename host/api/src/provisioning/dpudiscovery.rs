//! `DPUDiscovery`: addresses at which BMCs of DPUs may be.

use crate::common::conditions_schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Addresses at which BMCs of DPUs may be, and how often they are looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUDiscovery",
    root = "DpuDiscovery",
    plural = "dpudiscoveries",
    namespaced,
    status = "DpuDiscoveryStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "Addresses at which BMCs of DPUs may be, and how often they are looked at.",
    printcolumn(name = "Last Scan", type_ = "date", json_path = ".status.lastScanTime"),
    printcolumn(name = "Found DPUs", type_ = "integer", json_path = ".status.foundDPUs")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuDiscoverySpec {
    /// The addresses.
    pub ip_range_spec: IpRangeSpec,
    /// Pause between two scans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scan_interval_schema")]
    pub scan_interval: Option<String>,
    /// How many addresses are looked at together; one for every 255 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "workers_schema")]
    pub workers: Option<i64>,
}

fn scan_interval_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "default": "1h"})
}

fn workers_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer"})
}

/// The addresses of a discovery.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.ipRange.startIP != '0.0.0.0' && self.ipRange.endIP != '0.0.0.0'",
    "a range cannot start or end at 0.0.0.0"
))]
pub struct IpRangeSpec {
    /// Consecutive addresses.
    pub ip_range: IpRange,
}

/// Consecutive addresses, the ends included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct IpRange {
    /// First address.
    #[serde(rename = "startIP")]
    #[schemars(schema_with = "address_schema")]
    pub start_ip: String,
    /// Last address.
    #[serde(rename = "endIP")]
    #[schemars(schema_with = "address_schema")]
    pub end_ip: String,
    /// Port of the BMCs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "port_schema")]
    pub port: Option<i32>,
}

/// Four numbers up to 255; leading zeros are accepted, as they always were.
fn address_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": r"^((25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}(25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)$"
    })
}

fn port_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "default": 443, "minimum": 1, "maximum": 65535})
}

/// What a discovery found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuDiscoveryStatus {
    /// `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// How many DPUs were found.
    #[serde(rename = "foundDPUs", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "workers_schema")]
    pub found_dpus: Option<i64>,
    /// When the addresses were last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scan_time: Option<Time>,
}

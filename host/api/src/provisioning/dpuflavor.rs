//! `DPUFlavor`: how a DPU is configured.

use super::rules::open_list_schema;
use super::text_enum::text_enum;
use crate::ResourceList;
use crate::common::open_object_schema;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a DPU is configured. The spec cannot be changed; a new configuration is a new flavor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUFlavor",
    root = "DpuFlavor",
    plural = "dpuflavors",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "How a DPU is configured. The spec cannot be changed; a new configuration is a new flavor."
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "DPUFlavor spec is immutable: create another DPUFlavor and refer to that"))]
#[x_kube(validation = ("!has(self.systemReservedResources) || has(self.dpuResources)", "systemReservedResources must not be specified if dpuResources are not specified"))]
pub struct DpuFlavorSpec {
    /// Kernel command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grub: Option<Grub>,
    /// Kernel settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sysctl: Option<Sysctl>,
    /// Firmware settings per device; `*` or no device means all and is then the only entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 3, "x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [
        {"rule": "size(self) <= 1 || self.all(x, has(x.device) && x.device != '*')", "message": "an entry for all devices ('*' or no device) must be the only one"},
        {"rule": "self.all(x, self.exists_one(y, (has(x.device) ? x.device.lowerAscii() : '*') == (has(y.device) ? y.device.lowerAscii() : '*')))", "message": "a device can have only one entry"}
    ]))]
    pub nvconfig: Option<Vec<NvConfig>>,
    /// Open vSwitch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ovs: Option<Ovs>,
    /// Lines `KEY=VALUE` at the top of bf.cfg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfcfg_parameters: Option<Vec<String>>,
    /// Files on the DPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_files: Option<Vec<ConfigFile>>,
    /// Container runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containerd_config: Option<ContainerdConfig>,
    /// What a DPU must have: for the system and the services together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_resources: Option<ResourceList>,
    /// The part of `dpuResources` that services cannot have; only beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_reserved_resources: Option<ResourceList>,
    /// Mode of the DPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_mode: Option<FlavorMode>,
    /// Interfaces on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network_interface_configs: Option<Vec<HostInterface>>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub dpu_agent_config: Option<Value>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_list_schema")]
    pub packages: Option<Value>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_list_schema")]
    pub systemd_services: Option<Value>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_list_schema")]
    pub ew_nic_configurations: Option<Value>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub service_readiness: Option<Value>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_list_schema")]
    pub scalable_functions: Option<Value>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_list_schema")]
    pub virtual_functions: Option<Value>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub dma: Option<Value>,
}

/// Kernel command line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grub {
    /// Parameters, `name` or `name=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_parameters: Option<Vec<String>>,
}

/// Kernel settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct Sysctl {
    /// Lines `key=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Vec<String>>,
}

/// Firmware settings of a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NvConfig {
    /// `*` (all), `p0` or `p1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["*", "p0", "p1", "P0", "P1"]))]
    pub device: Option<String>,
    /// `KEY=VALUE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "nvconfig_parameters_schema")]
    pub parameters: Option<Vec<String>>,
    /// Older releases: accepted and without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_power_cycle_required: Option<bool>,
    /// Later releases: set values that the tool would refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
}

fn nvconfig_parameters_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "string", "maxLength": 200, "pattern": r"^[^=\s]+=[^\s]*$"}
    })
}

/// Open vSwitch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ovs {
    /// A bash script that runs on the DPU once Open vSwitch is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_config_script: Option<String>,
}

/// A file on the DPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFile {
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether the content replaces the file or is added to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<FileOperation>,
    /// The content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// Mode in octal, `0644`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<String>,
    /// Later releases: `cloud-init` or `agent-applied`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["cloud-init", "agent-applied"]))]
    pub type_: Option<String>,
    /// Later releases: where the content comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub content_from: Option<Value>,
}

text_enum! {
    /// What happens to a file that is there already.
    FileOperation {
        /// It is replaced.
        Override = "override",
        /// The content is added to its end.
        Append = "append",
    }
}

/// Container runtime.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerdConfig {
    /// Mirror of `nvcr.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_endpoint: Option<String>,
}

text_enum! {
    /// Mode of a DPU as a flavor asks for it.
    FlavorMode {
        /// The host is trusted.
        Dpu = "dpu",
        /// The host is not trusted.
        ZeroTrust = "zero-trust",
        /// The device is a plain network card.
        Nic = "nic",
    }
}

/// An interface on the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostInterface {
    /// Port of the card.
    #[schemars(range(min = 0, max = 1))]
    pub port_number: i32,
    /// MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1280, max = 9216))]
    pub mtu: Option<i32>,
    /// Whether the address comes from DHCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<bool>,
    /// Later releases: firmware settings of the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvconfig: Option<NvConfig>,
}

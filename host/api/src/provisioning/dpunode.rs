//! `DPUNode`: a host with DPUs.

use super::InstallInterface;
use super::rules::{immutable, ipv4_schema};
use crate::common::conditions_schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A host with DPUs, whether it is a node of the management cluster or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUNode",
    root = "DpuNode",
    plural = "dpunodes",
    namespaced,
    status = "DpuNodeStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "A host with DPUs, whether it is a node of the management cluster or not.",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuNodeSpec {
    /// How the host is rebooted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = serde_json::json!({"hostAgent": {}})))]
    pub node_reboot_method: Option<RebootMethod>,
    /// Older releases: accepted and without effect.
    #[serde(
        rename = "nodeDMSAddress",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub node_dms_address: Option<DmsAddress>,
    /// The DPUDevices in this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpus: Option<Vec<DeviceReference>>,
}

/// How a host is rebooted; one way is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "[has(self.hostAgent) || has(self.gNOI), has(self.external), has(self.script), has(self.none)].exists_one(x, x)",
    "exactly one of hostAgent, external, script and none must be set"
))]
pub struct RebootMethod {
    /// The controller arranges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_agent: Option<Nothing>,
    /// Older name of `hostAgent`.
    #[serde(rename = "gNOI", default, skip_serializing_if = "Option::is_none")]
    pub gnoi: Option<Nothing>,
    /// A person or program does it when an annotation asks for it, and removes the annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<Nothing>,
    /// A job does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<RebootScript>,
    /// Later releases: there is no host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<Nothing>,
}

/// An object without fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

impl schemars::JsonSchema for Nothing {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Nothing".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object"})
    }
}

/// The job that reboots a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RebootScript {
    /// Name of the ConfigMap with the pod template.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// Older releases: where the management service of a host listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DmsAddress {
    /// Address.
    #[schemars(schema_with = "ipv4_schema")]
    pub ip: String,
    /// Port.
    #[schemars(schema_with = "port_schema")]
    pub port: i32,
}

fn port_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1})
}

/// Names a DPUDevice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DeviceReference {
    /// Name in the same namespace; case does not matter.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// State of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuNodeStatus {
    /// Conditions, `Ready` among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// How images get onto the cards of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_install_interface: Option<InstallInterface>,
    /// Name of the Node in the management cluster; unset when the host is not one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub kube_node_ref: Option<String>,
    /// Whether a reboot was asked for and has not happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_in_progress: Option<bool>,
    /// Later releases: the strongest reset that one of the DPUs needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_method: Option<String>,
}

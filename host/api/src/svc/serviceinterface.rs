//! `ServiceInterface` and `ServiceInterfaceSet`: interfaces of one node, and of the nodes of a DPU cluster.

use crate::common::{TemplateMeta, conditions_schema, label_selector_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One interface of a DPU that chains can be built from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "ServiceInterface",
    plural = "serviceinterfaces",
    namespaced,
    status = "ServiceInterfaceStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "One interface of a DPU that chains can be built from.",
    // An agent reads the objects of its own node only.
    selectable = ".spec.node",
    printcolumn(name = "IfType", type_ = "string", json_path = ".spec.interfaceType"),
    printcolumn(
        name = "IfName",
        type_ = "string",
        json_path = ".spec['service','physical'].interfaceName"
    ),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.interfaceType == 'ovn' || (self.interfaceType == 'physical' && has(self.physical)) || (self.interfaceType == 'vlan' && has(self.vlan)) || (self.interfaceType == 'vf' && has(self.vf)) || (self.interfaceType == 'pf' && has(self.pf)) || (self.interfaceType == 'service' && has(self.service)) || (self.interfaceType == 'patch' && has(self.patch))",
    "the block named like interfaceType must be set"
))]
pub struct ServiceInterfaceSpec {
    /// Name of the node, set by the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What is plugged in; the block of the same name says which one.
    #[schemars(schema_with = "interface_type_schema")]
    pub interface_type: InterfaceType,
    /// An uplink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical: Option<Physical>,
    /// A VLAN on another interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// A virtual function of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vf: Option<Vf>,
    /// A physical function of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pf: Option<Pf>,
    /// An interface of a service's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceDef>,
    /// A patch to the bridge of OVN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ovn: Option<Ovn>,
    /// A patch to any bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchDef>,
}

/// Kind of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InterfaceType {
    /// A VLAN on another interface.
    Vlan,
    /// An uplink.
    Physical,
    /// A physical function of the host.
    Pf,
    /// A virtual function of the host.
    Vf,
    /// A patch to the bridge of OVN.
    Ovn,
    /// A patch to any bridge.
    Patch,
    /// An interface of a service's pod.
    #[default]
    Service,
}

fn interface_type_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "description": "What is plugged in; the block of the same name says which one.",
        "enum": ["vlan", "physical", "pf", "vf", "ovn", "patch", "service"]
    })
}

/// An uplink.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Physical {
    /// Network device on the DPU, for example `p0`.
    pub interface_name: String,
}

/// A VLAN on another interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vlan {
    /// Number of the VLAN.
    #[serde(rename = "vlanID")]
    pub vlan_id: i64,
    /// Name of the interface below; the controller appends `-<node>`.
    pub parent_interface_ref: String,
}

/// A virtual function of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.virtualNetwork) == has(oldSelf.virtualNetwork) && (!has(self.virtualNetwork) || self.virtualNetwork == oldSelf.virtualNetwork)",
    "virtualNetwork is immutable"
))]
pub struct Vf {
    /// Number of the virtual function.
    #[serde(rename = "vfID")]
    pub vf_id: i64,
    /// Number of the physical function it belongs to.
    #[serde(rename = "pfID")]
    pub pf_id: i64,
    /// Name of the interface below; the controller appends `-<node>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_interface_ref: Option<String>,
    /// Virtual network of a VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_network: Option<String>,
    /// Which network card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic_selector: Option<NicSelector>,
}

/// A physical function of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.virtualNetwork) == has(oldSelf.virtualNetwork) && (!has(self.virtualNetwork) || self.virtualNetwork == oldSelf.virtualNetwork)",
    "virtualNetwork is immutable"
))]
pub struct Pf {
    /// Number of the physical function.
    #[serde(rename = "pfID")]
    pub pf_id: i64,
    /// Virtual network of a VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_network: Option<String>,
    /// Which network card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic_selector: Option<NicSelector>,
}

/// Which network card an interface of the host belongs to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.type != 'pci' || has(self.pci)",
    "pci must be set when type is pci"
))]
pub struct NicSelector {
    /// `dpu`: the card of the DPU itself. `pci`: the one at an address.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["dpu", "pci"]))]
    pub type_: String,
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<PciSelector>,
    /// Number of the controller; 1 when unset, 0 is the local one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub controller_number: Option<i32>,
}

/// A network card by address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct PciSelector {
    /// Domain, bus, device and function, for example `0000:03:00.0`.
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]$"))]
    pub address: String,
}

/// An interface of a service's pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.virtualNetwork) == has(oldSelf.virtualNetwork) && (!has(self.virtualNetwork) || self.virtualNetwork == oldSelf.virtualNetwork)",
    "virtualNetwork is immutable"
))]
pub struct ServiceDef {
    /// Service ID of the pods.
    #[serde(rename = "serviceID")]
    pub service_id: String,
    /// NetworkAttachmentDefinition, `namespace/name` or `name`.
    pub network: String,
    /// Name inside the pod.
    #[schemars(length(min = 1, max = 15))]
    pub interface_name: String,
    /// Virtual network of a VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_network: Option<String>,
}

/// A patch to the bridge of OVN.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ovn {
    /// Name of the bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "external_bridge_schema")]
    pub external_bridge: Option<String>,
}

fn external_bridge_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "default": "br-ovn", "description": "Name of the bridge."})
}

/// A patch to any bridge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.peerExternalIDs) || !('dpf-id' in self.peerExternalIDs)",
    "peerExternalIDs must not contain dpf-id: the agent writes it"
))]
pub struct PatchDef {
    /// Name of a bridge that exists on the DPU.
    pub peer_bridge: String,
    /// Name of the patch port on that bridge; derived when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_patch_name: Option<String>,
    /// Written on the peer's OVS interface.
    #[serde(
        rename = "peerExternalIDs",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub peer_external_ids: Option<BTreeMap<String, String>>,
}

/// Whether the interface is wired.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInterfaceStatus {
    /// `Ready` and `ServiceInterfaceReconciled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The same interface on every selected node of a DPU cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "ServiceInterfaceSet",
    plural = "serviceinterfacesets",
    namespaced,
    status = "ServiceInterfaceSetStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "The same interface on every selected node of a DPU cluster.",
    printcolumn(name = "IfType", type_ = "string", json_path = ".spec.template.spec.interfaceType"),
    printcolumn(name = "IfName", type_ = "string", json_path = ".spec.template.spec['service','physical'].interfaceName"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInterfaceSetSpec {
    /// Which nodes; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub node_selector: Option<LabelSelector>,
    /// What each node gets.
    pub template: ServiceInterfaceTemplateObject,
}

/// A ServiceInterface without a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ServiceInterfaceTemplateObject {
    /// Labels and annotations; chains select interfaces by these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// The interface.
    pub spec: ServiceInterfaceSpec,
}

/// How far a set is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInterfaceSetStatus {
    /// One condition per step, and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// ServiceInterfaces that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_applied: Option<i32>,
    /// ServiceInterfaces that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_ready: Option<i32>,
}

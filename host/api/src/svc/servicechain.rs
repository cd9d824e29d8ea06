//! `ServiceChain` and `ServiceChainSet`: the chain of one node, and of the nodes of a DPU cluster.

use super::InterfacePort;
use super::dpudeployment::mtu_schema;
use crate::common::{TemplateMeta, conditions_schema, label_selector_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The switches of one DPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "ServiceChain",
    plural = "servicechains",
    namespaced,
    status = "ServiceChainStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "The switches of one DPU.",
    // An agent reads the objects of its own node only.
    selectable = ".spec.node",
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
pub struct ServiceChainSpec {
    /// Name of the node, set by the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Each switch is one isolated network.
    #[schemars(length(min = 1, max = 50))]
    pub switches: Vec<ChainSwitch>,
}

/// One isolated learning switch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainSwitch {
    /// What is plugged into the switch.
    #[schemars(length(min = 1, max = 50))]
    pub ports: Vec<ChainPort>,
    /// MTU of the interfaces on this switch, in bytes.
    #[serde(
        rename = "serviceMTU",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "mtu_schema")]
    pub service_mtu: Option<i64>,
}

/// One port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainPort {
    /// The interface, selected by its labels.
    pub service_interface: InterfacePort,
}

/// Whether the chain is programmed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChainStatus {
    /// `Ready` and `ServiceChainReconciled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The same chain on every selected node of a DPU cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "ServiceChainSet",
    plural = "servicechainsets",
    namespaced,
    status = "ServiceChainSetStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "The same chain on every selected node of a DPU cluster.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChainSetSpec {
    /// Which nodes; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub node_selector: Option<LabelSelector>,
    /// What each node gets.
    pub template: ServiceChainTemplateObject,
}

/// A ServiceChain without a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ServiceChainTemplateObject {
    /// Labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// The chain.
    pub spec: ServiceChainSpec,
}

/// How far a set is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChainSetStatus {
    /// One condition per step, and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// ServiceChains that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_applied: Option<i32>,
    /// ServiceChains that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_ready: Option<i32>,
}

//! `DPUServiceConfiguration`: what a user says about a service.

use super::UpgradePolicy;
use super::shared::upgrade_policy_schema;
use crate::common::open_object_schema;
use crate::{RawValues, ResourceList};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The layer over a DPUServiceTemplate that a user writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUServiceConfiguration",
    root = "DpuServiceConfiguration",
    plural = "dpuserviceconfigurations",
    namespaced,
    status = "DpuServiceConfigurationStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "The layer over a DPUServiceTemplate that a user writes."
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!(has(self.interfaces) && self.interfaces.size() > 0 && has(self.serviceConfiguration) && has(self.serviceConfiguration.deployInCluster) && self.serviceConfiguration.deployInCluster)",
    "interfaces cannot be set when serviceConfiguration.deployInCluster is true: an in-cluster service has no DPU to wire"
))]
pub struct DpuServiceConfigurationSpec {
    /// Key of the service in `DPUDeployment.spec.services`.
    #[schemars(length(min = 1, max = 28))]
    pub deployment_service_name: String,
    /// Values, daemon set settings and ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_configuration: Option<ServiceConfiguration>,
    /// Interfaces of the service, for use in chains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub interfaces: Option<Vec<ServiceInterfaceTemplate>>,
    /// Whether a change may disturb the nodes it reaches.
    #[serde(default)]
    #[schemars(schema_with = "upgrade_policy_schema")]
    pub upgrade_policy: UpgradePolicy,
}

/// Configurations have no status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct DpuServiceConfigurationStatus {}

/// Settings of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!(has(self.configPorts) && has(self.deployInCluster) && self.deployInCluster)",
    "configPorts cannot be set when deployInCluster is true"
))]
pub struct ServiceConfiguration {
    /// Values laid over those of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm_chart: Option<ValuesOnly>,
    /// Labels, annotations, resources and update strategy of the daemon set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_daemon_set: Option<ConfigurationDaemonSet>,
    /// True: run in the management cluster instead of on DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_in_cluster: Option<bool>,
    /// Ports of the service that are reachable from the management cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_ports: Option<ConfigPorts>,
}

/// Helm values without a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ValuesOnly {
    /// Values of open schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<RawValues>,
}

/// Settings of the daemon set; the node selector belongs to the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.labels) || !self.labels.exists(key, (key.contains('dpu.nvidia.com/') || key.endsWith('dpu.nvidia.com')) && !key.matches('svc.dpu.nvidia.com/custom-flows'))",
    "labels must not contain dpu.nvidia.com/ and must not end with dpu.nvidia.com: these keys belong to the controllers"
))]
#[x_kube(validation = (
    "!has(self.annotations) || !self.annotations.exists(key, key.contains('dpu.nvidia.com/') || key.endsWith('dpu.nvidia.com'))",
    "annotations must not contain dpu.nvidia.com/ and must not end with dpu.nvidia.com: these keys belong to the controllers"
))]
pub struct ConfigurationDaemonSet {
    /// `apps/v1` DaemonSetUpdateStrategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub update_strategy: Option<serde_json::Value>,
    /// Labels of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 50))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 50))]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Resources of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceList>,
}

/// Ports of a service that are reachable from the management cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.serviceType == 'NodePort' || !self.ports.exists(p, has(p.nodePort))",
    "nodePort can only be set when serviceType is NodePort"
))]
pub struct ConfigPorts {
    /// `NodePort`, `ClusterIP` or `None`.
    #[serde(default = "node_port")]
    #[schemars(schema_with = "service_type_schema")]
    pub service_type: String,
    /// The ports.
    pub ports: Vec<ConfigPort>,
}

fn node_port() -> String {
    "NodePort".to_owned()
}

fn service_type_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "default": "NodePort",
        "enum": ["NodePort", "ClusterIP", "None"],
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "serviceType is immutable"}]
    })
}

/// One port of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigPort {
    /// Name of the port.
    #[schemars(length(min = 1), regex(pattern = r"^[a-z0-9-]+$"))]
    pub name: String,
    /// Port of the service.
    #[schemars(range(min = 0, max = 65535))]
    pub port: u32,
    /// `TCP` or `UDP`.
    #[schemars(extend("enum" = ["TCP", "UDP"]))]
    pub protocol: String,
    /// Port on the nodes; chosen by Kubernetes when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub node_port: Option<u32>,
}

/// One interface of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInterfaceTemplate {
    /// Name inside the pod; chains refer to it.
    #[schemars(length(min = 1, max = 15))]
    pub name: String,
    /// NetworkAttachmentDefinition, `namespace/name` or `name`.
    pub network: String,
    /// Virtual network of a VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_network: Option<String>,
}

//! `DPUService`: one Helm chart on the DPUs, or in the management cluster.

use super::{ConfigPort, ConfigPorts, HelmChart, ServiceSecurity};
use crate::ResourceList;
use crate::common::{
    conditions_schema, label_selector_schema, node_selector_schema, open_object_schema,
};
use k8s_openapi::api::core::v1::NodeSelector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One Helm chart that Argo CD delivers to the DPU clusters or to the management cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUService",
    root = "DpuService",
    plural = "dpuservices",
    namespaced,
    status = "DpuServiceStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "One Helm chart that Argo CD delivers to the DPU clusters or to the management cluster.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.interfaces) || has(self.serviceID)",
    "serviceID is required when interfaces is set: pods are matched to their interfaces by it"
))]
#[x_kube(validation = (
    "!(has(self.configPorts) && has(self.deployInCluster) && self.deployInCluster)",
    "configPorts cannot be set when deployInCluster is true"
))]
#[x_kube(validation = (
    "!(has(self.dpuClusterSelector) && has(self.deployInCluster) && self.deployInCluster)",
    "dpuClusterSelector cannot be set when deployInCluster is true"
))]
pub struct DpuServiceSpec {
    /// The chart and its values.
    pub helm_chart: HelmChart,
    /// Label value that joins pods, interfaces and chains; derived from the object's name when unset.
    #[serde(rename = "serviceID", default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<String>,
    /// Settings of the chart's daemon set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_daemon_set: Option<ServiceDaemonSet>,
    /// True: run in the management cluster instead of on DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_in_cluster: Option<bool>,
    /// Names of DPUServiceInterfaces in the same namespace that are attached to every pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub interfaces: Option<Vec<String>>,
    /// True: leave what is deployed as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Ports of the service that are reachable from the management cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_ports: Option<ConfigPorts>,
    /// Which DPUClusters; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub dpu_cluster_selector: Option<LabelSelector>,
    /// What the service is allowed on a DPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<ServiceSecurity>,
}

/// What is deployed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceStatus {
    /// One condition per step, and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The service ID in use, also when it was derived.
    #[serde(rename = "serviceID", default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<String>,
    /// Ports on the nodes by DPUCluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_ports: Option<BTreeMap<String, Vec<ConfigPort>>>,
}

/// Settings of a chart's daemon set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDaemonSet {
    /// Nodes of the DPU cluster that run the service; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "node_selector_schema")]
    pub node_selector: Option<NodeSelector>,
    /// `apps/v1` DaemonSetUpdateStrategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub update_strategy: Option<serde_json::Value>,
    /// Labels of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Resources of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceList>,
}

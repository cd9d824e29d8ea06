//! `DPUServiceTemplate`: what a vendor ships for a service.

use super::{HelmChart, ServiceSecurity};
use crate::ResourceList;
use crate::common::conditions_schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The base of a service: its chart, default values and resources. A DPUServiceConfiguration is laid over it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUServiceTemplate",
    root = "DpuServiceTemplate",
    plural = "dpuservicetemplates",
    namespaced,
    status = "DpuServiceTemplateStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "The base of a service: its chart, default values and resources."
)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceTemplateSpec {
    /// Key of the service in `DPUDeployment.spec.services`.
    #[schemars(length(min = 1, max = 28))]
    pub deployment_service_name: String,
    /// The chart and its default values.
    pub helm_chart: HelmChart,
    /// What one instance needs on a node; compared with what the flavor leaves free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_requirements: Option<ResourceList>,
    /// What the service is allowed on a DPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<ServiceSecurity>,
}

/// What is known about the chart of a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceTemplateStatus {
    /// Constraints of the chart by version key, for example `dpu.nvidia.com/doca-version: ">= 2.9"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<BTreeMap<String, String>>,
    /// Where `versions` were read: on the template itself, or in its chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions_from: Option<VersionsFrom>,
    /// `Ready` and `DPUServiceTemplateReconciled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Where the constraints of a template were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VersionsFrom {
    /// Annotations of the DPUServiceTemplate.
    Annotations,
    /// The chart.
    Chart,
}

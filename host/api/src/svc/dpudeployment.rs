//! `DPUDeployment`: services and a chain on a set of DPUs.

use super::shared::upgrade_policy_schema;
use super::{InterfacePort, Ipam, UpgradePolicy};
use crate::common::{conditions_schema, int_or_string_schema, label_selector_schema};
use crate::provisioning::NodeEffectAction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Services and a service chain on a set of DPUs with a given image and flavor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUDeployment",
    root = "DpuDeployment",
    plural = "dpudeployments",
    namespaced,
    status = "DpuDeploymentStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "Services and a service chain on a set of DPUs with a given image and flavor.",
    validation = ("self.metadata.name.size() <= 20", "name length can't be bigger than 20 chars"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuDeploymentSpec {
    /// The DPUs: image, flavor and where.
    pub dpus: Dpus,
    /// The services by name.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 50, "x-kubernetes-validations" = [
        {"rule": "self.all(key, key.size() <= 28)", "message": "service names can't be bigger than 28 chars"}
    ]))]
    pub services: BTreeMap<String, ServiceRef>,
    /// The chain between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_chains: Option<ServiceChains>,
    /// How many revisions of a service or chain may exist at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "revision_history_limit_schema")]
    pub revision_history_limit: Option<i32>,
}

fn revision_history_limit_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "integer", "format": "int32", "minimum": 1, "default": 10,
        "description": "How many revisions of a service or chain may exist at a time."
    })
}

/// What a DPUDeployment waits for and has reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuDeploymentStatus {
    /// One condition per step, and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The state of everything the deployment refers to that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_dependencies: Option<Vec<ObservedDependency>>,
}

/// The state of one object that a deployment refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedDependency {
    /// Kind of the object.
    pub kind: String,
    /// Its name; the namespace is that of the deployment.
    pub name: String,
    /// Its generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Ten hexadecimal digits of its spec.
    pub digest: String,
    /// Its uid: an object that was deleted and created again is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Ten hexadecimal digits of its annotations and labels that can change what is rolled out; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_digest: Option<String>,
}

/// The DPUs of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "[has(self.bfb), has(self.blueFieldSoftware)].exists_one(x, x)",
    "exactly one of bfb or blueFieldSoftware must be specified"
))]
#[x_kube(validation = (
    "[has(self.flavor), has(self.flavorTemplate)].exists_one(x, x)",
    "exactly one of flavor or flavorTemplate must be specified"
))]
pub struct Dpus {
    /// Name of the BFB in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub bfb: Option<String>,
    /// Name of the BlueFieldSoftware in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub blue_field_software: Option<String>,
    /// Name of the DPUFlavor in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub flavor: Option<String>,
    /// Name of the DPUFlavorTemplate in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub flavor_template: Option<String>,
    /// Passed on to the DPUSets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub astra_enabled: Option<bool>,
    /// Passed on to the DPUSets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
    /// What happens to a host while one of its DPUs is provisioned or updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_effect: Option<NodeEffectAction>,
    /// How changes of image and flavor reach the DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_set_strategy: Option<DpuSetStrategy>,
    /// Which DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minItems" = 1, "maxItems" = 50, "x-kubernetes-validations" = [
        {"rule": "self.all(x, self.exists_one(y, y.nameSuffix == x.nameSuffix))", "message": "nameSuffix values must be unique"}
    ]))]
    pub dpu_sets: Option<Vec<DpuSetTemplate>>,
}

/// How changes of image and flavor reach DPUs that run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuSetStrategy {
    /// `OnDelete` or `RollingUpdate`.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["OnDelete", "RollingUpdate"]))]
    pub type_: String,
    /// Limits of a rolling update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
}

/// Limits of a rolling update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollingUpdate {
    /// How many DPUs may be unavailable: a number, or a percentage of the selected DPUs rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string_schema")]
    pub max_unavailable: Option<IntOrString>,
}

/// One set of DPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.dpuAnnotations) || !self.dpuAnnotations.exists(key, (key.contains('dpu.nvidia.com/') || key.endsWith('dpu.nvidia.com')) && !key.startsWith('noderesources.dpu.nvidia.com') && key != 'provisioning.dpu.nvidia.com/force-fw-update')",
    "dpuAnnotations must not contain dpu.nvidia.com/ and must not end with dpu.nvidia.com: these keys belong to the controllers"
))]
#[x_kube(validation = (
    "!(has(self.nodeSelector) && has(self.dpuNodeSelector))",
    "only one of nodeSelector or dpuNodeSelector can be specified"
))]
#[x_kube(validation = (
    "!(has(self.dpuSelector) && has(self.dpuDeviceSelector))",
    "only one of dpuSelector or dpuDeviceSelector can be specified"
))]
pub struct DpuSetTemplate {
    /// The DPUSet is named `<deployment>-<nameSuffix>`.
    #[schemars(length(min = 1, max = 24))]
    pub name_suffix: String,
    /// Selects DPUNodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub dpu_node_selector: Option<LabelSelector>,
    /// Selects DPUDevices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub dpu_device_selector: Option<LabelSelector>,
    /// Older name of `dpuNodeSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub node_selector: Option<LabelSelector>,
    /// Older form of `dpuDeviceSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_selector: Option<BTreeMap<String, String>>,
    /// Labels of the DPUCluster that the DPUs join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_cluster_selector: Option<BTreeMap<String, String>>,
    /// Annotations of the DPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 50))]
    pub dpu_annotations: Option<BTreeMap<String, String>>,
}

/// One service of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// Name of the DPUServiceTemplate in the same namespace.
    pub service_template: String,
    /// Name of the DPUServiceConfiguration in the same namespace.
    pub service_configuration: String,
    /// Services that must be ready before this one is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub depends_on: Option<Vec<LocalDependency>>,
}

/// A service of the same deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct LocalDependency {
    /// Its key in `spec.services`.
    pub name: String,
}

/// The chain of a deployment: an object with `switches`, not a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChains {
    /// Whether a change may disturb the nodes it reaches.
    #[serde(default)]
    #[schemars(schema_with = "upgrade_policy_schema")]
    pub upgrade_policy: UpgradePolicy,
    /// Each switch is one isolated network on every DPU.
    #[schemars(length(min = 1, max = 50))]
    pub switches: Vec<Switch>,
}

/// One isolated learning switch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Switch {
    /// What is plugged into the switch.
    #[schemars(length(min = 1, max = 50))]
    pub ports: Vec<SwitchPort>,
    /// MTU of the interfaces on this switch, in bytes.
    #[serde(
        rename = "serviceMTU",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "mtu_schema")]
    pub service_mtu: Option<i64>,
}

/// The schema of an MTU on the data plane; bounds are those of release 25.10.
pub(crate) fn mtu_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "integer", "default": 1500, "minimum": 1280, "maximum": 9216})
}

/// One port: of a service of this deployment, or of an interface that exists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.service) != has(self.serviceInterface)",
    "exactly one of service or serviceInterface must be specified"
))]
pub struct SwitchPort {
    /// An interface of a service of this deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServicePort>,
    /// An interface selected by its labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_interface: Option<InterfacePort>,
}

/// An interface of a service of this deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ServicePort {
    /// Key in `spec.services`.
    #[schemars(length(min = 1, max = 28))]
    pub name: String,
    /// Name in the interfaces of the DPUServiceConfiguration.
    #[schemars(length(min = 1, max = 15))]
    pub interface: String,
    /// Addresses for the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<Ipam>,
}

//! The requests and responses of the three stages, as the host writes and reads them.
//!
//! They mirror `wit/` field by field. Two things differ on this side: documents of open schema are
//! [`serde_json::Value`] instead of text, and lists of pairs are maps, so that equal requests have equal digests.
//! As documents, requests may leave out what is empty, and what they have too much is an error.
//! Settings are not part of a request here; they belong to the loaded `dpf_engine::Plugin`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names and values in the order of the names.
pub type Pairs = BTreeMap<String, String>;

/// A step of the reconcile a plugin can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Merges and renders helm values.
    TemplateMerge,
    /// Checks versions and resources.
    VersionCheck,
    /// Builds service chains.
    ChainBuilder,
}

impl Stage {
    /// All of them, in the order a reconcile consults them.
    pub const ALL: [Stage; 3] = [
        Stage::TemplateMerge,
        Stage::VersionCheck,
        Stage::ChainBuilder,
    ];

    /// The name of the stage, which is also the name of its WIT world.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::TemplateMerge => "template-merge",
            Stage::VersionCheck => "version-check",
            Stage::ChainBuilder => "chain-builder",
        }
    }
}

impl Stage {
    /// The name of the WIT interface a plugin of the stage exports.
    pub fn interface(self) -> &'static str {
        match self {
            Stage::TemplateMerge => "values",
            Stage::VersionCheck => "check",
            Stage::ChainBuilder => "chain",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The object cannot be rolled out as written.
    Error,
    /// It can, but somebody should look at it.
    Warning,
}

/// One statement about the user's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Kind and name of the object that is wrong, for example `DPUServiceConfiguration/consumer`.
    pub object: String,
    /// Path of the field in that object.
    pub field: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// The user's input is wrong. Repeating the call with the same input gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// A CamelCase word for programs.
    pub code: String,
    /// One line for people.
    pub message: String,
    /// The details.
    pub findings: Vec<Finding>,
}

/// The DPUDeployment a request is made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeploymentRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Stage template-merge: what is merged for one service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MergeRequest {
    /// For whom.
    pub deployment: DeploymentRef,
    /// Which service.
    pub service: MergeService,
    /// `spec.helmChart.values` of the DPUServiceTemplate.
    pub template_values: Option<Value>,
    /// `spec.serviceConfiguration.helmChart.values` of the DPUServiceConfiguration.
    pub configuration_values: Option<Value>,
    /// True only for a service with `dependsOn`.
    pub render: bool,
    /// The annotation `svc.dpu.nvidia.com/template-delimiter` as written.
    pub delimiters: Option<String>,
    /// What templates see as `.Services`.
    pub dependencies: Vec<MergeDependency>,
    /// The place for what later versions add.
    #[serde(default)]
    pub annotations: Pairs,
}

/// The service whose values are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MergeService {
    /// Key in `spec.services`.
    pub name: String,
    /// Name of the DPUServiceTemplate.
    pub template: String,
    /// Name of the DPUServiceConfiguration.
    pub configuration: String,
}

/// A service the merged one depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MergeDependency {
    /// Key in `spec.services`.
    pub name: String,
    /// Name of the DPUService made for it.
    pub object_name: String,
    /// Namespace of that DPUService.
    pub namespace: String,
}

/// Stage template-merge: the result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MergeResponse {
    /// The configuration's values as rendered: the version digest is taken of these.
    pub configuration_values: Option<Value>,
    /// The merged values.
    pub values: Option<Value>,
    /// Warnings.
    pub findings: Vec<Finding>,
    /// The place for what later versions add.
    #[serde(default)]
    pub annotations: Pairs,
}

/// Stage version-check: what has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckRequest {
    /// For whom.
    pub deployment: DeploymentRef,
    /// The services, in the order of their names.
    pub services: Vec<CheckService>,
    /// The software of the DPUs.
    pub provided: Provided,
    /// The resources of one DPU; absent when the flavor does not say (nothing is checked then).
    pub resources: Option<Resources>,
    /// The place for what later versions add.
    #[serde(default)]
    pub annotations: Pairs,
}

/// A service, as far as it asks for something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckService {
    /// Key in `spec.services`.
    pub name: String,
    /// Name of the DPUServiceTemplate.
    pub template: String,
    /// `status.versions` of the template.
    pub constraints: Pairs,
    /// `spec.resourceRequirements` of the template, Kubernetes quantities.
    pub resource_requirements: Pairs,
    /// Whether it runs in the management cluster; its resources then do not count.
    pub in_cluster: bool,
}

/// The software of the DPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provided {
    /// Kind of the object that says so: `BFB`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Versions by the keys constraints use, for example `dpu.nvidia.com/doca-version`. A version that is not known is left out.
    pub versions: Pairs,
}

/// The resources of one DPU, Kubernetes quantities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Name of the DPUFlavor.
    pub flavor: String,
    /// `spec.dpuResources`.
    pub total: Pairs,
    /// `spec.systemReservedResources`.
    pub reserved: Pairs,
}

/// Stage chain-builder: the switches as the user wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChainRequest {
    /// For whom.
    pub deployment: DeploymentRef,
    /// `spec.serviceChains.switches`.
    pub switches: Vec<SwitchSpec>,
    /// The services ports may name.
    pub services: Vec<ChainService>,
    /// The place for what later versions add.
    #[serde(default)]
    pub annotations: Pairs,
}

/// A switch as the user wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SwitchSpec {
    /// Its ports.
    pub ports: Vec<PortSpec>,
    /// MTU in bytes.
    pub service_mtu: Option<u32>,
}

/// A port as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PortSpec {
    /// Names a service of the deployment.
    Service {
        /// Key in `spec.services`.
        name: String,
        /// Name of an interface in its DPUServiceConfiguration.
        interface: String,
        /// Address management.
        ipam: Option<Ipam>,
    },
    /// Selects interfaces by labels.
    ServiceInterface {
        /// The labels.
        match_labels: Pairs,
        /// Address management.
        ipam: Option<Ipam>,
    },
}

/// Address management of a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ipam {
    /// Selects the DPUServiceIPAM.
    pub match_labels: Pairs,
    /// Whether the port gets the default gateway.
    pub default_gateway: Option<bool>,
    /// Whether the default route is set.
    pub set_default_route: Option<bool>,
}

/// A service ports may name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChainService {
    /// Key in `spec.services`.
    pub name: String,
    /// `spec.serviceID` of its DPUService.
    pub service_id: String,
    /// Names of the interfaces in its DPUServiceConfiguration.
    pub interfaces: Vec<String>,
}

/// Stage chain-builder: the result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainResponse {
    /// One per switch of the request, in the same order.
    pub switches: Vec<ChainSwitch>,
    /// Warnings.
    pub findings: Vec<Finding>,
    /// The place for what later versions add.
    #[serde(default)]
    pub annotations: Pairs,
}

/// A switch of the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainSwitch {
    /// One per port of the request, in the same order.
    pub ports: Vec<ChainPort>,
    /// MTU in bytes, as given.
    pub service_mtu: Option<u32>,
}

/// A port of the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainPort {
    /// Selects the ServiceInterfaces.
    pub match_labels: Pairs,
    /// Address management, as given.
    pub ipam: Option<Ipam>,
}

/// Who a plugin says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// A DNS label.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// Who answers for it.
    pub vendor: String,
    /// One sentence.
    pub description: String,
    /// The place for what later versions add.
    #[serde(default)]
    pub annotations: Pairs,
}

//! `DPUPlugin`: a WebAssembly component that serves a stage for some services.

use crate::common::{Quantity, RawValues, conditions_schema, label_selector_schema};
use crate::provisioning::text_enum::text_enum;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Calls reach the plugin.
pub const CIRCUIT_CLOSED: &str = "Closed";
/// The plugin failed several times in a row and is left alone for a while.
pub const CIRCUIT_OPEN: &str = "Open";
/// One call decides whether the plugin works again.
pub const CIRCUIT_HALF_OPEN: &str = "HalfOpen";

/// A WebAssembly component that serves one stage of the reconcile for the services it is selected for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "plugin.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUPlugin",
    root = "DpuPlugin",
    plural = "dpuplugins",
    status = "DpuPluginStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "A WebAssembly component that serves one stage of the reconcile for the services it is selected for.",
    printcolumn(name = "Stage", type_ = "string", json_path = ".spec.stage", description = "What it replaces"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Plugin", type_ = "string", json_path = ".status.descriptor.name", description = "Who the plugin says it is"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.descriptor.version", description = "Version in use"),
    printcolumn(name = "Services", type_ = "integer", json_path = ".status.services", description = "Services it serves"),
    printcolumn(name = "Circuit", type_ = "string", json_path = ".status.circuit", description = "Open: it failed several times in a row"),
    printcolumn(name = "Last fault", type_ = "date", json_path = ".status.lastFault.time", description = "When it failed last"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.digest", description = "Component in use", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.signature) || has(self.source.oci)",
    "a signature can only be checked of an OCI artifact: remove spec.signature or use spec.source.oci"
))]
pub struct DpuPluginSpec {
    /// What the plugin replaces; for version-check: what it adds to.
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "the stage cannot be changed: create another DPUPlugin"}
    ]))]
    pub stage: PluginStage,
    /// Where the component comes from.
    pub source: PluginSource,
    /// sha256 of the component, wherever it comes from: `dpfctl plugin inspect` and `push` print it. Nothing else is ever run.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
    /// The services that get the plugin without naming it. Without a selector only those get it whose DPUServiceTemplate names it
    /// in the annotation `plugin.dpu.nvidia.com/<stage>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<PluginSelector>,
    /// Labels of the namespaces in which the plugin may be used, by selector or by annotation. Without it: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub namespace_selector: Option<LabelSelector>,
    /// Among several plugins whose selector fits a service, the highest priority wins; equal ones are ordered by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "priority_schema")]
    pub priority: Option<i32>,
    /// Settings of the plugin, checked against the schema it exports and by the plugin itself. They are no place for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<RawValues>,
    /// What a call may use; never more than the host allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<PluginLimits>,
    /// What happens to a service while the plugin cannot serve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "failure_policy_schema")]
    pub failure_policy: Option<FailurePolicy>,
    /// Who must have signed the artifact. Without it the digest alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignaturePolicy>,
}

fn priority_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer", "format": "int32", "minimum": -1000, "maximum": 1000, "default": 0,
        "description": "Among several plugins whose selector fits a service, the highest priority wins; equal ones are ordered by name."
    })
}

fn failure_policy_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "enum": ["Fail", "UseDefault"], "default": "Fail",
        "description": "Fail: what runs goes on running and nothing new is rolled out until the plugin works again. UseDefault: once the \
            plugin is known not to work, the built-in one serves in its place (for version-check: its findings are left out)."
    })
}

text_enum! {
    /// A step of the reconcile that a plugin can serve.
    PluginStage {
        /// Merges and renders Helm values of one service.
        TemplateMerge = "template-merge",
        /// Checks versions and resources of the services.
        VersionCheck = "version-check",
        /// Builds the service chain.
        ChainBuilder = "chain-builder",
    }
}

text_enum! {
    /// What happens to a service while its plugin cannot serve it.
    FailurePolicy {
        /// Nothing new is rolled out.
        Fail = "Fail",
        /// The built-in plugin serves in its place.
        UseDefault = "UseDefault",
    }
}

/// Where a component comes from: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "[has(self.oci), has(self.configMap), has(self.file)].exists_one(x, x)",
    "exactly one of oci, configMap or file must be specified"
))]
pub struct PluginSource {
    /// An artifact in a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// A key of a ConfigMap, for components below 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// A file beside the host; only when the host was started with `--plugin-file-dir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
}

/// An artifact in a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OciSource {
    /// `registry/path:tag` or `registry/path@sha256:...`; the latter pins the manifest, too.
    #[schemars(length(min = 3, max = 512))]
    pub image: String,
    /// Secrets of type `kubernetes.io/dockerconfigjson`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub pull_secrets: Option<Vec<PullSecret>>,
    /// Registries, with or without a path, that are asked before the one of the image and have the same repositories. They need
    /// not be trusted: everything is checked by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub mirrors: Option<Vec<String>>,
}

/// A Secret with credentials of registries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its namespace; without it that of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its namespace; without it that of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The key in `binaryData`.
    #[schemars(length(min = 1))]
    pub key: String,
}

/// A file beside the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// Path below the directory given with `--plugin-file-dir`.
    #[schemars(length(min = 1, max = 512))]
    pub path: String,
}

/// Which services get a plugin without naming it: those for which all parts hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginSelector {
    /// Keys in `spec.services` of a DPUDeployment. Without it: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub services: Option<Vec<String>>,
    /// Labels of the DPUServiceTemplate. Without it: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub templates: Option<LabelSelector>,
}

/// What a call of the plugin may use. The host has defaults and caps of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginLimits {
    /// Linear memory, for example `32Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60000))]
    pub deadline_milliseconds: Option<i64>,
    /// Size of a result, for example `1Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Quantity>,
    /// Calls that run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: Option<i32>,
    /// Lines of log in a minute; further ones are counted and dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub log_lines_per_minute: Option<i32>,
}

/// Public keys, in PEM, of which one must have signed the manifest in cosign's way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.publicKeys) || has(self.secret) || has(self.configMap)",
    "name at least one public key: publicKeys, secret or configMap"
))]
pub struct SignaturePolicy {
    /// The keys themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub public_keys: Option<Vec<String>>,
    /// A Secret with keys, as `cosign generate-key-pair` makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeyReference>,
    /// A ConfigMap with keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeyReference>,
}

/// Where a public key lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyReference {
    /// Name of the object.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its namespace; without it that of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The key in its data; without it `cosign.pub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What became of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuPluginStatus {
    /// `Resolved`, `Verified`, `Compatible` and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The component in use. It differs from `spec.digest` while that one cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// sha256 of the key whose signature was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// Who the plugin in use says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<PluginDescriptor>,
    /// How many services of all deployments it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<i32>,
    /// `Closed`, `Open` or `HalfOpen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<String>,
    /// When it failed last, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<LastFault>,
}

/// Who a plugin says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginDescriptor {
    /// A DNS label.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// Who answers for it.
    pub vendor: String,
    /// One sentence.
    pub description: String,
}

/// A failure of the plugin itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastFault {
    /// When.
    #[schemars(schema_with = "time_schema")]
    pub time: Time,
    /// One word, for example `PluginTrapped`.
    pub reason: String,
    /// What happened.
    pub message: String,
    /// For which DPUDeployment, as `namespace/name`.
    pub object: String,
    /// For which of its services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "description": "When."})
}

//! `DPUServiceCredentialRequest`: credentials of a service account, kept fresh in a Secret.

use crate::common::{TemplateMeta, conditions_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Credentials of a service account of a cluster, kept fresh in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "svc.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPUServiceCredentialRequest",
    root = "DpuServiceCredentialRequest",
    plural = "dpuservicecredentialrequests",
    namespaced,
    status = "DpuServiceCredentialRequestStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "Credentials of a service account of a cluster, kept fresh in a Secret.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceCredentialRequestSpec {
    /// The service account in the target cluster.
    pub service_account: NamespacedReference,
    /// Lifetime of a token, for example `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub duration: Option<String>,
    /// The DPUCluster; the management cluster when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_cluster: Option<NamespacedReference>,
    /// `kubeconfig` or `tokenFile`: what the Secret holds.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["kubeconfig", "tokenFile"]))]
    pub type_: String,
    /// The Secret to write.
    pub secret: NamespacedReference,
    /// Labels and annotations of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
}

/// An object by name, in the namespace of the referring one when `namespace` is unset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct NamespacedReference {
    /// Its name.
    pub name: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What was issued.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuServiceCredentialRequestStatus {
    /// One condition per step, and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the credentials end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub expiration_timestamp: Option<Time>,
    /// When the credentials were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub issued_at: Option<Time>,
    /// `namespace/name` of the cluster they are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_cluster: Option<String>,
    /// `namespace/name` of the service account they are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// `namespace/name` of the Secret that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

//! Parts that several kinds of this group share.

use crate::RawValues;
use crate::common::open_object_schema;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Helm chart and the values it is rendered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HelmChart {
    /// Where the chart is.
    pub source: ChartSource,
    /// Values of open schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<RawValues>,
}

/// Where a Helm chart is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChartSource {
    /// Registry or repository, `oci://...` or `https://...`.
    #[serde(rename = "repoURL")]
    #[schemars(regex(pattern = r"^(oci://|https://).+$"))]
    pub repo_url: String,
    /// Path below the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Version of the chart.
    #[schemars(length(min = 1))]
    pub version: String,
    /// Name of the chart; the last segment of `path` when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<String>,
    /// Name of the Helm release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_name: Option<String>,
}

/// Whether a change may disturb the nodes it reaches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradePolicy {
    /// True (the default): every change is a new revision, and the node effect is applied where it is rolled out.
    /// False: the running objects are changed in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bool_default_true")]
    pub apply_node_effect: Option<bool>,
}

impl UpgradePolicy {
    /// True unless the user said no.
    #[must_use]
    pub fn disruptive(&self) -> bool {
        self.apply_node_effect.unwrap_or(true)
    }
}

fn bool_default_true(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "boolean", "default": true})
}

/// An optional upgrade policy that the API server fills with `{}`.
pub(crate) fn upgrade_policy_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "default": {},
        "description": "Whether a change may disturb the nodes it reaches.",
        "properties": {
            "applyNodeEffect": {
                "type": "boolean",
                "default": true,
                "description": "False: running objects are changed in place and no node effect is applied."
            }
        }
    })
}

/// Addresses for an interface on a switch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ipam {
    /// Labels of the address pool.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 50))]
    pub match_labels: BTreeMap<String, String>,
    /// Whether the pool's gateway becomes the default gateway of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_gateway: Option<bool>,
    /// Whether a default route is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_default_route: Option<bool>,
}

/// A port that selects one interface by its labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterfacePort {
    /// Labels that exactly one interface of a node carries.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 50))]
    pub match_labels: BTreeMap<String, String>,
    /// Addresses for that interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<Ipam>,
}

/// What a service is allowed on a DPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ServiceSecurity {
    /// Whether the pods may be privileged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// Workload identity; passed on as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub spiffe: Option<serde_json::Value>,
}

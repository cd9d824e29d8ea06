//! What happens to a host while one of its DPUs is taken out of service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The effect on a host. One of the actions is set; [`DpuSet`](super) enforces that, a DPUDeployment only carries it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeEffectAction {
    /// Put this taint on the host node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taint: Option<TaintEffect>,
    /// Do nothing to the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_effect: Option<bool>,
    /// Put these labels on the host node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_label: Option<BTreeMap<String, String>>,
    /// Cordon the host and evict its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<bool>,
    /// Run the pod in the ConfigMap of this name to completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_action: Option<String>,
    /// Wait until a person or program says to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// Skip the wait for sibling DPUs and the limit of unavailable nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bool_default_false")]
    pub force: Option<bool>,
}

/// A taint on a host node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaintEffect {
    /// Key of the taint.
    pub key: String,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// When the taint was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}

/// An optional boolean that the API server defaults to false.
pub(crate) fn bool_default_false(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "boolean", "default": false})
}

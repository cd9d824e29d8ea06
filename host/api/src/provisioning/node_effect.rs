//! What happens to a host while one of its DPUs is taken out of service.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The effect on a host. One of the actions is set; a DPUSet enforces that, a DPUDeployment only carries it.
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

/// The effect on a host with what decides when it is applied and removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "[has(self.taint), has(self.noEffect), has(self.drain), has(self.customLabel), has(self.customAction), has(self.hold)].exists_one(x, x)",
    "exactly one of taint, noEffect, drain, customLabel, customAction and hold must be set"
))]
pub struct NodeEffect {
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
    /// Apply the effect also when only node labels of a running DPU change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bool_default_false")]
    pub apply_on_label_change: Option<bool>,
    /// The effect stays until all of these, too, are gone from the requestors of the DPUNodeMaintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_maintenance_additional_requestors: Option<Vec<String>>,
}

impl NodeEffect {
    /// What applies when nothing is set: the host is drained.
    #[must_use]
    pub fn drained() -> Self {
        Self {
            drain: Some(true),
            ..Self::default()
        }
    }

    /// Only the action: what two effects must share to be the same effect on a host.
    #[must_use]
    pub fn action(&self) -> NodeEffectAction {
        NodeEffectAction {
            taint: self.taint.clone(),
            no_effect: self.no_effect,
            custom_label: self.custom_label.clone(),
            drain: self.drain,
            custom_action: self.custom_action.clone(),
            hold: self.hold,
            force: self.force,
        }
    }

    /// The same effect with another action.
    #[must_use]
    pub fn with_action(self, action: NodeEffectAction) -> Self {
        Self {
            apply_on_label_change: self.apply_on_label_change,
            node_maintenance_additional_requestors: self.node_maintenance_additional_requestors,
            ..Self::from(action)
        }
    }
}

impl From<NodeEffectAction> for NodeEffect {
    fn from(action: NodeEffectAction) -> Self {
        let NodeEffectAction {
            taint,
            no_effect,
            custom_label,
            drain,
            custom_action,
            hold,
            force,
        } = action;
        Self {
            taint,
            no_effect,
            custom_label,
            drain,
            custom_action,
            hold,
            force,
            apply_on_label_change: None,
            node_maintenance_additional_requestors: None,
        }
    }
}

/// The default of fields that hold an effect: the host is drained.
pub(crate) fn drain_default() -> serde_json::Value {
    serde_json::json!({"drain": true})
}

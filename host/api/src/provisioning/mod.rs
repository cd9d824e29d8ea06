//! Group `provisioning.dpu.nvidia.com`: the DPUs themselves.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

pub mod node_effect;

pub use node_effect::{NodeEffectAction, TaintEffect};

/// The group of this module.
pub const GROUP: &str = "provisioning.dpu.nvidia.com";

pub(crate) fn crds() -> Vec<CustomResourceDefinition> {
    Vec::new()
}

//! Group `operator.dpu.nvidia.com`: settings of an installation.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The group of this module.
pub const GROUP: &str = "operator.dpu.nvidia.com";

pub(crate) fn crds() -> Vec<CustomResourceDefinition> {
    Vec::new()
}

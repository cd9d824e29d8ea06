//! Group `operator.dpu.nvidia.com`: settings of an installation.

#![allow(
    clippy::duplicated_attributes,
    reason = "kube takes one printcolumn attribute per column; equal parts of two columns are no mistake"
)]

use crate::provisioning::without_root_defaults;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

mod dpfoperatorconfig;

pub use dpfoperatorconfig::{
    DpfOperatorConfig, DpfOperatorConfigSpec, DpfOperatorConfigStatus, InstallSettings, Networking,
    Overrides, PARALLEL_DEFAULT, ProvisioningSettings, RedfishSettings,
};

/// The group of this module.
pub const GROUP: &str = "operator.dpu.nvidia.com";

pub(crate) fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![DpfOperatorConfig::crd()];
    crds.iter_mut().for_each(without_root_defaults);
    crds
}

//! Group `plugin.dpu.nvidia.com`: code that vendors ship and cluster administrators install.

#![allow(
    clippy::duplicated_attributes,
    reason = "kube takes one printcolumn attribute per column; equal parts of two columns are no mistake"
)]

use crate::provisioning::without_root_defaults;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

mod dpuplugin;

pub use dpuplugin::{
    CIRCUIT_CLOSED, CIRCUIT_HALF_OPEN, CIRCUIT_OPEN, ConfigMapSource, DpuPlugin, DpuPluginSpec,
    DpuPluginStatus, FailurePolicy, FileSource, KeyReference, LastFault, OciSource,
    PluginDescriptor, PluginLimits, PluginSelector, PluginSource, PluginStage, PullSecret,
    SignaturePolicy,
};

/// The group of this module.
pub const GROUP: &str = "plugin.dpu.nvidia.com";

pub(crate) fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![DpuPlugin::crd()];
    crds.iter_mut().for_each(without_root_defaults);
    crds
}

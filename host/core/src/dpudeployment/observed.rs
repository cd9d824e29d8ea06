//! What a reconcile reads before it decides.

use dpf_api::provisioning::{Bfb, Dpu, DpuFlavor, DpuSet};
use dpf_api::svc::{
    DpuDeployment, DpuService, DpuServiceChain, DpuServiceConfiguration, DpuServiceInterface,
    DpuServiceTemplate,
};
use std::collections::BTreeMap;

/// A deployment, what it refers to and what it owns, at one moment.
///
/// Objects it refers to are keyed by name; one that does not exist is absent.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The deployment itself.
    pub deployment: DpuDeployment,
    /// `spec.dpus.bfb`.
    pub bfb: Option<Bfb>,
    /// `spec.dpus.flavor`.
    pub flavor: Option<DpuFlavor>,
    /// The templates that services name.
    pub templates: BTreeMap<String, DpuServiceTemplate>,
    /// The configurations that services name.
    pub configurations: BTreeMap<String, DpuServiceConfiguration>,
    /// Objects that carry the mark of this deployment, whether it still refers to them or not.
    pub marked: Marked,
    /// Owned services of all revisions, terminating ones included.
    pub services: Vec<DpuService>,
    /// Owned interfaces of all revisions, terminating ones included.
    pub interfaces: Vec<DpuServiceInterface>,
    /// Owned chains of all revisions, terminating ones included.
    pub chains: Vec<DpuServiceChain>,
    /// Owned sets, terminating ones included.
    pub sets: Vec<DpuSet>,
    /// DPUs of those sets.
    pub dpus: Vec<Dpu>,
}

/// Objects that carry the mark of a deployment.
#[derive(Clone, Debug, Default)]
pub struct Marked {
    /// Images.
    pub bfbs: Vec<Bfb>,
    /// Flavors.
    pub flavors: Vec<DpuFlavor>,
    /// Templates.
    pub templates: Vec<DpuServiceTemplate>,
    /// Configurations.
    pub configurations: Vec<DpuServiceConfiguration>,
}

//! Types, names, labels and conditions of the DPF API groups.
//!
//! What this crate is: the vocabulary. Every custom resource as a Rust type from which its CustomResourceDefinition is
//! generated, and every string that other programs depend on (label keys, annotations, finalizers, field managers,
//! condition types and reasons), each defined once.
//!
//! What it is not: there is no client, no runtime and no decision in here.
//!
//! ```text
//!   svc            what runs on DPUs: DPUDeployment, DPUService, chains, interfaces, addresses
//!   provisioning   the DPUs themselves: BFB, DPUFlavor, DPUSet, DPU, DPUNode, DPUDevice, DPUCluster
//!   operator       DPFOperatorConfig, settings of an installation
//!   plugin         DPUPlugin, code that vendors ship
//! ```
//!
//! ```
//! use dpf_api::svc::DpuDeployment;
//! use kube::CustomResourceExt;
//! assert_eq!(DpuDeployment::crd_name(), "dpudeployments.svc.dpu.nvidia.com");
//! ```

pub mod common;
pub mod conditions;
pub mod keys;
pub mod operator;
pub mod plugin;
pub mod provisioning;
pub mod svc;

pub use common::{Quantity, RawValues, ResourceList};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// All CustomResourceDefinitions of this project, in the order of their names.
#[must_use]
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    let mut crds = svc::crds();
    crds.extend(provisioning::crds());
    crds.extend(operator::crds());
    crds.extend(plugin::crds());
    for crd in &mut crds {
        common::finish_crd(crd);
    }
    crds.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    crds
}

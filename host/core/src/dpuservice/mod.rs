//! `DPUService`: becomes one Argo CD Application per DPU cluster, or one for the management cluster.
//!
//! ```text
//!   DPUService ns/s ──> Application <operator namespace>/<cluster>-s ──> chart in namespace ns of the cluster
//!     interfaces ──> annotation k8s.v1.cni.cncf.io/networks of the pods, resources of their containers
//!     serviceID  ──> label svc.dpu.nvidia.com/service of the pods
//! ```

pub mod argo;
mod desired;
mod identity;
mod interfaces;
mod plan;
mod status;
mod values;

pub use desired::{Target, application, project};
pub use identity::{IN_CLUSTER, application_name, service_id};
pub use interfaces::{InterfaceError, Networks, networks};
pub use plan::{Action, plan};
pub use status::{Facts, conditions};
pub use values::values;

#[cfg(test)]
mod tests;

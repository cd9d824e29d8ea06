//! A development cluster in one process: two API servers, and simulated neighbours behind real protocols.
//!
//! What this crate is: the world that a laptop lacks. A management cluster with hosts, DPUs and their BMCs, a DPU cluster
//! whose nodes appear when a BMC has installed an image, an image server, a chart repository, everybody else's images and
//! charts, an Argo CD, kubelets, and the agents of the DPUs.
//!
//! What it is not: it knows nothing of the controllers under test. They see HTTP servers and two kubeconfigs.
//!
//! ```text
//!   host.kubeconfig ──> API server ──── argocd (Applications) ───────────┐
//!                          │ DPUDevice.bmcIp:bmcPort                     v
//!   dpf-host ──Redfish──> bmc ──boot──> machines (join) ──> API server <── dpu.kubeconfig
//!      │                                                        │
//!      └──mirrors──> images, charts, outside   daemonsets, kubelet, agent
//! ```
//!
//! ```no_run
//! # async fn example() -> Result<(), dpf_devcluster::StartError> {
//! let cluster = dpf_devcluster::start(dpf_devcluster::Options::new(".dev")).await?;
//! println!("export KUBECONFIG={}", cluster.host_kubeconfig.display());
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod agent;
pub mod argocd;
pub mod bmc;
pub mod charts;
pub mod daemonsets;
pub mod images;
pub mod kit;
pub mod kubelet;
pub mod machines;
pub mod outside;
pub mod servers;
pub mod switches;
pub mod world;

mod rights;
mod start;

pub use start::{DevCluster, Options, StartError, start};

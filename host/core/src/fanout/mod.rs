//! One object of the management cluster becomes one child in every selected DPU cluster.
//!
//! ```text
//!   DPUServiceChain ns/n ──> ServiceChainSet ns/n          in DPU cluster a, b, ...
//!   DPUServiceInterface ns/n ──> ServiceInterfaceSet ns/n
//! ```
//!
//! What one cluster answers, or that it does not answer, changes nothing for the others.

mod plan;
mod status;

pub use plan::{Action, plan};
pub use status::{conditions, is_gone};

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::Resource;
use std::fmt;

/// A DPUCluster by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    /// Namespace of the DPUCluster.
    pub namespace: String,
    /// Name of the DPUCluster.
    pub name: String,
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Conditions, finalizer and field manager of a kind that fans out.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// The children are written.
    pub reconciled: &'static str,
    /// The children are ready.
    pub ready: &'static str,
    /// Condition that says why nothing is written yet; may be `reconciled`.
    pub gate: &'static str,
    /// All condition types besides `Ready`.
    pub all: &'static [&'static str],
    /// Finalizer of the parent.
    pub finalizer: &'static str,
    /// Field manager.
    pub manager: &'static str,
}

/// A kind of the management cluster that fans out.
pub trait FanOut: Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    /// What each DPU cluster gets.
    type Child: Child;
    /// Its constants.
    const VOCABULARY: Vocabulary;
    /// Which DPUClusters; all when `None`.
    fn cluster_selector(&self) -> Option<&LabelSelector>;
    /// The child as it should be in each of them.
    fn child(&self) -> Self::Child;
    /// Conditions of the parent.
    fn conditions(&self) -> Option<&[Condition]>;
}

/// What a DPU cluster gets.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + PartialEq
{
    /// Whether the spec is the same.
    fn same_spec(&self, other: &Self) -> bool;
    /// Conditions of the child.
    fn conditions(&self) -> Option<&[Condition]>;
}

/// What one cluster holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed<C> {
    /// The cluster.
    pub cluster: ClusterKey,
    /// Whether the parent selects it.
    pub selected: bool,
    /// The child, or why the cluster did not answer.
    pub child: Result<Option<C>, String>,
}

/// Whether something else must happen before anything is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Go on.
    Open,
    /// Not yet.
    Closed {
        /// One CamelCase word.
        reason: &'static str,
        /// What is missing, and what to do.
        message: String,
    },
}

/// What the conditions are computed from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a, C> {
    /// Whether the parent is being deleted.
    pub deleting: bool,
    /// Whether writing was allowed.
    pub gate: &'a Gate,
    /// All clusters after the writes.
    pub clusters: &'a [Observed<C>],
    /// Now.
    pub now: Timestamp,
}

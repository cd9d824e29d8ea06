//! `ServiceChainSet` and `ServiceInterfaceSet`: one child per selected node of a DPU cluster.
//!
//! ```text
//!   set + nodes ──> ServiceChain <set>-<5 characters from (set, node)>, spec.node = node
//! ```
//!
//! A child is found by the labels of its set and by its node, never by name: children that another implementation named
//! are taken over.

mod kinds;
mod plan;
mod status;

pub use plan::{Action, Plan, plan};
pub use status::{Facts, Outcome, status};

use dpf_api::common::TemplateMeta;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::Resource;
use std::collections::BTreeMap;

/// Labels of the nodes of a DPU cluster by name.
pub type Nodes = BTreeMap<String, BTreeMap<String, String>>;

/// Constants of a kind of set.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// One child per selected node is written.
    pub reconciled: &'static str,
    /// The children are ready.
    pub ready: &'static str,
    /// Finalizer of the set.
    pub finalizer: &'static str,
    /// Finalizer that the agent on the node puts on a child.
    pub child_finalizer: &'static str,
    /// Field manager.
    pub manager: &'static str,
    /// Label of children: name of the set.
    pub name_label: &'static str,
    /// Label of children: namespace of the set.
    pub namespace_label: &'static str,
}

/// A set.
pub trait NodeSet: Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    /// What a node gets.
    type Child: PerNode;
    /// Its constants.
    const VOCABULARY: Vocabulary;
    /// Which nodes; all when `None`.
    fn node_selector(&self) -> Option<&LabelSelector>;
    /// Labels and annotations of the template.
    fn template_metadata(&self) -> Option<&TemplateMeta>;
    /// Labels that a child has unless the template says otherwise, besides those of its set.
    fn default_labels(&self) -> BTreeMap<String, String>;
    /// A child for this node, without metadata.
    fn child(&self, node: &str) -> Self::Child;
    /// Conditions of the set.
    fn conditions(&self) -> Option<&[Condition]>;
}

/// What a node gets.
pub trait PerNode:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + PartialEq + 'static
{
    /// Its node.
    fn node(&self) -> Option<&str>;
    /// Whether the spec is the same.
    fn same_spec(&self, other: &Self) -> bool;
    /// Its conditions.
    fn conditions(&self) -> Option<&[Condition]>;
}

#[cfg(test)]
mod tests;

//! Which children to write, delete or let go.

use super::{NodeSet, Nodes, PerNode};
use crate::drift::metadata_drifted;
use crate::names::derived_name;
use crate::selectors::matches;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};

/// Longest base of a child's name: with a dash and five characters it is still a valid label value.
const BASE_LENGTH_MAX: usize = 57;

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<C> {
    /// Write the child.
    Apply(C),
    /// Delete the child.
    Delete(C),
    /// Remove the agent's finalizer: the node is gone for good, so nobody else does.
    Release(C),
}

/// All writes of one reconcile.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<C> {
    /// In order.
    pub actions: Vec<Action<C>>,
    /// Nodes whose old child must be gone before they get a new one.
    pub waiting: Vec<String>,
}

/// Compares the children with the nodes.
pub fn plan<S: NodeSet>(set: &S, nodes: &Nodes, children: &[S::Child]) -> Plan<S::Child> {
    let deleting = set.meta().deletion_timestamp.is_some();
    let wanted: BTreeSet<&str> = nodes
        .iter()
        .filter(|(_, labels)| !deleting && matches(set.node_selector(), Some(labels)))
        .map(|(name, _)| name.as_str())
        .collect();
    let kept = kept(&wanted, children);
    let mut plan = Plan {
        actions: Vec::new(),
        waiting: Vec::new(),
    };
    for child in children {
        let is_kept = kept.values().any(|k| k.name_any() == child.name_any());
        let node_exists = child.node().is_some_and(|node| nodes.contains_key(node));
        let terminating = child.meta().deletion_timestamp.is_some();
        let held = child
            .finalizers()
            .iter()
            .any(|f| f == S::VOCABULARY.child_finalizer);
        if !is_kept && !terminating {
            plan.actions.push(Action::Delete(child.clone()));
        }
        if !is_kept && !node_exists && held {
            plan.actions.push(Action::Release(child.clone()));
        }
    }
    let mut taken: BTreeSet<String> = children.iter().map(ResourceExt::name_any).collect();
    for node in wanted {
        let observed = kept.get(node).copied();
        let leaving = children
            .iter()
            .any(|c| c.node() == Some(node) && c.meta().deletion_timestamp.is_some());
        if observed.is_none() && leaving {
            plan.waiting.push(node.to_owned());
            continue;
        }
        let name = match observed {
            Some(child) => child.name_any(),
            None => free_name(set, node, &taken),
        };
        taken.insert(name.clone());
        let desired = desired(set, node, name);
        if observed.is_none_or(|observed| differs::<S>(&desired, observed)) {
            plan.actions.push(Action::Apply(desired));
        }
    }
    plan
}

/// One child per wanted node: the oldest that is not being deleted.
fn kept<'a, C: PerNode>(wanted: &BTreeSet<&str>, children: &'a [C]) -> BTreeMap<&'a str, &'a C> {
    let mut kept: BTreeMap<&str, &C> = BTreeMap::new();
    for child in children {
        let Some(node) = child.node().filter(|node| wanted.contains(node)) else {
            continue;
        };
        if child.meta().deletion_timestamp.is_some() {
            continue;
        }
        let age = |c: &C| (c.creation_timestamp(), c.name_any());
        let entry = kept.entry(node).or_insert(child);
        if age(child) < age(entry) {
            *entry = child;
        }
    }
    kept
}

fn free_name<S: NodeSet>(set: &S, node: &str, taken: &BTreeSet<String>) -> String {
    let name = set.name_any();
    let cut = name
        .char_indices()
        .map(|(at, _)| at)
        .find(|at| *at >= BASE_LENGTH_MAX)
        .unwrap_or(name.len());
    let base = name
        .get(..cut)
        .unwrap_or(&name)
        .trim_end_matches(['-', '.']);
    let owner = set.uid().unwrap_or_default();
    let mut attempt = 0;
    loop {
        let candidate = derived_name(base, &owner, node, attempt);
        if !taken.contains(&candidate) {
            return candidate;
        }
        attempt += 1;
    }
}

/// Labels in this order, later wins: those of the set, defaults of the kind, the template.
fn desired<S: NodeSet>(set: &S, node: &str, name: String) -> S::Child {
    let words = S::VOCABULARY;
    let template = set.template_metadata();
    let mut labels = BTreeMap::from([
        (words.name_label.to_owned(), set.name_any()),
        (
            words.namespace_label.to_owned(),
            set.namespace().unwrap_or_default(),
        ),
    ]);
    labels.extend(set.default_labels());
    labels.extend(
        template
            .and_then(|t| t.labels.clone())
            .into_iter()
            .flatten(),
    );
    let mut child = set.child(node);
    *child.meta_mut() = ObjectMeta {
        name: Some(name),
        namespace: set.namespace(),
        labels: Some(labels),
        annotations: template.and_then(|t| t.annotations.clone()),
        owner_references: set.uid().map(|uid| {
            vec![OwnerReference {
                api_version: S::api_version(&()).into_owned(),
                kind: S::kind(&()).into_owned(),
                name: set.name_any(),
                uid,
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]
        }),
        ..ObjectMeta::default()
    };
    child
}

fn differs<S: NodeSet>(desired: &S::Child, observed: &S::Child) -> bool {
    !desired.same_spec(observed)
        || metadata_drifted(S::VOCABULARY.manager, desired.meta(), observed.meta())
}

//! Marks on what a deployment refers to: a label per deployment, and a finalizer while any label is there.

use super::action::{Action, DependencyKind, Plan};
use super::digest::deployment_digest;
use super::observed::Observed;
use crate::names::name_of;
use dpf_api::keys::{finalizers, labels};
use kube::{Resource, ResourceExt};
use std::collections::BTreeSet;

/// The label that marks what a deployment refers to.
#[must_use]
pub fn mark_label(namespace: &str, name: &str) -> String {
    format!(
        "{}{}",
        labels::CONSUMED_BY_DPUDEPLOYMENT_PREFIX,
        deployment_digest(namespace, name)
    )
}

pub(super) fn mark_dependencies(observed: &Observed, plan: &mut Plan) {
    let deployment = &observed.deployment;
    let label = mark_label(
        &deployment.namespace().unwrap_or_default(),
        &deployment.name_any(),
    );
    let mut wanted = BTreeSet::new();
    let mut mark = |kind: DependencyKind, object: &dyn Marks| {
        wanted.insert((kind, object.named()));
        if !object.marked(&label) {
            plan.actions.push(Action::Mark {
                kind,
                name: object.named(),
            });
        }
    };
    if let Some(bfb) = &observed.bfb {
        mark(DependencyKind::Bfb, bfb);
    }
    if let Some(flavor) = &observed.flavor {
        mark(DependencyKind::Flavor, flavor);
    }
    for template in observed.templates.values() {
        mark(DependencyKind::Template, template);
    }
    for configuration in observed.configurations.values() {
        mark(DependencyKind::Configuration, configuration);
    }
    for (kind, name) in marked(observed) {
        if !wanted.contains(&(kind, name.clone())) {
            plan.actions.push(Action::Unmark { kind, name });
        }
    }
}

pub(super) fn marked(observed: &Observed) -> BTreeSet<(DependencyKind, String)> {
    let marked = &observed.marked;
    let mut all = BTreeSet::new();
    all.extend(
        marked
            .bfbs
            .iter()
            .map(|o| (DependencyKind::Bfb, name_of(o))),
    );
    all.extend(
        marked
            .flavors
            .iter()
            .map(|o| (DependencyKind::Flavor, name_of(o))),
    );
    all.extend(
        marked
            .templates
            .iter()
            .map(|o| (DependencyKind::Template, name_of(o))),
    );
    all.extend(
        marked
            .configurations
            .iter()
            .map(|o| (DependencyKind::Configuration, name_of(o))),
    );
    all
}

/// What marking asks of an object of any kind.
trait Marks {
    fn named(&self) -> String;
    fn marked(&self, label: &str) -> bool;
}

impl<K: Resource> Marks for K {
    fn named(&self) -> String {
        name_of(self)
    }
    fn marked(&self, label: &str) -> bool {
        let meta = self.meta();
        meta.labels.as_ref().is_some_and(|l| l.contains_key(label))
            && meta
                .finalizers
                .iter()
                .flatten()
                .any(|f| f == finalizers::DPUDEPLOYMENT)
    }
}

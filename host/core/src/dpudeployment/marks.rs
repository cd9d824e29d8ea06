//! Marks on what a deployment refers to: a label per deployment, and a finalizer while any label is there.

use super::action::{Action, DependencyKind, Plan};
use super::digest::deployment_digest;
use super::observed::Observed;
use crate::names::name_of;
use dpf_api::keys::{finalizers, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
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

/// Marks what the deployment refers to and unmarks the rest, but for the configurations of services that are still on their way
/// out.
pub(super) fn mark_dependencies(
    observed: &Observed,
    removed_services: &BTreeSet<String>,
    plan: &mut Plan,
) {
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
    let configurations = observed.marked.configurations.iter();
    wanted.extend(
        configurations
            .filter(|c| removed_services.contains(&c.spec.deployment_service_name))
            .map(|configuration| (DependencyKind::Configuration, name_of(configuration))),
    );
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

/// The labels and finalizers that put or take the mark of one deployment: a patch of an object's metadata.
///
/// The finalizer goes with the last mark of any deployment; finalizers of others stay.
#[must_use]
pub fn mark_patch(metadata: &ObjectMeta, label: &str, wanted: bool) -> Value {
    let mut marks = metadata
        .labels
        .iter()
        .flatten()
        .map(|(key, _)| key)
        .filter(|key| key.starts_with(labels::CONSUMED_BY_DPUDEPLOYMENT_PREFIX));
    let others = marks.any(|key| key != label);
    let finalizers = metadata.finalizers.iter().flatten();
    let mut finalizers: Vec<&str> = finalizers
        .map(String::as_str)
        .filter(|finalizer| *finalizer != finalizers::DPUDEPLOYMENT)
        .collect();
    if wanted || others {
        finalizers.push(finalizers::DPUDEPLOYMENT);
    }
    let value = if wanted { json!("") } else { Value::Null };
    json!({ "finalizers": finalizers, "labels": { label: value } })
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

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: &str = "svc.dpu.nvidia.com/consumed-by-dpudeployment-5b57861d63";
    const THEIRS: &str = "svc.dpu.nvidia.com/consumed-by-dpudeployment-f8ac572fd6";
    const OURS: &str = "dpu.nvidia.com/dpudeployment";

    #[test]
    fn the_finalizer_goes_with_the_last_mark_and_those_of_others_stay() {
        let others = "test.io/kept";
        for (labels, finalizers, wanted, expected) in [
            (vec![], vec![], true, vec![OURS]),
            (vec![], vec![others], true, vec![others, OURS]),
            (vec![THEIRS], vec![OURS, others], true, vec![others, OURS]),
            (vec![MINE], vec![OURS, others], false, vec![others]),
            (
                vec![MINE, THEIRS],
                vec![others, OURS],
                false,
                vec![others, OURS],
            ),
            (vec![MINE, "team"], vec![OURS], false, vec![]),
            // Somebody else took the finalizer away or the label: what is missing comes back.
            (vec![MINE], vec![], true, vec![OURS]),
            (vec![], vec![OURS], true, vec![OURS]),
        ] {
            let text = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
            let metadata = ObjectMeta {
                labels: Some(
                    text(&labels)
                        .into_iter()
                        .map(|l| (l, String::new()))
                        .collect(),
                ),
                finalizers: Some(text(&finalizers)),
                ..ObjectMeta::default()
            };
            let value = if wanted { json!("") } else { Value::Null };
            assert_eq!(
                mark_patch(&metadata, MINE, wanted),
                json!({ "finalizers": expected, "labels": { MINE: value } }),
                "{labels:?} {finalizers:?} {wanted}"
            );
        }
    }
}

//! The state of what a deployment refers to, as far as it changes the outcome.
//!
//! `status.observedDependencies` holds it, so that a person or program can tell whether the conditions speak of an edit:
//! `dpfctl wait` compares it with the cluster. Generations alone do not tell, because annotations and labels move none.

use super::digest::state_digest;
use super::observed::Observed;
use crate::names::name_of;
use dpf_api::keys::{is_ours, labels};
use dpf_api::svc::{DpuServiceTemplate, ObservedDependency};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::object::HasSpec;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// The state of everything the deployment refers to, as it was read for this pass.
#[must_use]
pub fn observed_dependencies(observed: &Observed) -> Vec<ObservedDependency> {
    let mut all: Vec<ObservedDependency> = Vec::new();
    all.extend(observed.bfb.iter().map(dependency));
    all.extend(observed.flavor.iter().map(dependency));
    all.extend(observed.templates.values().map(dependency));
    all.extend(observed.configurations.values().map(dependency));
    all
}

fn dependency<K>(object: &K) -> ObservedDependency
where
    K: Resource<DynamicType = ()> + HasSpec,
    K::Spec: Serialize,
{
    let meta = object.meta();
    let kind = K::kind(&()).into_owned();
    ObservedDependency {
        name: name_of(object),
        generation: meta.generation,
        digest: state_digest(&json!(object.spec())),
        uid: meta.uid.clone(),
        metadata_digest: metadata_digest(&kind, meta),
        kind,
    }
}

/// Ten hexadecimal digits of the annotations and labels that can change what is rolled out; none without any.
///
/// That is every annotation of our domain, known to this version or not, and of templates every label but the marks of
/// deployments: a DPUPlugin may select by them.
#[must_use]
pub fn metadata_digest(kind: &str, meta: &ObjectMeta) -> Option<String> {
    let of = |map: &Option<BTreeMap<String, String>>, speaks: &dyn Fn(&str) -> bool| {
        let pairs = map.iter().flatten().filter(|(key, _)| speaks(key));
        pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    let annotations = of(&meta.annotations, &is_ours);
    let selectable = kind == DpuServiceTemplate::kind(&());
    let labels = of(&meta.labels, &|key| {
        selectable && !key.starts_with(labels::CONSUMED_BY_DPUDEPLOYMENT_PREFIX)
    });
    if annotations.is_empty() && labels.is_empty() {
        return None;
    }
    Some(state_digest(
        &json!({ "annotations": annotations, "labels": labels }),
    ))
}

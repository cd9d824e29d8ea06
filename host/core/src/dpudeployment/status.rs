//! Conditions as a function of the report and of what was written.

use super::action::{ChildKind, Report};
use super::digest::state_digest;
use super::observed::Observed;
use super::rejection::{Rejection, aggregate, occurred};
use super::validate::Invalid;
use crate::conditions::{Conditions, Verdict, bulleted, is_true_for};
use crate::names::name_of;
use dpf_api::conditions::dpudeployment as types;
use dpf_api::conditions::{READY, reasons};
use dpf_api::keys::annotations;
use dpf_api::svc::{DpuDeployment, ObservedDependency};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::core::object::HasSpec;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// How far a pass came.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// The finalizer was added; the pass ended there.
    Started,
    /// The input is wrong.
    Invalid(&'a Invalid),
    /// A plugin or its findings ended the pass.
    Rejected(&'a Rejection),
    /// The plan was carried out, with these errors.
    Applied {
        /// What the plan waits for.
        report: &'a Report,
        /// Errors by the kind of child they concern; `None` for the prerequisites.
        errors: &'a [(Option<ChildKind>, String)],
    },
    /// The deployment is being deleted.
    Deleting {
        /// What is left.
        report: &'a Report,
    },
}

/// Readiness of the children that exist after the pass: kind, name, ready.
pub type Readiness = BTreeMap<ChildKind, BTreeMap<String, bool>>;

/// Whether a child is ready for its present generation.
#[must_use]
pub fn child_ready(conditions: Option<&[Condition]>, generation: Option<i64>) -> bool {
    is_true_for(conditions, READY, generation)
}

/// The conditions after a pass.
#[must_use]
pub fn conditions(
    deployment: &DpuDeployment,
    outcome: &Outcome<'_>,
    children: &Readiness,
    now: Timestamp,
) -> Vec<Condition> {
    let generation = deployment.metadata.generation.unwrap_or_default();
    let observed = deployment
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref());
    let mut conditions = Conditions::new(observed, &types::ALL, generation, now);
    match outcome {
        Outcome::Started => {}
        Outcome::Invalid(invalid) => set_invalid(&mut conditions, invalid),
        Outcome::Rejected(rejection) => {
            for type_ in &rejection.passed {
                conditions.set(type_, &Verdict::True);
            }
            for (type_, reason, message) in &rejection.failed {
                conditions.set(type_, &Verdict::no(reason, message.clone()));
            }
        }
        Outcome::Applied { report, errors } => set_applied(&mut conditions, report, errors),
        Outcome::Deleting { report } => set_deleting(&mut conditions, report),
    }
    let report = match outcome {
        Outcome::Applied { report, .. } => Some(*report),
        _ => None,
    };
    set_children_ready(
        &mut conditions,
        report,
        matches!(outcome, Outcome::Deleting { .. }),
        children,
        &deployment.metadata.namespace.clone().unwrap_or_default(),
    );
    conditions.summarise();
    conditions.into_list()
}

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

/// Annotations of dependencies that change what is rolled out, exactly or as a prefix that ends with a slash.
const SPEAKING_ANNOTATIONS: [&str; 3] = [
    annotations::DOCA_VERSION,
    annotations::TEMPLATE_DELIMITER,
    annotations::PLUGIN_PREFIX,
];

/// Another object of the same name has another digest; other metadata may change without a word.
fn dependency<K>(object: &K) -> ObservedDependency
where
    K: Resource<DynamicType = ()> + HasSpec,
    K::Spec: Serialize,
{
    let meta = object.meta();
    let speaks = |key: &&String| {
        SPEAKING_ANNOTATIONS
            .iter()
            .any(|known| key == known || (known.ends_with('/') && key.starts_with(known)))
    };
    let annotations: BTreeMap<&String, &String> = meta
        .annotations
        .iter()
        .flatten()
        .filter(|(key, _)| speaks(key))
        .collect();
    let state = json!({ "spec": object.spec(), "annotations": annotations, "uid": meta.uid });
    ObservedDependency {
        kind: K::kind(&()).into_owned(),
        name: name_of(object),
        generation: meta.generation,
        digest: state_digest(&state),
    }
}

fn set_invalid(conditions: &mut Conditions, invalid: &Invalid) {
    for (type_, reason, errors) in [
        (
            types::PREREQUISITES_READY,
            reasons::PENDING,
            &invalid.prerequisites,
        ),
        (
            types::DPUSERVICES_RECONCILED,
            reasons::ERROR,
            &invalid.services,
        ),
        (
            types::DPUSERVICECHAINS_RECONCILED,
            reasons::ERROR,
            &invalid.chain,
        ),
        (types::DPUSETS_RECONCILED, reasons::ERROR, &invalid.sets),
    ] {
        if !errors.is_empty() {
            conditions.set(
                type_,
                &Verdict::no(reason, occurred(&aggregate(errors.clone()))),
            );
        } else if type_ == types::PREREQUISITES_READY {
            conditions.set(type_, &Verdict::True);
        }
    }
}

const RECONCILED: [(ChildKind, &str); 4] = [
    (ChildKind::Service, types::DPUSERVICES_RECONCILED),
    (ChildKind::Interface, types::DPUSERVICEINTERFACES_RECONCILED),
    (ChildKind::Chain, types::DPUSERVICECHAINS_RECONCILED),
    (ChildKind::Set, types::DPUSETS_RECONCILED),
];

const READY_TYPES: [(ChildKind, &str); 4] = [
    (ChildKind::Service, types::DPUSERVICES_READY),
    (ChildKind::Interface, types::DPUSERVICEINTERFACES_READY),
    (ChildKind::Chain, types::DPUSERVICECHAINS_READY),
    (ChildKind::Set, types::DPUSETS_READY),
];

fn set_applied(
    conditions: &mut Conditions,
    report: &Report,
    errors: &[(Option<ChildKind>, String)],
) {
    let of = |kind: Option<ChildKind>| -> Vec<String> {
        errors
            .iter()
            .filter(|(k, _)| *k == kind)
            .map(|(_, message)| message.clone())
            .collect()
    };
    let prerequisites = of(None);
    let verdict = if prerequisites.is_empty() {
        Verdict::True
    } else {
        Verdict::no(reasons::PENDING, occurred(&aggregate(prerequisites)))
    };
    conditions.set(types::PREREQUISITES_READY, &verdict);
    conditions.set(types::VERSION_MATCHING_READY, &Verdict::True);
    conditions.set(types::RESOURCE_FITTING_READY, &Verdict::True);
    for (kind, type_) in RECONCILED {
        let mut errors = of(Some(kind));
        if kind == ChildKind::Service {
            errors.extend(report.faulted_services.values().cloned());
        }
        let verdict = if !errors.is_empty() {
            Verdict::no(reasons::ERROR, occurred(&aggregate(errors)))
        } else if kind == ChildKind::Service && !report.waiting_services.is_empty() {
            let lines = report
                .waiting_services
                .iter()
                .map(|(service, on)| format!("{service} waits for {}", on.join(", ")));
            Verdict::no(
                reasons::PENDING,
                bulleted("Services wait until their dependencies are Ready", lines),
            )
        } else {
            Verdict::True
        };
        conditions.set(type_, &verdict);
    }
}

fn set_deleting(conditions: &mut Conditions, report: &Report) {
    for (kind, type_) in RECONCILED {
        let left = report
            .remaining
            .as_ref()
            .and_then(|r| r.get(&kind))
            .copied()
            .unwrap_or_default();
        let message = if left > 0 {
            let header = format!(
                "There are still {left} {}s that are not completely deleted",
                kind_name(kind)
            );
            match report.remaining_wait_for.get(&kind) {
                Some(lines) => bulleted(&header, lines),
                None => header,
            }
        } else {
            format!("All {}s are deleted", kind_name(kind))
        };
        conditions.set(type_, &Verdict::no(reasons::AWAITING_DELETION, message));
    }
}

fn kind_name(kind: ChildKind) -> &'static str {
    match kind {
        ChildKind::Service => "DPUService",
        ChildKind::Interface => "DPUServiceInterface",
        ChildKind::Chain => "DPUServiceChain",
        ChildKind::Set => "DPUSet",
    }
}

/// A pass that did not get as far as a plan speaks of the children that exist. While deleting, nothing left is what is wanted.
fn set_children_ready(
    conditions: &mut Conditions,
    report: Option<&Report>,
    deleting: bool,
    children: &Readiness,
    namespace: &str,
) {
    for (kind, type_) in READY_TYPES {
        let existing = children.get(&kind).cloned().unwrap_or_default();
        let unready: Vec<String> = match report {
            Some(report) => report
                .desired
                .get(&kind)
                .into_iter()
                .flatten()
                .filter(|name| !existing.get(*name).copied().unwrap_or(false))
                .map(|name| format!("{namespace}/{name}"))
                .collect(),
            None if existing.is_empty() && !deleting => continue,
            None => existing
                .iter()
                .filter(|(_, ready)| !**ready)
                .map(|(name, _)| format!("{namespace}/{name}"))
                .collect(),
        };
        let verdict = if unready.is_empty() {
            Verdict::True
        } else {
            let mut message = bulleted("Objects are not ready", unready);
            let held = report.map(|r| held_by(r, kind)).unwrap_or_default();
            if !held.is_empty() {
                message.push('\n');
                message.push_str(&bulleted("Older revisions stay", held));
            }
            Verdict::no(reasons::PENDING, message)
        };
        conditions.set(type_, &verdict);
    }
}

/// Older revisions that wait for children of this kind: nodes are told with the sets that lead to them.
fn held_by(report: &Report, kind: ChildKind) -> Vec<String> {
    let waits_for = match kind {
        ChildKind::Service | ChildKind::Chain => format!("{} ", kind_name(kind)),
        ChildKind::Set => "needed by ".to_owned(),
        ChildKind::Interface => return Vec::new(),
    };
    let held = report.held_revisions.iter();
    held.filter(|(_, cause)| cause.starts_with(&waits_for))
        .map(|(revision, cause)| format!("{revision}: {cause}"))
        .collect()
}

//! Conditions as a function of the report and of what was written.

use super::action::{ChildKind, Report};
use super::rejection::{Rejection, aggregate, occurred};
use super::validate::Invalid;
use crate::conditions::{Conditions, IN_PROGRESS, Verdict, bulleted, is_true_for};
use dpf_api::conditions::dpudeployment as types;
use dpf_api::conditions::{READY, reasons};
use dpf_api::svc::DpuDeployment;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::collections::BTreeMap;

/// How far a pass came.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// The finalizer was added; the pass ended there.
    Started,
    /// Something that was not rolled out was seen, and is going to be.
    Begun,
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
        Outcome::Begun => {
            // The others speak of the state that was rolled out, until the end of the pass.
            conditions.put(READY, "False", reasons::PENDING, IN_PROGRESS);
            return conditions.into_list();
        }
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

/// Whether conditions differ by progress alone: what was pending is pending still, or done. Such a change can be told together
/// with the next. That `Ready` became True, or anything went wrong, cannot.
#[must_use]
pub fn is_progress(old: Option<&[Condition]>, new: &[Condition]) -> bool {
    let old = old.unwrap_or_default();
    new.iter().all(|condition| {
        let before = old.iter().find(|c| c.type_ == condition.type_);
        before.is_some_and(|before| {
            before == condition
                || before.observed_generation == condition.observed_generation
                    && before.status == "False"
                    && before.reason == reasons::PENDING
                    && [reasons::PENDING, reasons::SUCCESS].contains(&condition.reason.as_str())
                    && (condition.type_ != READY || condition.status == "False")
        })
    })
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

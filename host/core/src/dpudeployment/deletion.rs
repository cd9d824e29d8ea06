//! The end of a deployment.

use super::action::{Action, ChildKind, Plan};
use super::marks::marked;
use super::observed::Observed;
use super::plan::{SAFETY_REQUEUE_SECONDS, alive};
use crate::names::name_of;
use dpf_api::conditions::{READY, reasons};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use std::collections::{BTreeMap, BTreeSet};

/// Plans one pass of a deletion: chains, interfaces and services first, since their controllers need running DPUs; the
/// sets when those are gone; then the marks and the finalizer.
#[must_use]
pub fn plan_deletion(observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let remaining = BTreeMap::from([
        (ChildKind::Chain, observed.chains.len()),
        (ChildKind::Interface, observed.interfaces.len()),
        (ChildKind::Service, observed.services.len()),
        (ChildKind::Set, observed.sets.len()),
    ]);
    let workload: usize = remaining
        .iter()
        .filter(|(kind, _)| **kind != ChildKind::Set)
        .map(|(_, count)| count)
        .sum();
    let delete = |kind, names: Vec<String>| {
        names
            .into_iter()
            .map(move |name| Action::Delete { kind, name })
    };
    if workload > 0 {
        plan.actions.extend(delete(
            ChildKind::Chain,
            alive(&observed.chains).map(name_of).collect(),
        ));
        plan.actions.extend(delete(
            ChildKind::Interface,
            alive(&observed.interfaces).map(name_of).collect(),
        ));
        plan.actions.extend(delete(
            ChildKind::Service,
            alive(&observed.services).map(name_of).collect(),
        ));
        unpause_terminating(observed, &mut plan);
    } else if !observed.sets.is_empty() {
        plan.actions.extend(delete(
            ChildKind::Set,
            alive(&observed.sets).map(name_of).collect(),
        ));
    } else {
        plan.actions.extend(
            marked(observed)
                .into_iter()
                .map(|(kind, name)| Action::Unmark { kind, name }),
        );
        plan.actions.push(Action::RemoveFinalizer);
    }
    plan.requeue_seconds =
        (workload > 0 || !observed.sets.is_empty()).then_some(SAFETY_REQUEUE_SECONDS);
    plan.report.remaining = Some(remaining);
    plan.report.remaining_wait_for = wait_for(observed);
    plan
}

/// What children that are being deleted say about it.
fn wait_for(observed: &Observed) -> BTreeMap<ChildKind, Vec<String>> {
    let mut all: BTreeMap<ChildKind, Vec<String>> = BTreeMap::new();
    let mut note = |kind, meta: &ObjectMeta, conditions: Option<&Vec<Condition>>| {
        if meta.deletion_timestamp.is_none() {
            return;
        }
        let open = conditions.into_iter().flatten().filter(|condition| {
            condition.type_ != READY
                && condition.status == "False"
                && [reasons::AWAITING_DELETION, reasons::ERROR].contains(&condition.reason.as_str())
        });
        let name = meta.name.clone().unwrap_or_default();
        let lines = open.map(|condition| format!("{name}: {}", in_one_line(&condition.message)));
        all.entry(kind).or_default().extend(lines);
    };
    for chain in &observed.chains {
        let conditions = chain.status.as_ref().and_then(|s| s.conditions.as_ref());
        note(ChildKind::Chain, &chain.metadata, conditions);
    }
    for interface in &observed.interfaces {
        let conditions = interface
            .status
            .as_ref()
            .and_then(|s| s.conditions.as_ref());
        note(ChildKind::Interface, &interface.metadata, conditions);
    }
    for service in &observed.services {
        let conditions = service.status.as_ref().and_then(|s| s.conditions.as_ref());
        note(ChildKind::Service, &service.metadata, conditions);
    }
    all.retain(|_, lines| !lines.is_empty());
    all.values_mut().for_each(|lines| lines.sort());
    all
}

/// A message of several lines as a part of another one.
fn in_one_line(message: &str) -> String {
    message.replace("\n* ", " ").replace('\n', " ")
}

pub(super) fn unpause_terminating(observed: &Observed, plan: &mut Plan) {
    let deleted_now: BTreeSet<String> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Delete {
                kind: ChildKind::Service,
                name,
            } => Some(name.clone()),
            _ => None,
        })
        .collect();
    let paused = observed
        .services
        .iter()
        .filter(|service| service.spec.paused == Some(true));
    let goes = paused.filter(|service| {
        service.metadata.deletion_timestamp.is_some() || deleted_now.contains(&name_of(*service))
    });
    let names: BTreeSet<String> = goes.map(name_of).collect();
    let unpause = |service| Action::Unpause { service };
    plan.actions.extend(names.into_iter().map(unpause));
}

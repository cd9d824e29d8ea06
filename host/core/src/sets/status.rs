//! Status of a set.

use super::{Action, NodeSet, PerNode, Plan};
use crate::conditions::{Conditions, Verdict, bulleted, is_true_for};
use dpf_api::conditions::{READY, reasons};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt};
use std::collections::BTreeSet;

/// What a status is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a, C> {
    /// Children before the writes.
    pub children: &'a [C],
    /// The writes.
    pub plan: &'a Plan<C>,
    /// What the API server said to writes that failed.
    pub failures: &'a [String],
    /// Now.
    pub now: Timestamp,
}

/// The status of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// Children that exist.
    pub number_applied: i32,
    /// Children that are ready.
    pub number_ready: i32,
}

/// Sums up the children. A child that was just written is not ready before its agent says so.
pub fn status<S: NodeSet>(set: &S, facts: Facts<'_, S::Child>) -> Outcome {
    let words = S::VOCABULARY;
    let deleting = set.meta().deletion_timestamp.is_some();
    let mut written = BTreeSet::new();
    let mut removed = BTreeSet::new();
    for action in &facts.plan.actions {
        match action {
            Action::Apply(child) => written.insert(child.name_any()),
            Action::Delete(child) | Action::Release(child) => removed.insert(child.name_any()),
        };
    }
    let existing: BTreeSet<String> = facts.children.iter().map(ResourceExt::name_any).collect();
    let unready: BTreeSet<String> = facts
        .children
        .iter()
        .filter(|child| !removed.contains(&child.name_any()) && !is_ready(*child))
        .map(ResourceExt::name_any)
        .chain(written.iter().cloned())
        .collect();
    let applied = existing.union(&written).count();
    let ready = existing
        .iter()
        .filter(|name| !unready.contains(*name) && !removed.contains(*name))
        .count();

    let generation = set.meta().generation.unwrap_or_default();
    let types = [words.reconciled, words.ready];
    let mut conditions = Conditions::new(set.conditions(), &types, generation, facts.now);
    conditions.set(
        words.reconciled,
        &reconciled(set, deleting, &existing, facts.failures),
    );
    if !deleting {
        conditions.set(words.ready, &all_ready(set, &unready, facts.plan));
    }
    conditions.summarise();
    Outcome {
        conditions: conditions.into_list(),
        number_applied: count(applied),
        number_ready: count(ready),
    }
}

fn is_ready<C: PerNode>(child: &C) -> bool {
    child.meta().deletion_timestamp.is_none()
        && is_true_for(child.conditions(), READY, child.meta().generation)
}

fn reconciled<S: NodeSet>(
    set: &S,
    deleting: bool,
    existing: &BTreeSet<String>,
    failures: &[String],
) -> Verdict {
    if !failures.is_empty() {
        let reason = if deleting {
            reasons::AWAITING_DELETION
        } else {
            reasons::ERROR
        };
        return Verdict::no(reason, bulleted("Error occurred", failures));
    }
    if deleting && !existing.is_empty() {
        return Verdict::no(
            reasons::AWAITING_DELETION,
            format!(
                "{} child {}(s) of {} still exist in the DPU cluster",
                existing.len(),
                S::Child::kind(&()),
                set.name_any()
            ),
        );
    }
    Verdict::True
}

fn all_ready<S: NodeSet>(set: &S, unready: &BTreeSet<String>, plan: &Plan<S::Child>) -> Verdict {
    let namespace = set.namespace().unwrap_or_default();
    let waiting = plan
        .waiting
        .iter()
        .map(|node| format!("node {node}: its former object is still being deleted"));
    let entries: Vec<String> = unready
        .iter()
        .map(|name| format!("{namespace}/{name}"))
        .chain(waiting)
        .collect();
    if entries.is_empty() {
        Verdict::True
    } else {
        Verdict::no(reasons::PENDING, bulleted("Objects are not ready", entries))
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

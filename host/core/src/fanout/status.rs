//! Conditions of a parent from what its clusters hold.

use super::{Child, Facts, FanOut, Gate, Observed};
use crate::conditions::{Conditions, Verdict, bulleted, is_true_for};
use dpf_api::conditions::{READY, reasons};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

/// Whether no cluster holds a child any more, as far as all of them answered.
#[must_use]
pub fn is_gone<C>(clusters: &[Observed<C>]) -> bool {
    clusters.iter().all(|c| matches!(c.child, Ok(None)))
}

/// The conditions of `parent`.
pub fn conditions<P: FanOut>(parent: &P, facts: Facts<'_, P::Child>) -> Vec<Condition> {
    let words = P::VOCABULARY;
    let generation = parent.meta().generation.unwrap_or_default();
    let mut conditions = Conditions::new(parent.conditions(), words.all, generation, facts.now);
    match facts.gate {
        Gate::Closed { reason, message } if !facts.deleting => {
            conditions.set(words.gate, &Verdict::no(reason, message));
        }
        gate => {
            if words.gate != words.reconciled && *gate == Gate::Open {
                conditions.set(words.gate, &Verdict::True);
            }
            let reconciled = if facts.deleting {
                deleted(facts.clusters)
            } else {
                reconciled(facts.clusters)
            };
            conditions.set(words.reconciled, &reconciled);
            if !facts.deleting {
                conditions.set(words.ready, &ready(facts.clusters));
            }
        }
    }
    conditions.summarise();
    conditions.into_list()
}

fn failures<C>(clusters: &[Observed<C>]) -> Vec<String> {
    clusters
        .iter()
        .filter_map(|c| {
            let message = c.child.as_ref().err()?;
            Some(format!("DPUCluster {}: {message}", c.cluster))
        })
        .collect()
}

fn deleted<C>(clusters: &[Observed<C>]) -> Verdict {
    let left = clusters
        .iter()
        .filter(|c| matches!(c.child, Ok(Some(_))))
        .count();
    let failures = failures(clusters);
    if left == 0 && failures.is_empty() {
        return Verdict::True;
    }
    let header = format!("{left} objects still exist across all DPU clusters");
    let message = if failures.is_empty() {
        header
    } else {
        bulleted(
            &format!("{header}, and some clusters do not answer"),
            failures,
        )
    };
    Verdict::no(reasons::AWAITING_DELETION, message)
}

fn reconciled<C: Child>(clusters: &[Observed<C>]) -> Verdict {
    let failures = failures(clusters);
    if !failures.is_empty() {
        return Verdict::no(reasons::ERROR, bulleted("Error occurred", failures));
    }
    let leftovers: Vec<String> = clusters
        .iter()
        .filter(|c| !c.selected)
        .filter_map(|c| Some(place(c, c.child.as_ref().ok()?.as_ref()?)))
        .collect();
    if leftovers.is_empty() {
        Verdict::True
    } else {
        Verdict::no(
            reasons::ERROR,
            bulleted(
                "Objects still exist in DPUClusters that are not selected",
                leftovers,
            ),
        )
    }
}

fn ready<C: Child>(clusters: &[Observed<C>]) -> Verdict {
    let failures = failures(clusters);
    if !failures.is_empty() {
        return Verdict::no(reasons::PENDING, bulleted("Error occurred", failures));
    }
    let unready: Vec<String> = clusters
        .iter()
        .filter(|c| c.selected)
        .filter_map(|c| match c.child.as_ref().ok()? {
            None => Some(format!("DPUCluster {}: not written yet", c.cluster)),
            Some(child)
                if child.meta().deletion_timestamp.is_none()
                    && is_true_for(child.conditions(), READY, child.meta().generation) =>
            {
                None
            }
            Some(child) => Some(place(c, child)),
        })
        .collect();
    if unready.is_empty() {
        Verdict::True
    } else {
        Verdict::no(reasons::PENDING, bulleted("Objects are not ready", unready))
    }
}

fn place<C: Child>(observed: &Observed<C>, child: &C) -> String {
    format!(
        "DPUCluster {}: {}/{}",
        observed.cluster,
        child.namespace().unwrap_or_default(),
        child.name_any()
    )
}

//! Replaces DPUs of an older image or flavor, so many at a time.

use super::super::desired::is_outdated;
use super::{Plan, delete};
use crate::conditions::is_true;
use dpf_api::conditions::READY;
use dpf_api::provisioning::{Dpu, DpuSet, StrategyType};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;

fn is_unavailable(dpu: &Dpu) -> bool {
    dpu.metadata.deletion_timestamp.is_some()
        || !is_true(
            dpu.status.as_ref().and_then(|s| s.conditions.as_deref()),
            READY,
        )
}

/// Replaces outdated DPUs: unavailable ones at once, the others while the budget lasts.
pub(super) fn roll(
    set: &DpuSet,
    own: &[&Dpu],
    kept: &BTreeSet<Option<String>>,
    total: usize,
    plan: &mut Plan,
) {
    let mut current: Vec<&&Dpu> = own
        .iter()
        .filter(|d| kept.contains(&d.metadata.uid))
        .collect();
    current.sort_by_key(|dpu| dpu.metadata.name.clone());
    let outdated: Vec<&&&Dpu> = current.iter().filter(|dpu| is_outdated(set, dpu)).collect();
    plan.report.outdated = outdated
        .iter()
        .filter_map(|dpu| dpu.metadata.name.clone())
        .collect();
    let strategy = set.spec.strategy.clone().unwrap_or_default();
    if strategy.type_ != StrategyType::RollingUpdate {
        return;
    }
    let limit = budget(
        strategy
            .rolling_update
            .and_then(|r| r.max_unavailable)
            .as_ref(),
        total,
    );
    let mut unavailable = total.saturating_sub(current.len())
        + current.iter().filter(|dpu| is_unavailable(dpu)).count();
    for dpu in outdated {
        if dpu.metadata.deletion_timestamp.is_some() {
            continue;
        }
        if is_unavailable(dpu) {
            plan.actions
                .push(delete(dpu, "its image or flavor changed"));
        } else if unavailable < limit {
            unavailable += 1;
            plan.actions
                .push(delete(dpu, "its image or flavor changed"));
        }
    }
}

/// How many DPUs may be unavailable: a number or a percentage rounded up, at least 1, at most all.
fn budget(max_unavailable: Option<&IntOrString>, total: usize) -> usize {
    let wanted = match max_unavailable {
        Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or(0),
        Some(IntOrString::String(text)) => text
            .trim()
            .strip_suffix('%')
            .and_then(|percent| percent.parse::<usize>().ok())
            .map_or(0, |percent| total.saturating_mul(percent).div_ceil(100)),
        None => 1,
    };
    wanted.clamp(1, total.max(1))
}

//! Whether a host may be disturbed now.

use crate::conditions::is_true;
use crate::dpu::Limits;
use dpf_api::conditions::{READY, dpunode};
use dpf_api::provisioning::{DpuNode, DpuNodeMaintenance};
use jiff::Timestamp;
use std::time::Duration;

/// Whether a host may be disturbed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// Too many hosts are disturbed already.
    TooMany {
        /// How many others.
        unavailable: usize,
        /// How many are allowed.
        limit: i32,
    },
    /// Sibling DPUs may still join.
    WaitForSiblings {
        /// How much longer.
        left: Duration,
    },
}

/// Whether a host may be disturbed now. An effect that has begun is not held back any more.
#[must_use]
pub fn gate(
    maintenance: &DpuNodeMaintenance,
    node: &DpuNode,
    unavailable: usize,
    limits: &Limits,
    now: Timestamp,
) -> Gate {
    let force = maintenance.spec.node_effect.as_ref().and_then(|e| e.force) == Some(true);
    let begun = is_true(
        node.status.as_ref().and_then(|s| s.conditions.as_deref()),
        dpunode::NODE_EFFECT_IN_PROGRESS,
    );
    if force {
        return Gate::Open;
    }
    let limit = usize::try_from(limits.unavailable).unwrap_or(usize::MAX);
    if !begun && unavailable >= limit {
        return Gate::TooMany {
            unavailable,
            limit: limits.unavailable,
        };
    }
    let siblings = node.spec.dpus.as_ref().map_or(0, Vec::len);
    if siblings > 1 {
        let since = maintenance
            .status
            .as_ref()
            .and_then(|s| s.node_effect_sync_start_time.as_ref())
            .map_or(now, |time| time.0);
        let waited = u64::try_from(now.as_second().saturating_sub(since.as_second())).unwrap_or(0);
        let left = limits.sync_wait.saturating_sub(Duration::from_secs(waited));
        if !left.is_zero() {
            return Gate::WaitForSiblings { left };
        }
    }
    Gate::Open
}

/// How many other hosts are disturbed. One that nobody looked at yet has no conditions and counts as available.
#[must_use]
pub fn unavailable_others(node: &DpuNode, all: &[DpuNode]) -> usize {
    all.iter()
        .filter(|other| {
            (&other.metadata.namespace, &other.metadata.name)
                != (&node.metadata.namespace, &node.metadata.name)
        })
        .filter(|other| {
            let conditions = other.status.as_ref().and_then(|s| s.conditions.as_deref());
            let not_ready = conditions
                .unwrap_or_default()
                .iter()
                .any(|c| c.type_ == READY && c.status == "False");
            not_ready || is_true(conditions, dpunode::NODE_EFFECT_IN_PROGRESS)
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::{Conditions, Verdict};
    use dpf_api::provisioning::{
        DeviceReference, DpuNodeMaintenanceStatus, DpuNodeStatus, NodeEffect,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn node(name: &str, dpus: usize, disturbed: bool) -> DpuNode {
        let mut node = DpuNode::default();
        node.metadata.name = Some(name.to_owned());
        node.spec.dpus = Some(vec![DeviceReference::default(); dpus]);
        if disturbed {
            let mut conditions = Conditions::new(None, &[], 1, at(0));
            conditions.set(dpunode::NODE_EFFECT_IN_PROGRESS, &Verdict::True);
            node.status = Some(DpuNodeStatus {
                conditions: Some(conditions.into_list()),
                ..DpuNodeStatus::default()
            });
        }
        node
    }

    fn maintenance(force: bool) -> DpuNodeMaintenance {
        let mut object = DpuNodeMaintenance::default();
        object.spec.node_effect = Some(NodeEffect {
            force: Some(force),
            ..NodeEffect::drained()
        });
        object.status = Some(DpuNodeMaintenanceStatus {
            node_effect_sync_start_time: Some(Time(at(100))),
            ..DpuNodeMaintenanceStatus::default()
        });
        object
    }

    #[test]
    fn limits_and_siblings() {
        let limits = Limits {
            unavailable: 1,
            ..Limits::default()
        };
        let left = |seconds| Gate::WaitForSiblings {
            left: Duration::from_secs(seconds),
        };
        let full = Gate::TooMany {
            unavailable: 1,
            limit: 1,
        };
        for (force, dpus, begun, others, now, expected) in [
            (false, 1, false, 0, 100, Gate::Open),
            (false, 1, false, 1, 100, full.clone()),
            (true, 2, false, 1, 100, Gate::Open),
            (false, 1, true, 1, 100, Gate::Open),
            (false, 2, false, 0, 110, left(20)),
            (false, 2, false, 0, 130, Gate::Open),
        ] {
            let node = node("w", dpus, begun);
            let outcome = gate(&maintenance(force), &node, others, &limits, at(now));
            assert_eq!(outcome, expected, "{force} {dpus} {begun} {others} {now}");
        }
    }

    #[test]
    fn only_other_disturbed_hosts_count() {
        let all = [node("a", 1, true), node("b", 1, true), node("c", 1, false)];
        assert_eq!(unavailable_others(&all[0], &all), 1);
        assert_eq!(unavailable_others(&all[2], &all), 2);
    }
}

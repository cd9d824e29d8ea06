//! From an outcome to the status of a DPU.

use super::limits::Limits;
use super::phases::{Outcome, Position};
use crate::conditions::Conditions;
use dpf_api::provisioning::{DpuPhase, DpuStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

impl From<&DpuStatus> for Position {
    fn from(status: &DpuStatus) -> Self {
        Self {
            phase: status.phase,
            previous: status.previous_phase,
            labels_only: status.post_provisioning_node_effect == Some(true),
        }
    }
}

/// The status after an outcome; what phases keep for themselves is dropped when they are left.
#[must_use]
pub fn enter(
    observed: &DpuStatus,
    outcome: &Outcome,
    generation: i64,
    now: Timestamp,
) -> DpuStatus {
    let Outcome { position, changes } = outcome;
    let mut conditions = Conditions::new(observed.conditions.as_deref(), &[], generation, now);
    for change in changes {
        let status = if change.holds { "True" } else { "False" };
        conditions.put(change.condition, status, &change.reason, &change.message);
    }
    let mut status = observed.clone();
    status.conditions = Some(conditions.into_list());
    status.observed_generation = Some(generation);
    status.post_provisioning_node_effect = position.labels_only.then_some(true);
    if observed.phase != position.phase {
        status.phase = position.phase;
        status.previous_phase = position.previous;
        status.phase_start_time = Some(seconds(now));
        status.redfish_task_id = None;
        status.install_percent = None;
        if position.phase == DpuPhase::OsInstalling {
            status.installations = Some(status.installations.unwrap_or(0).saturating_add(1));
        }
        status.arm_reset_before = None;
        let installs = matches!(
            position.phase,
            DpuPhase::PrepareBfb | DpuPhase::OsInstalling
        );
        if !installs {
            status.install_failures = None;
        }
    } else if status.phase_start_time.is_none() {
        status.phase_start_time = Some(seconds(now));
    }
    status
}

/// Times in the API have whole seconds.
fn seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// How long a phase may last; none where people or other objects decide.
#[must_use]
pub fn overdue_after(phase: DpuPhase, by_person: bool, limits: &Limits) -> Option<Duration> {
    const MINUTE: u64 = 60;
    let minutes = |n: u64| Some(Duration::from_secs(n * MINUTE));
    match phase {
        DpuPhase::InitializeInterface | DpuPhase::ConfigFwParameters | DpuPhase::PrepareBfb => {
            minutes(10)
        }
        DpuPhase::OsInstalling => Some(limits.install_timeout),
        DpuPhase::Rebooting if by_person => None,
        DpuPhase::Rebooting => minutes(15),
        DpuPhase::DpuClusterConfig => minutes(30),
        DpuPhase::NodeEffectRemoval => limits.removal_timeout,
        DpuPhase::Initializing
        | DpuPhase::Pending
        | DpuPhase::NodeEffect
        | DpuPhase::Ready
        | DpuPhase::Error
        | DpuPhase::Deleting
        | DpuPhase::CheckingHostRebootRequired
        | DpuPhase::HostNetworkConfiguration
        | DpuPhase::UpdateFirmware
        | DpuPhase::DpuConfig
        | DpuPhase::ServiceReadiness
        | DpuPhase::PerformArmForceRestart => None,
    }
}

/// What is left of the time for the phase; zero when it is used up, none when there is no limit.
#[must_use]
pub fn remaining(
    status: &DpuStatus,
    by_person: bool,
    limits: &Limits,
    now: Timestamp,
) -> Option<Duration> {
    let limit = overdue_after(status.phase, by_person, limits)?;
    let since = status.phase_start_time.as_ref()?.0;
    let used = u64::try_from(now.as_second().saturating_sub(since.as_second())).unwrap_or(0);
    Some(limit.saturating_sub(Duration::from_secs(used)))
}

#[cfg(test)]
mod tests {
    use super::super::phases::{Event, step};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_phase_begins_when_it_is_entered_and_nothing_changes_by_itself() {
        let first = DpuStatus::default();
        let outcome = step(Position::from(&first), Event::done());
        let second = enter(&first, &outcome, 1, at(100));
        assert_eq!(second.phase, DpuPhase::Pending);
        assert_eq!(second.phase_start_time.as_ref().unwrap().0, at(100));
        let waiting = Event::Waiting(super::super::Said::new("BFBIsNotReady", "x"));
        let third = enter(
            &second,
            &step(Position::from(&second), waiting.clone()),
            1,
            at(200),
        );
        let fourth = enter(&third, &step(Position::from(&third), waiting), 1, at(300));
        assert_eq!(third, fourth);
        assert_eq!(fourth.phase_start_time.unwrap().0, at(100));
    }

    #[test]
    fn the_task_of_an_installation_ends_with_it() {
        let installing = DpuStatus {
            phase: DpuPhase::OsInstalling,
            redfish_task_id: Some("7".to_owned()),
            ..DpuStatus::default()
        };
        let waiting = Event::Waiting(super::super::Said::new("TaskProgress", "x"));
        let same = enter(
            &installing,
            &step(Position::from(&installing), waiting),
            1,
            at(1),
        );
        assert_eq!(same.redfish_task_id.as_deref(), Some("7"));
        let next = enter(
            &installing,
            &step(Position::from(&installing), Event::done()),
            1,
            at(1),
        );
        assert_eq!(next.redfish_task_id, None);
    }

    #[test]
    fn failures_are_counted_until_the_installation_is_over() {
        let installing = DpuStatus {
            phase: DpuPhase::OsInstalling,
            install_failures: Some(1),
            ..DpuStatus::default()
        };
        let after = |event| {
            enter(
                &installing,
                &step(Position::from(&installing), event),
                1,
                at(1),
            )
        };
        let said = || super::super::Said::new("InstallationFailed", "x");
        assert_eq!(after(Event::Lost(said())).install_failures, Some(1));
        assert_eq!(after(Event::Failed(said())).install_failures, None);
        assert_eq!(after(Event::done()).install_failures, None);
    }

    #[test]
    fn deadlines() {
        let limits = Limits::default();
        let mut status = DpuStatus {
            phase: DpuPhase::OsInstalling,
            phase_start_time: Some(seconds(at(1000))),
            ..DpuStatus::default()
        };
        let left = |status: &DpuStatus, person, now| remaining(status, person, &limits, at(now));
        assert_eq!(left(&status, false, 1000), Some(Duration::from_secs(2700)));
        assert_eq!(left(&status, false, 9999), Some(Duration::ZERO));
        status.phase = DpuPhase::Rebooting;
        assert_eq!(left(&status, true, 9999), None);
        assert_eq!(left(&status, false, 9999), Some(Duration::ZERO));
        status.phase = DpuPhase::NodeEffectRemoval;
        assert_eq!(left(&status, false, 9999), None);
    }
}

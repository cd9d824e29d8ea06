//! From an outcome to the status of a DPU.

use super::limits::Limits;
use super::phases::{Event, Outcome, Position, Said};
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
        status.install_failures = match (observed.phase, position.phase) {
            (DpuPhase::OsInstalling, DpuPhase::PrepareBfb) => Some(failures(observed)),
            (_, DpuPhase::PrepareBfb | DpuPhase::OsInstalling) => status.install_failures,
            _ => None,
        };
        if position.phase == DpuPhase::Ready {
            status.automatic_retries = None;
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

/// Installations of this round that failed, with the one that failed now.
fn failures(status: &DpuStatus) -> i32 {
    status.install_failures.unwrap_or(0).saturating_add(1)
}

/// What an event means now: who waited for too long, or lost an installation too often, has failed.
#[must_use]
pub fn judge(
    event: Event,
    status: &DpuStatus,
    by_person: bool,
    limits: &Limits,
    now: Timestamp,
) -> Event {
    match event {
        Event::Waiting(said)
            if remaining(status, by_person, limits, now) == Some(Duration::ZERO) =>
        {
            Event::Overdue(said)
        }
        Event::Lost(said) if status.phase == DpuPhase::OsInstalling => {
            let (failed, attempts) = (failures(status), limits.attempts.max(1));
            let message = if failed >= attempts {
                format!(
                    "{attempts} installations failed, the last one: {}",
                    said.message
                )
            } else {
                format!(
                    "installation {failed} of {attempts} failed and is tried again: {}",
                    said.message
                )
            };
            let said = Said { message, ..said };
            if failed >= attempts {
                Event::Failed(said)
            } else {
                Event::Lost(said)
            }
        }
        other => other,
    }
}

/// How long until a DPU in `Error` tries again by itself: one minute, two, four, up to an hour. None when it does not.
#[must_use]
pub fn retry_after(status: &DpuStatus, limits: &Limits, now: Timestamp) -> Option<Duration> {
    const FIRST: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(60 * 60);
    let used = status.automatic_retries.unwrap_or(0);
    if status.phase != DpuPhase::Error || used >= limits.retry_budget {
        return None;
    }
    let doublings = u32::try_from(used).unwrap_or(0).min(16);
    let pause = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    Some(pause.saturating_sub(passed(status, now)?))
}

/// How long a phase may last; none where people or other objects decide.
#[must_use]
pub fn overdue_after(phase: DpuPhase, by_person: bool, limits: &Limits) -> Option<Duration> {
    const MINUTE: u64 = 60;
    if let Some(configured) = limits.deadlines.get(&phase) {
        return *configured;
    }
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
    Some(limit.saturating_sub(passed(status, now)?))
}

/// How long the DPU is in its phase.
fn passed(status: &DpuStatus, now: Timestamp) -> Option<Duration> {
    let since = status.phase_start_time.as_ref()?.0;
    let seconds = now.as_second().saturating_sub(since.as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
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
        assert_eq!(after(Event::Lost(said())).install_failures, Some(2));
        assert_eq!(after(Event::Failed(said())).install_failures, None);
        assert_eq!(after(Event::done()).install_failures, None);
    }

    #[test]
    fn an_installation_fails_for_good_after_some_attempts() {
        let limits = Limits::default();
        let installing = |failures| DpuStatus {
            phase: DpuPhase::OsInstalling,
            install_failures: failures,
            ..DpuStatus::default()
        };
        let lost = || Event::Lost(super::super::Said::new("InstallationFailed", "no space"));
        let judged =
            |failures, limits: &Limits| judge(lost(), &installing(failures), false, limits, at(0));
        for (failures, again) in [(None, true), (Some(1), true), (Some(2), false)] {
            let event = judged(failures, &limits);
            assert_eq!(matches!(event, Event::Lost(_)), again, "{event:?}");
            assert_eq!(matches!(event, Event::Failed(_)), !again, "{event:?}");
        }
        let once = Limits {
            attempts: 1,
            ..Limits::default()
        };
        assert!(matches!(judged(None, &once), Event::Failed(_)));
    }

    #[test]
    fn retries_by_itself_take_longer_and_longer_and_end() {
        let limits = Limits {
            retry_budget: 3,
            ..Limits::default()
        };
        let failed = |used, since| DpuStatus {
            phase: DpuPhase::Error,
            automatic_retries: used,
            phase_start_time: Some(seconds(at(since))),
            ..DpuStatus::default()
        };
        for (used, now, expected) in [
            (None, 0, Some(60)),
            (None, 60, Some(0)),
            (Some(1), 0, Some(120)),
            (Some(2), 100, Some(140)),
            (Some(3), 9999, None),
        ] {
            let left = retry_after(&failed(used, 0), &limits, at(now));
            assert_eq!(left.map(|d| d.as_secs()), expected, "{used:?} {now}");
        }
        let status = failed(None, 0);
        assert_eq!(retry_after(&status, &Limits::default(), at(9999)), None);
        // The count begins anew once the DPU is Ready.
        let removal = DpuStatus {
            phase: DpuPhase::NodeEffectRemoval,
            automatic_retries: Some(2),
            ..DpuStatus::default()
        };
        let outcome = step(Position::from(&removal), Event::done());
        assert_eq!(enter(&removal, &outcome, 1, at(1)).automatic_retries, None);
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
        status.phase = DpuPhase::NodeEffect;
        assert_eq!(left(&status, false, 9999), None);
        let configured = Limits {
            deadlines: [
                (DpuPhase::NodeEffect, Some(Duration::from_secs(100))),
                (DpuPhase::OsInstalling, None),
            ]
            .into(),
            ..Limits::default()
        };
        let left = |status: &DpuStatus, now| remaining(status, false, &configured, at(now));
        assert_eq!(left(&status, 1040), Some(Duration::from_secs(60)));
        status.phase = DpuPhase::OsInstalling;
        assert_eq!(left(&status, 999_999), None);
    }
}

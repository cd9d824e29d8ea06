//! The transitions between phases: a total function without effects.

use dpf_api::conditions::{READY, dpu as types, reasons};
use dpf_api::provisioning::DpuPhase;
use serde::Serialize;

/// Why something is as it is: a word for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// The condition that says it; that of the phase when unset.
    pub condition: Option<&'static str>,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl Said {
    /// Said by the condition of the phase.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            condition: None,
            reason,
            message: message.into(),
        }
    }

    /// Said by this condition.
    #[must_use]
    pub fn by(self, condition: &'static str) -> Self {
        Self {
            condition: Some(condition),
            ..self
        }
    }
}

/// What was found out about a DPU in its phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Event {
    /// The work of the phase is done.
    Done {
        /// Word for the condition; the type of the condition when unset.
        reason: Option<&'static str>,
        /// For people; mostly empty.
        message: String,
    },
    /// Not yet.
    Waiting(Said),
    /// Not any more: only a person or a retry helps.
    Failed(Said),
    /// The deadline of the phase passed while it waited for this.
    Overdue(Said),
    /// The device says that it is not to be provisioned.
    Skipped,
    /// What an earlier phase prepared is gone.
    Lost(Said),
    /// The labels of the node are not those of the spec any more.
    LabelsChanged {
        /// Whether the effect on the host comes first.
        with_effect: bool,
    },
    /// Somebody asks for another try.
    Retry,
    /// The object is being deleted.
    Deleted,
}

impl Event {
    /// Done, nothing more to say.
    #[must_use]
    pub fn done() -> Self {
        Self::Done {
            reason: None,
            message: String::new(),
        }
    }
}

/// Where a DPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Now.
    pub phase: DpuPhase,
    /// Before that.
    pub previous: Option<DpuPhase>,
    /// The effect on the host is applied for a change of labels only.
    pub labels_only: bool,
}

/// A condition to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Type of the condition.
    pub condition: &'static str,
    /// Its status.
    pub holds: bool,
    /// One CamelCase word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Where a DPU goes, and what its conditions say about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Where it is then.
    pub position: Position,
    /// Conditions to set, in this order.
    pub changes: Vec<Change>,
}

/// The condition that speaks for a phase.
#[must_use]
pub const fn condition_of(phase: DpuPhase) -> &'static str {
    match phase {
        DpuPhase::Initializing => types::INITIALIZED,
        DpuPhase::Pending => types::PENDING,
        DpuPhase::NodeEffect => types::NODE_EFFECT_READY,
        DpuPhase::InitializeInterface => types::INTERFACE_INITIALIZED,
        DpuPhase::ConfigFwParameters | DpuPhase::UpdateFirmware => types::FW_CONFIGURED,
        DpuPhase::PrepareBfb => types::BFB_PREPARED,
        DpuPhase::OsInstalling => types::OS_INSTALLED,
        DpuPhase::CheckingHostRebootRequired
        | DpuPhase::Rebooting
        | DpuPhase::PerformArmForceRestart => types::REBOOTED,
        DpuPhase::HostNetworkConfiguration
        | DpuPhase::DpuConfig
        | DpuPhase::DpuClusterConfig
        | DpuPhase::ServiceReadiness => types::DPU_CLUSTER_READY,
        DpuPhase::NodeEffectRemoval => types::NODE_EFFECT_REMOVED,
        DpuPhase::Ready => READY,
        DpuPhase::Error => types::ERROR,
        DpuPhase::Deleting => types::DELETING,
    }
}

/// The phase after a phase whose work is done.
const fn successor(phase: DpuPhase, labels_only: bool) -> DpuPhase {
    match phase {
        DpuPhase::Initializing => DpuPhase::Pending,
        DpuPhase::Pending => DpuPhase::NodeEffect,
        DpuPhase::NodeEffect if labels_only => DpuPhase::DpuClusterConfig,
        DpuPhase::NodeEffect => DpuPhase::InitializeInterface,
        DpuPhase::InitializeInterface => DpuPhase::ConfigFwParameters,
        DpuPhase::ConfigFwParameters => DpuPhase::PrepareBfb,
        DpuPhase::PrepareBfb => DpuPhase::OsInstalling,
        DpuPhase::OsInstalling => DpuPhase::Rebooting,
        // Phases that other releases and the host agent know: what is left to do is the same.
        DpuPhase::Rebooting
        | DpuPhase::CheckingHostRebootRequired
        | DpuPhase::HostNetworkConfiguration
        | DpuPhase::UpdateFirmware
        | DpuPhase::DpuConfig
        | DpuPhase::ServiceReadiness
        | DpuPhase::PerformArmForceRestart => DpuPhase::DpuClusterConfig,
        DpuPhase::DpuClusterConfig => DpuPhase::NodeEffectRemoval,
        DpuPhase::NodeEffectRemoval | DpuPhase::Ready => DpuPhase::Ready,
        DpuPhase::Error => DpuPhase::Error,
        DpuPhase::Deleting => DpuPhase::Deleting,
    }
}

/// Where a DPU goes on after a failure in this phase.
///
/// In `Error` the host was given back and the slot is free: an installation starts from the queue again.
const fn retry_from(failed: Option<DpuPhase>) -> DpuPhase {
    match failed {
        None | Some(DpuPhase::Initializing | DpuPhase::Error | DpuPhase::Deleting) => {
            DpuPhase::Initializing
        }
        Some(DpuPhase::Rebooting) => DpuPhase::Rebooting,
        Some(DpuPhase::DpuClusterConfig | DpuPhase::NodeEffectRemoval | DpuPhase::Ready) => {
            DpuPhase::DpuClusterConfig
        }
        Some(_) => DpuPhase::Pending,
    }
}

/// Where a DPU goes when this happens. Total: what means nothing in a phase changes nothing.
#[must_use]
pub fn step(position: Position, event: Event) -> Outcome {
    let Position {
        phase, labels_only, ..
    } = position;
    if phase == DpuPhase::Deleting {
        return match event {
            Event::Waiting(said) | Event::Failed(said) | Event::Overdue(said) => {
                stay(position, vec![negative(phase, said)])
            }
            _ => stay(position, Vec::new()),
        };
    }
    match event {
        Event::Deleted => go(position, DpuPhase::Deleting, Vec::new()),
        Event::Retry if phase == DpuPhase::Error => {
            let cleared = Change {
                condition: types::ERROR,
                holds: false,
                reason: "Retrying".to_owned(),
                message: String::new(),
            };
            go(position, retry_from(position.previous), vec![cleared])
        }
        Event::Retry => stay(position, Vec::new()),
        _ if phase == DpuPhase::Error => stay(position, Vec::new()),
        Event::Waiting(said) => stay(position, vec![negative(phase, said)]),
        Event::Failed(said) | Event::Overdue(said) if phase == DpuPhase::Ready => {
            stay(position, vec![negative(phase, said)])
        }
        Event::Failed(said) => fail(position, said, false),
        Event::Overdue(said) => fail(position, said, true),
        Event::Lost(said) if phase == DpuPhase::OsInstalling => go(
            position,
            DpuPhase::PrepareBfb,
            vec![negative(DpuPhase::PrepareBfb, said)],
        ),
        Event::Lost(said) => stay(position, vec![negative(phase, said)]),
        Event::Skipped if phase == DpuPhase::Initializing => go(
            position,
            DpuPhase::Ready,
            vec![
                positive(types::INITIALIZED, Some("Skipped"), String::new()),
                positive(READY, Some("Skipped"), String::new()),
            ],
        ),
        Event::Skipped => stay(position, Vec::new()),
        Event::LabelsChanged { with_effect } => match phase {
            DpuPhase::Ready if with_effect => Outcome {
                position: Position {
                    labels_only: true,
                    ..moved(position, DpuPhase::NodeEffect)
                },
                changes: entering(DpuPhase::NodeEffect),
            },
            DpuPhase::Ready | DpuPhase::NodeEffectRemoval => {
                go(position, DpuPhase::DpuClusterConfig, Vec::new())
            }
            _ => stay(position, Vec::new()),
        },
        Event::Done { reason, message } => {
            let mut changes = vec![positive(condition_of(phase), reason, message)];
            if phase == DpuPhase::Pending {
                changes.insert(0, positive(types::BFB_READY, None, String::new()));
            }
            let next = successor(phase, labels_only);
            if next == phase {
                return stay(position, changes);
            }
            // Where two phases share a condition it speaks of the one that begins.
            if condition_of(next) == condition_of(phase) {
                changes.clear();
            }
            go(position, next, changes)
        }
    }
}

const fn stay(position: Position, changes: Vec<Change>) -> Outcome {
    Outcome { position, changes }
}

const fn moved(position: Position, to: DpuPhase) -> Position {
    Position {
        phase: to,
        previous: Some(position.phase),
        labels_only: position.labels_only && matches!(to, DpuPhase::NodeEffect),
    }
}

fn go(position: Position, to: DpuPhase, mut changes: Vec<Change>) -> Outcome {
    if to != DpuPhase::Ready {
        for change in entering(to) {
            if !changes.iter().any(|c| c.condition == change.condition) {
                changes.push(change);
            }
        }
    }
    Outcome {
        position: moved(position, to),
        changes,
    }
}

/// What the conditions say at the beginning of a phase, so that nothing of an earlier round is taken for this one.
fn entering(phase: DpuPhase) -> Vec<Change> {
    let own = Change {
        condition: condition_of(phase),
        holds: false,
        reason: reasons::PENDING.to_owned(),
        message: String::new(),
    };
    let ready = Change {
        condition: READY,
        holds: false,
        reason: reasons::PENDING.to_owned(),
        message: format!("the DPU is in phase {phase}"),
    };
    if matches!(phase, DpuPhase::Error) {
        vec![ready]
    } else {
        vec![own, ready]
    }
}

fn fail(position: Position, said: Said, overdue: bool) -> Outcome {
    let what = if overdue {
        format!(
            "phase {} took longer than its deadline; it was waiting for: {}",
            position.phase, said.message
        )
    } else {
        said.message.clone()
    };
    let error = Change {
        condition: types::ERROR,
        holds: true,
        reason: said.reason.to_owned(),
        message: format!(
            "{what}. To try again, run `dpfctl retry` or annotate the DPU with {}=true; or delete the DPU",
            dpf_api::keys::annotations::RETRY
        ),
    };
    let step = Change {
        message: what,
        ..negative(position.phase, said)
    };
    go(position, DpuPhase::Error, vec![step, error])
}

fn positive(condition: &'static str, reason: Option<&str>, message: String) -> Change {
    Change {
        condition,
        holds: true,
        reason: reason.unwrap_or(condition).to_owned(),
        message,
    }
}

fn negative(phase: DpuPhase, said: Said) -> Change {
    let Said {
        condition,
        reason,
        message,
    } = said;
    Change {
        condition: condition.unwrap_or(condition_of(phase)),
        holds: false,
        reason: reason.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(phase: DpuPhase) -> Position {
        Position {
            phase,
            previous: None,
            labels_only: false,
        }
    }

    fn said() -> Said {
        Said::new("Because", "of that")
    }

    #[test]
    fn the_way_of_a_new_dpu() {
        let mut position = at(DpuPhase::Initializing);
        let mut way = Vec::new();
        while position.phase != DpuPhase::Ready {
            way.push(position.phase.as_str());
            position = step(position, Event::done()).position;
        }
        assert_eq!(
            way,
            [
                "Initializing",
                "Pending",
                "Node Effect",
                "Initialize Interface",
                "Config FW Parameters",
                "Prepare BFB",
                "OS Installing",
                "Rebooting",
                "DPU Cluster Config",
                "Node Effect Removal"
            ]
        );
    }

    #[test]
    fn every_edge() {
        use DpuPhase as P;
        let changed = |with_effect| Event::LabelsChanged { with_effect };
        for (from, event, to) in [
            (P::Initializing, Event::Skipped, P::Ready),
            (P::Pending, Event::Skipped, P::Pending),
            (P::OsInstalling, Event::Lost(said()), P::PrepareBfb),
            (P::Rebooting, Event::Lost(said()), P::Rebooting),
            (P::Ready, changed(true), P::NodeEffect),
            (P::Ready, changed(false), P::DpuClusterConfig),
            (P::NodeEffectRemoval, changed(true), P::DpuClusterConfig),
            (P::NodeEffectRemoval, changed(false), P::DpuClusterConfig),
            (P::OsInstalling, changed(true), P::OsInstalling),
            (P::Ready, Event::Waiting(said()), P::Ready),
            (P::Ready, Event::Failed(said()), P::Ready),
            (P::Ready, Event::Overdue(said()), P::Ready),
            (P::Ready, Event::done(), P::Ready),
            (P::OsInstalling, Event::Waiting(said()), P::OsInstalling),
            (P::OsInstalling, Event::Failed(said()), P::Error),
            (P::OsInstalling, Event::Overdue(said()), P::Error),
            (P::OsInstalling, Event::Retry, P::OsInstalling),
            (P::Error, Event::done(), P::Error),
            (P::Error, Event::Waiting(said()), P::Error),
            (P::Error, Event::Retry, P::Initializing),
            (
                P::HostNetworkConfiguration,
                Event::done(),
                P::DpuClusterConfig,
            ),
            (P::Deleting, Event::done(), P::Deleting),
            (P::Deleting, Event::Failed(said()), P::Deleting),
            (P::Deleting, Event::Retry, P::Deleting),
        ] {
            let outcome = step(at(from), event.clone());
            assert_eq!(outcome.position.phase, to, "{from} with {event:?}");
        }
        for phase in DpuPhase::ALL {
            assert_eq!(step(at(*phase), Event::Deleted).position.phase, P::Deleting);
        }
    }

    #[test]
    fn a_change_of_labels_with_effect_does_not_install_again() {
        let effect = step(
            at(DpuPhase::Ready),
            Event::LabelsChanged { with_effect: true },
        );
        assert!(effect.position.labels_only);
        let next = step(effect.position, Event::done()).position;
        assert_eq!(next.phase, DpuPhase::DpuClusterConfig);
        assert!(!next.labels_only);
    }

    #[test]
    fn a_retry_goes_on_where_it_failed() {
        for (failed, again) in [
            (DpuPhase::Initializing, DpuPhase::Initializing),
            (DpuPhase::InitializeInterface, DpuPhase::Pending),
            (DpuPhase::OsInstalling, DpuPhase::Pending),
            (DpuPhase::Rebooting, DpuPhase::Rebooting),
            (DpuPhase::DpuClusterConfig, DpuPhase::DpuClusterConfig),
            (DpuPhase::NodeEffectRemoval, DpuPhase::DpuClusterConfig),
        ] {
            let error = step(at(failed), Event::Failed(said())).position;
            assert_eq!(
                (error.phase, error.previous),
                (DpuPhase::Error, Some(failed))
            );
            assert_eq!(step(error, Event::Retry).position.phase, again, "{failed}");
        }
    }

    #[test]
    fn a_failure_tells_cause_and_next_step() {
        let outcome = step(at(DpuPhase::OsInstalling), Event::Overdue(said()));
        let error = outcome
            .changes
            .iter()
            .find(|c| c.condition == "Error")
            .unwrap();
        assert!(error.holds);
        assert!(error.message.contains("of that") && error.message.contains("/retry=true"));
        let step = outcome
            .changes
            .iter()
            .find(|c| c.condition == "OSInstalled")
            .unwrap();
        assert_eq!((step.holds, step.reason.as_str()), (false, "Because"));
        let ready = outcome
            .changes
            .iter()
            .find(|c| c.condition == "Ready")
            .unwrap();
        assert!(!ready.holds);
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::done()),
            Just(Event::Waiting(said())),
            Just(Event::Failed(said())),
            Just(Event::Overdue(said())),
            Just(Event::Skipped),
            Just(Event::Lost(said())),
            any::<bool>().prop_map(|with_effect| Event::LabelsChanged { with_effect }),
            Just(Event::Retry),
            Just(Event::Deleted),
        ]
    }

    proptest! {
        /// Whatever happened before: from everywhere the end is reached once nothing goes wrong any more.
        #[test]
        fn every_history_ends(events in proptest::collection::vec(any_event(), 0..60), start in 0..DpuPhase::ALL.len()) {
            let mut position = at(DpuPhase::ALL[start]);
            let mut deleted = position.phase == DpuPhase::Deleting;
            for event in events {
                deleted |= event == Event::Deleted;
                position = step(position, event).position;
                prop_assert_eq!(position.phase == DpuPhase::Deleting, deleted);
                prop_assert!(!position.labels_only || position.phase == DpuPhase::NodeEffect);
            }
            for _ in 0..DpuPhase::ALL.len() {
                let event = if position.phase == DpuPhase::Error { Event::Retry } else { Event::done() };
                position = step(position, event).position;
            }
            let expected = if deleted { DpuPhase::Deleting } else { DpuPhase::Ready };
            prop_assert_eq!(position.phase, expected);
        }
    }
}

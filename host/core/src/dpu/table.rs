//! The table in the documentation of the module, tried edge by edge; and that every life ends.

use super::*;
use dpf_api::conditions::{READY, dpu as types};
use dpf_api::provisioning::{DpuPhase, DpuStatus};
use jiff::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const LABELS_ONLY: &str = ", labels only";

fn said() -> Said {
    Said::new("Because", "of that")
}

fn event(name: &str) -> Event {
    match name {
        "done" => Event::done(),
        "waiting" => Event::Waiting(said()),
        "failed" => Event::Failed(said()),
        "overdue" => Event::Overdue(said()),
        "skipped" => Event::Skipped,
        "lost" => Event::Lost(said()),
        "labels changed" => Event::LabelsChanged { with_effect: false },
        "labels changed, with effect" => Event::LabelsChanged { with_effect: true },
        "retry" => Event::Retry,
        "deleted" => Event::Deleted,
        other => panic!("{other} is no event"),
    }
}

const EVENTS: [&str; 10] = [
    "done",
    "waiting",
    "failed",
    "overdue",
    "skipped",
    "lost",
    "labels changed",
    "labels changed, with effect",
    "retry",
    "deleted",
];

fn phase(name: &str) -> DpuPhase {
    let found = DpuPhase::ALL.iter().find(|phase| phase.as_str() == name);
    *found.unwrap_or_else(|| panic!("{name} is no phase"))
}

/// Every position, by its name in the table.
fn positions() -> Vec<(String, Position)> {
    let at = |phase, previous, labels_only| Position {
        phase,
        previous,
        labels_only,
    };
    let mut all: Vec<_> = DpuPhase::ALL
        .iter()
        .map(|phase| (phase.to_string(), at(*phase, None, false)))
        .collect();
    let labels_only = at(DpuPhase::NodeEffect, Some(DpuPhase::Ready), true);
    all.push((format!("Node Effect{LABELS_ONLY}"), labels_only));
    all.extend(DpuPhase::ALL.iter().map(|failed| {
        let position = at(DpuPhase::Error, Some(*failed), false);
        (format!("Error after {failed}"), position)
    }));
    all
}

/// The rows: phase and event, and what comes next.
fn rows() -> BTreeMap<(String, String), String> {
    let mut rows = BTreeMap::new();
    let text = include_str!("mod.rs");
    for table in text.split("//! | Phase | Event | Next |").skip(1) {
        for line in table.lines().skip(2) {
            let Some(line) = line.strip_prefix("//! |") else {
                break;
            };
            let cells: Vec<&str> = line
                .trim_end_matches('|')
                .split('|')
                .map(str::trim)
                .collect();
            let [from, events, to] = cells[..] else {
                panic!("{line} has not three cells")
            };
            for from in from.split("; ") {
                let to = if to == "where it is" { from } else { to };
                for event in events.split("; ") {
                    let before = rows.insert((from.to_owned(), event.to_owned()), to.to_owned());
                    assert_eq!(before, None, "{from} with {event} is there twice");
                }
            }
        }
    }
    rows
}

#[test]
fn every_edge_of_the_table_and_no_other() {
    let rows = rows();
    let mut used = std::collections::BTreeSet::new();
    let mut edges = 0;
    for (name, position) in positions() {
        for event_name in EVENTS {
            let names = [name.as_str(), position.phase.as_str(), "any"];
            let row = names
                .into_iter()
                .map(|from| (from.to_owned(), event_name.to_owned()))
                .find(|row| rows.contains_key(row));
            let expected = match row {
                Some(row) => {
                    let to = rows[&row].clone();
                    used.insert(row);
                    to
                }
                None => position.phase.to_string(),
            };
            let outcome = step(position, event(event_name));
            let mut reached = outcome.position.phase.to_string();
            let moved = outcome.position.phase != position.phase;
            if moved && outcome.position.labels_only {
                reached.push_str(LABELS_ONLY);
            }
            assert_eq!(reached, expected, "{name} with {event_name}");
            if moved {
                edges += 1;
                says_where_it_is(&outcome, position.phase, &name, event_name);
            }
        }
    }
    let unused: Vec<_> = rows.keys().filter(|row| !used.contains(*row)).collect();
    assert!(unused.is_empty(), "rows that nothing needs: {unused:?}");
    assert!(edges > 100, "{edges}");
}

/// After every edge conditions speak of the new phase and of nothing else.
fn says_where_it_is(outcome: &Outcome, from: DpuPhase, name: &str, event: &str) {
    let to = outcome.position.phase;
    assert_eq!(outcome.position.previous, Some(from), "{name} with {event}");
    let says = |condition: &str| outcome.changes.iter().rfind(|c| c.condition == condition);
    match to {
        DpuPhase::Ready => {}
        DpuPhase::Error => {
            let error = says(types::ERROR).unwrap();
            assert!(error.holds && error.message.contains("/retry=true"));
            assert!(!says(READY).unwrap().holds);
        }
        _ => {
            assert!(
                !says(condition_of(to)).unwrap().holds,
                "{name} with {event}"
            );
            assert!(!says(READY).unwrap().holds, "{name} with {event}");
        }
    }
}

#[test]
fn phases_of_the_table_exist() {
    for ((from, _), to) in rows() {
        for name in [from, to] {
            let name = name.trim_start_matches("Error after ");
            let name = name.trim_end_matches(LABELS_ONLY);
            if name != "any" {
                phase(name);
            }
        }
    }
}

/// A DPU and its clock.
#[derive(Debug)]
struct Life {
    status: DpuStatus,
    limits: Limits,
    second: i64,
}

impl Life {
    fn new(phase: DpuPhase, limits: Limits) -> Self {
        Self {
            status: DpuStatus {
                phase,
                ..DpuStatus::default()
            },
            limits,
            second: 1,
        }
    }

    /// As the controller does it: judged by the clock, stepped, written.
    fn meet(&mut self, event: Event, by_person: bool, after_seconds: u32) {
        self.second += i64::from(after_seconds);
        let now = Timestamp::from_second(self.second).unwrap();
        if retry_after(&self.status, &self.limits, now) == Some(Duration::ZERO) {
            let used = self.status.automatic_retries.unwrap_or(0);
            self.status.automatic_retries = Some(used + 1);
            let outcome = step(Position::from(&self.status), Event::Retry);
            self.status = enter(&self.status, &outcome, 1, now);
        }
        let event = judge(event, &self.status, by_person, &self.limits, now);
        let outcome = step(Position::from(&self.status), event);
        self.status = enter(&self.status, &outcome, 1, now);
    }

    fn is_over(&self) -> bool {
        matches!(
            self.status.phase,
            DpuPhase::Ready | DpuPhase::Error | DpuPhase::Deleting
        )
    }
}

/// With a deadline on every phase.
fn patient_for_an_hour(retry_budget: i32) -> Limits {
    let hour = Some(Duration::from_secs(3600));
    Limits {
        deadlines: DpuPhase::ALL.iter().map(|phase| (*phase, hour)).collect(),
        retry_budget,
        ..Limits::default()
    }
}

fn answers(
    among: &'static [&'static str],
) -> impl Strategy<Value = Vec<(&'static str, bool, u32)>> {
    let one = (proptest::sample::select(among), any::<bool>(), 0..7200u32);
    proptest::collection::vec(one, 0..120)
}

fn play(life: &mut Life, history: &[(&str, bool, u32)]) {
    for (name, by_person, seconds) in history {
        life.meet(event(name), *by_person, *seconds);
    }
}

proptest! {
    /// Whatever happened: once answers are good and somebody retries, the DPU is Ready, or gone.
    #[test]
    fn good_answers_lead_to_ready(
        history in answers(&EVENTS), start in 0..DpuPhase::ALL.len(), budget in 0..4,
    ) {
        let mut life = Life::new(DpuPhase::ALL[start], patient_for_an_hour(budget));
        play(&mut life, &history);
        let deleting = life.status.phase == DpuPhase::Deleting;
        for _ in 0..=DpuPhase::ALL.len() {
            let name = if life.status.phase == DpuPhase::Error { "retry" } else { "done" };
            life.meet(event(name), false, 1);
        }
        let expected = if deleting { DpuPhase::Deleting } else { DpuPhase::Ready };
        prop_assert_eq!(life.status.phase, expected);
    }

    /// Whatever happened: when nobody answers any more, every phase ends at its deadline, and the status says what it waited for.
    #[test]
    fn silence_leads_to_an_end(
        history in answers(&EVENTS), start in 0..DpuPhase::ALL.len(), budget in 0..4,
    ) {
        let mut life = Life::new(DpuPhase::ALL[start], patient_for_an_hour(budget));
        play(&mut life, &history);
        // Each retry waits up to an hour, and then in one phase for an hour.
        for _ in 0..3 * (budget + 2) {
            life.meet(event("waiting"), true, 3601);
        }
        prop_assert!(life.is_over(), "{:?}", life.status.phase);
        if life.status.phase == DpuPhase::Error {
            let conditions = life.status.conditions.clone().unwrap_or_default();
            let error = conditions.iter().find(|c| c.type_ == types::ERROR);
            prop_assert!(start == phase_index(DpuPhase::Error) || error.is_some_and(|e| e.status == "True"));
        }
    }

    /// Bad answers of any kind cannot keep a DPU busy for ever: installations are bounded, and so is time.
    #[test]
    fn bad_answers_lead_to_an_end(
        history in answers(&["done", "waiting", "lost", "failed", "skipped", "overdue"]),
        start in 0..DpuPhase::ALL.len(),
    ) {
        let mut life = Life::new(DpuPhase::ALL[start], patient_for_an_hour(0));
        let mut installations = 0;
        for (name, by_person, _) in &history {
            let before = life.status.phase;
            life.meet(event(name), *by_person, 1801);
            let begins = life.status.phase == DpuPhase::OsInstalling && before != DpuPhase::OsInstalling;
            installations += i32::from(begins);
        }
        prop_assert!(installations <= life.limits.attempts, "{installations}");
        // Ten phases of an hour, three rounds of two of them, and two answers per hour.
        prop_assert!(history.len() < 40 || life.is_over(), "{:?} after {} answers", life.status.phase, history.len());
    }
}

fn phase_index(of: DpuPhase) -> usize {
    DpuPhase::ALL.iter().position(|phase| *phase == of).unwrap()
}

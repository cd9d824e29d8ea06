//! Conditions as values: set them, keep their transition times, sum them up.

use dpf_api::conditions::{READY, reasons};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Reached.
    True,
    /// Not reached: reason and message for a person.
    False {
        /// One CamelCase word.
        reason: &'static str,
        /// What is wrong, where, and what to do.
        message: String,
    },
}

impl Verdict {
    /// False with this reason and message.
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self::False {
            reason,
            message: message.into(),
        }
    }
}

/// The conditions of one object while it is reconciled.
///
/// A condition keeps its `lastTransitionTime` until its status changes, so that a reconcile which finds nothing new
/// writes nothing.
#[derive(Clone, Debug)]
pub struct Conditions {
    list: Vec<Condition>,
    generation: i64,
    now: Timestamp,
}

/// What `Ready` says while no condition speaks of the present state.
pub(crate) const IN_PROGRESS: &str = "Reconciliation is in progress";

/// Longest message that the schema of a condition allows.
const MESSAGE_LENGTH_MAX: usize = 32_768;

impl Conditions {
    /// Starts from what the object carries; types that are missing begin as `Unknown`/`Pending`.
    #[must_use]
    pub fn new(
        observed: Option<&[Condition]>,
        types: &[&str],
        generation: i64,
        now: Timestamp,
    ) -> Self {
        let mut this = Self {
            list: observed.unwrap_or_default().to_vec(),
            generation,
            now,
        };
        for type_ in types.iter().chain([&READY]) {
            if this.get(type_).is_none() {
                this.put(type_, "Unknown", reasons::PENDING, "");
            }
        }
        this
    }

    /// The condition of this type.
    #[must_use]
    pub fn get(&self, type_: &str) -> Option<&Condition> {
        self.list.iter().find(|c| c.type_ == type_)
    }

    /// Sets a condition from a verdict; `True` has the reason `Success` and no message.
    pub fn set(&mut self, type_: &str, verdict: &Verdict) {
        match verdict {
            Verdict::True => self.put(type_, "True", reasons::SUCCESS, ""),
            Verdict::False { reason, message } => self.put(type_, "False", reason, message),
        }
    }

    /// Sets a condition with a reason of its own, also when it is True (as the older provisioning kinds do).
    pub fn put(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let message = truncated(message);
        let next = Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(self.generation),
            last_transition_time: Time(self.now),
        };
        match self.list.iter_mut().find(|c| c.type_ == type_) {
            Some(current) if current.status == status => {
                let since = current.last_transition_time.clone();
                *current = Condition {
                    last_transition_time: since,
                    ..next
                };
            }
            Some(current) => *current = next,
            None => self.list.push(next),
        }
    }

    /// Computes `Ready` from all other conditions.
    ///
    /// True conditions count whatever their generation. A condition that is not True and speaks of an older generation
    /// keeps `Ready` false without being listed. The reason is the most severe one:
    /// `AwaitingDeletion`, then `Failure`, then `Pending`.
    pub fn summarise(&mut self) {
        let open: Vec<&Condition> = self
            .list
            .iter()
            .filter(|c| c.type_ != READY && c.status != "True")
            .collect();
        if open.is_empty() {
            self.set(READY, &Verdict::True);
            return;
        }
        let current: Vec<&&Condition> = open
            .iter()
            .filter(|c| c.observed_generation == Some(self.generation))
            .collect();
        let reason = [reasons::AWAITING_DELETION, reasons::FAILURE]
            .into_iter()
            .find(|severe| current.iter().any(|c| c.reason == *severe))
            .unwrap_or(reasons::PENDING);
        let message = if current.is_empty() {
            IN_PROGRESS.to_owned()
        } else {
            let mut text = "The following conditions are not ready:".to_owned();
            for condition in &current {
                text.push_str("\n* ");
                text.push_str(&condition.type_);
            }
            text
        };
        self.put(READY, "False", reason, &message);
    }

    /// The conditions, `Ready` first and the others by type.
    #[must_use]
    pub fn into_list(mut self) -> Vec<Condition> {
        self.list
            .sort_by(|a, b| (a.type_ != READY, &a.type_).cmp(&(b.type_ != READY, &b.type_)));
        self.list
    }
}

fn truncated(message: &str) -> String {
    if message.len() <= MESSAGE_LENGTH_MAX {
        return message.to_owned();
    }
    let mut end = MESSAGE_LENGTH_MAX - 3;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", message.get(..end).unwrap_or_default())
}

/// Whether the list has this condition with status True, whatever its generation.
#[must_use]
pub fn is_true(conditions: Option<&[Condition]>, type_: &str) -> bool {
    conditions
        .unwrap_or_default()
        .iter()
        .any(|c| c.type_ == type_ && c.status == "True")
}

/// Whether the list has this condition with status True for this generation.
#[must_use]
pub fn is_true_for(conditions: Option<&[Condition]>, type_: &str, generation: Option<i64>) -> bool {
    conditions
        .unwrap_or_default()
        .iter()
        .any(|c| c.type_ == type_ && c.status == "True" && c.observed_generation == generation)
}

/// A message of a header and one line per entry: `Header:\n* a\n* b`.
#[must_use]
pub fn bulleted(header: &str, entries: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut text = format!("{header}:");
    for entry in entries {
        text.push_str("\n* ");
        text.push_str(entry.as_ref());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut first = Conditions::new(None, &["A"], 1, at(10));
        first.set("A", &Verdict::no(reasons::ERROR, "one"));
        let list = first.into_list();
        let mut second = Conditions::new(Some(&list), &["A"], 2, at(20));
        second.set("A", &Verdict::no(reasons::ERROR, "two"));
        let a = second.get("A").unwrap();
        assert_eq!(
            (a.message.as_str(), a.last_transition_time.0),
            ("two", at(10))
        );
        second.set("A", &Verdict::True);
        assert_eq!(second.get("A").unwrap().last_transition_time.0, at(20));
    }

    #[test]
    fn summary_takes_the_most_severe_reason() {
        for (reason_of_b, expected) in [
            (reasons::ERROR, reasons::PENDING),
            (reasons::PENDING, reasons::PENDING),
            (reasons::FAILURE, reasons::FAILURE),
            (reasons::AWAITING_DELETION, reasons::AWAITING_DELETION),
        ] {
            let mut conditions = Conditions::new(None, &["A", "B"], 1, at(1));
            conditions.set("A", &Verdict::True);
            conditions.set("B", &Verdict::no(reason_of_b, "x"));
            conditions.summarise();
            let ready = conditions.get(READY).unwrap();
            assert_eq!(
                (ready.status.as_str(), ready.reason.as_str()),
                ("False", expected)
            );
            assert_eq!(
                ready.message,
                "The following conditions are not ready:\n* B"
            );
        }
    }

    #[test]
    fn a_stale_condition_is_not_listed_but_keeps_ready_false() {
        let mut old = Conditions::new(None, &["A"], 1, at(1));
        old.set("A", &Verdict::no(reasons::ERROR, "x"));
        let list = old.into_list();
        let mut new = Conditions::new(Some(&list), &["A"], 2, at(2));
        new.summarise();
        assert_eq!(
            new.get(READY).unwrap().message,
            "Reconciliation is in progress"
        );
    }

    #[test]
    fn long_messages_fit_the_schema() {
        let mut conditions = Conditions::new(None, &["A"], 1, at(1));
        conditions.put("A", "False", "Error", &"é".repeat(MESSAGE_LENGTH_MAX));
        assert!(conditions.get("A").unwrap().message.len() <= MESSAGE_LENGTH_MAX);
    }
}

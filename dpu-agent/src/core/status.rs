//! Conditions that the agent writes.

use dpf_api::conditions::{READY, reasons};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The condition of the one step there is, `step`, and the summary of it.
///
/// `wrong` says what is in the way; nothing means done. Times of conditions that keep their status are kept.
#[must_use]
pub fn conditions(
    step: &str,
    wrong: &[String],
    generation: Option<i64>,
    before: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let make = |type_: &str, problem: Option<(&str, String)>| {
        let status = if problem.is_none() { "True" } else { "False" };
        let (reason, message) = problem.unwrap_or((reasons::SUCCESS, String::new()));
        let same = before
            .iter()
            .find(|c| c.type_ == type_ && c.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: same.map_or(Time(now), |c| c.last_transition_time.clone()),
        }
    };
    let failed = !wrong.is_empty();
    let summary = failed.then(|| {
        let message = format!("The following conditions are not ready:\n* {step}");
        (reasons::PENDING, message)
    });
    let problem = failed.then(|| {
        let message = match wrong {
            [one] => format!("Error occurred: {one}"),
            many => format!("Error occurred:\n* {}", many.join("\n* ")),
        };
        (reasons::ERROR, message)
    });
    vec![make(READY, summary), make(step, problem)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let wrong = vec!["no".to_owned()];
        let first = conditions("X", &wrong, Some(1), &[], at(1));
        assert_eq!(
            (first[1].status.as_str(), first[1].reason.as_str()),
            ("False", "Error")
        );
        assert_eq!(first[0].reason, "Pending");
        let second = conditions("X", &wrong, Some(2), &first, at(2));
        assert_eq!(
            second[0].last_transition_time,
            first[0].last_transition_time
        );
        assert_eq!(second[0].observed_generation, Some(2));
        let third = conditions("X", &[], Some(2), &second, at(3));
        assert_eq!(third[0].last_transition_time, Time(at(3)));
        assert_eq!(
            (third[1].reason.as_str(), third[1].message.as_str()),
            ("Success", "")
        );
    }
}

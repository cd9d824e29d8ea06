//! A no of a stage, as conditions show it.

use super::consult::Refusal;
use dpf_api::conditions::dpudeployment as types;
use dpf_api::conditions::reasons;

/// A step that ended the pass: its conditions are false, later steps did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Condition types that hold before the failing ones.
    pub passed: Vec<&'static str>,
    /// Failing condition type, reason, message.
    pub failed: Vec<(&'static str, &'static str, String)>,
    /// Whether a plugin is to blame: then trying again may help.
    pub fault: bool,
}

pub(super) fn services_rejected(problems: &[(&str, Refusal)]) -> Rejection {
    let texts = problems
        .iter()
        .map(|(service, refusal)| refused(service, refusal))
        .collect();
    Rejection {
        passed: vec![
            types::PREREQUISITES_READY,
            types::VERSION_MATCHING_READY,
            types::RESOURCE_FITTING_READY,
        ],
        failed: vec![(
            types::DPUSERVICES_RECONCILED,
            reasons::ERROR,
            occurred(&aggregate(texts)),
        )],
        fault: problems
            .iter()
            .any(|(_, refusal)| matches!(refusal, Refusal::Fault { .. })),
    }
}

/// A no about one service.
pub(super) fn refused(service: &str, refusal: &Refusal) -> String {
    format!(
        "failed to template DPUService {service}: {}",
        refusal_text(refusal)
    )
}

pub(super) fn refusal_text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Input(failure) if failure.findings.is_empty() => failure.message.clone(),
        Refusal::Input(failure) => {
            let details = failure
                .findings
                .iter()
                .map(|f| format!("{} {}: {}", f.object, f.field, f.message))
                .collect();
            aggregate(details)
        }
        Refusal::Fault { reason, message } => format!("{reason}: {message}"),
    }
}

/// One text stays as it is; several become `[a, b]` without duplicates, as Kubernetes shows lists of errors.
#[must_use]
pub fn aggregate(mut texts: Vec<String>) -> String {
    let mut seen = std::collections::BTreeSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// The form in which conditions show an error.
#[must_use]
pub fn occurred(text: &str) -> String {
    format!("Error occurred: {text}")
}

//! Conditions of a DPUPlugin.

use crate::conditions::{Conditions, Verdict};
use dpf_api::conditions::dpuplugin as types;
use dpf_api::conditions::{READY, reasons};
use dpf_api::plugin::{CIRCUIT_OPEN, DpuPlugin};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The steps of an admission, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Find the component and compare it with `spec.digest`.
    Resolve,
    /// Check the signature.
    Verify,
    /// Check, compile, describe, settings.
    Fit,
}

impl Step {
    fn condition(self) -> &'static str {
        match self {
            Step::Resolve => types::RESOLVED,
            Step::Verify => types::VERIFIED,
            Step::Fit => types::COMPATIBLE,
        }
    }
}

/// Where an admission ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The step that failed.
    pub step: Step,
    /// One CamelCase word.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// How far a plugin has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Where the last admission ended; none: it went through.
    pub stopped: Option<Stopped>,
    /// The component in use, whatever the last admission said.
    pub in_use: Option<String>,
    /// State of the circuit, if a component is in use.
    pub circuit: Option<String>,
}

/// The conditions of a plugin.
#[must_use]
pub fn conditions(plugin: &DpuPlugin, progress: &Progress, now: Timestamp) -> Vec<Condition> {
    let generation = plugin.metadata.generation.unwrap_or_default();
    let observed = plugin.status.as_ref().and_then(|s| s.conditions.as_deref());
    let mut conditions = Conditions::new(observed, &types::ALL, generation, now);
    for step in [Step::Resolve, Step::Verify, Step::Fit] {
        match &progress.stopped {
            Some(stopped) if stopped.step == step => conditions.put(
                step.condition(),
                "False",
                &stopped.reason,
                &format!("{}{}", stopped.message, still_serving(plugin, progress)),
            ),
            Some(stopped) if stopped.step < step => conditions.put(
                step.condition(),
                "Unknown",
                reasons::PENDING,
                &format!("waits for {}", stopped.step.condition()),
            ),
            _ => conditions.set(step.condition(), &Verdict::True),
        }
    }
    conditions.summarise();
    if progress.stopped.is_none() && progress.circuit.as_deref() == Some(CIRCUIT_OPEN) {
        conditions.put(
            READY,
            "False",
            reasons::ERROR,
            "the plugin failed several times in a row and is left alone for a while; status.lastFault says how. Fix the plugin and \
             set spec.digest to the new one, or go back to an older one",
        );
    }
    conditions.into_list()
}

/// That an older component goes on serving is worth a sentence.
fn still_serving(plugin: &DpuPlugin, progress: &Progress) -> String {
    match &progress.in_use {
        Some(digest) if *digest != plugin.spec.digest => {
            format!("; {digest} goes on serving until this is mended")
        }
        Some(_) => "; what was admitted before goes on serving until this is mended".to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(progress: &Progress) -> Vec<(String, String, String)> {
        let plugin = DpuPlugin::default();
        conditions(&plugin, progress, Timestamp::UNIX_EPOCH)
            .into_iter()
            .map(|c| (c.type_, c.status, c.message))
            .collect()
    }

    fn status<'a>(told: &'a [(String, String, String)], type_: &str) -> &'a str {
        told.iter()
            .find(|(t, ..)| t == type_)
            .map(|(_, status, _)| status.as_str())
            .unwrap()
    }

    #[test]
    fn steps_after_the_one_that_failed_are_unknown() {
        let told = told(&Progress {
            stopped: Some(Stopped {
                step: Step::Verify,
                reason: "Unsigned".to_owned(),
                message: "not signed".to_owned(),
            }),
            in_use: Some("sha256:1".to_owned()),
            circuit: None,
        });
        assert_eq!(status(&told, types::RESOLVED), "True");
        assert_eq!(status(&told, types::VERIFIED), "False");
        assert_eq!(status(&told, types::COMPATIBLE), "Unknown");
        assert_eq!(status(&told, READY), "False");
        assert!(
            told.iter()
                .any(|(_, _, m)| m == "not signed; sha256:1 goes on serving until this is mended"),
            "{told:?}"
        );
    }

    #[test]
    fn an_open_circuit_is_not_ready() {
        let mut progress = Progress {
            in_use: Some("sha256:1".to_owned()),
            ..Progress::default()
        };
        assert_eq!(status(&told(&progress), READY), "True");
        progress.circuit = Some(CIRCUIT_OPEN.to_owned());
        assert_eq!(status(&told(&progress), READY), "False");
    }
}

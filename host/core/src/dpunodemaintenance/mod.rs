//! One effect on one host, shared by all DPUs that need it.
//!
//! ```text
//!  first DPU creates ──> others join ──> gate (limit, siblings) ──> applied ──> requestors leave ──> undone, deleted
//! ```
//!
//! The effect stays while anybody is in `spec.requestor`: names of DPUs, and names that others put there.

mod gate;
mod requestors;

pub use gate::{Gate, gate, unavailable_others};
pub use requestors::{Joining, join, leave, sync_requestors, withdraw};

use dpf_api::provisioning::NodeEffect;
use sha2::{Digest, Sha256};

/// What an effect does, by truth and not by presence: `drain: false` is no drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A taint on the host node.
    Taint,
    /// Nothing.
    NoEffect,
    /// Labels on the host node.
    CustomLabel,
    /// Cordon and evict.
    Drain,
    /// A job.
    CustomAction,
    /// Wait for a person or program.
    Hold,
}

/// What an effect does; evaluated in this order. Nothing set means that the host is drained, as release 25.10 defaults.
#[must_use]
pub fn kind(effect: &NodeEffect) -> Option<Kind> {
    if effect.taint.is_some() {
        Some(Kind::Taint)
    } else if effect.no_effect == Some(true) {
        Some(Kind::NoEffect)
    } else if effect.custom_label.is_some() {
        Some(Kind::CustomLabel)
    } else if effect.drain == Some(true) {
        Some(Kind::Drain)
    } else if effect.custom_action.is_some() {
        Some(Kind::CustomAction)
    } else if effect.hold == Some(true) {
        Some(Kind::Hold)
    } else {
        None
    }
}

/// The effect of a spec: drained when it says nothing.
#[must_use]
pub fn effective(effect: Option<&NodeEffect>) -> NodeEffect {
    effect.cloned().unwrap_or_else(NodeEffect::drained)
}

/// Longest name of a DPUNodeMaintenance.
const NAME_MAX: usize = 63;

/// Name of the object for an effect on a host; none when the effect is none.
#[must_use]
pub fn name(node: &str, effect: &NodeEffect) -> Option<String> {
    let short = |text: &str| {
        hex::encode(Sha256::digest(text))
            .chars()
            .take(8)
            .collect::<String>()
    };
    let name = match kind(effect)? {
        Kind::Drain => format!("{node}-k8sdrain"),
        Kind::Hold => format!("{node}-hold"),
        Kind::NoEffect => format!("{node}-noeffect"),
        Kind::CustomAction => format!(
            "{node}-custom-action-{}",
            effect.custom_action.as_deref().unwrap_or_default()
        ),
        Kind::Taint => {
            let json = serde_json::to_string(&effect.taint).unwrap_or_default();
            format!("{node}-taint-{}", short(&json))
        }
        Kind::CustomLabel => {
            let json = serde_json::to_string(&effect.custom_label).unwrap_or_default();
            format!("{node}-cl-{}", short(&json))
        }
    };
    if name.len() <= NAME_MAX {
        return Some(name);
    }
    let head: String = name.chars().take(NAME_MAX - 9).collect();
    Some(format!(
        "{}-{}",
        head.trim_end_matches(['-', '.']),
        short(&name)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::provisioning::TaintEffect;
    use std::collections::BTreeMap;

    #[test]
    fn names_by_effect() {
        let taint = NodeEffect {
            taint: Some(TaintEffect {
                key: "dpu".to_owned(),
                effect: "NoSchedule".to_owned(),
                ..TaintEffect::default()
            }),
            ..NodeEffect::default()
        };
        let label = NodeEffect {
            custom_label: Some(BTreeMap::from([("a".to_owned(), "b".to_owned())])),
            ..NodeEffect::default()
        };
        let action = NodeEffect {
            custom_action: Some("x".repeat(60)),
            ..NodeEffect::default()
        };
        let hold = NodeEffect {
            hold: Some(true),
            ..NodeEffect::default()
        };
        let nothing = NodeEffect {
            drain: Some(false),
            ..NodeEffect::default()
        };
        assert_eq!(
            name("w", &NodeEffect::drained()).as_deref(),
            Some("w-k8sdrain")
        );
        assert_eq!(name("w", &hold).as_deref(), Some("w-hold"));
        assert_eq!(name("w", &nothing), None);
        assert_eq!(name("w", &taint).unwrap().len(), "w-taint-".len() + 8);
        assert_eq!(
            name("w", &label).unwrap(),
            format!("w-cl-{}", {
                let digest = hex::encode(Sha256::digest(r#"{"a":"b"}"#));
                digest[..8].to_owned()
            })
        );
        assert_eq!(name("w", &action).unwrap().len(), NAME_MAX);
    }
}

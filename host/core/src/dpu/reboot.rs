//! How a host, or only the DPU, is restarted after an installation.

use dpf_api::conditions::dpu as types;
use dpf_api::keys::annotations;
use dpf_api::provisioning::{Dpu, DpuNode, DpuPhase, RebootMethod};

/// What is seen of the host of a DPU that has to be restarted.
#[derive(Clone, Copy, Debug)]
pub struct RebootView<'a> {
    /// The DPU.
    pub dpu: &'a Dpu,
    /// Its host.
    pub node: &'a DpuNode,
    /// All DPUs of that host.
    pub siblings: &'a [Dpu],
}

/// What comes next in the phase `Rebooting`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebootMove {
    /// Nothing is to be restarted, or it was.
    Done,
    /// Another DPU of the host is being installed; one restart serves both.
    WaitForSibling {
        /// Name of that DPU.
        name: String,
    },
    /// Restart the ARM cores through the BMC and wait for the system.
    ResetArm,
    /// Ask a person or program, by an annotation of the DPUNode, to restart the host.
    AskForReboot,
    /// It was asked for; wait until the annotation is gone.
    WaitForReboot,
    /// Run the script in this ConfigMap.
    RunScript {
        /// Name of the ConfigMap.
        config_map: String,
    },
}

/// The reason of condition `Rebooted` while a person is waited for.
pub const WAITING_FOR_REBOOT: &str = "WaitingForManualPowerCycleOrReboot";

/// What comes next.
///
/// With `hostAgent` (the default) there is no agent when images come through the BMC: the new system runs after a restart
/// of the ARM cores, and the host is left alone.
#[must_use]
pub fn reboot_move(view: RebootView<'_>) -> RebootMove {
    let RebootView {
        dpu,
        node,
        siblings,
    } = view;
    let annotation = |key: &str| node.metadata.annotations.as_ref().and_then(|a| a.get(key));
    if annotation(annotations::REBOOT_COMMAND).is_some_and(|command| command == "skip") {
        return RebootMove::Done;
    }
    let default = RebootMethod::default();
    let method = node.spec.node_reboot_method.as_ref().unwrap_or(&default);
    if method.none.is_some() {
        return RebootMove::Done;
    }
    if method.external.is_none() && method.script.is_none() {
        return RebootMove::ResetArm;
    }
    let asked = reason_of(dpu, types::REBOOTED) == Some(WAITING_FOR_REBOOT);
    let pending = annotation(annotations::EXTERNAL_REBOOT_REQUIRED).is_some();
    if method.external.is_some() && asked {
        return if pending {
            RebootMove::WaitForReboot
        } else {
            RebootMove::Done
        };
    }
    if let Some(sibling) = siblings.iter().find(|other| {
        other.metadata.uid != dpu.metadata.uid
            && other
                .status
                .as_ref()
                .is_some_and(|s| is_before_reboot(s.phase))
    }) {
        return RebootMove::WaitForSibling {
            name: sibling.metadata.name.clone().unwrap_or_default(),
        };
    }
    match &method.script {
        Some(script) => RebootMove::RunScript {
            config_map: script.name.clone(),
        },
        None => RebootMove::AskForReboot,
    }
}

fn is_before_reboot(phase: DpuPhase) -> bool {
    matches!(
        phase,
        DpuPhase::InitializeInterface
            | DpuPhase::ConfigFwParameters
            | DpuPhase::PrepareBfb
            | DpuPhase::OsInstalling
    )
}

fn reason_of<'a>(dpu: &'a Dpu, condition: &str) -> Option<&'a str> {
    dpu.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|c| c.type_ == condition)
        .map(|c| c.reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::phases::{Event, Position, Said, step};
    use super::super::status::enter;
    use super::*;
    use dpf_api::provisioning::{DpuStatus, Nothing, RebootScript};
    use jiff::Timestamp;
    use std::collections::BTreeMap;

    fn node(method: RebootMethod, annotated: &[(&str, &str)]) -> DpuNode {
        let mut node = DpuNode::default();
        node.spec.node_reboot_method = Some(method);
        node.metadata.annotations = Some(
            annotated
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<BTreeMap<_, _>>(),
        );
        node
    }

    fn external() -> RebootMethod {
        RebootMethod {
            external: Some(Nothing {}),
            ..RebootMethod::default()
        }
    }

    fn dpu(name: &str, phase: DpuPhase) -> Dpu {
        let mut dpu = Dpu::default();
        dpu.metadata.name = Some(name.to_owned());
        dpu.metadata.uid = Some(name.to_owned());
        dpu.status = Some(DpuStatus {
            phase,
            ..DpuStatus::default()
        });
        dpu
    }

    fn decide(dpu: &Dpu, node: &DpuNode, siblings: &[Dpu]) -> RebootMove {
        reboot_move(RebootView {
            dpu,
            node,
            siblings,
        })
    }

    #[test]
    fn methods() {
        let rebooting = dpu("a", DpuPhase::Rebooting);
        let script = RebootMethod {
            script: Some(RebootScript {
                name: "cm".to_owned(),
            }),
            ..RebootMethod::default()
        };
        for (node, expected) in [
            (node(RebootMethod::default(), &[]), RebootMove::ResetArm),
            (
                node(external(), &[(annotations::REBOOT_COMMAND, "skip")]),
                RebootMove::Done,
            ),
            (node(external(), &[]), RebootMove::AskForReboot),
            (
                node(script, &[]),
                RebootMove::RunScript {
                    config_map: "cm".to_owned(),
                },
            ),
        ] {
            assert_eq!(decide(&rebooting, &node, &[]), expected);
        }
    }

    #[test]
    fn an_external_reboot_is_over_when_the_annotation_is_gone() {
        let mut asked = dpu("a", DpuPhase::Rebooting);
        let status = asked.status.clone().unwrap();
        let said = Said::new(WAITING_FOR_REBOOT, "reboot it");
        let outcome = step(Position::from(&status), Event::Waiting(said));
        asked.status = Some(enter(&status, &outcome, 1, Timestamp::UNIX_EPOCH));
        let pending = node(
            external(),
            &[(annotations::EXTERNAL_REBOOT_REQUIRED, "true")],
        );
        assert_eq!(decide(&asked, &pending, &[]), RebootMove::WaitForReboot);
        assert_eq!(
            decide(&asked, &node(external(), &[]), &[]),
            RebootMove::Done
        );
    }

    #[test]
    fn one_reboot_serves_all_dpus_of_a_host() {
        let first = dpu("a", DpuPhase::Rebooting);
        let second = dpu("b", DpuPhase::OsInstalling);
        let siblings = [first.clone(), second];
        assert_eq!(
            decide(&first, &node(external(), &[]), &siblings),
            RebootMove::WaitForSibling {
                name: "b".to_owned()
            }
        );
        // Restarting the ARM cores of one card disturbs no other.
        let own = node(RebootMethod::default(), &[]);
        assert_eq!(decide(&first, &own, &siblings), RebootMove::ResetArm);
    }
}

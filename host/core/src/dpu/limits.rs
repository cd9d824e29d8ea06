//! How many DPUs are installed at a time, and how long things may take.

use dpf_api::operator::{DpfOperatorConfig, InstallSettings, PARALLEL_DEFAULT};
use dpf_api::provisioning::{Dpu, DpuPhase, InstallInterface};
use std::collections::BTreeMap;
use std::time::Duration;

/// Limits of an installation: from the DPFOperatorConfig when there is one, else its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// DPUs that are installed at the same time.
    pub parallel: usize,
    /// DPUNodes that may be unavailable.
    pub unavailable: i32,
    /// How long a host with several DPUs waits for all of them.
    pub sync_wait: Duration,
    /// How long giving back a host may take; none is for ever.
    pub removal_timeout: Option<Duration>,
    /// How long an installation may take.
    pub install_timeout: Duration,
    /// How often an installation is started before it has failed for good.
    pub attempts: i32,
    /// Deadlines of phases that differ from the usual ones; none is for ever.
    pub deadlines: BTreeMap<DpuPhase, Option<Duration>>,
    /// How often a DPU in `Error` tries again by itself.
    pub retry_budget: i32,
    /// MTU of the control plane in bytes.
    pub control_plane_mtu: i32,
    /// How images get onto DPUs.
    pub interface: InstallInterface,
    /// Address under which BMCs reach the registry, when it is not the one on the command line.
    pub registry: Option<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel: usize::try_from(PARALLEL_DEFAULT).unwrap_or_default(),
            unavailable: PARALLEL_DEFAULT,
            sync_wait: Duration::from_secs(30),
            removal_timeout: None,
            install_timeout: Duration::from_secs(45 * 60),
            attempts: 3,
            deadlines: BTreeMap::new(),
            retry_budget: 0,
            control_plane_mtu: 1500,
            interface: InstallInterface::Redfish,
            registry: None,
        }
    }
}

impl From<&DpfOperatorConfig> for Limits {
    fn from(config: &DpfOperatorConfig) -> Self {
        let mut limits = Self::default();
        if let Some(mtu) = config
            .spec
            .networking
            .as_ref()
            .and_then(|n| n.control_plane_mtu)
        {
            limits.control_plane_mtu = mtu;
        }
        let Some(settings) = &config.spec.provisioning_controller else {
            return limits;
        };
        let duration = |text: &Option<String>| text.as_deref().and_then(parse_duration);
        if let Some(parallel) = settings
            .max_dpu_parallel_installations
            .and_then(|n| usize::try_from(n).ok())
        {
            limits.parallel = parallel.max(1);
        }
        if let Some(unavailable) = settings.max_unavailable_dpu_nodes {
            limits.unavailable = unavailable.max(1);
        }
        if let Some(wait) = duration(&settings.multi_dpu_operations_sync_wait_time) {
            limits.sync_wait = wait;
        }
        limits.removal_timeout =
            duration(&settings.node_effect_removal_timeout).filter(|d| !d.is_zero());
        if let Some(timeout) = duration(&settings.os_install_timeout).filter(|d| !d.is_zero()) {
            limits.install_timeout = timeout;
        }
        if let Some(retries) = settings.os_install_retries {
            limits.attempts = retries.clamp(0, 10).saturating_add(1);
        }
        for (name, text) in settings.phase_deadlines.iter().flatten() {
            let phase = DpuPhase::ALL.iter().find(|phase| phase.as_str() == name);
            if let (Some(phase), Some(deadline)) = (phase, parse_duration(text)) {
                let deadline = Some(deadline).filter(|d| !d.is_zero());
                limits.deadlines.insert(*phase, deadline);
            }
        }
        limits.retry_budget = settings.retry_budget.unwrap_or(0).max(0);
        if let Some(interface) = &settings.install_interface {
            limits.interface = way(interface);
            limits.registry = interface
                .install_via_redfish
                .as_ref()
                .and_then(|r| r.bfb_registry_address.clone());
        }
        limits
    }
}

const fn way(settings: &InstallSettings) -> InstallInterface {
    if settings.install_via_host_agent.is_some() || settings.install_via_gnoi.is_some() {
        InstallInterface::HostAgent
    } else if settings.install_via_mock.is_some() {
        InstallInterface::Mock
    } else {
        InstallInterface::Redfish
    }
}

/// A duration as Go writes it: `30s`, `1h30m`, `1.5h`, `0`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(number_end)?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(unit_end)?;
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

/// Whether a DPU holds one of the slots for installations.
///
/// A hold waits for a person and holds no slot, so that forgotten holds do not stop the fleet.
#[must_use]
pub fn is_installing(dpu: &Dpu) -> bool {
    let Some(status) = &dpu.status else {
        return false;
    };
    if status.post_provisioning_node_effect == Some(true) {
        return false;
    }
    match status.phase {
        DpuPhase::NodeEffect => {
            let hold = dpu.spec.node_effect.as_ref().and_then(|effect| effect.hold);
            hold != Some(true)
        }
        DpuPhase::InitializeInterface
        | DpuPhase::ConfigFwParameters
        | DpuPhase::PrepareBfb
        | DpuPhase::OsInstalling => dpu.metadata.deletion_timestamp.is_none(),
        _ => false,
    }
}

/// Whether one more DPU may be installed.
#[must_use]
pub fn may_install<'a>(all: impl IntoIterator<Item = &'a Dpu>, limits: &Limits) -> bool {
    all.into_iter().filter(|dpu| is_installing(dpu)).count() < limits.parallel
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::operator::{Networking, ProvisioningSettings};
    use dpf_api::provisioning::{DpuStatus, NodeEffect, Nothing};

    #[test]
    fn durations() {
        for (text, millis) in [
            ("30s", Some(30_000)),
            ("1h30m", Some(5_400_000)),
            ("0s", Some(0)),
            ("0", Some(0)),
            ("1.5s", Some(1_500)),
            ("250ms", Some(250)),
            ("", None),
            ("5", None),
            ("5d", None),
            ("s", None),
        ] {
            assert_eq!(
                parse_duration(text).map(|d| d.as_millis()),
                millis,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_hold_takes_no_slot() {
        let dpu = |phase, effect: NodeEffect| {
            let mut dpu = Dpu {
                status: Some(DpuStatus {
                    phase,
                    ..DpuStatus::default()
                }),
                ..Dpu::default()
            };
            dpu.spec.node_effect = Some(effect);
            dpu
        };
        let hold = NodeEffect {
            hold: Some(true),
            ..NodeEffect::default()
        };
        let all = [
            dpu(DpuPhase::NodeEffect, hold.clone()),
            dpu(DpuPhase::NodeEffect, NodeEffect::drained()),
            dpu(DpuPhase::OsInstalling, hold),
            dpu(DpuPhase::Rebooting, NodeEffect::drained()),
        ];
        assert_eq!(all.iter().filter(|d| is_installing(d)).count(), 2);
        let limits = |parallel| Limits {
            parallel,
            ..Limits::default()
        };
        assert!(!may_install(&all, &limits(2)));
        assert!(may_install(&all, &limits(3)));
    }

    #[test]
    fn every_setting_is_honoured() {
        let mut config = DpfOperatorConfig::default();
        config.spec.networking = Some(Networking {
            control_plane_mtu: Some(9000),
            ..Networking::default()
        });
        let text = |text: &str| Some(text.to_owned());
        config.spec.provisioning_controller = Some(ProvisioningSettings {
            max_dpu_parallel_installations: Some(7),
            max_unavailable_dpu_nodes: Some(2),
            multi_dpu_operations_sync_wait_time: text("1m30s"),
            node_effect_removal_timeout: text("2h"),
            os_install_timeout: text("1h"),
            os_install_retries: Some(0),
            phase_deadlines: Some(BTreeMap::from([
                ("Node Effect".to_owned(), "3h".to_owned()),
                ("Rebooting".to_owned(), "0s".to_owned()),
                ("No Such Phase".to_owned(), "1h".to_owned()),
            ])),
            retry_budget: Some(4),
            install_interface: Some(InstallSettings {
                install_via_mock: Some(Nothing {}),
                ..InstallSettings::default()
            }),
            ..ProvisioningSettings::default()
        });
        let hours = |n: u64| Some(Duration::from_secs(n * 3600));
        assert_eq!(
            Limits::from(&config),
            Limits {
                parallel: 7,
                unavailable: 2,
                sync_wait: Duration::from_secs(90),
                removal_timeout: hours(2),
                install_timeout: Duration::from_secs(3600),
                attempts: 1,
                deadlines: BTreeMap::from([
                    (DpuPhase::NodeEffect, hours(3)),
                    (DpuPhase::Rebooting, None),
                ]),
                retry_budget: 4,
                control_plane_mtu: 9000,
                interface: InstallInterface::Mock,
                registry: None,
            }
        );
    }

    #[test]
    fn a_config_without_settings_is_like_none() {
        assert_eq!(
            Limits::from(&DpfOperatorConfig::default()),
            Limits::default()
        );
    }
}

//! A vendor plugin of the stage version-check: a service runs only on DPUs whose firmware is new enough.
//!
//! The default plugin compares DOCA versions with what charts ask for. A vendor whose service needs a certain UEFI or board support
//! package registers this one beside it; the findings of both count. Firmware versions are no semantic versions
//! (`4.9.0.13378`, `4.9.0-25`), so they are compared number by number.

use std::cmp::Ordering;

use dpf_plugin_sdk::{
    Descriptor, Failure, Finding, Findings, Plugin, VersionCheck, check, descriptor, log,
};

/// What a cluster administrator configures.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What services need. Others are not looked at.
    pub rules: Vec<Rule>,
}

/// What one service needs.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Key of the service in `spec.services` of a DPUDeployment.
    pub service: String,
    /// Which part of the firmware.
    #[serde(default)]
    pub part: Part,
    /// The oldest version it runs with, for example `4.9.0-25`.
    pub minimum: String,
}

/// A part of the firmware.
#[derive(Debug, Default, Clone, Copy, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The board support package, which stands for all of it.
    #[default]
    Bsp,
    /// UEFI.
    Uefi,
    /// ARM trusted firmware.
    Atf,
}

dpf_plugin_sdk::settings!(Settings);

impl Part {
    fn key(self) -> &'static str {
        match self {
            Part::Bsp => "dpu.nvidia.com/bsp-version",
            Part::Uefi => "dpu.nvidia.com/uefi-version",
            Part::Atf => "dpu.nvidia.com/atf-version",
        }
    }
}

/// The exported plugin.
pub struct MinimumFirmware;

impl Plugin for MinimumFirmware {
    type Settings = Settings;

    fn describe() -> Descriptor {
        descriptor!("example.com", "Services need a minimum firmware.")
    }

    fn check_settings(settings: &Settings) -> Vec<Finding> {
        let mut findings = Findings::default();
        for (index, rule) in settings.rules.iter().enumerate() {
            if rule.service.is_empty() {
                findings.error(
                    "settings",
                    format!("settings.rules[{index}].service"),
                    "the service has no name",
                );
            }
            if numbers(&rule.minimum).is_empty() {
                let message = format!(
                    "{:?} is not a version; write for example 4.9.0-25",
                    rule.minimum
                );
                findings.error(
                    "settings",
                    format!("settings.rules[{index}].minimum"),
                    message,
                );
            }
        }
        findings.into()
    }
}

impl VersionCheck for MinimumFirmware {
    fn check(request: check::Request, settings: Settings) -> Result<Vec<Finding>, Failure> {
        let mut findings = Findings::default();
        for service in &request.services {
            let rules = settings
                .rules
                .iter()
                .filter(|rule| rule.service == service.name);
            for rule in rules {
                if service.in_cluster {
                    log!(
                        Debug,
                        "{} runs beside the host and needs no firmware",
                        service.name
                    );
                    continue;
                }
                findings.extend(check_rule(rule, &request.provided));
            }
        }
        Ok(findings.into())
    }
}

dpf_plugin_sdk::version_check!(MinimumFirmware);

fn check_rule(rule: &Rule, provided: &check::Provided) -> Option<Finding> {
    let object = format!("{}/{}", provided.kind, provided.name);
    let key = rule.part.key();
    let Some((_, version)) = provided.versions.iter().find(|(known, _)| known == key) else {
        let message = format!(
            "service {} needs {key} {} or newer, which {object} does not tell",
            rule.service, rule.minimum
        );
        return Some(dpf_plugin_sdk::error(object, "status.versions", message));
    };
    if compare(version, &rule.minimum) != Ordering::Less {
        return None;
    }
    let message = format!(
        "service {} needs {key} {} or newer, {object} has {version}: choose a newer image or leave the service out",
        rule.service, rule.minimum
    );
    Some(dpf_plugin_sdk::error(object, "status.versions", message))
}

/// Compares firmware versions by their numbers, from left to right; what is missing is zero.
fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (numbers(left), numbers(right));
    let length = left.len().max(right.len());
    left.resize(length, 0);
    right.resize(length, 0);
    left.cmp(&right)
}

/// The numbers of a version, without the words between them. Of `v2.2(release):4.9.0` those after the colon count.
fn numbers(version: &str) -> Vec<u64> {
    let version = version.rsplit(':').next().unwrap_or(version);
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_plugin_sdk::call;

    #[test]
    fn firmware_versions_are_compared_by_numbers() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, order) in [
            ("4.9.0.13378", "4.9.0.13379", Less),
            ("4.9.0-25", "4.10", Less),
            ("4.10", "4.9.0-25", Greater),
            ("4.9.0", "4.9", Equal),
            ("v2.2(release):4.9.0", "4.9.0", Equal),
            ("5", "4.99.99", Greater),
        ] {
            assert_eq!(compare(left, right), order, "{left} {right}");
        }
    }

    fn request(version: Option<&str>) -> check::Request {
        check::Request {
            settings:
                r#"{"rules": [{"service": "router", "part": "uefi", "minimum": "4.9.0-25"}]}"#
                    .into(),
            services: ["router", "other"]
                .map(|name| check::Service {
                    name: name.into(),
                    ..Default::default()
                })
                .to_vec(),
            provided: check::Provided {
                kind: "BFB".into(),
                name: "image".into(),
                versions: version
                    .map(|it| (Part::Uefi.key().into(), it.into()))
                    .into_iter()
                    .collect(),
            },
            ..Default::default()
        }
    }

    #[test]
    fn only_the_named_service_needs_it() {
        assert_eq!(
            call::check::<MinimumFirmware>(request(Some("4.9.0-26"))),
            Ok(vec![])
        );
        let findings = call::check::<MinimumFirmware>(request(Some("4.8.9"))).unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!(
            (findings[0].object.as_str(), findings[0].field.as_str()),
            ("BFB/image", "status.versions")
        );
    }

    #[test]
    fn an_unknown_version_is_not_new_enough() {
        let findings = call::check::<MinimumFirmware>(request(None)).unwrap();
        assert!(
            findings[0].message.contains("does not tell"),
            "{findings:?}"
        );
    }

    #[test]
    fn in_the_cluster_there_is_no_firmware() {
        let mut request = request(None);
        request.services[0].in_cluster = true;
        assert_eq!(call::check::<MinimumFirmware>(request), Ok(vec![]));
    }

    #[test]
    fn wrong_rules_are_refused() {
        let text = r#"{"rules": [{"service": "router", "minimum": "new"}]}"#;
        let findings = call::validate_settings::<MinimumFirmware>(text).unwrap_err();
        assert_eq!(findings[0].field, "settings.rules[0].minimum");
    }
}

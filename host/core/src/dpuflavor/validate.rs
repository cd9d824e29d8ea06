//! What is wrong with a flavor, before anything is flashed.

use dpf_api::provisioning::DpuFlavorSpec;
use dpf_api::{Quantity, ResourceList};
use serde::Serialize;
use std::collections::BTreeMap;

/// Something wrong with a flavor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where, as a path from `spec`.
    pub field: String,
    /// What, and what to do.
    pub message: String,
}

impl Finding {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// Everything that is wrong with a flavor, in the order of its fields.
#[must_use]
pub fn validate(spec: &DpuFlavorSpec) -> Vec<Finding> {
    let mut findings = Vec::new();
    let grub = spec
        .grub
        .as_ref()
        .and_then(|g| g.kernel_parameters.as_deref());
    for (index, parameter) in grub.unwrap_or_default().iter().enumerate() {
        if parameter.is_empty() || parameter.contains(['"', '`', '$', '\\', '\n']) {
            findings.push(Finding::new(
                format!("grub.kernelParameters[{index}]"),
                format!("{parameter:?} is not a kernel parameter: it must not be empty nor contain quotes, $, ` or \\"),
            ));
        }
    }
    let sysctl = spec.sysctl.as_ref().and_then(|s| s.parameters.as_deref());
    for (index, line) in sysctl.unwrap_or_default().iter().enumerate() {
        let valid = line.split_once('=').is_some_and(|(key, _)| {
            let key = key.trim();
            !key.is_empty()
                && key
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-/*".contains(c))
        });
        if !valid || line.contains('\n') {
            findings.push(Finding::new(
                format!("sysctl.parameters[{index}]"),
                format!("{line:?} is not of the form key=value"),
            ));
        }
    }
    nvconfig(spec, &mut findings);
    for (index, line) in spec.bfcfg_parameters.iter().flatten().enumerate() {
        let key = line.split_once('=').map(|(key, _)| key).unwrap_or_default();
        let valid = !key.is_empty()
            && !key.starts_with(|c: char| c.is_ascii_digit())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid || line.contains('\n') {
            findings.push(Finding::new(
                format!("bfcfgParameters[{index}]"),
                format!("{line:?} is not of the form KEY=VALUE"),
            ));
        }
    }
    config_files(spec, &mut findings);
    reserved(spec, &mut findings);
    findings
}

fn nvconfig(spec: &DpuFlavorSpec, findings: &mut Vec<Finding>) {
    for (entry, config) in spec.nvconfig.iter().flatten().enumerate() {
        let mut seen = BTreeMap::new();
        for (index, parameter) in config.parameters.iter().flatten().enumerate() {
            let field = format!("nvconfig[{entry}].parameters[{index}]");
            let Some((key, value)) = parameter.split_once('=') else {
                findings.push(Finding::new(
                    field,
                    format!("{parameter:?} is not of the form KEY=VALUE"),
                ));
                continue;
            };
            let plain = |text: &str| {
                !text.is_empty()
                    && text
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "_.,[]:-".contains(c))
            };
            if !plain(key) || !plain(value) {
                findings.push(Finding::new(
                    field,
                    format!("{parameter:?} has characters that no firmware parameter has"),
                ));
            } else if let Some(first) = seen.insert(key.to_ascii_uppercase(), index) {
                findings.push(Finding::new(
                    field,
                    format!("{key} is already set by parameters[{first}]: keep one"),
                ));
            }
        }
    }
}

fn config_files(spec: &DpuFlavorSpec, findings: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, file) in spec.config_files.iter().flatten().enumerate() {
        let field = |name: &str| format!("configFiles[{index}].{name}");
        let path = file.path.as_deref().unwrap_or_default();
        if !path.starts_with('/') || path.ends_with('/') || path.split('/').any(|p| p == "..") {
            findings.push(Finding::new(
                field("path"),
                format!("{path:?} is not an absolute path of a file"),
            ));
        } else if let Some(first) = seen.insert(path, index) {
            findings.push(Finding::new(
                field("path"),
                format!("{path} is already written by configFiles[{first}]: keep one"),
            ));
        }
        if let Some(mode) = &file.permissions {
            let octal =
                (3..=4).contains(&mode.len()) && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
            if !octal {
                findings.push(Finding::new(
                    field("permissions"),
                    format!("{mode:?} is not an octal mode such as 0644"),
                ));
            }
        }
        if file.content_from.is_some() && file.raw.is_none() {
            findings.push(Finding::new(
                field("contentFrom"),
                "content from a ConfigMap needs an agent on the DPU: write the content in raw"
                    .to_owned(),
            ));
        }
    }
}

fn reserved(spec: &DpuFlavorSpec, findings: &mut Vec<Finding>) {
    let Some(reserved) = spec
        .system_reserved_resources
        .as_ref()
        .filter(|r| !r.is_empty())
    else {
        return;
    };
    let none = ResourceList::new();
    let total = spec.dpu_resources.as_ref().unwrap_or(&none);
    if total.is_empty() {
        findings.push(Finding::new(
            "systemReservedResources",
            "is set without dpuResources: set dpuResources as well",
        ));
        return;
    }
    for (name, amount) in reserved {
        let field = format!("systemReservedResources[{name}]");
        let Some(available) = total.get(name) else {
            findings.push(Finding::new(
                field,
                format!("{name} is not in dpuResources"),
            ));
            continue;
        };
        match (nanos(amount), nanos(available)) {
            (Some(wanted), Some(there)) if wanted > there => findings.push(Finding::new(
                field,
                format!(
                    "{} is more than the {} of dpuResources",
                    amount.0, available.0
                ),
            )),
            (Some(_), Some(_)) => {}
            _ => findings.push(Finding::new(
                field,
                "is not a quantity that can be compared",
            )),
        }
    }
}

/// A quantity in units of 10^-9, rounded up as Kubernetes does; none when it is none or too large.
fn nanos(quantity: &Quantity) -> Option<i128> {
    const NANO: i128 = 1_000_000_000;
    let text = quantity.0.trim();
    let number_end = text
        .find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c)))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(number_end)?;
    let (multiplier, divisor): (i128, i128) = match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANO, 1),
        "T" => (1_000 * NANO, 1),
        "P" => (1_000_000 * NANO, 1),
        "E" => (NANO * NANO, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: u32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (10_i128.checked_pow(exponent)?, 1)
        }
    };
    let negative = number.starts_with('-');
    let number = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 20 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128
        .checked_pow(u32::try_from(fraction.len()).ok()?)?
        .checked_mul(divisor)?;
    let exact = digits.checked_mul(multiplier)?.checked_mul(NANO)?;
    let rounded = exact
        .checked_add(scale.checked_sub(1)?)?
        .checked_div(scale)?;
    Some(if negative { -rounded } else { rounded })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::provisioning::{ConfigFile, Grub, NvConfig, Sysctl};

    fn list(pairs: &[(&str, &str)]) -> ResourceList {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Quantity((*v).to_owned())))
            .collect()
    }

    fn fields(spec: &DpuFlavorSpec) -> Vec<String> {
        validate(spec).into_iter().map(|f| f.field).collect()
    }

    #[test]
    fn an_empty_flavor_is_fine() {
        assert!(validate(&DpuFlavorSpec::default()).is_empty());
    }

    #[test]
    fn every_mistake_is_named() {
        let file = |path: &str, permissions: &str| ConfigFile {
            path: Some(path.to_owned()),
            permissions: Some(permissions.to_owned()),
            ..ConfigFile::default()
        };
        let spec = DpuFlavorSpec {
            grub: Some(Grub {
                kernel_parameters: Some(vec!["console=hvc0".to_owned(), "a=\"$(x)\"".to_owned()]),
            }),
            sysctl: Some(Sysctl {
                parameters: Some(vec![
                    "net.ipv4.ip_forward=1".to_owned(),
                    "nonsense".to_owned(),
                ]),
            }),
            nvconfig: Some(vec![NvConfig {
                parameters: Some(vec![
                    "PF_TOTAL_SF=30".to_owned(),
                    "pf_total_sf=31".to_owned(),
                    "X=$(reboot)".to_owned(),
                ]),
                ..NvConfig::default()
            }]),
            bfcfg_parameters: Some(vec![
                "UPDATE_ATF_UEFI=yes".to_owned(),
                "two words=1".to_owned(),
            ]),
            config_files: Some(vec![
                file("/etc/a", "0644"),
                file("/etc/a", "0644"),
                file("etc/b", "rw"),
            ]),
            ..DpuFlavorSpec::default()
        };
        assert_eq!(
            fields(&spec),
            [
                "grub.kernelParameters[1]",
                "sysctl.parameters[1]",
                "nvconfig[0].parameters[1]",
                "nvconfig[0].parameters[2]",
                "bfcfgParameters[1]",
                "configFiles[1].path",
                "configFiles[2].path",
                "configFiles[2].permissions",
            ]
        );
    }

    #[test]
    fn reserved_is_part_of_the_total() {
        let spec = |total: &[(&str, &str)], reserved: &[(&str, &str)]| DpuFlavorSpec {
            dpu_resources: Some(list(total)),
            system_reserved_resources: Some(list(reserved)),
            ..DpuFlavorSpec::default()
        };
        let fine = spec(
            &[("cpu", "16"), ("memory", "16Gi")],
            &[("cpu", "2000m"), ("memory", "1.5Gi")],
        );
        assert!(validate(&fine).is_empty());
        for (total, reserved) in [
            (&[][..], &[("cpu", "1")][..]),
            (&[("cpu", "1")], &[("cpu", "1001m")]),
            (&[("memory", "1G")], &[("memory", "1Gi")]),
            (&[("cpu", "1")], &[("memory", "1")]),
        ] {
            assert_eq!(validate(&spec(total, reserved)).len(), 1, "{reserved:?}");
        }
    }
}

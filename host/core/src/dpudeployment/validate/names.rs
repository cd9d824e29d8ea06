//! Names: of each other, of labels and of objects.
//!
//! What does not fit would be refused by the API server in the middle of a pass, after other children were written.

use super::{Invalid, Observed};
use dpf_api::svc::{DpuServiceConfiguration, ServiceRef};
use std::collections::{BTreeMap, BTreeSet};

/// Longest name of a deployment, as in the schema.
const NAME_LENGTH_MAX: usize = 20;
/// Longest key in `spec.services`, as in the schema.
const SERVICE_LENGTH_MAX: usize = 28;
/// Longest suffix of a set, as in the schema.
const SUFFIX_LENGTH_MAX: usize = 24;
const ALLOWED: &str =
    "use lower-case letters, digits, '-' and '.', and begin and end with a letter or digit";

/// Whether Kubernetes takes it as the name of an object (RFC 1123).
fn is_name(text: &str) -> bool {
    text.split('.').all(|label| {
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        label.starts_with(alphanumeric)
            && label.ends_with(alphanumeric)
            && label.chars().all(|c| alphanumeric(c) || c == '-')
    })
}

/// The schema has these limits, too; an object may be older than the schema.
pub(super) fn check_services(
    name: &str,
    services: &BTreeMap<String, ServiceRef>,
    invalid: &mut Invalid,
) {
    if name.len() > NAME_LENGTH_MAX {
        invalid.prerequisites.push(format!(
            "the name of DPUDeployment {name} has {} characters and at most {NAME_LENGTH_MAX} fit into the names made of it: use a \
             shorter name",
            name.len()
        ));
    }
    for key in services.keys().filter(|key| key.len() > SERVICE_LENGTH_MAX) {
        invalid.services.push(format!(
            "service {key} has {} characters and at most {SERVICE_LENGTH_MAX} fit into the labels made of it: rename it in \
             spec.services",
            key.len()
        ));
    }
    for key in services.keys().filter(|key| !is_name(key)) {
        invalid.services.push(format!(
            "service {key} cannot be part of a name: rename it in spec.services; {ALLOWED}"
        ));
    }
}

/// A set is named by its suffix: two of one suffix would overwrite each other in every pass.
pub(super) fn check_sets(observed: &Observed, errors: &mut Vec<String>) {
    let sets = observed.deployment.spec.dpus.dpu_sets.iter().flatten();
    let mut seen = BTreeSet::new();
    for (s, set) in sets.enumerate() {
        let suffix = &set.name_suffix;
        if suffix.len() > SUFFIX_LENGTH_MAX {
            errors.push(format!(
                "spec.dpus.dpuSets[{s}].nameSuffix: {suffix} has {} characters and may have {SUFFIX_LENGTH_MAX}: use a shorter one",
                suffix.len()
            ));
        }
        if !suffix.is_empty() && !is_name(&format!("x-{suffix}")) {
            errors.push(format!(
                "spec.dpus.dpuSets[{s}].nameSuffix: {suffix} cannot be part of a name; {ALLOWED}"
            ));
        }
        if !seen.insert(suffix) {
            errors.push(format!(
                "spec.dpus.dpuSets[{s}].nameSuffix: {suffix} is the suffix of another set, too: give each its own"
            ));
        }
    }
}

/// The name of an interface is part of the name of a DPUServiceInterface, with `-` for `_`, and the value of a label.
pub(super) fn check_interfaces(
    configuration: &DpuServiceConfiguration,
    namespace: &str,
    errors: &mut Vec<String>,
) {
    let object = configuration.metadata.name.as_deref().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for interface in configuration.spec.interfaces.iter().flatten() {
        let name = &interface.name;
        if !seen.insert(name) {
            errors.push(format!(
                "DPUServiceConfiguration {namespace}/{object} has two interfaces named {name} in spec.interfaces: give each its own name"
            ));
        }
        let whole = |c: char| c.is_ascii_alphanumeric();
        let fits =
            name.starts_with(whole) && name.ends_with(whole) && is_name(&name.replace('_', "-"));
        if !fits {
            errors.push(format!(
                "DPUServiceConfiguration {namespace}/{object} has an interface named {name} in spec.interfaces, which cannot be part of \
                 a name: use lower-case letters, digits, '-', '_' and '.', and begin and end with a letter or digit"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names() {
        for (text, is) in [
            ("a", true),
            ("0-a.b-1", true),
            ("", false),
            ("A", false),
            ("a_b", false),
            ("-a", false),
            ("a-", false),
            ("a..b", false),
            ("a.-b", false),
            ("é", false),
        ] {
            assert_eq!(is_name(text), is, "{text:?}");
        }
    }
}

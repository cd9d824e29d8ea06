//! Do the DPUs run software the services accept?

use dpf_plugin_sdk::check::{Provided, Service};
use dpf_plugin_sdk::{Finding, error};

use crate::constraint::{Constraint, parse_version};

/// The one version DPUs have that charts may constrain. Others are ignored, as they always were.
pub const DOCA_VERSION: &str = "dpu.nvidia.com/doca-version";

/// What does not match, in the order of the services. A template two services use is reported once.
pub fn check(services: &[Service], provided: &Provided) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for service in services {
        for (key, constraint) in service
            .constraints
            .iter()
            .filter(|(key, _)| key == DOCA_VERSION)
        {
            if let Some(finding) = check_one(&service.template, key, constraint, provided)
                && !findings.contains(&finding)
            {
                findings.push(finding);
            }
        }
    }
    findings
}

fn check_one(template: &str, key: &str, constraint: &str, provided: &Provided) -> Option<Finding> {
    let kind = &provided.kind;
    let provider = format!("{kind}/{}", provided.name);
    let in_template = format!("status.versions[{key}]");
    let version = provided
        .versions
        .iter()
        .find(|(known, _)| known == key)
        .map_or("", |(_, version)| version.as_str());
    if version.is_empty() {
        let message = format!(
            "version constraint for '{key}' found in DPUServiceTemplate '{template}' cannot be checked because the given {kind} \
             has no version for it"
        );
        return Some(error(provider, "status.versions", message));
    }
    let Some(parsed) = parse_version(version) else {
        let message = format!(
            "version '{version}' found in {kind} is not parsable: it is not a semantic version"
        );
        return Some(error(provider, "status.versions", message));
    };
    let object = format!("DPUServiceTemplate/{template}");
    match Constraint::parse(constraint) {
        Err(reason) => {
            let message = format!(
                "version constraint '{constraint}' found in DPUServiceTemplate '{template}' is not parsable: {reason}"
            );
            Some(error(object, in_template, message))
        }
        Ok(constraint) if !constraint.allows(&parsed) => {
            let message = format!(
                "version constraint for '{key}' found in DPUServiceTemplate '{template}' is not satisfied by the version \
                 '{version}' found in the given {kind}"
            );
            Some(error(object, in_template, message))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(template: &str, constraint: &str) -> Service {
        Service {
            name: template.into(),
            template: template.into(),
            constraints: vec![(DOCA_VERSION.into(), constraint.into())],
            resource_requirements: Vec::new(),
            in_cluster: false,
        }
    }

    fn bfb(version: Option<&str>) -> Provided {
        let versions = version.map(|version| (DOCA_VERSION.to_owned(), version.to_owned()));
        Provided {
            kind: "BFB".into(),
            name: "bf-bundle".into(),
            versions: versions.into_iter().collect(),
        }
    }

    fn messages(services: &[Service], provided: &Provided) -> Vec<String> {
        check(services, provided)
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn the_message_is_that_of_the_users_page() {
        assert_eq!(
            messages(&[service("producer", ">= 3.0")], &bfb(Some("2.9.1"))),
            [
                "version constraint for 'dpu.nvidia.com/doca-version' found in DPUServiceTemplate 'producer' is not satisfied \
              by the version '2.9.1' found in the given BFB"
            ]
        );
    }

    #[test]
    fn satisfied_or_without_a_constraint_passes() {
        assert_eq!(
            check(&[service("producer", ">= 2.9")], &bfb(Some("2.9.1"))),
            []
        );
        let free = Service {
            constraints: Vec::new(),
            ..service("free", "")
        };
        assert_eq!(
            check(std::slice::from_ref(&free), &bfb(None)),
            [],
            "no version is needed then"
        );
        let other = Service {
            constraints: vec![("example.com/firmware".into(), ">= 99".into())],
            ..free
        };
        assert_eq!(
            check(&[other], &bfb(Some("2.9.1"))),
            [],
            "an unknown kind of version is ignored"
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_in_the_order_of_the_original() {
        let services = [service("a", "nonsense"), service("b", ">= 2.9")];
        let without = messages(&services, &bfb(None));
        assert!(
            without
                .iter()
                .all(|message| message.contains("has no version for it")),
            "{without:?}"
        );
        assert_eq!(without.len(), 2);
        assert_eq!(
            messages(&services, &bfb(Some("latest"))),
            ["version 'latest' found in BFB is not parsable: it is not a semantic version"],
            "once, not per template"
        );
        assert_eq!(
            messages(&services, &bfb(Some("2.9.1"))),
            [
                "version constraint 'nonsense' found in DPUServiceTemplate 'a' is not parsable: improper constraint: nonsense"
            ]
        );
    }

    #[test]
    fn findings_name_object_and_field() {
        let findings = check(&[service("producer", ">= 3.0")], &bfb(Some("2.9.1")));
        assert_eq!(findings[0].object, "DPUServiceTemplate/producer");
        assert_eq!(
            findings[0].field,
            "status.versions[dpu.nvidia.com/doca-version]"
        );
    }
}

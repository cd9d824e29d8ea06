//! Do the services fit in a DPU?

use std::collections::BTreeMap;

use dpf_plugin_sdk::check::{Resources, Service};
use dpf_plugin_sdk::{Finding, error};

use dpf_quantity::Quantity;

type Amounts = BTreeMap<String, Quantity>;

/// What does not fit: all missing amounts in one finding, sorted by resource. Services beside the host do not count.
pub fn check(services: &[Service], resources: &Resources) -> Vec<Finding> {
    let mut findings = Vec::new();
    let flavor = format!("DPUFlavor/{}", resources.flavor);
    let total = amounts(
        &flavor,
        "spec.dpuResources",
        &resources.total,
        &mut findings,
    );
    let reserved = amounts(
        &flavor,
        "spec.systemReservedResources",
        &resources.reserved,
        &mut findings,
    );
    let mut requested = Amounts::new();
    for service in services.iter().filter(|service| !service.in_cluster) {
        let template = format!("DPUServiceTemplate/{}", service.template);
        let required = amounts(
            &template,
            "spec.resourceRequirements",
            &service.resource_requirements,
            &mut findings,
        );
        for (resource, amount) in required {
            let sum = requested
                .get(&resource)
                .unwrap_or(&Quantity::ZERO)
                .plus(&amount);
            requested.insert(resource, sum);
        }
    }
    if !findings.is_empty() {
        // A sum with a part that cannot be read says nothing.
        return findings;
    }
    let available = subtract(&total, &reserved);
    if let Some(missing) = missing(&available) {
        let message = format!(
            "can't calculate available DPU resources: reserved resources don't fit in total resources: Additional resources \
             needed: {missing}"
        );
        return vec![error(flavor, "spec.systemReservedResources", message)];
    }
    match missing(&subtract(&available, &requested)) {
        Some(missing) => {
            let message = format!(
                "there are not enough resources for DPUServices to fit in this DPUDeployment: Additional resources needed: \
                 {missing}"
            );
            vec![error(flavor, "spec.dpuResources", message)]
        }
        None => Vec::new(),
    }
}

/// The pairs as quantities; those that are none become findings.
fn amounts(
    object: &str,
    field: &str,
    pairs: &[(String, String)],
    findings: &mut Vec<Finding>,
) -> Amounts {
    let mut amounts = Amounts::new();
    for (resource, text) in pairs {
        match Quantity::parse(text) {
            Ok(quantity) => {
                amounts.insert(resource.clone(), quantity);
            }
            Err(reason) => {
                let message = format!(
                    "quantity '{text}' of resource '{resource}' in {object} is not parsable: {reason}"
                );
                let finding = error(object, format!("{field}[{resource}]"), message);
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
    }
    amounts
}

/// Every resource of either side; what one side does not list is none.
fn subtract(left: &Amounts, right: &Amounts) -> Amounts {
    let names = left.keys().chain(right.keys());
    names
        .map(|name| {
            let amount = left.get(name).unwrap_or(&Quantity::ZERO);
            (
                name.clone(),
                amount.minus(right.get(name).unwrap_or(&Quantity::ZERO)),
            )
        })
        .collect()
}

/// The deficits as text, by resource.
fn missing(amounts: &Amounts) -> Option<String> {
    let deficits: Vec<String> = amounts
        .iter()
        .filter(|(_, amount)| amount.is_negative())
        .map(|(resource, amount)| format!("{resource}: {}", amount.absolute()))
        .collect();
    (!deficits.is_empty()).then(|| deficits.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn service(name: &str, required: &[(&str, &str)]) -> Service {
        Service {
            name: name.into(),
            template: name.into(),
            constraints: Vec::new(),
            resource_requirements: pairs(required),
            in_cluster: false,
        }
    }

    fn flavor(total: &[(&str, &str)], reserved: &[(&str, &str)]) -> Resources {
        Resources {
            flavor: "bf3".into(),
            total: pairs(total),
            reserved: pairs(reserved),
        }
    }

    fn messages(services: &[Service], resources: &Resources) -> Vec<String> {
        check(services, resources)
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn fits_with_slack_and_exactly() {
        let resources = flavor(&[("cpu", "16"), ("memory", "16Gi")], &[("cpu", "4")]);
        assert_eq!(check(&[service("a", &[("cpu", "1")])], &resources), []);
        let exact = [
            service("a", &[("cpu", "11500m")]),
            service("b", &[("cpu", "0.5"), ("memory", "16384Mi")]),
        ];
        assert_eq!(check(&exact, &resources), []);
    }

    /// One row per row of the original's table; a flavor without resources is not asked about.
    #[test]
    fn what_the_original_tests() {
        let two = [
            service("a", &[("cpu", "4"), ("memory", "2Gi")]),
            service("b", &[("cpu", "4"), ("memory", "2Gi")]),
        ];
        for (row, total, reserved, fits) in [
            (
                "nothing is reserved",
                vec![("cpu", "8"), ("memory", "4Gi")],
                vec![],
                true,
            ),
            (
                "some is left",
                vec![("cpu", "16"), ("memory", "16Gi")],
                vec![("cpu", "4"), ("memory", "4Gi")],
                true,
            ),
            (
                "nothing is left",
                vec![("cpu", "10"), ("memory", "6Gi")],
                vec![("cpu", "2"), ("memory", "2Gi")],
                true,
            ),
            (
                "one resource does not suffice",
                vec![("cpu", "10"), ("memory", "6Gi")],
                vec![("cpu", "2"), ("memory", "2049Mi")],
                false,
            ),
            (
                "a resource is not there at all",
                vec![("cpu", "8")],
                vec![],
                false,
            ),
        ] {
            let findings = check(&two, &flavor(&total, &reserved));
            assert_eq!(findings.is_empty(), fits, "{row}: {findings:?}");
        }
    }

    #[test]
    fn all_missing_amounts_are_listed_in_order() {
        let resources = flavor(
            &[("memory", "16Gi"), ("cpu", "16")],
            &[("memory", "1Gi"), ("cpu", "4")],
        );
        let services = [
            service(
                "b",
                &[("nvidia.com/sf", "2"), ("memory", "8Gi"), ("cpu", "8")],
            ),
            service("a", &[("memory", "8Gi"), ("cpu", "7")]),
        ];
        assert_eq!(
            messages(&services, &resources),
            [
                "there are not enough resources for DPUServices to fit in this DPUDeployment: Additional resources needed: \
              cpu: 3, memory: 1Gi, nvidia.com/sf: 2"
            ]
        );
    }

    #[test]
    fn services_beside_the_host_do_not_count() {
        let resources = flavor(&[("cpu", "1")], &[]);
        let outside = Service {
            in_cluster: true,
            ..service("a", &[("cpu", "100")])
        };
        assert_eq!(check(&[outside], &resources), []);
    }

    #[test]
    fn more_reserved_than_there_is() {
        let findings = check(
            &[],
            &flavor(&[("cpu", "2")], &[("cpu", "3"), ("memory", "1Gi")]),
        );
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].field, "spec.systemReservedResources");
        assert!(
            findings[0]
                .message
                .ends_with("Additional resources needed: cpu: 1, memory: 1Gi"),
            "{:?}",
            findings[0]
        );
    }

    #[test]
    fn a_quantity_that_is_none_names_its_place() {
        let findings = check(
            &[service("a", &[("cpu", "two")])],
            &flavor(&[("cpu", "1K")], &[]),
        );
        let places: Vec<(&str, &str)> = findings
            .iter()
            .map(|finding| (finding.object.as_str(), finding.field.as_str()))
            .collect();
        assert_eq!(
            places,
            [
                ("DPUFlavor/bf3", "spec.dpuResources[cpu]"),
                ("DPUServiceTemplate/a", "spec.resourceRequirements[cpu]")
            ]
        );
    }
}

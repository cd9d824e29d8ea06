//! Validation of a DPUDeployment: every mistake in one table.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a panic is a failed test"
)]

mod support;

use dpf_api::svc::LocalDependency;
use dpf_core::dpudeployment::{Observed, validate};
use support::example;

type Change = fn(&mut Observed);

fn depend(observed: &mut Observed, service: &str, on: &[&str]) {
    observed
        .deployment
        .spec
        .services
        .get_mut(service)
        .unwrap()
        .depends_on = Some(
        on.iter()
            .map(|name| LocalDependency {
                name: (*name).to_owned(),
            })
            .collect(),
    );
}

#[test]
fn the_example_is_valid() {
    let observed = example();
    let validated = validate(&observed).unwrap();
    assert_eq!(
        validated
            .services
            .iter()
            .map(|s| s.name)
            .collect::<Vec<_>>(),
        ["consumer", "producer"]
    );
}

#[test]
fn dependencies_come_first() {
    let mut observed = example();
    depend(&mut observed, "consumer", &["producer"]);
    let validated = validate(&observed).unwrap();
    assert_eq!(
        validated
            .services
            .iter()
            .map(|s| s.name)
            .collect::<Vec<_>>(),
        ["producer", "consumer"]
    );
}

#[test]
fn every_mistake_names_object_field_and_remedy() {
    let table: [(Change, &str); 13] = [
        (
            |o| o.bfb = None,
            "BFB customer-namespace/bfb-2.9 does not exist: create it, or correct spec.dpus.bfb",
        ),
        (
            |o| o.bfb.as_mut().unwrap().status = None,
            "BFB customer-namespace/bfb-2.9 is not ready yet: its phase is Initializing",
        ),
        (
            |o| o.flavor = None,
            "DPUFlavor customer-namespace/producer-consumer does not exist: create it, or correct spec.dpus.flavor",
        ),
        (
            |o| drop(o.templates.remove("consumer")),
            "DPUServiceTemplate customer-namespace/consumer does not exist: create it, or correct spec.services[consumer].serviceTemplate",
        ),
        (
            |o| drop(o.configurations.remove("producer")),
            "DPUServiceConfiguration customer-namespace/producer does not exist: create it, or correct spec.services[producer].serviceConfiguration",
        ),
        (
            |o| {
                o.templates
                    .get_mut("producer")
                    .unwrap()
                    .spec
                    .deployment_service_name = "other".to_owned()
            },
            "service in DPUServiceTemplate customer-namespace/producer doesn't match: its spec.deploymentServiceName is other, and service producer of the DPUDeployment refers to it",
        ),
        (
            |o| o.templates.get_mut("producer").unwrap().metadata.generation = Some(2),
            "DPUServiceTemplate customer-namespace/producer is not ready yet",
        ),
        (
            |o| o.deployment.metadata.namespace = Some("n".repeat(50)),
            "namespace and name of DPUDeployment nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn/producer-consumer have 67 characters together and at most 62 fit into the owner label: use a shorter name",
        ),
        (
            |o| depend(o, "consumer", &["consumer"]),
            "service consumer cannot depend on itself: remove it from spec.services[consumer].dependsOn",
        ),
        (
            |o| depend(o, "consumer", &["nobody"]),
            "service consumer depends on nobody, which is not defined in spec.services (defined: consumer, producer)",
        ),
        (
            |o| {
                depend(o, "consumer", &["producer"]);
                depend(o, "producer", &["consumer"]);
            },
            "services depend on each other in a circle: consumer -> producer -> consumer; remove one of these entries from dependsOn",
        ),
        (
            |o| {
                let chains = o.deployment.spec.service_chains.as_mut().unwrap();
                chains
                    .switches
                    .first_mut()
                    .unwrap()
                    .ports
                    .first_mut()
                    .unwrap()
                    .service
                    .as_mut()
                    .unwrap()
                    .name = "nobody".to_owned();
            },
            "spec.serviceChains.switches[0].ports[0].service.name: service nobody is not defined in spec.services (defined: consumer, producer)",
        ),
        (
            |o| {
                o.configurations
                    .get_mut("consumer")
                    .unwrap()
                    .spec
                    .interfaces = None
            },
            "spec.serviceChains.switches[0].ports[1].service.interface: DPUServiceConfiguration consumer has no interface app-iface (defined: none)",
        ),
    ];
    for (change, expected) in table {
        let mut observed = example();
        change(&mut observed);
        let invalid = validate(&observed).expect_err(expected);
        let all: Vec<&String> = invalid
            .prerequisites
            .iter()
            .chain(&invalid.services)
            .chain(&invalid.chain)
            .collect();
        assert_eq!(all, [expected]);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mut observed = example();
    observed.flavor = None;
    observed.templates.clear();
    depend(&mut observed, "consumer", &["nobody"]);
    let invalid = validate(&observed).unwrap_err();
    assert_eq!(
        (invalid.prerequisites.len(), invalid.services.len()),
        (3, 1)
    );
}

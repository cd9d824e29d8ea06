//! Rollouts, pass by pass, over the example. Each ends in the fixpoint: the plan of an applied plan is empty.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

mod support;

use dpf_api::keys::{annotations, labels};
use dpf_api::svc::LocalDependency;
use dpf_core::dpudeployment::digest::chain_digest;
use dpf_core::dpudeployment::{Action, Observed, plan_deletion};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::{carry_out, example, make_rest_ready, make_services_ready, pass, settle};

/// The example, rolled out and ready.
fn running() -> Observed {
    let mut observed = example();
    settle(&mut observed);
    make_services_ready(&mut observed);
    make_rest_ready(&mut observed);
    settle(&mut observed);
    make_rest_ready(&mut observed);
    observed
}

fn page(observed: &mut Observed, service: &str, value: &str) {
    let configuration = observed.configurations.get_mut(service).unwrap();
    let settings = configuration.spec.service_configuration.as_mut().unwrap();
    let daemon_set = settings.service_daemon_set.as_mut().unwrap();
    daemon_set
        .annotations
        .as_mut()
        .unwrap()
        .insert("sre.nvidia.com/page".to_owned(), value.to_owned());
}

fn names_of_services(observed: &Observed) -> Vec<String> {
    let mut names: Vec<String> = observed
        .services
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    names.sort();
    names
}

fn applies_on_label_change(observed: &Observed) -> Vec<Option<bool>> {
    let effects = observed.sets.iter().map(|set| {
        set.spec
            .dpu_template
            .spec
            .as_ref()
            .unwrap()
            .node_effect
            .as_ref()
            .unwrap()
    });
    effects.map(|effect| effect.apply_on_label_change).collect()
}

#[test]
fn first_pass_writes_services_interfaces_chain_and_sets_in_this_order() {
    let mut observed = example();
    let done = carry_out(&mut observed, pass(&example()));
    let kinds: Vec<&str> = done
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "Bfb",
            "Flavor",
            "Template",
            "Template",
            "Configuration",
            "Configuration", // marks
            "service",
            "interface",
            "service",
            "interface",
            "chain",
            "set",
            "set",
        ],
        "{done:#?}"
    );
    let producer = observed
        .services
        .iter()
        .find(|s| s.name_any().starts_with("producer-"))
        .unwrap();
    let digest = &producer.annotations()[annotations::DPUSERVICE_VERSION];
    assert_eq!(
        producer.labels()[labels::OWNED_BY_DPUDEPLOYMENT],
        "customer-namespace_producer-consumer"
    );
    assert_eq!(producer.labels()[labels::DPUDEPLOYMENT_SERVICE], "producer");
    assert_eq!(
        producer.spec.service_id,
        Some(format!("producer-consumer_producer_{digest}"))
    );
    assert_eq!(observed.interfaces.len(), 2);
    assert_eq!(producer.spec.interfaces.as_ref().unwrap().len(), 1);
    let mut sets: Vec<String> = observed.sets.iter().map(ResourceExt::name_any).collect();
    sets.sort();
    assert_eq!(
        sets,
        ["producer-consumer-dpuset1", "producer-consumer-dpuset2"]
    );
}

#[test]
fn both_spellings_of_a_pci_address_select_the_label() {
    let mut observed = example();
    settle(&mut observed);
    let set = observed
        .sets
        .iter()
        .find(|s| s.name_any().ends_with("dpuset1"))
        .unwrap();
    let selector = set.spec.dpu_device_selector.as_ref().unwrap();
    assert_eq!(
        selector.match_labels.as_ref().unwrap()[labels::DPUDEVICE_PCI_ADDRESS],
        "0000-0e-00"
    );
}

#[test]
fn a_running_deployment_needs_nothing() {
    let observed = running();
    let plan = pass(&observed);
    assert!(plan.actions.is_empty(), "{:#?}", plan.actions);
    assert_eq!(plan.requeue_seconds, None);
    assert_eq!(
        applies_on_label_change(&observed),
        [Some(false), Some(false)]
    );
}

#[test]
fn disruptive_change_keeps_the_old_revision_until_the_new_one_is_ready_everywhere() {
    let mut observed = running();
    let old = names_of_services(&observed);
    page(&mut observed, "producer", "true");
    let done = settle(&mut observed);
    assert!(
        done.iter().any(|line| line.starts_with("pause producer-")),
        "{done:#?}"
    );
    assert_eq!(
        names_of_services(&observed).len(),
        3,
        "the new revision beside both old services"
    );
    assert_eq!((observed.interfaces.len(), observed.chains.len()), (3, 2));
    assert_eq!(applies_on_label_change(&observed), [Some(true), Some(true)]);

    // The service is ready, one set is not: nothing is collected.
    make_services_ready(&mut observed);
    assert_eq!(settle(&mut observed), Vec::<String>::new());
    let held = pass(&observed).report.held_revisions;
    assert!(
        held.values()
            .any(|cause| cause.contains("producer-consumer-dpuset1")),
        "{held:?}"
    );

    make_rest_ready(&mut observed);
    settle(&mut observed);
    make_rest_ready(&mut observed);
    assert_eq!(settle(&mut observed), Vec::<String>::new());
    assert_eq!(
        (
            names_of_services(&observed).len(),
            observed.interfaces.len(),
            observed.chains.len()
        ),
        (2, 2, 1)
    );
    assert_ne!(names_of_services(&observed), old);
    assert_eq!(
        applies_on_label_change(&observed),
        [Some(false), Some(false)]
    );
}

#[test]
fn non_disruptive_change_is_made_in_place() {
    let mut observed = running();
    for configuration in observed.configurations.values_mut() {
        configuration.spec.upgrade_policy.apply_node_effect = Some(false);
    }
    let chains = observed.deployment.spec.service_chains.as_mut().unwrap();
    chains.upgrade_policy.apply_node_effect = Some(false);
    let before = names_of_services(&observed);
    page(&mut observed, "producer", "true");
    let done = settle(&mut observed);
    assert_eq!(names_of_services(&observed), before);
    assert_eq!((observed.interfaces.len(), observed.chains.len()), (2, 1));
    assert!(
        done.iter()
            .all(|line| line.starts_with("apply ") && !line.contains("set")),
        "no node hears of it: {done:#?}"
    );
}

#[test]
fn revert_during_a_rollout_makes_the_old_revision_current_again() {
    let mut observed = running();
    let before = names_of_services(&observed);
    page(&mut observed, "producer", "true");
    settle(&mut observed);
    page(&mut observed, "producer", "false");
    let done = settle(&mut observed);
    assert!(
        done.iter()
            .any(|line| line.starts_with("unpause producer-")),
        "{done:#?}"
    );
    make_services_ready(&mut observed);
    make_rest_ready(&mut observed);
    settle(&mut observed);
    assert_eq!(names_of_services(&observed), before);
}

#[test]
fn history_of_one_keeps_the_running_revision() {
    let mut observed = running();
    observed.deployment.spec.revision_history_limit = Some(1);
    let running = names_of_services(&observed);
    page(&mut observed, "producer", "true");
    settle(&mut observed);
    page(&mut observed, "producer", "maybe");
    settle(&mut observed);
    let now = names_of_services(&observed);
    assert!(
        running.iter().all(|name| now.contains(name)),
        "{running:?} must be among {now:?}"
    );
    assert_eq!(
        now.len(),
        3,
        "the failed revision in between is gone: {now:?}"
    );
}

#[test]
fn a_dependent_service_is_created_when_its_dependency_is_ready() {
    let mut observed = example();
    let consumer = observed
        .deployment
        .spec
        .services
        .get_mut("consumer")
        .unwrap();
    consumer.depends_on = Some(vec![LocalDependency {
        name: "producer".to_owned(),
    }]);
    settle(&mut observed);
    assert_eq!(names_of_services(&observed).len(), 1);
    let report = pass(&observed).report;
    assert!(
        report.waiting_services["consumer"][0].contains("is not Ready"),
        "{report:?}"
    );
    // The nodes know its label already, so they are labelled once.
    let labels_before = observed.sets[0]
        .spec
        .dpu_template
        .spec
        .as_ref()
        .unwrap()
        .cluster
        .clone();
    make_services_ready(&mut observed);
    settle(&mut observed);
    assert_eq!(names_of_services(&observed).len(), 2);
    assert_eq!(
        observed.sets[0]
            .spec
            .dpu_template
            .spec
            .as_ref()
            .unwrap()
            .cluster,
        labels_before
    );
}

#[test]
fn a_removed_service_and_set_are_deleted() {
    let mut observed = running();
    mark_configurations(&mut observed);
    observed.deployment.spec.services.remove("consumer");
    observed
        .deployment
        .spec
        .dpus
        .dpu_sets
        .as_mut()
        .unwrap()
        .pop();
    let chains = observed.deployment.spec.service_chains.as_mut().unwrap();
    chains.switches[0].ports.pop();
    let left = |observed: &Observed| {
        let Observed {
            services,
            interfaces,
            sets,
            ..
        } = observed;
        (services.len(), interfaces.len(), sets.len())
    };
    // Its pods carry traffic until the nodes were told.
    settle(&mut observed);
    assert_eq!(left(&observed), (2, 2, 1));
    let set = observed.sets[0].spec.dpu_template.spec.clone().unwrap();
    let effect = set.node_effect.unwrap();
    assert_eq!(effect.apply_on_label_change, Some(true));
    assert!(
        !set.cluster
            .unwrap()
            .node_labels
            .unwrap()
            .contains_key("svc.dpu.nvidia.com/dpuservice-consumer-version")
    );
    make_services_ready(&mut observed);
    make_rest_ready(&mut observed);
    settle(&mut observed);
    assert_eq!(left(&observed), (1, 1, 1));
}

#[test]
fn a_service_that_may_not_disturb_goes_at_once_and_one_that_comes_back_stays() {
    let remove = |observed: &mut Observed| {
        observed.deployment.spec.services.remove("consumer");
        observed.configurations.remove("consumer");
        observed.templates.remove("consumer");
    };
    for (policies, gone) in [
        (vec![Some(false)], true),
        (vec![Some(true)], false),
        (vec![None], false),
        (vec![], false),
        // It changed its configuration before it went.
        (vec![Some(false), Some(true)], false),
    ] {
        let mut observed = running();
        observed.deployment.spec.service_chains = None;
        observed.chains.clear();
        settle(&mut observed);
        make_rest_ready(&mut observed);
        settle(&mut observed);
        let consumer = observed.configurations["consumer"].clone();
        for apply_node_effect in &policies {
            let mut configuration = consumer.clone();
            configuration.spec.upgrade_policy.apply_node_effect = *apply_node_effect;
            observed.marked.configurations.push(configuration);
        }
        let before = observed.clone();
        remove(&mut observed);
        let plan = pass(&observed);
        let deletes = plan.actions.iter().any(
            |action| matches!(action, Action::Delete { name, .. } if name.starts_with("consumer-")),
        );
        assert_eq!(deletes, gone, "{policies:?}: {:#?}", plan.actions);
        let unmarks = plan
            .actions
            .iter()
            .any(|action| matches!(action, Action::Unmark { .. }));
        assert_eq!(unmarks, gone && !policies.is_empty(), "{policies:?}");
        if gone {
            continue;
        }
        // Nothing was deleted, so nothing has to be made again.
        carry_out(&mut observed, plan);
        observed.deployment.spec = before.deployment.spec.clone();
        observed.configurations = before.configurations.clone();
        observed.templates = before.templates.clone();
        settle(&mut observed);
        make_rest_ready(&mut observed);
        settle(&mut observed);
        assert_eq!(names_of_services(&observed), names_of_services(&before));
        let generation = |observed: &Observed| -> Vec<Option<i64>> {
            let services = observed.services.iter();
            services
                .map(|service| service.metadata.generation)
                .collect()
        };
        assert_eq!(generation(&observed), generation(&before));
    }
}

/// The marks that passes left on what the deployment refers to.
fn mark_configurations(observed: &mut Observed) {
    let configurations = observed.configurations.values().cloned();
    observed.marked.configurations = configurations.collect();
}

#[test]
fn a_child_deleted_by_hand_comes_back_under_its_name() {
    let mut observed = running();
    let before = names_of_services(&observed);
    observed.services.pop();
    settle(&mut observed);
    assert_eq!(names_of_services(&observed), before);
}

#[test]
fn objects_with_names_of_their_own_are_adopted_by_their_digest() {
    // As another controller left them: other suffixes, the same digests and labels.
    let mut observed = running();
    let renamed: Vec<(String, String)> = names_of_services(&observed)
        .into_iter()
        .map(|name| (name.clone(), format!("{}-zzzzz", &name[..8])))
        .collect();
    let mut text =
        serde_json::to_string(&(&observed.services, &observed.interfaces, &observed.sets)).unwrap();
    for (old, new) in &renamed {
        text = text.replace(old, new);
    }
    (observed.services, observed.interfaces, observed.sets) = serde_json::from_str(&text).unwrap();
    let plan = pass(&observed);
    assert!(plan.actions.is_empty(), "{:#?}", plan.actions);
}

/// The running example as DPF 25.10 leaves it: service IDs without digest, no label of the service on objects and pods, no
/// security setting, the digest of the chain over the spec as it is written.
fn left_by_25_10() -> Observed {
    let mut observed = running();
    let switches = &observed
        .deployment
        .spec
        .service_chains
        .as_ref()
        .unwrap()
        .switches;
    let chain_digest = chain_digest(switches, &BTreeMap::new());
    let mut text =
        serde_json::to_value((&observed.services, &observed.interfaces, &observed.chains)).unwrap();
    let mut ids = Vec::new();
    for service in &observed.services {
        let name = service.labels()[labels::DPUDEPLOYMENT_SERVICE].clone();
        let id = format!("dpudeployment_{}_{name}", observed.deployment.name_any());
        ids.push((service.spec.service_id.clone().unwrap(), id));
    }
    for service in text[0].as_array_mut().unwrap() {
        service["spec"].as_object_mut().unwrap().remove("security");
        let labels = service["spec"]["serviceDaemonSet"]["labels"].as_object_mut();
        labels.unwrap().remove(labels::DPUDEPLOYMENT_SERVICE);
    }
    for kind in [0, 1] {
        for object in text[kind].as_array_mut().unwrap() {
            let labels = object["metadata"]["labels"].as_object_mut().unwrap();
            labels.remove(labels::DPUDEPLOYMENT_SERVICE);
        }
    }
    for chain in text[2].as_array_mut().unwrap() {
        chain["metadata"]["annotations"][annotations::DPUSERVICECHAIN_VERSION] =
            chain_digest.clone().into();
    }
    let mut text = text.to_string();
    for (new, old) in ids {
        text = text.replace(&new, &old);
    }
    (observed.services, observed.interfaces, observed.chains) =
        serde_json::from_str(&text).unwrap();
    observed
}

#[test]
fn what_25_10_left_is_taken_over_without_a_write() {
    let plan = pass(&left_by_25_10());
    assert!(plan.actions.is_empty(), "{:#?}", plan.actions);
}

#[test]
fn the_next_revision_of_what_25_10_left_is_a_new_one() {
    let mut observed = left_by_25_10();
    let before = names_of_services(&observed);
    page(&mut observed, "producer", "later");
    settle(&mut observed);
    let after = names_of_services(&observed);
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    assert!(before.iter().all(|name| after.contains(name)), "{after:?}");
    let newest = observed
        .services
        .iter()
        .find(|s| !before.contains(&s.name_any()));
    let newest = newest.unwrap();
    assert_eq!(newest.labels()[labels::DPUDEPLOYMENT_SERVICE], "producer");
    assert!(newest.spec.security.is_some());
    assert!(
        newest
            .spec
            .service_id
            .as_ref()
            .unwrap()
            .starts_with("producer-consumer_producer_")
    );
}

#[test]
fn deletion_frees_the_sets_last() {
    let mut observed = running();
    let first = plan_deletion(&observed);
    let done = carry_out(&mut observed, first);
    assert_eq!(
        done.len(),
        5,
        "one chain, two interfaces, two services: {done:#?}"
    );
    let second = plan_deletion(&observed);
    assert!(
        carry_out(&mut observed, second)
            .iter()
            .all(|line| line.starts_with("delete Set"))
    );
    let third = plan_deletion(&observed);
    assert_eq!(
        carry_out(&mut observed, third).last().unwrap(),
        "remove finalizer"
    );
}

#[test]
fn every_effect_on_hosts_reaches_every_set() {
    for effect in [
        json!({"taint": {"key": "dpu", "value": "provisioning", "effect": "NoSchedule"}}),
        json!({"noEffect": true}),
        json!({"customLabel": {"dpu": "away", "until": "ready"}}),
        json!({"drain": true}),
        json!({"drain": true, "force": true}),
        json!({"customAction": "pod-of-ours"}),
        json!({"hold": true}),
    ] {
        let mut observed = example();
        let dpus = &mut observed.deployment.spec.dpus;
        dpus.node_effect = Some(serde_json::from_value(effect.clone()).unwrap());
        let plan = pass(&observed);
        let sets = plan.actions.iter().filter_map(|action| match action {
            Action::ApplySet(set) => Some(set),
            _ => None,
        });
        let effects: Vec<Value> = sets
            .map(|set| {
                let template = set.spec.dpu_template.spec.clone().unwrap();
                serde_json::to_value(template.node_effect).unwrap()
            })
            .collect();
        assert_eq!(effects.len(), 2);
        for on_set in effects {
            let on_set = on_set.as_object().unwrap();
            for (field, value) in effect.as_object().unwrap() {
                assert_eq!(on_set.get(field), Some(value), "{on_set:?}");
            }
            let actions = [
                "taint",
                "noEffect",
                "customLabel",
                "drain",
                "customAction",
                "hold",
            ];
            let set = actions
                .iter()
                .filter(|action| on_set.contains_key(**action));
            assert_eq!(set.count(), 1, "one action: {on_set:?}");
        }
    }
}

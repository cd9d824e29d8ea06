//! Which DPUs hold an older revision: those whose node may still carry its label, and no others.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

mod support;

use dpf_api::keys::labels;
use dpf_api::provisioning::{Dpu, DpuPhase};
use dpf_core::dpudeployment::status::Readiness;
use dpf_core::dpudeployment::{ChildKind, Observed, Outcome, conditions};
use kube::ResourceExt;
use serde_json::json;
use std::collections::BTreeMap;
use support::{example, make_rest_ready, make_services_ready, now, pass, ready_for, settle};

const KEY: &str = "svc.dpu.nvidia.com/dpuservice-producer-version";

fn producers(observed: &Observed) -> Vec<String> {
    let services = observed.services.iter().map(ResourceExt::name_any);
    services
        .filter(|name| name.starts_with("producer-"))
        .collect()
}

/// A DPU of the first set, as its controller last spoke of it.
fn dpu(name: &str, version: &str, phase: DpuPhase, previous: Option<DpuPhase>) -> Dpu {
    serde_json::from_value(json!({
        "apiVersion": "provisioning.dpu.nvidia.com/v1alpha1",
        "kind": "DPU",
        "metadata": {
            "name": name,
            "generation": 2,
            "labels": {labels::DPUSET_NAME: "producer-consumer-dpuset1"},
        },
        "spec": {
            "dpuNodeName": "n", "dpuDeviceName": "d", "serialNumber": "s",
            "cluster": {"nodeLabels": {KEY: version}},
        },
        "status": {"phase": phase.as_str(), "previousPhase": previous.map(|p| p.as_str()), "observedGeneration": 2},
    }))
    .unwrap()
}

/// A disruptive change whose new service is ready; the first set is not, and has so many DPUs.
fn rolling(dpus: i64) -> (Observed, String, String) {
    let mut observed = example();
    for _ in 0..2 {
        settle(&mut observed);
        make_services_ready(&mut observed);
        make_rest_ready(&mut observed);
    }
    settle(&mut observed);
    make_rest_ready(&mut observed);
    let old = producers(&observed).remove(0);
    let chains = observed.deployment.spec.service_chains.as_mut().unwrap();
    chains.upgrade_policy.apply_node_effect = Some(false);
    let configuration = observed.configurations.get_mut("producer").unwrap();
    configuration.spec.interfaces.as_mut().unwrap()[0].network = "other".to_owned();
    settle(&mut observed);
    make_services_ready(&mut observed);
    make_rest_ready(&mut observed);
    let set = &mut observed.sets[0];
    let mut conditions = ready_for(set.metadata.generation);
    conditions.as_mut().unwrap()[0].status = "False".to_owned();
    let status = set.status.as_mut().unwrap();
    status.conditions = conditions;
    status.dpu_statistics = Some(BTreeMap::from([("Error".to_owned(), dpus)]));
    let new = producers(&observed)
        .into_iter()
        .find(|n| *n != old)
        .unwrap();
    (observed, old, new)
}

fn held(observed: &Observed, old: &str) -> Option<String> {
    let held = pass(observed).report.held_revisions;
    held.get(&format!("DPUService {old}")).cloned()
}

#[test]
fn a_dpu_that_failed_for_other_reasons_holds_nothing() {
    let (mut observed, old, new) = rolling(3);
    observed.dpus = vec![
        dpu("bad", &new, DpuPhase::Error, Some(DpuPhase::OsInstalling)),
        dpu("installs", &new, DpuPhase::Rebooting, None),
        dpu("follows", &new, DpuPhase::Ready, None),
    ];
    assert_eq!(held(&observed, &old), None);
    settle(&mut observed);
    assert_eq!(producers(&observed), [new]);
}

#[test]
fn the_dpus_that_need_the_old_revision_are_named() {
    let (mut observed, old, new) = rolling(5);
    let mut drained = dpu("drained", &new, DpuPhase::NodeEffect, None);
    drained
        .status
        .as_mut()
        .unwrap()
        .post_provisioning_node_effect = Some(true);
    let mut unseen = dpu("unseen", &new, DpuPhase::Ready, None);
    unseen.metadata.generation = Some(3);
    observed.dpus = vec![
        dpu("not-told", &old, DpuPhase::Ready, None),
        drained,
        unseen,
        dpu(
            "stuck",
            &new,
            DpuPhase::Error,
            Some(DpuPhase::DpuClusterConfig),
        ),
        dpu("bad", &new, DpuPhase::Error, Some(DpuPhase::OsInstalling)),
    ];
    let cause = "needed by DPU drained (Node Effect), DPU not-told (Ready), DPU stuck (Error), DPU unseen (Ready)";
    assert_eq!(held(&observed, &old).as_deref(), Some(cause));
    let plan = pass(&observed);
    assert!(plan.actions.is_empty(), "{:?}", plan.actions);

    let readiness = Readiness::from([(ChildKind::Set, BTreeMap::new())]);
    let outcome = Outcome::Applied {
        report: &plan.report,
        errors: &[],
    };
    let list = conditions(&observed.deployment, &outcome, &readiness, now());
    let sets = list.iter().find(|c| c.type_ == "DPUSetsReady").unwrap();
    let line = format!("Older revisions stay:\n* DPUService {old}: {cause}");
    assert!(sets.message.contains(&line), "{}", sets.message);
}

#[test]
fn a_dpu_that_goes_needs_nothing() {
    let (mut observed, old, _) = rolling(1);
    let mut going = dpu("going", &old, DpuPhase::Deleting, None);
    going.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    observed.dpus = vec![going];
    assert_eq!(held(&observed, &old), None);
}

#[test]
fn a_set_of_which_not_all_dpus_are_known_holds() {
    let (mut observed, old, new) = rolling(2);
    observed.dpus = vec![dpu("follows", &new, DpuPhase::Ready, None)];
    assert!(
        held(&observed, &old)
            .unwrap()
            .contains("DPUSet producer-consumer-dpuset")
    );
    // One that has not spoken about its present spec holds as well.
    observed.sets[0].metadata.generation = Some(99);
    observed.sets[0].status.as_mut().unwrap().dpu_statistics = Some(BTreeMap::new());
    assert!(
        held(&observed, &old)
            .unwrap()
            .contains("DPUSet producer-consumer-dpuset")
    );
}

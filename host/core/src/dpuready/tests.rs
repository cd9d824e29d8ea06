use super::*;
use dpf_api::svc::{ServiceChainStatus, ServiceDaemonSet};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};

const OWNER: &str = "ns_dep";

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn service() -> DpuService {
    let mut service = DpuService::default();
    service.metadata.name = Some("s-abcde".to_owned());
    service.metadata.namespace = Some("ns".to_owned());
    service.metadata.labels = Some(labels(&[(labels::OWNED_BY_DPUDEPLOYMENT, OWNER)]));
    service.spec.service_id = Some("id".to_owned());
    service.spec.service_daemon_set = Some(ServiceDaemonSet {
        node_selector: Some(NodeSelector {
            node_selector_terms: vec![NodeSelectorTerm {
                match_expressions: Some(vec![NodeSelectorRequirement {
                    key: "v".to_owned(),
                    operator: "In".to_owned(),
                    values: Some(vec!["s-abcde".to_owned()]),
                }]),
                match_fields: None,
            }],
        }),
        ..ServiceDaemonSet::default()
    });
    service
}

fn chain() -> DpuServiceChain {
    let mut chain = DpuServiceChain::default();
    chain.metadata.name = Some("dep-fghij".to_owned());
    chain.metadata.namespace = Some("ns".to_owned());
    chain.metadata.labels = Some(labels(&[(labels::OWNED_BY_DPUDEPLOYMENT, OWNER)]));
    chain.spec.template.spec.node_selector = Some(LabelSelector {
        match_labels: Some(labels(&[("c", "dep-fghij")])),
        match_expressions: None,
    });
    chain
}

fn programmed(generation: i64) -> ServiceChain {
    let mut chain = ServiceChain::default();
    chain.metadata.generation = Some(2);
    chain.metadata.labels = Some(labels(&[
        (labels::SERVICECHAINSET_NAME, "dep-fghij"),
        (labels::SERVICECHAINSET_NAMESPACE, "ns"),
    ]));
    chain.status = Some(ServiceChainStatus {
        conditions: Some(vec![Condition {
            type_: READY.to_owned(),
            status: "True".to_owned(),
            reason: "Success".to_owned(),
            message: String::new(),
            observed_generation: Some(generation),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }]),
        observed_generation: None,
    });
    chain
}

fn dpu(phase: DpuPhase, node: Option<Node>) -> Dpu {
    Dpu {
        name: "d1".to_owned(),
        labels: labels(&[(labels::OWNED_BY_DPUDEPLOYMENT, OWNER)]),
        phase,
        cluster_labels: None,
        node,
    }
}

fn node(version: &str, ready: bool, chain_generation: i64) -> Option<Node> {
    Some(Node {
        labels: labels(&[("v", version), ("c", "dep-fghij")]),
        pods: vec![
            Pod {
                namespace: "ns".to_owned(),
                service_id: "id".to_owned(),
                ready,
            },
            Pod {
                namespace: "other".to_owned(),
                service_id: "id".to_owned(),
                ready: true,
            },
        ],
        chains: vec![programmed(chain_generation)],
    })
}

fn planned(dpus: &[Dpu]) -> Plan {
    let requestors = ["d1", "ns_dep_s-abcde", "ns_dep_dep-fghij", "ns_dep_gone"].map(str::to_owned);
    plan(&requestors, &[service()], &[chain()], dpus)
}

#[test]
fn service_and_chain_are_released_when_they_are_ready_there() {
    let (s, c) = ("ns_dep_s-abcde", "ns_dep_dep-fghij");
    for (dpu, expected) in [
        (
            dpu(DpuPhase::NodeEffectRemoval, node("s-abcde", true, 2)),
            vec![s, c],
        ),
        (dpu(DpuPhase::Ready, node("s-abcde", true, 2)), vec![s, c]),
        (
            dpu(DpuPhase::NodeEffectRemoval, node("s-abcde", false, 2)),
            vec![c],
        ),
        (
            dpu(DpuPhase::NodeEffectRemoval, node("s-abcde", true, 1)),
            vec![s],
        ),
        // The former revision still runs.
        (
            dpu(DpuPhase::NodeEffectRemoval, node("s-old", true, 2)),
            vec![c],
        ),
        // What ran before the installation says nothing.
        (
            dpu(DpuPhase::OsInstalling, node("s-abcde", true, 2)),
            vec![],
        ),
        (dpu(DpuPhase::NodeEffectRemoval, None), vec![]),
    ] {
        let phase = dpu.phase;
        let plan = planned(&[dpu]);
        assert_eq!(plan.released, expected, "{phase} {:?}", plan.waiting);
        assert_eq!(plan.released.len() + plan.waiting.len(), 2, "{phase}");
    }
    assert_eq!(planned(&[]).released, Vec::<String>::new());
}

#[test]
fn every_dpu_of_the_deployment_counts_and_no_other() {
    let good = || dpu(DpuPhase::Ready, node("s-abcde", true, 2));
    let bad = || dpu(DpuPhase::Ready, node("s-abcde", false, 1));
    assert_eq!(planned(&[good(), bad()]).released, Vec::<String>::new());
    let mut stranger = dpu(DpuPhase::Initializing, None);
    stranger.labels = labels(&[(labels::OWNED_BY_DPUDEPLOYMENT, "ns_other")]);
    assert_eq!(planned(&[good(), stranger]).released.len(), 2);
}

#[test]
fn a_cluster_that_the_service_does_not_select_is_not_waited_for() {
    let mut service = service();
    service.spec.dpu_cluster_selector = Some(LabelSelector {
        match_labels: Some(labels(&[("site", "a")])),
        match_expressions: None,
    });
    let requestors = ["ns_dep_s-abcde".to_owned()];
    let mut elsewhere = dpu(DpuPhase::Initializing, None);
    elsewhere.cluster_labels = Some(labels(&[("site", "b")]));
    assert_eq!(
        plan(&requestors, &[service], &[], &[elsewhere]).released,
        requestors
    );
}

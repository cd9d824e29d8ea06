//! Conditions of a DPUDeployment for every way in which a pass can end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a panic is a failed test"
)]

mod support;

use dpf_core::dpudeployment::dependencies::observed_dependencies;
use dpf_core::dpudeployment::status::{Readiness, is_progress};
use dpf_core::dpudeployment::validate::Service;
use dpf_core::dpudeployment::{
    Answer, ChildKind, Observed, Outcome, Refusal, Rejection, Stages, conditions, consult,
    plan_deletion, validate,
};
use dpf_stage::{
    ChainRequest, ChainResponse, CheckRequest, Failure, Finding, MergeRequest, MergeResponse,
    Severity,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use std::collections::BTreeMap;
use support::{NativeStages, example, now, pass};

/// The native stages, with one answer replaced.
#[derive(Default)]
struct With {
    findings: Vec<Finding>,
    merge: Option<Refusal>,
    chain: Option<Refusal>,
}

impl Stages for With {
    fn merge(
        &self,
        service: &Service<'_>,
        request: &MergeRequest,
    ) -> Result<Answer<MergeResponse>, Refusal> {
        self.merge
            .clone()
            .map_or_else(|| NativeStages.merge(service, request), Err)
    }
    fn check(&self, _request: &CheckRequest) -> Result<Vec<Finding>, Refusal> {
        Ok(self.findings.clone())
    }
    fn build_chain(&self, request: &ChainRequest) -> Result<Answer<ChainResponse>, Refusal> {
        self.chain
            .clone()
            .map_or_else(|| NativeStages.build_chain(request), Err)
    }
}

fn finding(field: &str, message: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        object: "DPUServiceTemplate/producer".to_owned(),
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

fn rejected(stages: &With) -> (Observed, Rejection) {
    let observed = example();
    let rejection = {
        let validated = validate(&observed).unwrap();
        consult(&validated, stages).expect_err("rejected")
    };
    (observed, rejection)
}

fn told(list: &[Condition], type_: &str) -> (String, String, String) {
    let condition = list.iter().find(|c| c.type_ == type_).unwrap();
    (
        condition.status.clone(),
        condition.reason.clone(),
        condition.message.clone(),
    )
}

fn shown(observed: &Observed, outcome: &Outcome<'_>, children: &Readiness) -> Vec<Condition> {
    conditions(&observed.deployment, outcome, children, now())
}

#[test]
fn at_the_start_everything_is_unknown_and_ready_is_false() {
    let list = shown(&example(), &Outcome::Started, &Readiness::new());
    assert_eq!(list.len(), 12);
    assert_eq!(told(&list, "Ready").0, "False");
    assert_eq!(
        told(&list, "PrerequisitesReady"),
        ("Unknown".into(), "Pending".into(), String::new())
    );
}

#[test]
fn version_and_resource_findings_are_told_apart() {
    let (observed, rejection) = rejected(&With {
        findings: vec![
            finding(
                "status.versions[dpu.nvidia.com/doca-version]",
                "version message",
            ),
            finding("spec.resourceRequirements[cpu]", "resource message"),
        ],
        ..With::default()
    });
    assert!(!rejection.fault);
    let list = shown(&observed, &Outcome::Rejected(&rejection), &Readiness::new());
    assert_eq!(told(&list, "PrerequisitesReady").0, "True");
    assert_eq!(
        told(&list, "VersionMatchingReady"),
        (
            "False".into(),
            "Error".into(),
            "Error occurred: version message".into()
        )
    );
    assert_eq!(
        told(&list, "ResourceFittingReady"),
        (
            "False".into(),
            "Failure".into(),
            "Error occurred: resource message".into()
        )
    );
    assert_eq!(told(&list, "Ready").1, "Failure");
}

#[test]
fn only_versions_wrong_leaves_resources_true() {
    let (observed, rejection) = rejected(&With {
        findings: vec![
            finding("status.versions[x]", "a"),
            finding("status.versions[y]", "b"),
        ],
        ..With::default()
    });
    let list = shown(&observed, &Outcome::Rejected(&rejection), &Readiness::new());
    assert_eq!(
        told(&list, "VersionMatchingReady").2,
        "Error occurred: [a, b]"
    );
    assert_eq!(told(&list, "ResourceFittingReady").0, "True");
}

#[test]
fn warnings_do_not_reject() {
    let observed = example();
    let validated = validate(&observed).unwrap();
    let warning = Finding {
        severity: Severity::Warning,
        ..finding("spec", "look at this")
    };
    let advice = consult(
        &validated,
        &With {
            findings: vec![warning],
            ..With::default()
        },
    )
    .unwrap();
    assert_eq!(advice.warnings.len(), 1);
}

#[test]
fn a_plugin_fault_is_no_fault_of_the_user() {
    let fault = Refusal::Fault {
        reason: "DeadlineExceeded".to_owned(),
        message: "plugin x took longer".to_owned(),
    };
    let (observed, rejection) = rejected(&With {
        merge: Some(fault),
        ..With::default()
    });
    assert!(rejection.fault);
    let list = shown(&observed, &Outcome::Rejected(&rejection), &Readiness::new());
    let (_, _, message) = told(&list, "DPUServicesReconciled");
    assert!(
        message.contains("DPUService consumer") && message.contains("DeadlineExceeded"),
        "{message}"
    );
}

#[test]
fn a_refused_chain_is_told_with_its_findings() {
    let failure = Failure {
        code: "UnknownService".to_owned(),
        message: "no".to_owned(),
        findings: vec![finding(
            "spec.serviceChains.switches[0].ports[0]",
            "service x is unknown",
        )],
    };
    let (observed, rejection) = rejected(&With {
        chain: Some(Refusal::Input(failure)),
        ..With::default()
    });
    let list = shown(&observed, &Outcome::Rejected(&rejection), &Readiness::new());
    let (_, _, message) = told(&list, "DPUServiceChainsReconciled");
    assert!(
        message.contains("switches[0].ports[0]") && message.contains("service x is unknown"),
        "{message}"
    );
}

#[test]
fn ready_needs_every_desired_child() {
    let observed = example();
    let plan = pass(&observed);
    let mut children: Readiness = plan
        .report
        .desired
        .iter()
        .map(|(kind, names)| {
            (
                *kind,
                names
                    .iter()
                    .map(|name| (name.clone(), true))
                    .collect::<BTreeMap<_, _>>(),
            )
        })
        .collect();
    let outcome = Outcome::Applied {
        report: &plan.report,
        errors: &[],
    };
    let all = shown(&observed, &outcome, &children);
    assert_eq!(
        told(&all, "Ready"),
        ("True".into(), "Success".into(), String::new())
    );

    children
        .get_mut(&ChildKind::Set)
        .unwrap()
        .insert("producer-consumer-dpuset2".to_owned(), false);
    let one_open = shown(&observed, &outcome, &children);
    assert_eq!(
        told(&one_open, "DPUSetsReady").2,
        "Objects are not ready:\n* customer-namespace/producer-consumer-dpuset2"
    );
    children.remove(&ChildKind::Chain);
    let chain_missing = shown(&observed, &outcome, &children);
    assert_eq!(told(&chain_missing, "DPUServiceChainsReady").0, "False");
    assert_eq!(
        told(&chain_missing, "Ready").2,
        "The following conditions are not ready:\n* DPUServiceChainsReady\n* DPUSetsReady"
    );
}

#[test]
fn a_failed_write_is_told_at_its_kind() {
    let observed = example();
    let plan = pass(&observed);
    let errors = [(
        Some(ChildKind::Set),
        "failed to apply DPUSet ns/x: refused".to_owned(),
    )];
    let list = shown(
        &observed,
        &Outcome::Applied {
            report: &plan.report,
            errors: &errors,
        },
        &Readiness::new(),
    );
    assert_eq!(
        told(&list, "DPUSetsReconciled").2,
        "Error occurred: failed to apply DPUSet ns/x: refused"
    );
    assert_eq!(told(&list, "DPUServicesReconciled").0, "True");
}

#[test]
fn deletion_counts_what_is_left() {
    let mut observed = example();
    support::settle(&mut observed);
    let plan = plan_deletion(&observed);
    let list = shown(
        &observed,
        &Outcome::Deleting {
            report: &plan.report,
        },
        &Readiness::new(),
    );
    assert_eq!(
        told(&list, "DPUServicesReconciled"),
        (
            "False".into(),
            "AwaitingDeletion".into(),
            "There are still 2 DPUServices that are not completely deleted".into()
        )
    );
    assert_eq!(told(&list, "Ready").1, "AwaitingDeletion");
}

#[test]
fn the_status_says_which_dependencies_it_speaks_of() {
    let before = observed_dependencies(&example());
    let named: Vec<(&str, &str)> = before
        .iter()
        .map(|d| (d.kind.as_str(), d.name.as_str()))
        .collect();
    assert_eq!(
        named,
        [
            ("BFB", "bfb-2.9"),
            ("DPUFlavor", "producer-consumer"),
            ("DPUServiceTemplate", "consumer"),
            ("DPUServiceTemplate", "producer"),
            ("DPUServiceConfiguration", "consumer"),
            ("DPUServiceConfiguration", "producer"),
        ]
    );
    let mut observed = example();
    let configuration = observed.configurations.get_mut("producer").unwrap();
    configuration.metadata.generation = Some(2);
    configuration.spec.interfaces = None;
    let after = observed_dependencies(&observed);
    assert_eq!(before[..5], after[..5]);
    assert_eq!(after[5].generation, Some(2));
    assert_ne!(after[5].digest, before[5].digest);
}

#[test]
fn deletion_names_the_cluster_that_does_not_answer() {
    let mut observed = support::example();
    support::settle(&mut observed);
    let condition = serde_json::json!([{
        "type": "ServiceChainSetReconciled", "status": "False", "reason": "AwaitingDeletion",
        "message": "0 objects still exist across all DPU clusters, and some clusters do not answer:\n* DPUCluster a/b: refused",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let chain = &mut observed.chains[0];
    chain.metadata.deletion_timestamp = Some(Time(now()));
    chain.status =
        Some(serde_json::from_value(serde_json::json!({"conditions": condition})).unwrap());
    let name = chain.metadata.name.clone().unwrap();
    let plan = plan_deletion(&observed);
    let outcome = Outcome::Deleting {
        report: &plan.report,
    };
    let list = shown(&observed, &outcome, &Readiness::new());
    assert_eq!(
        told(&list, "DPUServiceChainsReconciled").2,
        format!(
            "There are still 1 DPUServiceChains that are not completely deleted:\n* {name}: 0 objects still exist across \
             all DPU clusters, and some clusters do not answer: DPUCluster a/b: refused"
        )
    );
}

#[test]
fn the_state_of_a_dependency_is_what_changes_the_outcome() {
    let before = observed_dependencies(&example());
    let annotated = |key: &str, value: &str| {
        let mut observed = example();
        for template in observed.templates.values_mut() {
            let annotations = template.metadata.annotations.get_or_insert_default();
            annotations.insert(key.to_owned(), value.to_owned());
        }
        for configuration in observed.configurations.values_mut() {
            let annotations = configuration.metadata.annotations.get_or_insert_default();
            annotations.insert(key.to_owned(), value.to_owned());
        }
        observed_dependencies(&observed)
    };
    for key in [
        "dpu.nvidia.com/doca-version",
        "svc.dpu.nvidia.com/template-delimiter",
        "plugin.dpu.nvidia.com/template-merge",
        "next.year.dpu.nvidia.com/of-a-later-version",
    ] {
        let (one, other) = (annotated(key, "a"), annotated(key, "b"));
        assert_ne!(one[2..], before[2..], "{key} is seen");
        assert_ne!(one[2..], other[2..], "its value is seen");
        assert_eq!(one[..2], before[..2]);
    }
    for key in [
        "example.com/note",
        "notdpu.nvidia.com/note",
        "dpu.nvidia.com",
    ] {
        assert_eq!(annotated(key, "a"), before, "{key}");
    }

    let labelled = |key: &str| {
        let mut observed = example();
        let template = observed.templates.get_mut("producer").unwrap();
        let labels = template.metadata.labels.get_or_insert_default();
        labels.insert(key.to_owned(), "b".to_owned());
        observed_dependencies(&observed)
    };
    // A DPUPlugin may select templates by label.
    assert_ne!(labelled("example.com/tier"), before);
    let mark = "svc.dpu.nvidia.com/consumed-by-dpudeployment-0123456789";
    assert_eq!(labelled(mark), before, "the mark of a deployment");

    let mut observed = example();
    let configuration = observed.configurations.get_mut("producer").unwrap();
    configuration.metadata.labels = Some(BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    configuration.metadata.resource_version = Some("7".to_owned());
    assert_eq!(observed_dependencies(&observed), before);
    let configuration = observed.configurations.get_mut("producer").unwrap();
    configuration.metadata.uid = Some("of another object".to_owned());
    assert_ne!(
        observed_dependencies(&observed),
        before,
        "it was made again"
    );
}

#[test]
fn ready_is_taken_back_before_anything_is_changed() {
    let mut observed = example();
    let mut conditions: Vec<_> = shown(&observed, &Outcome::Started, &Readiness::new());
    for condition in &mut conditions {
        condition.status = "True".to_owned();
        condition.reason = "Success".to_owned();
    }
    let status = observed.deployment.status.get_or_insert_default();
    status.conditions = Some(conditions.clone());
    observed.deployment.metadata.generation = Some(2);
    let begun = shown(&observed, &Outcome::Begun, &Readiness::new());
    assert_eq!(
        told(&begun, "Ready"),
        (
            "False".into(),
            "Pending".into(),
            "Reconciliation is in progress".into()
        )
    );
    let others = |list: &[Condition]| -> Vec<Condition> {
        list.iter()
            .filter(|c| c.type_ != "Ready")
            .cloned()
            .collect()
    };
    assert_eq!(others(&begun), others(&conditions));
}

#[test]
fn progress_can_be_told_later_and_nothing_else() {
    let condition = |type_: &str, status: &str, reason: &str, message: &str| Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: Some(1),
        last_transition_time: Time(now()),
    };
    let pending = |type_: &str| condition(type_, "False", "Pending", "* a\n* b");
    let less = |type_: &str| condition(type_, "False", "Pending", "* a");
    let done = |type_: &str| condition(type_, "True", "Success", "");
    let failed = |type_: &str| condition(type_, "False", "Error", "x");
    let unknown = |type_: &str| condition(type_, "Unknown", "Pending", "");
    let next_generation = |type_: &str| Condition {
        observed_generation: Some(2),
        ..less(type_)
    };
    let (a, ready) = ("DPUServicesReady", "Ready");
    for (old, new, progress) in [
        (pending(a), pending(a), true),
        (pending(a), less(a), true),
        (pending(a), done(a), true),
        (done(a), done(a), true),
        (pending(ready), less(ready), true),
        (pending(ready), done(ready), false),
        (done(a), less(a), false),
        (pending(a), failed(a), false),
        (failed(a), done(a), false),
        (unknown(a), less(a), false),
        (pending(a), next_generation(a), false),
        (pending(a), less("VersionMatchingReady"), false),
    ] {
        let list = std::slice::from_ref(&old);
        assert_eq!(
            is_progress(Some(list), std::slice::from_ref(&new)),
            progress,
            "{old:?} {new:?}"
        );
    }
    assert!(!is_progress(None, &[pending(a)]));
}

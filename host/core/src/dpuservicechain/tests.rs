use super::mtu_gate;
use crate::conditions::is_true;
use crate::fanout::{Action, ClusterKey, Facts, FanOut, Gate, Observed, conditions, is_gone, plan};
use dpf_api::conditions::{READY, dpuservicechain as types};
use dpf_api::svc::{ChainSwitch, DpuServiceChain, ServiceChainSet, ServiceChainSetStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

fn chain(mtu: i64) -> DpuServiceChain {
    let mut chain = DpuServiceChain::default();
    chain.metadata.name = Some("c".to_owned());
    chain.metadata.namespace = Some("ns".to_owned());
    chain.metadata.generation = Some(1);
    chain.spec.template.spec.template.spec.switches = vec![ChainSwitch {
        service_mtu: Some(mtu),
        ..ChainSwitch::default()
    }];
    chain
}

fn observed(
    name: &str,
    child: Result<Option<ServiceChainSet>, String>,
) -> Observed<ServiceChainSet> {
    Observed {
        cluster: ClusterKey {
            namespace: "ns".to_owned(),
            name: name.to_owned(),
        },
        selected: true,
        child,
    }
}

fn ready(mut set: ServiceChainSet, status: &str) -> ServiceChainSet {
    set.metadata.generation = Some(3);
    set.status = Some(ServiceChainSetStatus {
        conditions: Some(vec![Condition {
            type_: READY.to_owned(),
            status: status.to_owned(),
            reason: "Success".to_owned(),
            message: String::new(),
            observed_generation: Some(3),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }]),
        ..ServiceChainSetStatus::default()
    });
    set
}

fn condition(
    parent: &DpuServiceChain,
    gate: &Gate,
    clusters: &[Observed<ServiceChainSet>],
    type_: &str,
) -> (String, String, String) {
    let facts = Facts {
        deleting: parent.metadata.deletion_timestamp.is_some(),
        gate,
        clusters,
        now: Timestamp::UNIX_EPOCH,
    };
    let list = conditions(parent, facts);
    let found = list.into_iter().find(|c| c.type_ == type_).unwrap();
    (found.status, found.reason, found.message)
}

#[test]
fn each_cluster_gets_the_set_and_the_second_plan_is_empty() {
    let parent = chain(1500);
    let before = [
        observed("a", Ok(None)),
        observed("b", Err("no answer".to_owned())),
    ];
    let actions = plan(&parent, &before);
    let [
        Action::Apply {
            cluster,
            child,
            new: true,
        },
    ] = actions.as_slice()
    else {
        panic!("{actions:?}");
    };
    assert_eq!(
        (cluster.name.as_str(), child.metadata.name.as_deref()),
        ("a", Some("c"))
    );
    let after = [observed("a", Ok(Some(child.clone()))), before[1].clone()];
    assert_eq!(plan(&parent, &after), Vec::new());
}

#[test]
fn a_changed_spec_is_written_and_a_terminating_child_is_left_alone() {
    let parent = chain(1500);
    let mut old = chain(9000).child();
    let with = |child: &ServiceChainSet| [observed("a", Ok(Some(child.clone())))];
    assert!(matches!(
        plan(&parent, &with(&old))[..],
        [Action::Apply { new: false, .. }]
    ));
    old.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(plan(&parent, &with(&old)), Vec::new());
}

#[test]
fn deletion_and_deselection_delete() {
    let mut parent = chain(1500);
    let mut held = [observed("a", Ok(Some(parent.child())))];
    held[0].selected = false;
    assert!(matches!(plan(&parent, &held)[..], [Action::Delete { .. }]));
    let (status, reason, message) = condition(&parent, &Gate::Open, &held, types::SET_RECONCILED);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Error"));
    assert!(
        message.contains("not selected") && message.contains("ns/a"),
        "{message}"
    );

    held[0].selected = true;
    parent.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert!(matches!(plan(&parent, &held)[..], [Action::Delete { .. }]));
    let (status, reason, message) = condition(&parent, &Gate::Open, &held, types::SET_RECONCILED);
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "AwaitingDeletion")
    );
    assert_eq!(message, "1 objects still exist across all DPU clusters");
    assert!(!is_gone(&held));
    assert!(is_gone(&[observed("a", Ok(None))]));
    assert!(!is_gone(
        &[observed("a", Err("no answer".to_owned()))] as &[_]
    ));
}

#[test]
fn readiness_climbs_back() {
    let parent = chain(1500);
    let child = parent.child();
    for (clusters, expected) in [
        (vec![], "True"),
        (vec![observed("a", Ok(Some(child.clone())))], "False"),
        (
            vec![observed("a", Ok(Some(ready(child.clone(), "False"))))],
            "False",
        ),
        (
            vec![observed("a", Ok(Some(ready(child.clone(), "True"))))],
            "True",
        ),
        (
            vec![
                observed("a", Ok(Some(ready(child.clone(), "True")))),
                observed("b", Err("no answer".to_owned())),
            ],
            "False",
        ),
    ] {
        let facts = Facts {
            deleting: false,
            gate: &Gate::Open,
            clusters: &clusters,
            now: Timestamp::UNIX_EPOCH,
        };
        let list = conditions(&parent, facts);
        assert_eq!(is_true(Some(&list), READY), expected == "True", "{list:?}");
        assert_eq!(
            is_true(Some(&list), types::SET_READY),
            expected == "True",
            "{list:?}"
        );
    }
}

#[test]
fn a_failing_cluster_is_named() {
    let (status, reason, message) = condition(
        &chain(1500),
        &Gate::Open,
        &[observed("b", Err("no answer".to_owned()))],
        types::SET_RECONCILED,
    );
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Error"));
    assert_eq!(message, "Error occurred:\n* DPUCluster ns/b: no answer");
}

#[test]
fn the_fabric_limits_the_mtu() {
    for (mtu, limit, open) in [
        (9000, None, true),
        (9000, Some(9000), true),
        (9001, Some(9000), false),
    ] {
        let parent = chain(mtu);
        let gate = mtu_gate(&parent, limit);
        assert_eq!(gate == Gate::Open, open, "{mtu} {limit:?}");
        if !open {
            let (status, _, message) = condition(&parent, &gate, &[], types::SET_RECONCILED);
            assert_eq!(status, "False");
            assert!(message.contains("9001"), "{message}");
        }
    }
}

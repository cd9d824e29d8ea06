use super::*;
use crate::conditions::is_true;
use dpf_api::conditions::{READY, sets as types};
use dpf_api::keys::{finalizers, labels};
use dpf_api::svc::{
    ServiceDef, ServiceInterface, ServiceInterfaceSet, ServiceInterfaceStatus, Vf, Vlan,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use proptest::prelude::*;

fn nodes(names: &[(&str, &str)]) -> Nodes {
    names
        .iter()
        .map(|(name, rack)| {
            (
                (*name).to_owned(),
                [("rack".to_owned(), (*rack).to_owned())].into(),
            )
        })
        .collect()
}

fn set(selector: Option<&str>) -> ServiceInterfaceSet {
    let mut set = ServiceInterfaceSet::default();
    set.metadata.name = Some("s".to_owned());
    set.metadata.namespace = Some("ns".to_owned());
    set.metadata.uid = Some("uid".to_owned());
    set.metadata.generation = Some(2);
    set.spec.node_selector = selector.map(|rack| LabelSelector {
        match_labels: Some([("rack".to_owned(), rack.to_owned())].into()),
        ..LabelSelector::default()
    });
    set.spec.template.spec.service = Some(ServiceDef {
        service_id: "id".to_owned(),
        ..ServiceDef::default()
    });
    set
}

fn deleted(mut set: ServiceInterfaceSet) -> ServiceInterfaceSet {
    set.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    set
}

/// The children after the API server and the agents did what was planned.
fn applied(
    children: Vec<ServiceInterface>,
    plan: &Plan<ServiceInterface>,
) -> Vec<ServiceInterface> {
    let mut children = children;
    for action in &plan.actions {
        let (Action::Apply(object) | Action::Delete(object) | Action::Release(object)) = action;
        let at = children
            .iter()
            .position(|c| c.name_any() == object.name_any());
        match (action, at) {
            (Action::Apply(object), None) => children.push(object.clone()),
            (Action::Apply(object), Some(at)) => children[at] = object.clone(),
            (Action::Delete(_) | Action::Release(_), Some(at)) => {
                children.remove(at);
            }
            (Action::Delete(_) | Action::Release(_), None) => {}
        }
    }
    children
}

fn ready(mut child: ServiceInterface, generation: i64) -> ServiceInterface {
    child.metadata.generation = Some(1);
    child.status = Some(ServiceInterfaceStatus {
        conditions: Some(vec![Condition {
            type_: READY.to_owned(),
            status: "True".to_owned(),
            reason: "Success".to_owned(),
            message: String::new(),
            observed_generation: Some(generation),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }]),
        observed_generation: Some(generation),
    });
    child
}

fn node_names(children: &[ServiceInterface]) -> Vec<&str> {
    let mut names: Vec<&str> = children.iter().filter_map(PerNode::node).collect();
    names.sort_unstable();
    names
}

#[test]
fn each_selected_node_gets_one_child() {
    let all = nodes(&[("a", "1"), ("b", "1"), ("c", "2")]);
    for (selector, expected) in [
        (None, vec!["a", "b", "c"]),
        (Some("1"), vec!["a", "b"]),
        (Some("9"), vec![]),
    ] {
        let set = set(selector);
        let children = applied(Vec::new(), &plan(&set, &all, &[]));
        assert_eq!(node_names(&children), expected);
        assert_eq!(
            plan(&set, &all, &children).actions,
            Vec::new(),
            "a second plan is empty"
        );
    }
}

#[test]
fn children_carry_what_others_find_them_by() {
    let mut set = set(None);
    let child = |set: &ServiceInterfaceSet| {
        applied(Vec::new(), &plan(set, &nodes(&[("a", "1")]), &[])).remove(0)
    };
    let first = child(&set);
    assert_eq!(first.labels()[labels::SERVICEINTERFACESET_NAME], "s");
    assert_eq!(first.labels()[labels::SERVICEINTERFACESET_NAMESPACE], "ns");
    assert_eq!(first.labels()[labels::SERVICE], "id");
    assert_eq!(first.owner_references()[0].uid, "uid");
    assert!(first.name_any().starts_with("s-") && first.name_any().len() == 7);

    set.spec.template.metadata = Some(TemplateMeta {
        labels: Some([(labels::SERVICE.to_owned(), "mine".to_owned())].into()),
        annotations: None,
    });
    assert_eq!(
        child(&set).labels()[labels::SERVICE],
        "mine",
        "the template wins"
    );
}

#[test]
fn parents_of_interfaces_are_named_per_node() {
    let mut set = set(None);
    set.spec.template.spec.vlan = Some(Vlan {
        vlan_id: 5,
        parent_interface_ref: "p0".to_owned(),
    });
    set.spec.template.spec.vf = Some(Vf::default());
    let child = set.child("a");
    assert_eq!(child.spec.vlan.unwrap().parent_interface_ref, "p0-a");
    assert_eq!(child.spec.vf.unwrap().parent_interface_ref, None);
}

#[test]
fn a_child_of_a_vanished_node_loses_the_finalizer_that_nobody_else_removes() {
    let set = set(None);
    let both = nodes(&[("a", "1"), ("b", "1")]);
    let mut children = applied(Vec::new(), &plan(&set, &both, &[]));
    for child in &mut children {
        child.metadata.finalizers = Some(vec![finalizers::SERVICEINTERFACE.to_owned()]);
    }
    let only_a = nodes(&[("a", "1")]);
    let actions = plan(&set, &only_a, &children).actions;
    assert!(
        matches!(&actions[..], [Action::Delete(x), Action::Release(y)] if x.node() == Some("b") && y.node() == Some("b")),
        "{actions:?}"
    );
    // A node that only lost its label still has an agent, which cleans up.
    let mut narrowed = set.clone();
    narrowed.spec.node_selector = Some(LabelSelector {
        match_labels: Some([("rack".to_owned(), "2".to_owned())].into()),
        ..LabelSelector::default()
    });
    let actions = plan(&narrowed, &both, &children).actions;
    assert!(
        actions.iter().all(|a| matches!(a, Action::Delete(_))),
        "{actions:?}"
    );
}

#[test]
fn a_node_that_comes_back_waits_for_its_former_child() {
    let set = set(None);
    let one = nodes(&[("a", "1")]);
    let mut children = applied(Vec::new(), &plan(&set, &one, &[]));
    children[0].metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let plan = plan(&set, &one, &children);
    assert_eq!(
        (plan.actions.len(), plan.waiting.as_slice()),
        (0, &["a".to_owned()][..])
    );
}

#[test]
fn a_second_child_of_a_node_is_removed_and_foreign_names_are_kept() {
    let set = set(None);
    let one = nodes(&[("a", "1")]);
    let mut first = applied(Vec::new(), &plan(&set, &one, &[])).remove(0);
    first.metadata.name = Some("foreign".to_owned());
    assert_eq!(
        plan(&set, &one, std::slice::from_ref(&first)).actions,
        Vec::new()
    );
    let mut second = first.clone();
    second.metadata.name = Some("zzz".to_owned());
    let actions = plan(&set, &one, &[second.clone(), first]).actions;
    assert_eq!(actions, vec![Action::Delete(second)]);
}

#[test]
fn status_counts_and_waits_for_the_current_generation() {
    let set = set(None);
    let two = nodes(&[("a", "1"), ("b", "1")]);
    let status_of = |children: &[ServiceInterface]| {
        let plan = plan(&set, &two, children);
        status(
            &set,
            Facts {
                children,
                plan: &plan,
                failures: &[],
                now: Timestamp::UNIX_EPOCH,
            },
        )
    };
    let written = status_of(&[]);
    assert_eq!((written.number_applied, written.number_ready), (2, 0));
    assert!(!is_true(
        Some(&written.conditions),
        types::SERVICEINTERFACES_READY
    ));
    let children = applied(Vec::new(), &plan(&set, &two, &[]));
    for (generations, number, all) in [((1, 0), 1, false), ((1, 1), 2, true)] {
        let children = [
            ready(children[0].clone(), generations.0),
            ready(children[1].clone(), generations.1),
        ];
        let outcome = status_of(&children);
        assert_eq!((outcome.number_applied, outcome.number_ready), (2, number));
        assert_eq!(is_true(Some(&outcome.conditions), READY), all);
    }
}

#[test]
fn deletion_waits_for_the_children() {
    let living = set(None);
    let one = nodes(&[("a", "1")]);
    let children = applied(Vec::new(), &plan(&living, &one, &[]));
    let set = deleted(living);
    let plan = plan(&set, &one, &children);
    assert!(matches!(&plan.actions[..], [Action::Delete(_)]));
    let outcome = status(
        &set,
        Facts {
            children: &children,
            plan: &plan,
            failures: &[],
            now: Timestamp::UNIX_EPOCH,
        },
    );
    let ready = outcome
        .conditions
        .iter()
        .find(|c| c.type_ == READY)
        .unwrap();
    assert_eq!(ready.reason, "AwaitingDeletion");
}

proptest! {
    #[test]
    fn the_plan_of_an_applied_plan_is_empty(count in 0_usize..40, order in any::<u64>()) {
        let all: Nodes = (0..count).map(|n| (format!("node-{n}"), BTreeMap::new())).collect();
        let set = set(None);
        let mut children = applied(Vec::new(), &plan(&set, &all, &[]));
        prop_assert_eq!(children.len(), count);
        let names: std::collections::BTreeSet<String> = children.iter().map(ResourceExt::name_any).collect();
        prop_assert_eq!(names.len(), count);
        if count > 0 {
            children.rotate_left(usize::try_from(order % 40).unwrap() % count);
        }
        prop_assert_eq!(plan(&set, &all, &children).actions, Vec::new());
        let gone = deleted(set);
        let plan = plan(&gone, &all, &children);
        prop_assert_eq!(applied(children, &plan), Vec::new());
    }
}

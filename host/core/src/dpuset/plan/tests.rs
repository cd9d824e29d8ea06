//! What a DPUSet does, case by case.

use super::*;
use crate::conditions::{Conditions, Verdict};
use dpf_api::conditions::READY;
use dpf_api::provisioning::{
    BfbReference, ClusterTemplate, DpuPhase, DpuStatus, DpuTemplateSpec, NodeEffect, Strategy,
    StrategyType,
};
use dpf_api::svc::RollingUpdate;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn meta(name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("n".to_owned()),
        uid: Some(format!("uid-{name}")),
        labels: Some(map(labels)),
        ..ObjectMeta::default()
    }
}

pub(in crate::dpuset) fn node(name: &str, labels: &[(&str, &str)]) -> DpuNode {
    DpuNode {
        metadata: meta(name, labels),
        ..DpuNode::default()
    }
}

pub(in crate::dpuset) fn device(name: &str, node: &str, pci: &str) -> DpuDevice {
    let mut device = DpuDevice {
        metadata: meta(
            name,
            &[
                (labels::DPUNODE_NAME, node),
                (labels::DPUDEVICE_PCI_ADDRESS, pci),
            ],
        ),
        ..DpuDevice::default()
    };
    device.spec.serial_number = name.to_uppercase();
    device
}

pub(in crate::dpuset) fn set(name: &str) -> DpuSet {
    let mut set = DpuSet {
        metadata: meta(
            name,
            &[("svc.dpu.nvidia.com/owned-by-dpudeployment", "n_d")],
        ),
        ..DpuSet::default()
    };
    set.spec.dpu_template.spec = Some(DpuTemplateSpec {
        bfb: Some(BfbReference {
            name: Some("image-1".to_owned()),
        }),
        dpu_flavor: Some("flavor-1".to_owned()),
        cluster: Some(ClusterTemplate {
            node_labels: Some(map(&[("service", "v1")])),
            ..ClusterTemplate::default()
        }),
        ..DpuTemplateSpec::default()
    });
    set
}

struct World {
    nodes: Vec<DpuNode>,
    devices: Vec<DpuDevice>,
    dpus: Vec<Dpu>,
}

impl World {
    fn new(count: usize) -> Self {
        Self {
            nodes: vec![node("w", &[])],
            devices: (0..count)
                .map(|n| device(&format!("d{n}"), "w", "0000-0e-00"))
                .collect(),
            dpus: Vec::new(),
        }
    }

    fn plan(&self, set: &DpuSet) -> Plan {
        plan(Observed {
            set,
            nodes: &self.nodes,
            devices: &self.devices,
            dpus: &self.dpus,
            inventory: "inventory",
            version: "v1",
        })
    }

    /// What the API server and the DPU controller make of a plan.
    fn apply(&mut self, plan: &Plan) {
        for action in &plan.actions {
            match action {
                Action::Apply(desired) => {
                    let mut dpu = (**desired).clone();
                    let name = dpu.metadata.name.clone();
                    dpu.metadata.uid = name.clone();
                    let before = self.dpus.iter().position(|d| d.metadata.name == name);
                    match before {
                        Some(at) => {
                            dpu.status = self.dpus[at].status.clone();
                            self.dpus[at] = dpu;
                        }
                        None => self.dpus.push(dpu),
                    }
                }
                Action::Delete { name, .. } => {
                    self.dpus.retain(|d| d.metadata.name.as_ref() != Some(name));
                }
                Action::Release => {}
            }
        }
    }

    fn all_ready(&mut self) {
        for dpu in &mut self.dpus {
            let mut conditions = Conditions::new(None, &[], 1, Timestamp::UNIX_EPOCH);
            conditions.set(READY, &Verdict::True);
            dpu.status = Some(DpuStatus {
                phase: DpuPhase::Ready,
                conditions: Some(conditions.into_list()),
                ..DpuStatus::default()
            });
        }
    }
}

#[test]
fn one_dpu_per_device_and_then_nothing() {
    let mut world = World::new(3);
    let set = set("s");
    let first = world.plan(&set);
    assert_eq!(first.actions.len(), 3);
    world.apply(&first);
    let dpu = &world.dpus[0];
    assert_eq!(dpu.metadata.name.as_deref(), Some("w-d0"));
    let labels_of = dpu.metadata.labels.as_ref().unwrap();
    for (key, value) in [
        (labels::DPUSET_NAME, "s"),
        (labels::DPUSET_NAMESPACE, "n"),
        (labels::DPUNODE_NAME, "w"),
        (labels::DPUDEVICE_NAME, "d0"),
        (labels::DPUDEVICE_PCI_ADDRESS, "0000-0e-00"),
        (labels::OWNED_BY_DPUDEPLOYMENT, "n_d"),
    ] {
        assert_eq!(labels_of[key], value);
    }
    let node_labels = dpu
        .spec
        .cluster
        .as_ref()
        .unwrap()
        .node_labels
        .as_ref()
        .unwrap();
    assert_eq!(
        node_labels,
        &map(&[
            ("service", "v1"),
            (labels::NODE_HOST, "w"),
            (labels::DPF_VERSION, "v1")
        ])
    );
    assert_eq!(dpu.spec.serial_number, "D0");
    assert_eq!(dpu.spec.node_effect.as_ref().unwrap().drain, Some(true));
    assert_eq!(world.plan(&set).actions, []);
    world.all_ready();
    assert_eq!(world.plan(&set).actions, []);
}

#[test]
fn two_sets_never_share_a_device() {
    let mut world = World::new(2);
    world.apply(&world.plan(&set("s")));
    let other = set("t");
    let plan = world.plan(&other);
    assert_eq!(plan.actions, []);
    assert_eq!(plan.report.conflicts.len(), 2);
    assert!(plan.report.conflicts[0].contains("DPUSet n/t"));
    assert!(plan.report.conflicts[0].contains("DPUSet n/s"));
    let mut elsewhere = set("t");
    elsewhere.metadata.namespace = Some("m".to_owned());
    assert_eq!(world.plan(&elsewhere).actions, []);
}

#[test]
fn changes_in_place() {
    let mut world = World::new(1);
    let mut set = set("s");
    world.apply(&world.plan(&set));
    let template = set.spec.dpu_template.spec.as_mut().unwrap();
    template.cluster.as_mut().unwrap().node_labels = Some(map(&[("service", "v2")]));
    template.node_effect = Some(NodeEffect {
        hold: Some(true),
        apply_on_label_change: Some(true),
        node_maintenance_additional_requestors: Some(vec!["svc".to_owned()]),
        ..NodeEffect::default()
    });
    // On its way: labels, requestors and applyOnLabelChange change, the action does not.
    world.apply(&world.plan(&set));
    let effect = world.dpus[0].spec.node_effect.clone().unwrap();
    assert_eq!((effect.drain, effect.hold), (Some(true), None));
    assert_eq!(effect.apply_on_label_change, Some(true));
    let cluster = world.dpus[0].spec.cluster.clone().unwrap();
    assert_eq!(cluster.node_labels.unwrap()["service"], "v2");
    // Once it is ready the action follows.
    world.all_ready();
    world.apply(&world.plan(&set));
    let effect = world.dpus[0].spec.node_effect.clone().unwrap();
    assert_eq!((effect.drain, effect.hold), (None, Some(true)));
    assert_eq!(world.plan(&set).actions, []);
}

#[test]
fn what_somebody_else_changed_is_written_again() {
    let mut world = World::new(1);
    let set = set("s");
    world.apply(&world.plan(&set));
    world.dpus[0].spec.node_effect.as_mut().unwrap().drain = Some(false);
    world.dpus[0].spec.cluster.as_mut().unwrap().node_labels = None;
    assert_eq!(world.plan(&set).actions.len(), 1);
    // What the cluster assignment and defaulting add is not in the way.
    let mut world = World::new(1);
    world.apply(&world.plan(&set));
    world.dpus[0].spec.cluster.as_mut().unwrap().name = Some("c".to_owned());
    world.dpus[0].spec.node_effect.as_mut().unwrap().force = Some(false);
    assert_eq!(world.plan(&set).actions, []);
}

#[test]
fn a_device_that_is_not_selected_any_more_loses_its_dpu() {
    let mut world = World::new(2);
    let set = set("s");
    world.apply(&world.plan(&set));
    world.devices.pop();
    let plan = world.plan(&set);
    assert!(matches!(plan.actions.as_slice(), [Action::Delete { name, .. }] if name == "w-d1"));
}

#[test]
fn on_delete_waits_for_a_person() {
    let mut world = World::new(2);
    let mut set = set("s");
    world.apply(&world.plan(&set));
    world.all_ready();
    set.spec.dpu_template.spec.as_mut().unwrap().bfb = Some(BfbReference {
        name: Some("image-2".to_owned()),
    });
    let plan = world.plan(&set);
    assert_eq!(plan.actions, []);
    assert_eq!(plan.report.outdated, ["w-d0", "w-d1"]);
    world.dpus.remove(0);
    world.apply(&world.plan(&set));
    let images: Vec<_> = world
        .dpus
        .iter()
        .filter_map(|d| d.spec.bfb.as_deref())
        .collect();
    assert_eq!(images, ["image-1", "image-2"]);
}

#[test]
fn a_rolling_update_keeps_its_budget_and_ends() {
    for (max_unavailable, at_once) in [
        (None, 1),
        (Some(IntOrString::Int(0)), 1),
        (Some(IntOrString::Int(2)), 2),
        (Some(IntOrString::String("30%".to_owned())), 2),
        (Some(IntOrString::Int(99)), 5),
    ] {
        let mut world = World::new(5);
        let mut set = set("s");
        world.apply(&world.plan(&set));
        world.all_ready();
        set.spec.strategy = Some(Strategy {
            type_: StrategyType::RollingUpdate,
            rolling_update: max_unavailable.map(|max| RollingUpdate {
                max_unavailable: Some(max),
            }),
        });
        set.spec.dpu_template.spec.as_mut().unwrap().dpu_flavor = Some("flavor-2".to_owned());
        let mut rounds = 0;
        loop {
            let plan = world.plan(&set);
            let deletes = plan
                .actions
                .iter()
                .filter(|a| matches!(a, Action::Delete { .. }))
                .count();
            if plan.actions.is_empty() {
                break;
            }
            assert!(deletes <= at_once, "{deletes} of {at_once}");
            world.apply(&plan);
            // Not ready yet: nothing more is taken down.
            let next = world.plan(&set);
            assert!(
                !next
                    .actions
                    .iter()
                    .any(|a| matches!(a, Action::Delete { .. }))
            );
            world.apply(&next);
            world.all_ready();
            rounds += 1;
            assert!(rounds < 20);
        }
        assert!(
            world
                .dpus
                .iter()
                .all(|d| d.spec.dpu_flavor.as_deref() == Some("flavor-2"))
        );
        assert_eq!(rounds, 5_usize.div_ceil(at_once));
    }
}

#[test]
fn an_unavailable_outdated_dpu_is_replaced_at_once() {
    let mut world = World::new(3);
    let mut set = set("s");
    world.apply(&world.plan(&set));
    set.spec.strategy = Some(Strategy {
        type_: StrategyType::RollingUpdate,
        rolling_update: None,
    });
    set.spec.dpu_template.spec.as_mut().unwrap().dpu_flavor = Some("flavor-2".to_owned());
    assert_eq!(world.plan(&set).actions.len(), 3);
}

#[test]
fn deletion_takes_the_dpus_first() {
    let mut world = World::new(2);
    let mut set = set("s");
    world.apply(&world.plan(&set));
    set.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let plan = world.plan(&set);
    assert_eq!((plan.actions.len(), plan.report.deleting), (2, 2));
    world.apply(&plan);
    assert_eq!(world.plan(&set).actions, [Action::Release]);
}

/// Services are checked against the new image: a DPU gets both together, when its turn comes.
#[test]
fn labels_wait_with_a_dpu_for_its_new_image() {
    let label = |set: &mut DpuSet, value: &str| {
        let template = set.spec.dpu_template.spec.as_mut().unwrap();
        let cluster = template.cluster.get_or_insert_default();
        cluster.node_labels = Some(BTreeMap::from([("v".to_owned(), value.to_owned())]));
        let effect = template.node_effect.get_or_insert_with(NodeEffect::drained);
        effect.apply_on_label_change = Some(true);
        effect.node_maintenance_additional_requestors = Some(vec![value.to_owned()]);
    };
    let image = |set: &mut DpuSet, name: &str| {
        set.spec.dpu_template.spec.as_mut().unwrap().bfb = Some(BfbReference {
            name: Some(name.to_owned()),
        });
    };
    let told = |world: &World| -> Vec<(String, String, String)> {
        let dpus = world.dpus.iter().map(|dpu| {
            let labels = dpu.spec.cluster.clone().unwrap().node_labels.unwrap();
            let effect = dpu.spec.node_effect.clone().unwrap();
            let requestors = effect.node_maintenance_additional_requestors.unwrap();
            (
                dpu.spec.bfb.clone().unwrap(),
                labels["v"].clone(),
                requestors.join(","),
            )
        });
        dpus.collect()
    };
    let row =
        |image: &str, version: &str| (image.to_owned(), version.to_owned(), version.to_owned());
    let begin = |strategy: StrategyType| {
        let mut world = World::new(3);
        let mut set = set("s");
        set.spec.strategy = Some(Strategy {
            type_: strategy,
            rolling_update: None,
        });
        image(&mut set, "image-1");
        label(&mut set, "one");
        world.apply(&world.plan(&set));
        world.all_ready();
        image(&mut set, "image-2");
        label(&mut set, "two");
        (world, set)
    };

    let (mut world, set) = begin(StrategyType::RollingUpdate);
    let old = row("image-1", "one");
    for replaced in 1..=3 {
        // One goes, one comes, and becomes ready.
        world.apply(&world.plan(&set));
        world.apply(&world.plan(&set));
        let mut told = told(&world);
        told.sort();
        let mut expected = vec![old.clone(); 3 - replaced];
        expected.extend(vec![row("image-2", "two"); replaced]);
        assert_eq!(told, expected);
        world.all_ready();
    }
    assert_eq!(world.plan(&set).actions, []);

    let (mut world, mut set) = begin(StrategyType::OnDelete);
    assert_eq!(world.plan(&set).actions, []);
    // The image goes back, and there is nothing to wait for.
    image(&mut set, "image-1");
    world.apply(&world.plan(&set));
    assert_eq!(told(&world), vec![row("image-1", "two"); 3]);
}

//! What a DPUSet does: create, change and delete DPUs.

use super::desired::{desired_dpu, dpu_name};
use super::select::{Selected, device_of, select};
use crate::conditions::is_true;
use dpf_api::conditions::READY;
use dpf_api::keys::{annotations, labels};
use dpf_api::provisioning::{Dpu, DpuDevice, DpuNode, DpuSet, StrategyType};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a DPUSet is decided from.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The set.
    pub set: &'a DpuSet,
    /// DPUNodes of the namespace of the set and of the inventory.
    pub nodes: &'a [DpuNode],
    /// DPUDevices of these namespaces.
    pub devices: &'a [DpuDevice],
    /// All DPUs, of all sets and namespaces.
    pub dpus: &'a [Dpu],
    /// Namespace of the inventory.
    pub inventory: &'a str,
    /// Version of this controller manager.
    pub version: &'a str,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Action {
    /// Make a DPU, or change one in place.
    Apply(Box<Dpu>),
    /// Delete a DPU.
    Delete {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why, for the event.
        why: String,
    },
    /// All DPUs are gone: the set may go, too.
    Release,
}

/// What a set is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Number of selected devices.
    pub selected: usize,
    /// Devices that belong to a DPU of another set, one sentence each.
    pub conflicts: Vec<String>,
    /// DPUs whose image or flavor is not that of the template.
    pub outdated: Vec<String>,
    /// DPUs that go with the set.
    pub deleting: usize,
}

/// Writes and report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// What the status says.
    pub report: Report,
}

/// Whether a DPU was made by this set.
pub(super) fn owned(set: &DpuSet, dpu: &Dpu) -> bool {
    let label = |key: &str| dpu.metadata.labels.as_ref().and_then(|l| l.get(key));
    label(labels::DPUSET_NAME) == set.metadata.name.as_ref()
        && label(labels::DPUSET_NAMESPACE) == set.metadata.namespace.as_ref()
}

fn key(device: &DpuDevice) -> (Option<String>, Option<String>) {
    (
        device.metadata.namespace.clone(),
        device.metadata.name.clone(),
    )
}

/// What to do.
#[must_use]
pub fn plan(observed: Observed<'_>) -> Plan {
    let Observed {
        set,
        nodes,
        devices,
        dpus,
        inventory,
        version,
    } = observed;
    let own: Vec<&Dpu> = dpus.iter().filter(|dpu| owned(set, dpu)).collect();
    if set.metadata.deletion_timestamp.is_some() {
        return delete_all(&own);
    }
    let occupied: BTreeMap<_, &Dpu> = dpus
        .iter()
        .filter_map(|dpu| Some((key(device_of(dpu, devices, inventory)?), dpu)))
        .collect();
    let names: BTreeSet<_> = dpus
        .iter()
        .map(|dpu| (dpu.metadata.namespace.clone(), dpu.metadata.name.clone()))
        .collect();
    let selected = select(set, nodes, devices);
    let mut plan = Plan::default();
    plan.report.selected = selected.len();
    let mut kept = BTreeSet::new();
    for choice in &selected {
        let name = dpu_name(
            choice.node.metadata.name.as_deref().unwrap_or_default(),
            choice.device.metadata.name.as_deref().unwrap_or_default(),
        );
        match occupied.get(&key(choice.device)) {
            Some(dpu) if owned(set, dpu) => {
                kept.insert(dpu.metadata.uid.clone());
                update(set, *choice, dpu, version, &mut plan);
            }
            Some(dpu) => plan.report.conflicts.push(conflict(set, *choice, dpu)),
            None if names.contains(&(set.metadata.namespace.clone(), Some(name.clone()))) => {
                plan.report.conflicts.push(format!(
                    "DPUDevice {} needs the name {name}, which another DPU of this namespace has",
                    choice.device.metadata.name.as_deref().unwrap_or_default()
                ));
            }
            None => {
                let dpu = desired_dpu(set, *choice, None, version);
                plan.actions.push(Action::Apply(Box::new(dpu)));
            }
        }
    }
    for dpu in &own {
        if !kept.contains(&dpu.metadata.uid) && dpu.metadata.deletion_timestamp.is_none() {
            plan.actions
                .push(delete(dpu, "its device is not selected any more"));
        }
    }
    roll(set, &own, &kept, selected.len(), &mut plan);
    plan
}

fn delete_all(own: &[&Dpu]) -> Plan {
    let mut plan = Plan::default();
    plan.report.deleting = own.len();
    for dpu in own {
        if dpu.metadata.deletion_timestamp.is_none() {
            plan.actions
                .push(delete(dpu, "its DPUSet is being deleted"));
        }
    }
    if own.is_empty() {
        plan.actions.push(Action::Release);
    }
    plan
}

fn delete(dpu: &Dpu, why: &str) -> Action {
    Action::Delete {
        namespace: dpu.metadata.namespace.clone().unwrap_or_default(),
        name: dpu.metadata.name.clone().unwrap_or_default(),
        why: why.to_owned(),
    }
}

fn conflict(set: &DpuSet, choice: Selected<'_>, dpu: &Dpu) -> String {
    let label = |key: &str| {
        dpu.metadata
            .labels
            .as_ref()
            .and_then(|l| l.get(key))
            .map_or("unknown", String::as_str)
    };
    format!(
        "DPUDevice {}/{} is selected by DPUSet {}/{} and belongs to DPU {}/{} of DPUSet {}/{}: change one of the selectors",
        choice
            .device
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default(),
        choice.device.metadata.name.as_deref().unwrap_or_default(),
        set.metadata.namespace.as_deref().unwrap_or_default(),
        set.metadata.name.as_deref().unwrap_or_default(),
        dpu.metadata.namespace.as_deref().unwrap_or_default(),
        dpu.metadata.name.as_deref().unwrap_or_default(),
        label(labels::DPUSET_NAMESPACE),
        label(labels::DPUSET_NAME),
    )
}

/// Changes a DPU in place when what was written last is not what is wanted now, or when somebody changed it since.
fn update(set: &DpuSet, choice: Selected<'_>, dpu: &Dpu, version: &str, plan: &mut Plan) {
    if dpu.metadata.deletion_timestamp.is_some() {
        return;
    }
    let desired = desired_dpu(set, choice, Some(dpu), version);
    let digest = |dpu: &Dpu| {
        dpu.metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(annotations::DPUSET_APPLIED))
            .cloned()
    };
    let changed = digest(&desired) != digest(dpu)
        || !covers(
            &serde_json::to_value(&desired.spec),
            &serde_json::to_value(&dpu.spec),
        );
    if changed {
        plan.actions.push(Action::Apply(Box::new(desired)));
    }
}

type Encoded = serde_json::Result<serde_json::Value>;

fn covers(desired: &Encoded, observed: &Encoded) -> bool {
    match (desired, observed) {
        (Ok(desired), Ok(observed)) => contains(observed, desired),
        _ => false,
    }
}

/// Whether every field of `part` is in `whole` with the same value; lists are compared as a whole.
fn contains(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
    match (whole, part) {
        (serde_json::Value::Object(whole), serde_json::Value::Object(part)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|w| contains(w, value))),
        _ => whole == part,
    }
}

/// Whether image or flavor of a DPU are not those of the template. Only names count: both cannot change.
fn is_outdated(set: &DpuSet, dpu: &Dpu) -> bool {
    let Some(template) = &set.spec.dpu_template.spec else {
        return false;
    };
    let bfb = template.bfb.as_ref().and_then(|b| b.name.as_ref());
    dpu.spec.bfb.as_ref() != bfb || dpu.spec.dpu_flavor != template.dpu_flavor
}

fn is_unavailable(dpu: &Dpu) -> bool {
    dpu.metadata.deletion_timestamp.is_some()
        || !is_true(
            dpu.status.as_ref().and_then(|s| s.conditions.as_deref()),
            READY,
        )
}

/// Replaces outdated DPUs: unavailable ones at once, the others while the budget lasts.
fn roll(
    set: &DpuSet,
    own: &[&Dpu],
    kept: &BTreeSet<Option<String>>,
    total: usize,
    plan: &mut Plan,
) {
    let mut current: Vec<&&Dpu> = own
        .iter()
        .filter(|d| kept.contains(&d.metadata.uid))
        .collect();
    current.sort_by_key(|dpu| dpu.metadata.name.clone());
    let outdated: Vec<&&&Dpu> = current.iter().filter(|dpu| is_outdated(set, dpu)).collect();
    plan.report.outdated = outdated
        .iter()
        .filter_map(|dpu| dpu.metadata.name.clone())
        .collect();
    let strategy = set.spec.strategy.clone().unwrap_or_default();
    if strategy.type_ != StrategyType::RollingUpdate {
        return;
    }
    let limit = budget(
        strategy
            .rolling_update
            .and_then(|r| r.max_unavailable)
            .as_ref(),
        total,
    );
    let mut unavailable = total.saturating_sub(current.len())
        + current.iter().filter(|dpu| is_unavailable(dpu)).count();
    for dpu in outdated {
        if dpu.metadata.deletion_timestamp.is_some() {
            continue;
        }
        if is_unavailable(dpu) {
            plan.actions
                .push(delete(dpu, "its image or flavor changed"));
        } else if unavailable < limit {
            unavailable += 1;
            plan.actions
                .push(delete(dpu, "its image or flavor changed"));
        }
    }
}

/// How many DPUs may be unavailable: a number or a percentage rounded up, at least 1, at most all.
fn budget(max_unavailable: Option<&IntOrString>, total: usize) -> usize {
    let wanted = match max_unavailable {
        Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or(0),
        Some(IntOrString::String(text)) => text
            .trim()
            .strip_suffix('%')
            .and_then(|percent| percent.parse::<usize>().ok())
            .map_or(0, |percent| total.saturating_mul(percent).div_ceil(100)),
        None => 1,
    };
    wanted.clamp(1, total.max(1))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::conditions::{Conditions, Verdict};
    use dpf_api::provisioning::{
        BfbReference, ClusterTemplate, DpuPhase, DpuStatus, DpuTemplateSpec, NodeEffect, Strategy,
    };
    use dpf_api::svc::RollingUpdate;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

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
}

//! Laws that hold for any chains and any state of the switch, and the flows of the cases that people draw.

use super::flow::{
    BYPASS, Destination, Flow, FlowAction, FlowKey, MARK, Match, SWITCH_TABLE, VlanMatch,
};
use super::inputs::ServicePod;
use super::names::{self, BRIDGE, Key, cookie};
use super::observed::{Bridge, Device, Port, Switch};
use super::plan::{Action, FlowChange, Plan};
use super::{Desired, Inputs, Observed, Settings, desired, plan};
use dpf_api::svc::{ServiceChain, ServiceInterface};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NODE: &str = "n1";
const NS: &str = "ns";

fn interface(name: &str, type_: &str, block: Value) -> (Key, ServiceInterface) {
    let object = serde_json::from_value(json!({
        "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "ServiceInterface",
        "metadata": {"name": name, "namespace": NS, "labels": {"name": name}},
        "spec": {"node": NODE, "interfaceType": type_, type_: block}
    }));
    (Key::new(NS, name), object.unwrap())
}

fn service(name: &str) -> (Key, ServiceInterface) {
    let block = json!({"serviceID": name, "network": "n", "interfaceName": "eth1"});
    interface(name, "service", block)
}

fn chain(name: &str, switches: &[Vec<&str>]) -> (Key, ServiceChain) {
    let port = |name: &&str| json!({"serviceInterface": {"matchLabels": {"name": name}}});
    let switch = |ports: &Vec<&str>| json!({"ports": ports.iter().map(port).collect::<Vec<_>>()});
    let object = serde_json::from_value(json!({
        "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "ServiceChain",
        "metadata": {"name": name, "namespace": NS},
        "spec": {"node": NODE, "switches": switches.iter().map(switch).collect::<Vec<_>>()}
    }));
    (Key::new(NS, name), object.unwrap())
}

fn settings() -> Settings {
    Settings::new(NODE)
}

/// A port that is there, with a number.
fn put(observed: &mut Observed, bridge: &str, name: &str, number: u32, id: &str) {
    let mut port = Port {
        bridge: bridge.to_owned(),
        number: Some(i64::from(number)),
        ..Port::default()
    };
    if !id.is_empty() {
        port.interface_ids
            .insert(names::ID.to_owned(), id.to_owned());
    }
    observed.ports.insert(name.to_owned(), port);
    if bridge == BRIDGE {
        let short = name.get(..15).unwrap_or(name).to_owned();
        observed
            .switch
            .get_or_insert_default()
            .ports
            .insert(number, short);
    }
}

/// Services with these names, each with a pod whose port has the number of its place.
fn services(names: &[&str]) -> (Inputs, Observed) {
    let mut inputs = Inputs::default();
    let mut observed = empty();
    for (number, name) in (1..).zip(names) {
        inputs.interfaces.extend([service(name)]);
        let pod = ServicePod {
            service_id: (*name).to_owned(),
            ..ServicePod::default()
        };
        inputs.pods.insert(Key::new(NS, format!("{name}-pod")), pod);
        let id = format!("{NS}/{name}-pod/eth1");
        put(&mut observed, BRIDGE, &format!("r{name}"), number, &id);
        observed
            .ports
            .get_mut(&format!("r{name}"))
            .unwrap()
            .port_ids = BTreeMap::from([(names::OWNER.to_owned(), "cni".to_owned())]);
    }
    (inputs, observed)
}

fn empty() -> Observed {
    let secure = Bridge {
        fail_mode: Some("secure".to_owned()),
    };
    let bridges = [BRIDGE, "br-hbn", "br-ovn"].map(|name| (name.to_owned(), secure.clone()));
    Observed {
        bridges: bridges.into(),
        switch: Some(Switch::default()),
        ..Observed::default()
    }
}

/// What the switch and the database do with a plan.
fn apply(observed: &mut Observed, plan: &Plan) {
    for action in &plan.actions {
        match action {
            Action::AddBridge { name, .. } | Action::SecureBridge { name } => {
                let secure = Bridge {
                    fail_mode: Some("secure".to_owned()),
                };
                observed.bridges.insert(name.clone(), secure);
            }
            Action::AddPorts(ports) => {
                for port in ports {
                    let next = observed
                        .ports
                        .values()
                        .filter_map(|p| p.number)
                        .max()
                        .unwrap_or(0)
                        + 1;
                    assert!(
                        !observed.ports.contains_key(&port.name),
                        "{} is there",
                        port.name
                    );
                    let id = &port
                        .interface_ids
                        .get(names::ID)
                        .cloned()
                        .unwrap_or_default();
                    put(
                        observed,
                        &port.bridge,
                        &port.name,
                        u32::try_from(next).unwrap(),
                        id,
                    );
                    let there = observed.ports.get_mut(&port.name).unwrap();
                    there.interface_ids = port.interface_ids.clone();
                    there.port_ids = port.port_ids.clone();
                    there.options = port.options.clone();
                }
            }
            Action::ChangePort(change) => {
                let port = observed.ports.get_mut(&change.name).unwrap();
                port.options.extend(change.options.clone());
                port.interface_ids.extend(change.interface_ids.clone());
                port.port_ids.extend(change.port_ids.clone());
                port.interface_ids
                    .retain(|key, _| !change.remove_interface_ids.contains(key));
                port.port_ids
                    .retain(|key, _| !change.remove_port_ids.contains(key));
            }
            Action::DeletePort { bridge, name } => {
                let port = observed.ports.remove(name).unwrap();
                assert_eq!(&port.bridge, bridge);
                let switch = observed.switch.get_or_insert_default();
                switch
                    .ports
                    .retain(|number, _| Some(i64::from(*number)) != port.number);
            }
            Action::ChangeFlows(changes) => {
                let switch = observed.switch.as_mut().unwrap();
                for change in changes {
                    match change {
                        FlowChange::Set(flow) => {
                            switch.flows.retain(|there| there.key != flow.key);
                            switch.flows.push(flow.clone());
                        }
                        FlowChange::Delete { key, cookie } => {
                            switch
                                .flows
                                .retain(|f| f.key != *key || f.cookie != *cookie);
                        }
                    }
                }
            }
        }
    }
}

/// Rounds until nothing is left to do.
fn settle(inputs: &Inputs, observed: &mut Observed) -> Desired {
    for _ in 0..4 {
        let wanted = desired(inputs, observed, &settings());
        let plan = plan(observed, &wanted);
        if plan.actions.is_empty() {
            return wanted;
        }
        apply(observed, &plan);
    }
    panic!(
        "it never ends: {:#?}",
        plan(observed, &desired(inputs, observed, &settings()))
    );
}

fn flow(
    table: u8,
    priority: u16,
    in_port: u32,
    actions: Vec<FlowAction>,
    cookie: u64,
    mark: u16,
) -> Flow {
    let matching = Match {
        in_port: Some(in_port),
        ..Match::default()
    };
    Flow {
        key: FlowKey {
            table,
            priority,
            matching,
        },
        cookie,
        mark,
        actions,
    }
}

fn out(flow: &Flow) -> Vec<u32> {
    let number = |action: &FlowAction| match action {
        FlowAction::Output(port) => Some(*port),
        _ => None,
    };
    flow.actions.iter().filter_map(number).collect()
}

#[test]
fn a_switch_floods_to_all_others_and_learns_for_each() {
    let (mut inputs, mut observed) = services(&["a", "b", "c"]);
    inputs.chains.extend([chain("x", &[vec!["a", "b", "c"]])]);
    let wanted = settle(&inputs, &mut observed);
    assert!(
        wanted.chains.values().all(Vec::is_empty),
        "{:?}",
        wanted.chains
    );
    let flows = &observed.switch.as_ref().unwrap().flows;
    assert_eq!(flows.len(), 9);
    let key = cookie(&Key::new(NS, "x"));
    assert!(flows.iter().all(|f| f.cookie == key && f.mark == MARK));
    for flow in flows.iter().filter(|f| f.key.table == SWITCH_TABLE) {
        let own = flow.key.matching.in_port.unwrap();
        let others: Vec<u32> = (1..=3).filter(|port| *port != own).collect();
        assert_eq!(out(flow), others);
    }
    let enters = flows.iter().filter(|f| f.key.table == 0);
    assert!(enters.clone().count() == 3 && enters.clone().all(|f| f.actions.len() == 3));
}

#[test]
fn one_port_or_none_needs_no_flow_and_is_no_error() {
    let (mut inputs, mut observed) = services(&["a"]);
    inputs.chains.extend([chain("x", &[vec!["a"], vec![]])]);
    let wanted = settle(&inputs, &mut observed);
    assert!(wanted.flows.is_empty() && wanted.chains.values().all(Vec::is_empty));
}

#[test]
fn what_is_wrong_with_a_port_never_harms_the_others() {
    let (mut inputs, mut observed) = services(&["a", "b", "late", "twice", "broken"]);
    inputs.chains.extend([chain(
        "x",
        &[vec!["a", "absent", "b", "late", "twice", "broken"]],
    )]);
    observed.ports.get_mut("rlate").unwrap().number = None;
    let broken = observed.ports.get_mut("rbroken").unwrap();
    (broken.number, broken.error) = (Some(-1), Some("no such device".to_owned()));
    let second = ServicePod {
        service_id: "twice".to_owned(),
        ..ServicePod::default()
    };
    inputs.pods.insert(Key::new(NS, "second"), second);
    let wanted = desired(&inputs, &observed, &settings());
    assert_eq!(wanted.flows.len(), 6);
    let wrong = wanted.chains.values().next().unwrap();
    let parts = [
        "labels(name=absent)",
        "rlate has no OpenFlow number",
        "only one pod",
        "no such device",
    ];
    for part in parts {
        assert!(wrong.iter().any(|w| w.contains(part)), "{part}: {wrong:?}");
    }
    assert_eq!(wrong.len(), 4);
    // A pod that leaves makes room for its successor.
    inputs
        .pods
        .get_mut(&Key::new(NS, "second"))
        .unwrap()
        .deleting = true;
    let wanted = desired(&inputs, &observed, &settings());
    assert_eq!(wanted.flows.len(), 9);
}

#[test]
fn a_number_that_the_switch_gives_to_another_port_is_not_used() {
    let (mut inputs, mut observed) = services(&["a", "b"]);
    inputs.chains.extend([chain("x", &[vec!["a", "b"]])]);
    let switch = observed.switch.as_mut().unwrap();
    switch.ports = BTreeMap::from([(1, "rb".to_owned()), (2, "ra".to_owned())]);
    let wanted = desired(&inputs, &observed, &settings());
    assert!(wanted.flows.is_empty());
}

#[test]
fn a_port_is_in_one_switch_only() {
    let (mut inputs, observed) = services(&["a", "b", "c"]);
    let (key, mut older) = chain("z-older", &[vec!["a", "b"]]);
    older.metadata.creation_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let (other, mut newer) = chain("a-newer", &[vec!["a", "c"]]);
    newer.metadata.creation_timestamp =
        serde_json::from_value(json!("2026-01-02T00:00:00Z")).unwrap();
    inputs
        .chains
        .extend([(key.clone(), older), (other.clone(), newer)]);
    let wanted = desired(&inputs, &observed, &settings());
    assert_eq!(wanted.chains[&key], Vec::<String>::new());
    assert!(wanted.chains[&other][0].contains("in a switch of chain ns/z-older already"));
    inputs.chains = [chain("x", &[vec!["a", "b"], vec!["c", "a"]])].into();
    let wanted = desired(&inputs, &observed, &settings());
    assert!(wanted.chains.values().next().unwrap()[0].contains("two switches of this chain"));
    assert!(
        wanted
            .flows
            .values()
            .all(|f| f.key.matching.in_port != Some(3))
    );
}

#[test]
fn a_vlan_shares_the_port_of_its_parent() {
    let (mut inputs, mut observed) = services(&["a", "b"]);
    inputs.interfaces.extend([
        interface("up", "physical", json!({"interfaceName": "p0"})),
        interface(
            "v",
            "vlan",
            json!({"vlanID": 100, "parentInterfaceRef": format!("up-{NODE}")}),
        ),
        interface(
            "bad",
            "vlan",
            json!({"vlanID": 4095, "parentInterfaceRef": "up"}),
        ),
    ]);
    inputs
        .chains
        .extend([chain("x", &[vec!["a", "v"], vec!["b", "up"]])]);
    let wanted = settle(&inputs, &mut observed);
    assert!(
        wanted.chains.values().all(Vec::is_empty),
        "{:?}",
        wanted.chains
    );
    assert!(wanted.interfaces[&Key::new(NS, "bad")][0].contains("4095"));
    let uplink = u32::try_from(observed.ports["p0"].number.unwrap()).unwrap();
    let key = |vlan, in_port, priority| FlowKey {
        table: SWITCH_TABLE,
        priority,
        matching: Match {
            in_port: Some(in_port),
            vlan,
            ..Match::default()
        },
    };
    let tagged = &wanted.flows[&key(Some(VlanMatch::Tag(100)), uplink, 10)];
    assert_eq!(
        tagged.actions,
        [FlowAction::SetTag(None), FlowAction::Output(1)]
    );
    let into = &wanted.flows[&key(None, 1, 0)];
    assert_eq!(
        into.actions,
        [FlowAction::SetTag(Some(100)), FlowAction::Output(uplink)]
    );
    let plain = &wanted.flows[&key(None, uplink, 0)];
    assert_eq!(plain.actions, [FlowAction::Output(2)]);
}

#[test]
fn time_synchronisation_frames_pass_between_uplink_and_service() {
    let (mut inputs, mut observed) = services(&["ptp"]);
    inputs.pods.values_mut().for_each(|pod| pod.firefly = true);
    inputs
        .interfaces
        .extend([interface("up", "physical", json!({"interfaceName": "p0"}))]);
    inputs.chains.extend([chain("x", &[vec!["ptp", "up"]])]);
    let wanted = settle(&inputs, &mut observed);
    let bypass: Vec<_> = wanted
        .flows
        .values()
        .filter(|f| f.key.priority == BYPASS)
        .collect();
    assert_eq!(bypass.len(), 2);
    assert!(bypass.iter().all(|f| f.key.matching.destination
        == Some(Destination::Exactly([0x01, 0x80, 0xc2, 0, 0, 0x0e]))));
    inputs.chains = [chain("x", &[vec!["ptp"]])].into();
    let wanted = settle(&inputs, &mut observed);
    assert!(wanted.chains.values().next().unwrap()[0].contains("no uplink port"));
}

#[test]
fn functions_of_the_host_are_found_by_what_the_system_calls_them() {
    let device = |name: &str, function: &str, address: &str| Device {
        name: name.to_owned(),
        function: function.to_owned(),
        address: Some(address.to_owned()),
    };
    let (mut inputs, mut observed) = services(&[]);
    observed.devices = vec![
        device("rep0", "c1pf0", "0000:03:00.0"),
        device("rep3", "c1pf0vf3", "0000:03:00.0"),
        device("far3", "c1pf1vf3", "0000:83:00.1"),
    ];
    let pci = json!({"type": "pci", "pci": {"address": "0000:83:00.0"}});
    inputs.interfaces.extend([
        interface("pf", "pf", json!({"pfID": 0})),
        interface("vf", "vf", json!({"pfID": 0, "vfID": 3})),
        interface(
            "far",
            "vf",
            json!({"pfID": 1, "vfID": 3, "nicSelector": pci}),
        ),
        interface(
            "none",
            "vf",
            json!({"pfID": 1, "vfID": 4, "nicSelector": pci}),
        ),
        interface("usual", "vf", json!({"pfID": 1, "vfID": 9})),
    ]);
    let wanted = settle(&inputs, &mut observed);
    let names: Vec<_> = wanted.ports.keys().map(String::as_str).collect();
    assert_eq!(names, ["far3", "pf1vf9", "rep0", "rep3"]);
    assert!(
        wanted
            .ports
            .values()
            .all(|p| p.mtu_request == Some(9216) && p.type_ == "dpdk")
    );
    assert!(wanted.interfaces[&Key::new(NS, "none")][0].contains("virtual function 4"));
}

#[test]
fn two_interfaces_do_not_share_a_port_and_foreign_ports_are_left_alone() {
    let (mut inputs, mut observed) = services(&["a"]);
    put(&mut observed, "br-ovn", "p1", 40, "");
    inputs.interfaces.extend([
        interface("first", "physical", json!({"interfaceName": "p0"})),
        interface("second", "physical", json!({"interfaceName": "p0"})),
        interface("elsewhere", "physical", json!({"interfaceName": "p1"})),
        interface("cni", "physical", json!({"interfaceName": "ra"})),
        interface("bridge", "physical", json!({"interfaceName": "br-sfc"})),
        interface("nowhere", "patch", json!({"peerBridge": "br-none"})),
        interface(
            "stolen",
            "patch",
            json!({"peerBridge": "br-ovn", "peerExternalIDs": {"dpf-id": ""}}),
        ),
    ]);
    let before = observed.clone();
    let wanted = settle(&inputs, &mut observed);
    let wrong = |name: &str| wanted.interfaces[&Key::new(NS, name)].join(" ");
    assert_eq!(wrong("first"), "");
    assert!(wrong("second").contains("belongs to serviceInterface ns/first"));
    assert!(wrong("elsewhere").contains("on bridge br-ovn"));
    assert!(wrong("cni").contains("belongs to cni"));
    assert!(wrong("bridge").contains("is a bridge"));
    assert!(wrong("nowhere").contains("br-none does not exist"));
    assert!(wrong("stolen").contains("reserved"));
    for name in ["p1", "ra"] {
        assert_eq!(observed.ports[name], before.ports[name]);
    }
}

#[test]
fn an_uplink_goes_only_with_its_object_and_stays_when_told_to() {
    let (mut inputs, mut observed) = services(&[]);
    inputs
        .interfaces
        .extend([interface("up", "physical", json!({"interfaceName": "p0"}))]);
    settle(&inputs, &mut observed);
    let wired = observed.clone();
    // Nobody saw the deletion: it may carry the card.
    settle(&Inputs::default(), &mut observed);
    assert!(observed.ports.contains_key("p0"));
    let leaving = inputs.interfaces.values_mut().next().unwrap();
    leaving.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    settle(&inputs, &mut observed);
    assert!(!observed.ports.contains_key("p0"));
    let leaving = inputs.interfaces.values_mut().next().unwrap();
    let keep = (super::desired::KEEP_PHYSICAL.to_owned(), String::new());
    leaving.metadata.annotations = Some([keep].into());
    let mut observed = wired;
    settle(&inputs, &mut observed);
    let port = &observed.ports["p0"];
    assert!(
        port.interface_ids.is_empty() && port.port_ids.is_empty(),
        "{port:?}"
    );
}

#[test]
fn a_change_of_a_switch_touches_no_flow_between_kept_ports_needlessly() {
    let (mut inputs, mut observed) = services(&["a", "b", "c"]);
    inputs.chains.extend([chain("x", &[vec!["a", "b"]])]);
    settle(&inputs, &mut observed);
    let learnt = |from, address, to, key| {
        let mut learnt = flow(SWITCH_TABLE, 1, from, vec![FlowAction::Output(to)], key, 0);
        learnt.key.matching.destination = Some(Destination::Exactly(address));
        learnt
    };
    let key = cookie(&Key::new(NS, "x"));
    let (kept, gone) = (learnt(1, [2; 6], 2, key), learnt(1, [4; 6], 3, key));
    observed
        .switch
        .as_mut()
        .unwrap()
        .flows
        .extend([kept.clone(), gone.clone()]);
    inputs.chains = [chain("x", &[vec!["a", "b", "c"]])].into();
    let wanted = desired(&inputs, &observed, &settings());
    let Plan { actions, .. } = plan(&observed, &wanted);
    let [Action::ChangeFlows(changes)] = actions.as_slice() else {
        panic!("one bundle: {actions:?}");
    };
    assert!(
        changes.iter().all(|c| matches!(c, FlowChange::Set(_))),
        "nothing is deleted"
    );
    settle(&inputs, &mut observed);
    inputs.chains = [chain("x", &[vec!["b", "a"]])].into();
    settle(&inputs, &mut observed);
    let flows = &observed.switch.as_ref().unwrap().flows;
    assert!(flows.contains(&kept) && !flows.contains(&gone));
}

#[test]
fn a_flow_of_somebody_else_in_our_place_is_told_and_left() {
    let (mut inputs, mut observed) = services(&["a", "b"]);
    inputs.chains.extend([chain("x", &[vec!["a", "b"]])]);
    let theirs = flow(0, 0, 1, vec![], 7, 0);
    observed.switch.as_mut().unwrap().flows.push(theirs.clone());
    let wanted = settle(&inputs, &mut observed);
    let plan = plan(&observed, &wanted);
    assert_eq!(
        plan.blocked.into_iter().collect::<Vec<_>>(),
        [cookie(&Key::new(NS, "x"))]
    );
    assert!(observed.switch.unwrap().flows.contains(&theirs));
}

const POOL: [&str; 6] = ["a", "b", "c", "up", "patch", "vlan"];

prop_compose! {
    fn any_inputs()(
        chains in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(0..POOL.len(), 0..5), 0..3), 0..4),
        deleting in prop::collection::vec(any::<bool>(), 4),
        without in prop::collection::vec(0..POOL.len(), 0..3),
        leaving in 0..12usize,
    ) -> Inputs {
        let (mut inputs, _) = services(&["a", "b", "c"]);
        inputs.interfaces.extend([
            interface("up", "physical", json!({"interfaceName": "p0"})),
            interface("patch", "patch", json!({"peerBridge": "br-ovn"})),
            interface("vlan", "vlan", json!({"vlanID": 7, "parentInterfaceRef": "up"})),
        ]);
        for index in without {
            inputs.interfaces.remove(&Key::new(NS, POOL[index]));
        }
        let leaving = POOL.get(leaving).and_then(|name| inputs.interfaces.get_mut(&Key::new(NS, *name)));
        let now: Value = json!("2026-01-01T00:00:00Z");
        if let Some(leaving) = leaving {
            leaving.metadata.deletion_timestamp = serde_json::from_value(now.clone()).unwrap();
        }
        for (number, switches) in chains.iter().enumerate() {
            let switches: Vec<Vec<&str>> = switches.iter()
                .map(|ports| ports.iter().map(|index| POOL[*index]).collect()).collect();
            let (key, mut object) = chain(&format!("chain{number}"), &switches);
            if deleting[number] {
                object.metadata.deletion_timestamp = serde_json::from_value(now.clone()).unwrap();
            }
            inputs.chains.insert(key, object);
        }
        inputs
    }
}

fn any_flow() -> impl Strategy<Value = Flow> {
    let cookies = prop_oneof![
        Just(0),
        Just(7),
        (0..6u8).prop_map(|number| cookie(&Key::new(NS, format!("chain{number}")))),
    ];
    let destination = prop_oneof![
        Just(None),
        Just(Some(Destination::Multicast)),
        any::<u8>().prop_map(|byte| Some(Destination::Exactly([byte; 6]))),
    ];
    let actions = prop::collection::vec((1..9u32).prop_map(FlowAction::Output), 0..3);
    let key = (
        0..2u8,
        prop_oneof![0..3u16, Just(10), Just(11)],
        1..9u32,
        destination,
    );
    (key, cookies, any::<bool>(), actions).prop_map(|(key, cookie, marked, actions)| {
        let (table, priority, in_port, destination) = key;
        let foreign = cookie == 0 || cookie == 7;
        let mark = if marked && !foreign { MARK } else { 0 };
        let mut made = flow(table, priority, in_port, actions, cookie, mark);
        made.key.matching.destination = destination;
        made
    })
}

prop_compose! {
    fn any_observed()(
        flows in prop::collection::btree_map(any_flow().prop_map(|f| f.key.clone()), any_flow(), 0..40),
        present in prop::collection::vec(any::<bool>(), 8),
        secure in any::<bool>(),
    ) -> Observed {
        let (_, mut observed) = services(&["a", "b", "c"]);
        for (name, there) in ["ra", "rb", "rc"].iter().zip(&present) {
            if !there {
                observed.ports.remove(*name);
            }
        }
        let candidates: [(&str, &str, u32, &str); 5] = [
            (BRIDGE, "p0", 10, "ns/up"),
            (BRIDGE, "theirs", 11, ""),
            ("br-ovn", "far", 12, "other"),
            (BRIDGE, "stale", 13, "ns/never"),
            (BRIDGE, "cni", 14, "ns/pod/eth9"),
        ];
        for ((bridge, name, number, id), there) in candidates.iter().zip(present.iter().skip(3)) {
            if *there {
                put(&mut observed, bridge, name, *number, id);
            }
        }
        let flows = flows.into_iter().map(|(key, flow)| Flow { key, ..flow });
        observed.switch.get_or_insert_default().flows = flows.collect();
        if !secure {
            observed.bridges.remove("br-hbn");
            observed.bridges.insert(BRIDGE.to_owned(), Bridge::default());
        }
        observed
    }
}

/// What nobody asked this agent to touch.
fn foreign(observed: &Observed) -> (Vec<Flow>, BTreeMap<String, Port>) {
    let switch = observed.switch.clone().unwrap_or_default();
    let mut flows: Vec<_> = switch
        .flows
        .into_iter()
        .filter(|f| f.cookie == 0 || f.cookie == 7)
        .collect();
    flows.sort();
    let mut ports = observed.ports.clone();
    ports.retain(|name, _| ["ra", "rb", "rc", "theirs", "far", "cni"].contains(&name.as_str()));
    (flows, ports)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_applied_plan_leaves_nothing_to_do(inputs in any_inputs(), observed in any_observed()) {
        let wanted = desired(&inputs, &observed, &settings());
        let first = plan(&observed, &wanted);
        let mut after = observed.clone();
        apply(&mut after, &first);
        let second = plan(&after, &wanted);
        prop_assert!(second.actions.is_empty(), "{:#?}", second.actions);
        prop_assert_eq!(foreign(&after), foreign(&observed));
    }

    #[test]
    fn it_settles_and_then_holds_what_was_asked(inputs in any_inputs(), observed in any_observed()) {
        let mut after = observed.clone();
        let wanted = settle(&inputs, &mut after);
        prop_assert_eq!(foreign(&after), foreign(&observed));
        // The same question has the same answer.
        prop_assert_eq!(&wanted, &desired(&inputs, &after, &settings()));
        let flows = &after.switch.as_ref().unwrap().flows;
        let missing = wanted.flows.values().filter(|flow| !flows.contains(flow));
        let blocked = plan(&after, &wanted).blocked;
        for flow in missing {
            prop_assert!(blocked.contains(&flow.cookie), "missing {:?}", flow);
        }
        for flow in flows.iter().filter(|flow| flow.mark == MARK) {
            prop_assert!(wanted.flows.get(&flow.key) == Some(flow), "left {:?}", flow);
        }
    }

    #[test]
    fn no_frame_crosses_from_one_switch_to_another(inputs in any_inputs(), observed in any_observed()) {
        let mut after = observed;
        let wanted = settle(&inputs, &mut after);
        // Ports that one cookie joins never appear under another, a VLAN apart.
        let mut owner: BTreeMap<(u32, Option<VlanMatch>), u64> = BTreeMap::new();
        for flow in wanted.flows.values().filter(|f| f.key.table == 0 && f.key.priority != BYPASS) {
            let tag = flow.key.matching.vlan.filter(|vlan| matches!(vlan, VlanMatch::Tag(_)));
            let place = (flow.key.matching.in_port.unwrap_or_default(), tag);
            let before = owner.insert(place, flow.cookie);
            prop_assert!(before.is_none(), "{:?} enters twice", place);
        }
        for flow in wanted.flows.values() {
            prop_assert!(!out(flow).contains(&flow.key.matching.in_port.unwrap_or_default()), "{:?}", flow);
        }
    }
}

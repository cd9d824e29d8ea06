//! What the switch should have, and what is in the way.

use super::flow::{Flow, FlowKey};
use super::inputs::{Inputs, Settings};
use super::names::{self, BRIDGE, Key};
use super::observed::Observed;
use super::resolve::{Found, Resolver, Wiring, has_virtual_network, wiring};
use super::switching::{self, Learnable, Plug};
use dpf_api::svc::{InterfaceType, ServiceChain, ServiceInterface};
use kube::Resource;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub use dpf_api::keys::annotations::KEEP_PHYSICAL;

/// A port that this agent adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredPort {
    /// Bridge.
    pub bridge: String,
    /// Name of the port and of its interface.
    pub name: String,
    /// OVS type of the interface.
    pub type_: String,
    /// MTU asked for, in bytes. Only for a new port.
    pub mtu_request: Option<i64>,
    /// Options of the interface.
    pub options: BTreeMap<String, String>,
    /// External ids of the interface.
    pub interface_ids: BTreeMap<String, String>,
    /// External ids of the port.
    pub port_ids: BTreeMap<String, String>,
}

impl DesiredPort {
    pub(super) fn new(owner: &Key, bridge: &str, name: &str, type_: &str) -> Self {
        let owner = owner.to_string();
        Self {
            bridge: bridge.to_owned(),
            name: name.to_owned(),
            type_: type_.to_owned(),
            mtu_request: None,
            options: BTreeMap::new(),
            interface_ids: BTreeMap::from([(names::ID.to_owned(), owner.clone())]),
            port_ids: BTreeMap::from([(names::AGENT.to_owned(), owner)]),
        }
    }
}

/// What should be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Bridges that must exist, all failing secure, and the datapath type of new ones.
    pub bridges: BTreeMap<String, String>,
    /// Ports by name.
    pub ports: BTreeMap<String, DesiredPort>,
    /// Uplinks whose object is being deleted: they go.
    pub removed: BTreeSet<String>,
    /// Uplinks whose object is being deleted but which stay: they lose our marks.
    pub released: BTreeSet<String>,
    /// Owners whose ports are not known at present, so none of theirs is stale.
    pub unresolved: BTreeSet<String>,
    /// Flows of all chains.
    pub flows: BTreeMap<FlowKey, Flow>,
    /// Cookies of all chains of this node, also of those without a flow.
    pub cookies: BTreeSet<u64>,
    /// Learnt flows that are right.
    pub(super) learnable: Learnable,
    /// For each interface of this node that stays: what is in the way.
    pub interfaces: BTreeMap<Key, Vec<String>>,
    /// For each chain of this node that stays: what is in the way.
    pub chains: BTreeMap<Key, Vec<String>>,
}

/// Decides what should be there.
#[must_use]
pub fn desired(inputs: &Inputs, observed: &Observed, settings: &Settings) -> Desired {
    let mut desired = Desired::default();
    for bridge in &settings.bridges {
        desired
            .bridges
            .insert(bridge.clone(), settings.datapath_type.clone());
    }
    let wirings = interfaces(&mut desired, inputs, observed, settings);
    let mut problems = BTreeMap::new();
    for (key, found) in &wirings {
        let list = match found {
            Err(why) => vec![why.clone()],
            Ok(Wiring::Ports(ports)) => port_problems(ports, observed),
            Ok(Wiring::Vlan { parent, .. }) => parent_problems(parent, &wirings, observed),
            Ok(Wiring::Pod) => Vec::new(),
        };
        if !list.is_empty() && found.is_ok() {
            problems.insert(key.clone(), list.join("; "));
        }
        desired.interfaces.insert(key.clone(), list);
    }
    let resolver = Resolver {
        inputs,
        observed,
        node: &settings.node,
        wirings: &wirings,
        problems: &problems,
    };
    chains(&mut desired, &resolver);
    desired
}

/// Oldest first, so that who had something first keeps it.
fn by_age<K: Resource>(objects: &BTreeMap<Key, K>) -> Vec<(&Key, &K)> {
    let mut list: Vec<_> = objects.iter().collect();
    list.sort_by_key(|(key, object)| {
        let created = object.meta().creation_timestamp.as_ref().map(|time| time.0);
        (created, (*key).clone())
    });
    list
}

type Wirings = BTreeMap<Key, Result<Wiring, String>>;

fn interfaces(
    desired: &mut Desired,
    inputs: &Inputs,
    observed: &Observed,
    settings: &Settings,
) -> Wirings {
    let mut wirings = Wirings::new();
    for (key, interface) in by_age(&inputs.interfaces) {
        let ours = interface.spec.node.as_deref() == Some(settings.node.as_str());
        if !ours || has_virtual_network(interface) {
            continue;
        }
        let found = wiring(key, interface, inputs, observed, settings);
        if interface.metadata.deletion_timestamp.is_some() {
            leave(desired, interface, found.as_ref().ok());
            continue;
        }
        if found.is_err() {
            desired.unresolved.insert(key.to_string());
        }
        let found = found.and_then(|wiring| claim(desired, wiring, observed));
        wirings.insert(key.clone(), found);
    }
    // What somebody else needs under the same name stays.
    let Desired {
        removed,
        released,
        ports,
        ..
    } = desired;
    removed.retain(|name| !ports.contains_key(name));
    released.retain(|name| !ports.contains_key(name));
    wirings
}

/// Takes the names of the ports, unless somebody has one of them.
fn claim(desired: &mut Desired, wiring: Wiring, observed: &Observed) -> Result<Wiring, String> {
    let Wiring::Ports(ports) = &wiring else {
        return Ok(wiring);
    };
    for port in ports {
        let name = &port.name;
        if let Some(taken) = desired.ports.get(name) {
            let owner = taken
                .port_ids
                .get(names::AGENT)
                .map(String::as_str)
                .unwrap_or_default();
            return Err(format!(
                "port {name} belongs to serviceInterface {owner} already"
            ));
        }
        if desired.bridges.contains_key(name) || observed.bridges.contains_key(name) {
            return Err(format!("{name} is a bridge and cannot be a port"));
        }
        if let Some(there) = observed.ports.get(name) {
            if there.bridge != port.bridge {
                return Err(format!(
                    "port {name} is on bridge {}, and {} is where it should be",
                    there.bridge, port.bridge
                ));
            }
            if let Some(owner) = there.port_ids.get(names::OWNER) {
                return Err(format!("port {name} belongs to {owner}"));
            }
        }
    }
    for port in ports {
        desired.ports.insert(port.name.clone(), port.clone());
    }
    Ok(wiring)
}

/// An interface that is being deleted: what becomes of an uplink.
fn leave(desired: &mut Desired, interface: &ServiceInterface, wiring: Option<&Wiring>) {
    if interface.spec.interface_type != InterfaceType::Physical {
        return;
    }
    let Some(Wiring::Ports(ports)) = wiring else {
        return;
    };
    let annotations = interface.metadata.annotations.as_ref();
    let stays = annotations.is_some_and(|a| a.contains_key(KEEP_PHYSICAL));
    let names = ports.iter().map(|port| port.name.clone());
    if stays {
        desired.released.extend(names);
    } else {
        desired.removed.extend(names);
    }
}

fn port_problems(ports: &[DesiredPort], observed: &Observed) -> Vec<String> {
    let mut problems = Vec::new();
    for port in ports {
        let there = observed
            .ports
            .get(&port.name)
            .filter(|p| p.bridge == port.bridge);
        match there {
            None => problems.push(format!(
                "port {} is being added to {}",
                port.name, port.bridge
            )),
            Some(there) => {
                if let (Some(number), why) = (there.number, &there.error)
                    && number <= 0
                {
                    let why = why.as_deref().unwrap_or("it says nothing about why");
                    problems.push(format!(
                        "Open vSwitch could not open port {}: {why}",
                        port.name
                    ));
                } else if there.number.is_none() {
                    problems.push(format!("port {} has no OpenFlow number yet", port.name));
                }
            }
        }
    }
    problems
}

fn parent_problems(parent: &Key, wirings: &Wirings, observed: &Observed) -> Vec<String> {
    match wirings.get(parent) {
        Some(Ok(Wiring::Ports(ports))) => {
            let problems = port_problems(ports, observed);
            problems
                .iter()
                .map(|why| format!("parent {parent}: {why}"))
                .collect()
        }
        Some(Ok(_)) => vec![format!(
            "parent {parent} is neither an uplink nor a function"
        )],
        Some(Err(why)) => vec![format!("parent {parent}: {why}")],
        None => vec![format!("parent {parent} is not wired by this agent")],
    }
}

fn chains(desired: &mut Desired, resolver: &Resolver<'_>) {
    // Which chain has a port; the same port in two switches would join them.
    let mut taken: BTreeMap<Plug, Key> = BTreeMap::new();
    for (key, chain) in by_age(&resolver.inputs.chains) {
        if chain.spec.node.as_deref() != Some(resolver.node) {
            continue;
        }
        let cookie = names::cookie(key);
        desired.cookies.insert(cookie);
        if chain.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let mut wrong = Vec::new();
        for switch in ports_of(key, chain, resolver, &mut taken, &mut wrong) {
            let plugs: Vec<Plug> = switch.iter().map(|found| found.plug).collect();
            let (mut flows, learnable) = switching::flows(cookie, &plugs);
            match uplink_and_service(&switch) {
                Ok(Some((uplink, service))) => {
                    flows.extend(switching::firefly(cookie, uplink, service));
                }
                Ok(None) => {}
                Err(why) => wrong.push(why),
            }
            desired.learnable.extend(learnable);
            let flows = flows.into_iter().map(|flow| (flow.key.clone(), flow));
            desired.flows.extend(flows);
        }
        desired.chains.insert(key.clone(), wrong);
    }
}

/// The ports of each switch that could be found; one that is in the way of nobody else is used although others are missing.
fn ports_of(
    key: &Key,
    chain: &ServiceChain,
    resolver: &Resolver<'_>,
    taken: &mut BTreeMap<Plug, Key>,
    wrong: &mut Vec<String>,
) -> Vec<Vec<Found>> {
    let mut switches = Vec::new();
    for switch in &chain.spec.switches {
        let mut ports: Vec<Found> = Vec::new();
        for port in &switch.ports {
            match resolver.port(&key.namespace, port) {
                Err(why) => wrong.push(why),
                Ok(found) if ports.iter().any(|p| p.plug.port == found.plug.port) => {
                    let interface = &found.interface;
                    wrong.push(format!(
                        "interface {interface} shares its port with another interface of the same switch"
                    ));
                }
                Ok(found) => match taken.get(&found.plug) {
                    Some(other) => {
                        let interface = &found.interface;
                        wrong.push(if other == key {
                            format!("interface {interface} is in two switches of this chain")
                        } else {
                            format!("interface {interface} is in a switch of chain {other} already")
                        });
                    }
                    None => {
                        taken.insert(found.plug, key.clone());
                        ports.push(found);
                    }
                },
            }
        }
        switches.push(ports);
    }
    switches
}

/// Between which ports time synchronisation frames go.
fn uplink_and_service(ports: &[Found]) -> Result<Option<(u32, u32)>, String> {
    // The last one that asks gets them.
    let Some(service) = ports.iter().rfind(|found| found.firefly) else {
        return Ok(None);
    };
    let mut uplinks = ports
        .iter()
        .filter(|found| found.type_ == InterfaceType::Physical);
    match (uplinks.next(), uplinks.next()) {
        (Some(uplink), None) => Ok(Some((uplink.plug.port, service.plug.port))),
        (None, _) => Err(format!(
            "interface {} takes time synchronisation frames, and its switch on {BRIDGE} has no uplink port",
            service.interface
        )),
        (Some(_), Some(_)) => Err(format!(
            "interface {} takes time synchronisation frames, and its switch on {BRIDGE} has more than one physical interface",
            service.interface
        )),
    }
}

//! From what there is to what there should be, by the fewest changes.

use super::desired::{Desired, DesiredPort};
use super::flow::{Flow, FlowKey, MARK, SWITCH_TABLE};
use super::names::{self, BRIDGE};
use super::observed::{Observed, Port};
use super::switching::Learnable;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Make a bridge that drops what no flow matches.
    AddBridge {
        /// Name.
        name: String,
        /// Datapath type.
        datapath_type: String,
    },
    /// Make an existing bridge drop what no flow matches.
    SecureBridge {
        /// Name.
        name: String,
    },
    /// Add ports, all or none.
    AddPorts(Vec<DesiredPort>),
    /// Correct options and ids of a port.
    ChangePort(PortChange),
    /// Remove a port.
    DeletePort {
        /// Bridge.
        bridge: String,
        /// Name.
        name: String,
    },
    /// Change flows of [`BRIDGE`], all or none.
    ChangeFlows(Vec<FlowChange>),
}

/// What changes at a port; other keys are left as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortChange {
    /// Name of the port and of its interface.
    pub name: String,
    /// Options of the interface to set.
    pub options: BTreeMap<String, String>,
    /// External ids of the interface to set.
    pub interface_ids: BTreeMap<String, String>,
    /// External ids of the port to set.
    pub port_ids: BTreeMap<String, String>,
    /// External ids of the interface to remove.
    pub remove_interface_ids: BTreeSet<String>,
    /// External ids of the port to remove.
    pub remove_port_ids: BTreeSet<String>,
}

/// A change of one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlowChange {
    /// Add it, or replace the one with the same key.
    Set(Flow),
    /// Delete the one with this key, if its cookie is this.
    Delete {
        /// Which.
        key: FlowKey,
        /// Whose.
        cookie: u64,
    },
}

/// What to do, and what cannot be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Changes in the order in which they are made.
    pub actions: Vec<Action>,
    /// Cookies of chains with a flow in whose place somebody else has one.
    pub blocked: BTreeSet<u64>,
}

/// Plans the changes. Nothing of anybody else is among them.
#[must_use]
pub fn plan(observed: &Observed, desired: &Desired) -> Plan {
    let mut plan = Plan::default();
    bridges(&mut plan, observed, desired);
    ports(&mut plan, observed, desired);
    if let Some(switch) = &observed.switch {
        flows(&mut plan, &switch.flows, desired);
    }
    plan
}

fn bridges(plan: &mut Plan, observed: &Observed, desired: &Desired) {
    for (name, datapath_type) in &desired.bridges {
        match observed.bridges.get(name) {
            None => plan.actions.push(Action::AddBridge {
                name: name.clone(),
                datapath_type: datapath_type.clone(),
            }),
            Some(bridge) if bridge.fail_mode.as_deref() != Some("secure") => {
                plan.actions
                    .push(Action::SecureBridge { name: name.clone() });
            }
            Some(_) => {}
        }
    }
}

fn ports(plan: &mut Plan, observed: &Observed, desired: &Desired) {
    let mut missing: BTreeMap<&str, Vec<DesiredPort>> = BTreeMap::new();
    for (name, port) in &desired.ports {
        let owner = port
            .port_ids
            .get(names::AGENT)
            .map(String::as_str)
            .unwrap_or_default();
        match observed.ports.get(name) {
            None => missing.entry(owner).or_default().push(port.clone()),
            Some(there) if there.bridge == port.bridge => {
                let change = PortChange {
                    name: name.clone(),
                    options: different(&port.options, &there.options),
                    interface_ids: different(&port.interface_ids, &there.interface_ids),
                    port_ids: different(&port.port_ids, &there.port_ids),
                    ..PortChange::default()
                };
                let nothing = PortChange {
                    name: name.clone(),
                    ..PortChange::default()
                };
                if change != nothing {
                    plan.actions.push(Action::ChangePort(change));
                }
            }
            // Somebody moved it between the decision and now; the next round says so.
            Some(_) => {}
        }
    }
    for (name, port) in &observed.ports {
        if desired.ports.contains_key(name) {
            continue;
        }
        if desired.released.contains(name) && port.bridge == BRIDGE {
            release(plan, name, port);
        } else if is_stale(name, port, desired) {
            plan.actions.push(Action::DeletePort {
                bridge: port.bridge.clone(),
                name: name.clone(),
            });
        }
    }
    // After the deletions: the name of a device may be free only then.
    plan.actions
        .extend(missing.into_values().map(Action::AddPorts));
}

fn different(
    desired: &BTreeMap<String, String>,
    observed: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let differs = |(key, value): &(&String, &String)| observed.get(*key) != Some(*value);
    let changed = desired.iter().filter(differs);
    changed
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Takes our marks off a port, so that from now on it is nobody's.
fn release(plan: &mut Plan, name: &str, port: &Port) {
    let held = |ids: &BTreeMap<String, String>, ours: &[&str]| -> BTreeSet<String> {
        let held = ours.iter().filter(|key| ids.contains_key(**key));
        held.map(|key| (*key).to_owned()).collect()
    };
    let change = PortChange {
        name: name.to_owned(),
        remove_interface_ids: held(&port.interface_ids, &[names::ID]),
        remove_port_ids: held(&port.port_ids, &[names::AGENT, names::TYPE]),
        ..PortChange::default()
    };
    if !(change.remove_interface_ids.is_empty() && change.remove_port_ids.is_empty()) {
        plan.actions.push(Action::ChangePort(change));
    }
}

/// Whether a port that nobody needs is ours to remove.
fn is_stale(name: &str, port: &Port, desired: &Desired) -> bool {
    let Some(owner) = owner(port) else {
        return false;
    };
    if desired.unresolved.contains(owner) {
        return false;
    }
    // An uplink may carry the whole card: it goes only when its object is being deleted.
    let physical = port
        .port_ids
        .get(names::TYPE)
        .is_some_and(|t| t == names::PHYSICAL);
    !physical || desired.removed.contains(name)
}

/// The ServiceInterface that a port was added for, by this agent or by the original.
fn owner(port: &Port) -> Option<&str> {
    if let Some(owner) = port.port_ids.get(names::AGENT) {
        return Some(owner);
    }
    let id = port.interface_ids.get(names::ID)?;
    // What the CNI adds has an owner, or names a pod and its interface.
    let of_interface = id.split('/').count() == 2 && !port.port_ids.contains_key(names::OWNER);
    (of_interface && port.bridge == BRIDGE).then_some(id)
}

fn flows(plan: &mut Plan, observed: &[Flow], desired: &Desired) {
    let marked = observed.iter().filter(|flow| flow.mark == MARK);
    let mut cookies: BTreeSet<u64> = marked.map(|flow| flow.cookie).collect();
    cookies.extend(&desired.cookies);
    let ours = |flow: &Flow| flow.mark == MARK || cookies.contains(&flow.cookie);
    let mut missing: BTreeMap<&FlowKey, &Flow> = desired.flows.iter().collect();
    let mut changes = Vec::new();
    for flow in observed {
        match desired.flows.get(&flow.key) {
            Some(wanted) if wanted == flow => {
                missing.remove(&flow.key);
            }
            // It is replaced.
            Some(_) if ours(flow) => {}
            Some(wanted) => {
                plan.blocked.insert(wanted.cookie);
                missing.remove(&flow.key);
            }
            None if ours(flow) && !is_learnt(flow, &desired.learnable) => {
                changes.push(FlowChange::Delete {
                    key: flow.key.clone(),
                    cookie: flow.cookie,
                });
            }
            None => {}
        }
    }
    // First what is new: a frame finds its way at every moment, even where a bundle is not atomic.
    let mut all: Vec<_> = missing
        .into_values()
        .cloned()
        .map(FlowChange::Set)
        .collect();
    all.append(&mut changes);
    if !all.is_empty() {
        plan.actions.push(Action::ChangeFlows(all));
    }
}

/// Whether a flow is one that the learn actions of now could have added.
fn is_learnt(flow: &Flow, learnable: &Learnable) -> bool {
    if flow.mark == MARK || flow.key.table != SWITCH_TABLE {
        return false;
    }
    let mut port = flow.key.matching.clone();
    if !matches!(
        port.destination.take(),
        Some(super::flow::Destination::Exactly(_))
    ) {
        return false;
    }
    let place = learnable.get(&(flow.key.priority, flow.cookie, port));
    place.is_some_and(|actions| actions.contains(&flow.actions))
}

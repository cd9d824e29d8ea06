//! From objects to ports: which port an interface is, and which ports a chain joins.

use super::desired::DesiredPort;
use super::inputs::{Inputs, Settings};
use super::names::{self, BRIDGE, Key};
use super::observed::{Device, Observed};
use super::switching::Plug;
use dpf_api::svc::{ChainPort, InterfaceType, NicSelector, ServiceInterface};
use std::collections::BTreeMap;

/// VLAN numbers that a frame can carry; 0 means no VLAN and 4095 is reserved.
const VLANS: std::ops::RangeInclusive<i64> = 1..=4094;

/// What an interface is in the switch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wiring {
    /// Ports that this agent adds; the first is the one on [`BRIDGE`].
    Ports(Vec<DesiredPort>),
    /// The CNI adds the port.
    Pod,
    /// A tag on the port of another interface.
    Vlan {
        /// Number of the VLAN.
        tag: u16,
        /// The interface below.
        parent: Key,
    },
}

/// What `interface` needs.
///
/// # Errors
/// Why it cannot be had, in words for its condition.
pub(super) fn wiring(
    key: &Key,
    interface: &ServiceInterface,
    inputs: &Inputs,
    observed: &Observed,
    settings: &Settings,
) -> Result<Wiring, String> {
    let spec = &interface.spec;
    let missing = |block: &str| format!("spec.{block} is not set, and interfaceType is {block}");
    let device = |name: &str, port_ids: &[(&str, &str)]| {
        let text = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        let mut port = DesiredPort::new(key, BRIDGE, name, &settings.port_type);
        port.mtu_request = Some(settings.port_mtu);
        port.port_ids.extend(port_ids.iter().map(text));
        port
    };
    match spec.interface_type {
        InterfaceType::Service => {
            let service = spec.service.as_ref().ok_or_else(|| missing("service"))?;
            if service.interface_name.is_empty() {
                return Err("spec.service.interfaceName is empty".to_owned());
            }
            Ok(Wiring::Pod)
        }
        InterfaceType::Physical => {
            let physical = spec.physical.as_ref().ok_or_else(|| missing("physical"))?;
            let uplink = device(&physical.interface_name, &[(names::TYPE, names::PHYSICAL)]);
            Ok(Wiring::Ports(vec![uplink]))
        }
        InterfaceType::Pf => {
            let pf = spec.pf.as_ref().ok_or_else(|| missing("pf"))?;
            let name = representor(&observed.devices, pf.pf_id, None, pf.nic_selector.as_ref())?;
            Ok(Wiring::Ports(vec![device(&name, &[])]))
        }
        InterfaceType::Vf => {
            let vf = spec.vf.as_ref().ok_or_else(|| missing("vf"))?;
            let selector = vf.nic_selector.as_ref();
            let name = representor(&observed.devices, vf.pf_id, Some(vf.vf_id), selector)?;
            Ok(Wiring::Ports(vec![device(&name, &[])]))
        }
        InterfaceType::Vlan => {
            let vlan = spec.vlan.as_ref().ok_or_else(|| missing("vlan"))?;
            let wrong = || format!("spec.vlan.vlanID {} is not one of 1 to 4094", vlan.vlan_id);
            let tag = Some(vlan.vlan_id).filter(|id| VLANS.contains(id));
            let tag = tag
                .and_then(|id| u16::try_from(id).ok())
                .ok_or_else(wrong)?;
            let parent = parent(key, interface, &vlan.parent_interface_ref, inputs)?;
            Ok(Wiring::Vlan { tag, parent })
        }
        InterfaceType::Ovn => {
            let external = spec
                .ovn
                .as_ref()
                .and_then(|ovn| ovn.external_bridge.as_deref());
            let external = external.unwrap_or(names::OVN_BRIDGE);
            let (here, there) = names::ovn_pair(BRIDGE, external);
            let mut pair = pair(key, external, &here, &there, observed)?;
            // The original leaves the far end without an id.
            if let Some(far) = pair.get_mut(1) {
                far.interface_ids.clear();
            }
            Ok(Wiring::Ports(pair))
        }
        InterfaceType::Patch => {
            let patch = spec.patch.as_ref().ok_or_else(|| missing("patch"))?;
            let ids = patch.peer_external_ids.clone().unwrap_or_default();
            if ids.contains_key(names::ID) {
                return Err(format!(
                    "spec.patch.peerExternalIDs has the key {}, which is reserved",
                    names::ID
                ));
            }
            let name = patch.peer_patch_name.as_deref();
            let (here, there) = names::patch_pair(BRIDGE, &patch.peer_bridge, name, key);
            let mut pair = pair(key, &patch.peer_bridge, &here, &there, observed)?;
            if let Some(far) = pair.get_mut(1) {
                far.interface_ids.extend(ids);
            }
            Ok(Wiring::Ports(pair))
        }
    }
}

fn pair(
    key: &Key,
    external: &str,
    here: &str,
    there: &str,
    observed: &Observed,
) -> Result<Vec<DesiredPort>, String> {
    if external == BRIDGE {
        return Err(format!(
            "the peer bridge of a patch cannot be {BRIDGE} itself"
        ));
    }
    if !observed.bridges.contains_key(external) {
        return Err(format!("bridge {external} does not exist on this DPU"));
    }
    let end = |bridge: &str, name: &str, peer: &str| {
        let mut port = DesiredPort::new(key, bridge, name, "patch");
        port.options.insert("peer".to_owned(), peer.to_owned());
        port
    };
    Ok(vec![end(BRIDGE, here, there), end(external, there, here)])
}

/// The device that stands for a function of the host.
///
/// Devices are known by the name of the function behind them; where the system does not tell it, the customary name is
/// taken, and Open vSwitch says whether there is such a device.
fn representor(
    devices: &[Device],
    pf: i64,
    vf: Option<i64>,
    selector: Option<&NicSelector>,
) -> Result<String, String> {
    let suffix = vf.map(|vf| format!("vf{vf}")).unwrap_or_default();
    let controller = selector.and_then(|s| s.controller_number).unwrap_or(1);
    let functions = [
        format!("c{controller}pf{pf}{suffix}"),
        format!("pf{pf}{suffix}"),
    ];
    let card = selector.filter(|s| s.type_ == "pci");
    let card = card
        .and_then(|s| s.pci.as_ref())
        .map(|p| p.address.to_lowercase());
    // All functions of a card share domain, bus and device.
    let slot = card
        .as_deref()
        .map(|address| address.split('.').next().unwrap_or(address));
    let on_card = |device: &&Device| {
        slot.is_none_or(|slot| {
            let address = device.address.as_deref().map(str::to_lowercase);
            address.is_some_and(|address| address.split('.').next() == Some(slot))
        })
    };
    let found: Vec<_> = devices.iter().filter(on_card).collect();
    let what = || match vf {
        Some(vf) => format!("virtual function {vf} of physical function {pf}"),
        None => format!("physical function {pf}"),
    };
    for function in &functions {
        let mut named = found.iter().filter(|device| device.function == *function);
        match (named.next(), named.next()) {
            (Some(device), None) => return Ok(device.name.clone()),
            (Some(_), Some(_)) => {
                return Err(format!(
                    "more than one device of this DPU stands for {}; say which card in nicSelector",
                    what()
                ));
            }
            (None, _) => {}
        }
    }
    match (slot, vf) {
        (Some(slot), _) => Err(format!(
            "no device of the card at {slot} stands for {}",
            what()
        )),
        (None, Some(vf)) => Ok(format!("pf{pf}vf{vf}")),
        (None, None) => Ok(format!("pf{pf}hpf")),
    }
}

/// The interface that a VLAN is on.
///
/// The reference carries `-<node>` behind a name, which is that of the interface itself, of the set it was made from, or
/// of the device.
fn parent(
    key: &Key,
    interface: &ServiceInterface,
    reference: &str,
    inputs: &Inputs,
) -> Result<Key, String> {
    let node = interface.spec.node.as_deref().unwrap_or_default();
    let bare = reference
        .strip_suffix(node)
        .and_then(|r| r.strip_suffix('-'));
    let here = inputs.interfaces.iter().filter(|(other, candidate)| {
        other.namespace == key.namespace
            && *other != key
            && candidate.spec.node == interface.spec.node
            && candidate.metadata.deletion_timestamp.is_none()
    });
    let named = |(other, candidate): &(&Key, &ServiceInterface)| {
        let set = candidate.metadata.labels.as_ref();
        let set = set.and_then(|l| l.get(dpf_api::keys::labels::SERVICEINTERFACESET_NAME));
        let device = candidate.spec.physical.as_ref().map(|p| &p.interface_name);
        let is = |name: &str| {
            other.name == name
                || set.is_some_and(|set| set == name)
                || device.is_some_and(|device| device == name)
        };
        is(reference) || bare.is_some_and(is)
    };
    let found: Vec<_> = here.filter(named).map(|(other, _)| other).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(format!(
            "no ServiceInterface of this node is the parent {reference:?} of the VLAN"
        )),
        many => Err(format!(
            "{} ServiceInterfaces of this node answer to the parent {reference:?} of the VLAN",
            many.len()
        )),
    }
}

/// A port of a chain that was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) interface: Key,
    pub(super) type_: InterfaceType,
    pub(super) plug: Plug,
    pub(super) firefly: bool,
}

/// Looks up ports of chains.
pub(super) struct Resolver<'a> {
    pub(super) inputs: &'a Inputs,
    pub(super) observed: &'a Observed,
    pub(super) node: &'a str,
    /// What each interface of this node is, or why it is not ready.
    pub(super) wirings: &'a BTreeMap<Key, Result<Wiring, String>>,
    /// What keeps the ports of an interface from working.
    pub(super) problems: &'a BTreeMap<Key, String>,
}

impl Resolver<'_> {
    /// The port that a chain means.
    ///
    /// # Errors
    /// Why there is none, in words for the condition of the chain.
    pub(super) fn port(&self, namespace: &str, port: &ChainPort) -> Result<Found, String> {
        let labels = &port.service_interface.match_labels;
        let (key, interface) = self.select(namespace, labels)?;
        if has_virtual_network(interface) {
            return Err(format!(
                "interface {key} has a virtual network, cannot be chained on {BRIDGE} bridge"
            ));
        }
        let mut found = Found {
            interface: key.clone(),
            type_: interface.spec.interface_type,
            plug: Plug { port: 0, tag: None },
            firefly: false,
        };
        match self.wiring(key)? {
            Wiring::Pod => {
                let (number, firefly) = self.pod_port(interface, key)?;
                found.plug.port = number;
                found.firefly = firefly;
            }
            Wiring::Ports(_) => found.plug.port = self.own_port(key)?,
            Wiring::Vlan { tag, parent } => {
                found.plug.tag = Some(*tag);
                found.plug.port = match self.wiring(parent)? {
                    Wiring::Ports(_) => self.own_port(parent)?,
                    Wiring::Pod | Wiring::Vlan { .. } => {
                        return Err(format!(
                            "interface {key} is a VLAN on {parent}, which is neither an uplink nor a function"
                        ));
                    }
                };
            }
        }
        Ok(found)
    }

    fn select(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(&Key, &ServiceInterface), String> {
        let selects = |(key, interface): &(&Key, &ServiceInterface)| {
            let own = interface.metadata.labels.as_ref();
            key.namespace == namespace
                && interface.spec.node.as_deref() == Some(self.node)
                && labels
                    .iter()
                    .all(|(k, v)| own.and_then(|own| own.get(k)) == Some(v))
        };
        let all: Vec<_> = self.inputs.interfaces.iter().filter(selects).collect();
        // One that is on its way out does not stand in the way of its successor.
        let stays = |(_, i): &&(&Key, &ServiceInterface)| i.metadata.deletion_timestamp.is_none();
        let found: Vec<_> = all.iter().filter(stays).copied().collect();
        let text: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let (text, node) = (text.join(","), self.node);
        match (found.as_slice(), all.as_slice()) {
            ([one], _) => Ok(*one),
            ([], []) => Err(format!(
                "no serviceInterface in namespace({namespace}) matching labels({text}) on node({node}) found"
            )),
            ([], [(key, _), ..]) => Err(format!("serviceInterface {key} is being deleted")),
            (many, _) => Err(format!(
                "expected only one serviceInterface in namespace({namespace}) matching labels({text}) on node({node}), found {}",
                many.len()
            )),
        }
    }

    fn wiring(&self, key: &Key) -> Result<&Wiring, String> {
        let unready = |why: &str| format!("serviceInterface {key} is not ready: {why}");
        match self.wirings.get(key) {
            None => Err(unready("it is not on this node")),
            Some(Err(why)) => Err(unready(why)),
            Some(Ok(wiring)) => match self.problems.get(key) {
                Some(why) => Err(unready(why)),
                None => Ok(wiring),
            },
        }
    }

    fn own_port(&self, key: &Key) -> Result<u32, String> {
        let id = key.to_string();
        let mut here = self
            .observed
            .with_id(&id)
            .filter(|(_, port)| port.bridge == BRIDGE);
        match (here.next(), here.next()) {
            (Some((name, _)), None) => self.observed.number(name),
            (None, _) => Err(format!(
                "serviceInterface {key} has no port on {BRIDGE} yet"
            )),
            (Some(_), Some(_)) => Err(format!(
                "found more than one port of serviceInterface {key} on {BRIDGE}"
            )),
        }
    }

    /// The port of a service, and whether it asks for time synchronisation frames.
    fn pod_port(&self, interface: &ServiceInterface, key: &Key) -> Result<(u32, bool), String> {
        let Some(service) = &interface.spec.service else {
            return Err(format!("serviceInterface {key} names no service"));
        };
        let of_service = self.inputs.pods.iter().filter(|(pod, status)| {
            pod.namespace == key.namespace && status.service_id == service.service_id
        });
        let all: Vec<_> = of_service.collect();
        // A pod on its way out counts only while it has no successor.
        let stays: Vec<_> = all.iter().filter(|(_, pod)| !pod.deleting).collect();
        let (namespace, id) = (&key.namespace, &service.service_id);
        let (pod, status) = match (stays.as_slice(), all.as_slice()) {
            ([one], _) => **one,
            ([], [one]) => *one,
            ([], []) => {
                return Err(format!(
                    "no pod in namespace({namespace}) of service({id}) on node({}) found",
                    self.node
                ));
            }
            (many, all) => {
                return Err(format!(
                    "expected only one pod in namespace({namespace}) of service({id}) on node({}), found {}",
                    self.node,
                    many.len().max(all.len())
                ));
            }
        };
        let pod_id = names::pod_id(pod, &service.interface_name);
        let found: Vec<_> = self.observed.with_id(&pod_id).collect();
        let here = found.iter().find(|(_, port)| port.bridge == BRIDGE);
        let name = match (here, found.as_slice()) {
            (Some((name, _)), _) => (*name).to_owned(),
            (None, [(name, _)]) => names::hbn_patch(BRIDGE, name),
            (None, []) => {
                return Err(format!(
                    "pod {pod} has no port for interface {} yet",
                    service.interface_name
                ));
            }
            (None, many) => {
                return Err(format!(
                    "found {} interfaces with {} {pod_id}, none on {BRIDGE}",
                    many.len(),
                    names::ID
                ));
            }
        };
        Ok((self.observed.number(&name)?, status.firefly))
    }
}

/// Whether the interface belongs to a virtual network, which other controllers wire.
pub(super) fn has_virtual_network(interface: &ServiceInterface) -> bool {
    let spec = &interface.spec;
    let network = match spec.interface_type {
        InterfaceType::Pf => spec.pf.as_ref().and_then(|b| b.virtual_network.as_ref()),
        InterfaceType::Vf => spec.vf.as_ref().and_then(|b| b.virtual_network.as_ref()),
        InterfaceType::Service => spec
            .service
            .as_ref()
            .and_then(|b| b.virtual_network.as_ref()),
        _ => None,
    };
    network.is_some_and(|network| !network.is_empty())
}

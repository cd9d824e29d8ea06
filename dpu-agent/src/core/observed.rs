//! What the switch has.

use super::flow::Flow;
use super::names;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of a port's name that OpenFlow has room for.
pub const SWITCH_NAME: usize = 15;

/// What is there now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Bridges by name.
    pub bridges: BTreeMap<String, Bridge>,
    /// Ports of all bridges by name; OVS keeps these names unique.
    pub ports: BTreeMap<String, Port>,
    /// Inside [`names::BRIDGE`]; none while its switch does not answer.
    pub switch: Option<Switch>,
    /// Network devices of the DPU.
    pub devices: Vec<Device>,
}

/// A bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// `secure`: without a flow nothing is forwarded.
    pub fail_mode: Option<String>,
}

/// A port and its interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Bridge that it is on.
    pub bridge: String,
    /// External ids of the port.
    pub port_ids: BTreeMap<String, String>,
    /// External ids of the interface.
    pub interface_ids: BTreeMap<String, String>,
    /// Options of the interface.
    pub options: BTreeMap<String, String>,
    /// Number in OpenFlow; below zero when the device could not be opened.
    pub number: Option<i64>,
    /// Why the device could not be opened.
    pub error: Option<String>,
}

/// Inside of [`names::BRIDGE`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Names of the ports by number, as the switch itself knows them: cut after [`SWITCH_NAME`] bytes.
    pub ports: BTreeMap<u32, String>,
    /// All flows.
    pub flows: Vec<Flow>,
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Name.
    pub name: String,
    /// Name of the function behind it, for example `c1pf0vf3`.
    pub function: String,
    /// PCI address.
    pub address: Option<String>,
}

impl Observed {
    /// The OpenFlow number of a port of [`names::BRIDGE`].
    ///
    /// The database and the switch must agree: after a restart of the switch the database speaks of the former one for
    /// a moment, and a number that meanwhile belongs to another port would join two services.
    ///
    /// # Errors
    /// What keeps the port from having one.
    pub fn number(&self, name: &str) -> Result<u32, String> {
        let port = self.ports.get(name);
        let Some(port) = port.filter(|port| port.bridge == names::BRIDGE) else {
            return Err(format!("port {name} is not on {}", names::BRIDGE));
        };
        if port.number.is_some_and(|number| number <= 0) {
            let why = port.error.as_deref().unwrap_or("it says nothing about why");
            return Err(format!("Open vSwitch could not open port {name}: {why}"));
        }
        let number = port.number.and_then(|number| u32::try_from(number).ok());
        let short: &str = name.get(..SWITCH_NAME).unwrap_or(name);
        let agrees = |number: &u32| {
            let switch = self.switch.as_ref();
            switch
                .and_then(|switch| switch.ports.get(number))
                .is_some_and(|known| known == short)
        };
        let number = number.filter(agrees);
        number.ok_or_else(|| format!("port {name} has no OpenFlow number yet"))
    }

    /// Names of ports whose interface carries this [`names::ID`].
    pub fn with_id<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (&'a str, &'a Port)> {
        let carries =
            move |port: &&Port| port.interface_ids.get(names::ID).is_some_and(|v| v == id);
        let all = self.ports.iter().map(|(name, port)| (name.as_str(), port));
        all.filter(move |(_, port)| carries(port))
    }
}

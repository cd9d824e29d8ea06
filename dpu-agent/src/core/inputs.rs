//! What the API says about this node.

use super::names::{self, Key};
use dpf_api::svc::{ServiceChain, ServiceInterface};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Objects of this node.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Chains. Those of other nodes are ignored.
    pub chains: BTreeMap<Key, ServiceChain>,
    /// Interfaces. Those of other nodes are ignored.
    pub interfaces: BTreeMap<Key, ServiceInterface>,
    /// Pods of services.
    pub pods: BTreeMap<Key, ServicePod>,
}

/// A pod on this node that runs a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePod {
    /// Which service.
    pub service_id: String,
    /// It asks for the flows of the time synchronisation service.
    pub firefly: bool,
    /// It is on its way out.
    pub deleting: bool,
}

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Name of the node; objects of others are not touched.
    pub node: String,
    /// Bridges that are made when they are missing.
    pub bridges: Vec<String>,
    /// Datapath type of bridges that are made.
    pub datapath_type: String,
    /// OVS type of ports to network devices: `dpdk` on a DPU, `system` elsewhere.
    pub port_type: String,
    /// MTU asked for ports that are added, in bytes.
    pub port_mtu: i64,
}

impl Settings {
    /// Of a DPU with hardware offload; the MTU is the largest that a chain may ask for.
    #[must_use]
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            bridges: vec![names::BRIDGE.to_owned(), names::HBN_BRIDGE.to_owned()],
            datapath_type: "netdev".to_owned(),
            port_type: "dpdk".to_owned(),
            port_mtu: 9216,
        }
    }
}

//! Flows as data.

use serde::{Deserialize, Serialize};

/// Written into the field `importance` of every flow of ours, which OVS keeps and uses for nothing unless a table evicts.
///
/// It makes ours recognisable in the switch itself, so that what a killed agent left behind is found without a record
/// that could differ from the truth. Flows that a learn action adds cannot carry it; they share a cookie with one that does.
pub const MARK: u16 = 0x4450;
/// Where frames enter: who sent what is learnt here.
pub const ENTRY_TABLE: u8 = 0;
/// Where frames leave: learnt addresses, and flooding.
pub const SWITCH_TABLE: u8 = 1;
/// Seconds after which an address that nobody sends to is forgotten.
pub const IDLE_SECONDS: u16 = 10;
/// Priority in [`ENTRY_TABLE`] of a port.
pub const ENTER: u16 = 0;
/// Priority in [`ENTRY_TABLE`] of flows that bypass the switch.
pub const BYPASS: u16 = 50;
/// Priority in [`SWITCH_TABLE`] of sending to all others.
pub const FLOOD: u16 = 0;
/// Priority in [`SWITCH_TABLE`] of a learnt address.
pub const LEARNT: u16 = 1;
/// Priority in [`SWITCH_TABLE`] of broadcast and multicast.
pub const MULTICAST: u16 = 2;
/// Added to a priority for a VLAN on a port, so that it goes before the port itself.
pub const TAGGED: u16 = 10;

/// What identifies a flow in the switch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FlowKey {
    /// Table.
    pub table: u8,
    /// Priority; the highest matching flow decides.
    pub priority: u16,
    /// Which packets.
    pub matching: Match,
}

/// Which packets. Unset fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Match {
    /// OpenFlow number of the port they came in.
    pub in_port: Option<u32>,
    /// Destination address.
    pub destination: Option<Destination>,
    /// VLAN tag.
    pub vlan: Option<VlanMatch>,
    /// Fields that this agent never writes, as they stand on the wire.
    pub other: Vec<u8>,
}

/// Destination addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Destination {
    /// All with the multicast bit, broadcast included.
    Multicast,
    /// One.
    Exactly([u8; 6]),
}

/// VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VlanMatch {
    /// None.
    Untagged,
    /// This one.
    Tag(u16),
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// What identifies it.
    pub key: FlowKey,
    /// Whose it is.
    pub cookie: u64,
    /// [`MARK`] on ours.
    pub mark: u16,
    /// What is done, in order.
    pub actions: Vec<FlowAction>,
}

/// What is done with a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FlowAction {
    /// Send it out.
    Output(u32),
    /// Go on in this table.
    Resubmit(u8),
    /// Replace the VLAN tag; without a value remove it.
    SetTag(Option<u16>),
    /// Add a flow by which others reach the sender.
    Learn(Learn),
    /// What this agent never writes, as it stands on the wire.
    Other(Vec<u8>),
}

/// The flow that a learn action adds to [`SWITCH_TABLE`]: frames of `port` to the sender go where the sender is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Learn {
    /// Cookie of the new flow.
    pub cookie: u64,
    /// Priority of the new flow.
    pub priority: u16,
    /// The port whose frames it is for.
    pub port: u32,
    /// The tag of those frames, for a VLAN.
    pub tag: Option<u16>,
    /// What happens to the tag on the way to the sender.
    pub retag: Option<Option<u16>>,
}

//! Messages as bytes, in both directions.
//!
//! What comes in is not trusted: every length is checked against what is there, and nothing is reserved by a length that
//! the other side names. What this agent never writes is kept as bytes, so that it is never mistaken for its own.

use crate::core::flow::{
    Destination, Flow, FlowAction, FlowKey, IDLE_SECONDS, Learn, Match, SWITCH_TABLE, VlanMatch,
};
use crate::core::plan::FlowChange;

/// OpenFlow 1.4.
pub const VERSION: u8 = 5;
/// Bytes of a header.
pub const HEADER: usize = 8;

/// Message types.
pub mod kind {
    /// First message in either direction.
    pub const HELLO: u8 = 0;
    /// A request failed.
    pub const ERROR: u8 = 1;
    /// Are you there?
    pub const ECHO_REQUEST: u8 = 2;
    /// Yes.
    pub const ECHO_REPLY: u8 = 3;
    /// Change of a flow.
    pub const FLOW_MOD: u8 = 14;
    /// Request of a list.
    pub const MULTIPART_REQUEST: u8 = 18;
    /// Part of a list.
    pub const MULTIPART_REPLY: u8 = 19;
    /// Opens, commits or discards a bundle.
    pub const BUNDLE_CONTROL: u8 = 33;
    /// Adds a message to a bundle.
    pub const BUNDLE_ADD: u8 = 34;
}

/// Lists.
pub mod list {
    /// Flows.
    pub const FLOWS: u16 = 1;
    /// Ports.
    pub const PORTS: u16 = 13;
}

/// What is done with a bundle.
pub mod bundle {
    /// Open it.
    pub const OPEN: u16 = 0;
    /// Commit it.
    pub const COMMIT: u16 = 4;
    /// It is committed.
    pub const COMMITTED: u16 = 5;
    /// All or nothing, and in order.
    pub const FLAGS: u16 = 3;
}

const ANY: u32 = 0xffff_ffff;
const ALL_TABLES: u8 = 0xff;
const ALL_BITS: u64 = u64::MAX;
const FLOW_ADD: u8 = 0;
const FLOW_DELETE_STRICT: u8 = 4;
const MATCH_OXM: u16 = 1;
const APPLY_ACTIONS: u16 = 4;
const ACTION_OUTPUT: u16 = 0;
const ACTION_EXPERIMENTER: u16 = 0xffff;
const NICIRA: u32 = 0x2320;
const NX_LOAD: u16 = 7;
const NX_RESUBMIT: u16 = 14;
const NX_LEARN: u16 = 16;
/// In a resubmit: keep the port that the packet came in.
const SAME_PORT: u16 = 0xfff8;
const OXM_IN_PORT: u32 = 0x8000_0004;
const OXM_ETH_DST: u32 = 0x8000_0606;
const OXM_ETH_DST_MASKED: u32 = 0x8000_070c;
const OXM_VLAN: u32 = 0x8000_0c02;
const NXM_IN_PORT: u32 = 0x0002;
const NXM_ETH_DST: u32 = 0x0206;
const NXM_ETH_SRC: u32 = 0x0406;
const NXM_VLAN_TCI: u32 = 0x0802;
/// Bit of a VLAN field that says: there is a tag.
const PRESENT: u16 = 0x1000;
const MULTICAST: [u8; 6] = [1, 0, 0, 0, 0, 0];
const LEARN_MATCH_VALUE: u16 = 0x2000;
const LEARN_LOAD_VALUE: u16 = 0x2800;
const LEARN_OUTPUT: u16 = 0x1000;
/// Longest name of a port on the wire.
const PORT_NAME: usize = 16;

/// A message with its head.
#[must_use]
pub fn message(kind: u8, xid: u32, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    let mut bytes = vec![VERSION, kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend(xid.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// The first message: this version and no other.
#[must_use]
pub fn hello(xid: u32) -> Vec<u8> {
    // One element, the bitmap of versions.
    let mut body = vec![0, 1, 0, 8];
    body.extend((1u32 << VERSION).to_be_bytes());
    message(kind::HELLO, xid, &body)
}

/// Asks for all flows.
#[must_use]
pub fn flows_request(xid: u32) -> Vec<u8> {
    let mut body = Vec::with_capacity(48);
    body.extend(list::FLOWS.to_be_bytes());
    body.extend([0; 6]);
    body.extend([ALL_TABLES, 0, 0, 0]);
    body.extend(ANY.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    body.extend([0; 4]);
    body.extend([0; 16]);
    put_match(&mut body, &Match::default());
    message(kind::MULTIPART_REQUEST, xid, &body)
}

/// Asks for all ports.
#[must_use]
pub fn ports_request(xid: u32) -> Vec<u8> {
    let mut body = list::PORTS.to_be_bytes().to_vec();
    body.extend([0; 6]);
    message(kind::MULTIPART_REQUEST, xid, &body)
}

/// Opens or commits a bundle.
#[must_use]
pub fn bundle_control(xid: u32, id: u32, what: u16) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(what.to_be_bytes());
    body.extend(bundle::FLAGS.to_be_bytes());
    message(kind::BUNDLE_CONTROL, xid, &body)
}

/// Adds a change to a bundle.
#[must_use]
pub fn bundle_add(xid: u32, id: u32, change: &FlowChange) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend([0, 0]);
    body.extend(bundle::FLAGS.to_be_bytes());
    body.extend(flow_mod(xid, change));
    message(kind::BUNDLE_ADD, xid, &body)
}

fn flow_mod(xid: u32, change: &FlowChange) -> Vec<u8> {
    let (key, cookie, mask, command, mark) = match change {
        FlowChange::Set(flow) => (&flow.key, flow.cookie, 0, FLOW_ADD, flow.mark),
        FlowChange::Delete { key, cookie } => (key, *cookie, ALL_BITS, FLOW_DELETE_STRICT, 0),
    };
    let mut body = cookie.to_be_bytes().to_vec();
    body.extend(mask.to_be_bytes());
    body.extend([key.table, command]);
    body.extend([0; 4]);
    body.extend(key.priority.to_be_bytes());
    for any in [ANY; 3] {
        body.extend(any.to_be_bytes());
    }
    body.extend([0, 0]);
    body.extend(mark.to_be_bytes());
    put_match(&mut body, &key.matching);
    if let FlowChange::Set(flow) = change {
        put_instruction(&mut body, &flow.actions);
    }
    message(kind::FLOW_MOD, xid, &body)
}

fn pad(bytes: &mut Vec<u8>, from: usize) {
    while !(bytes.len() - from).is_multiple_of(8) {
        bytes.push(0);
    }
}

/// Writes the length of what began at `from` into its third and fourth byte.
fn set_length(bytes: &mut [u8], from: usize) {
    let length = u16::try_from(bytes.len() - from)
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    if let Some(place) = bytes.get_mut(from + 2..from + 4) {
        place.copy_from_slice(&length);
    }
}

fn put_match(bytes: &mut Vec<u8>, matching: &Match) {
    let from = bytes.len();
    bytes.extend(MATCH_OXM.to_be_bytes());
    bytes.extend([0, 0]);
    if let Some(port) = matching.in_port {
        bytes.extend(OXM_IN_PORT.to_be_bytes());
        bytes.extend(port.to_be_bytes());
    }
    match matching.destination {
        Some(Destination::Exactly(address)) => {
            bytes.extend(OXM_ETH_DST.to_be_bytes());
            bytes.extend(address);
        }
        Some(Destination::Multicast) => {
            bytes.extend(OXM_ETH_DST_MASKED.to_be_bytes());
            bytes.extend(MULTICAST);
            bytes.extend(MULTICAST);
        }
        None => {}
    }
    if let Some(vlan) = matching.vlan {
        let value = match vlan {
            VlanMatch::Untagged => 0,
            VlanMatch::Tag(tag) => PRESENT | tag,
        };
        bytes.extend(OXM_VLAN.to_be_bytes());
        bytes.extend(value.to_be_bytes());
    }
    bytes.extend(&matching.other);
    set_length(bytes, from);
    pad(bytes, from);
}

fn put_instruction(bytes: &mut Vec<u8>, actions: &[FlowAction]) {
    let from = bytes.len();
    bytes.extend(APPLY_ACTIONS.to_be_bytes());
    bytes.extend([0; 6]);
    for action in actions {
        put_action(bytes, action);
    }
    set_length(bytes, from);
}

fn put_action(bytes: &mut Vec<u8>, action: &FlowAction) {
    let from = bytes.len();
    match action {
        FlowAction::Output(port) => {
            bytes.extend(ACTION_OUTPUT.to_be_bytes());
            bytes.extend([0, 16]);
            bytes.extend(port.to_be_bytes());
            bytes.extend([0; 8]);
        }
        FlowAction::Resubmit(table) => {
            put_nicira(bytes, NX_RESUBMIT);
            bytes.extend(SAME_PORT.to_be_bytes());
            bytes.extend([*table, 0, 0, 0]);
        }
        FlowAction::SetTag(tag) => {
            put_nicira(bytes, NX_LOAD);
            // Offset 0, 16 bits.
            bytes.extend(15u16.to_be_bytes());
            bytes.extend(NXM_VLAN_TCI.to_be_bytes());
            bytes.extend(u64::from(tci(*tag)).to_be_bytes());
        }
        FlowAction::Learn(learn) => put_learn(bytes, learn),
        FlowAction::Other(other) => {
            bytes.extend(other);
            return;
        }
    }
    pad(bytes, from);
    set_length(bytes, from);
}

fn put_nicira(bytes: &mut Vec<u8>, subtype: u16) {
    bytes.extend(ACTION_EXPERIMENTER.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(NICIRA.to_be_bytes());
    bytes.extend(subtype.to_be_bytes());
}

fn tci(tag: Option<u16>) -> u16 {
    tag.map_or(0, |tag| PRESENT | tag)
}

fn put_learn(bytes: &mut Vec<u8>, learn: &Learn) {
    put_nicira(bytes, NX_LEARN);
    bytes.extend(IDLE_SECONDS.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(learn.priority.to_be_bytes());
    bytes.extend(learn.cookie.to_be_bytes());
    bytes.extend([0, 0, SWITCH_TABLE, 0, 0, 0, 0, 0]);
    // Numbers of ports are below 0xff00 in Open vSwitch.
    let port = u16::try_from(learn.port).unwrap_or(u16::MAX);
    put_value(bytes, LEARN_MATCH_VALUE | 16, port, NXM_IN_PORT);
    if let Some(tag) = learn.tag {
        put_value(bytes, LEARN_MATCH_VALUE | 13, PRESENT | tag, NXM_VLAN_TCI);
    }
    bytes.extend(48u16.to_be_bytes());
    for field in [NXM_ETH_SRC, NXM_ETH_DST] {
        bytes.extend(field.to_be_bytes());
        bytes.extend([0, 0]);
    }
    if let Some(tag) = learn.retag {
        put_value(bytes, LEARN_LOAD_VALUE | 16, tci(tag), NXM_VLAN_TCI);
    }
    bytes.extend((LEARN_OUTPUT | 16).to_be_bytes());
    bytes.extend(NXM_IN_PORT.to_be_bytes());
    bytes.extend([0, 0]);
}

fn put_value(bytes: &mut Vec<u8>, head: u16, value: u16, field: u32) {
    bytes.extend(head.to_be_bytes());
    bytes.extend(value.to_be_bytes());
    bytes.extend(field.to_be_bytes());
    bytes.extend([0, 0]);
}

/// A message that is not what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the switch sent a message that is malformed: {0}")]
pub struct Malformed(&'static str);

/// Head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Version of OpenFlow.
    pub version: u8,
    /// Message type.
    pub kind: u8,
    /// Length in bytes, this head included.
    pub length: usize,
    /// Number of the request.
    pub xid: u32,
}

/// Reads a head; none while there are not enough bytes.
///
/// # Errors
/// When the length is smaller than the head.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let mut reader = Reader(bytes);
    let (Ok(version), Ok(kind), Ok(length), Ok(xid)) =
        (reader.u8(), reader.u8(), reader.u16(), reader.u32())
    else {
        return Ok(None);
    };
    let length = usize::from(length);
    if length < HEADER {
        return Err(Malformed("a message is shorter than its head"));
    }
    Ok(Some(Head {
        version,
        kind,
        length,
        xid,
    }))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| Malformed("it ends too early"))
    }
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }
    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }
    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }
    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }
}

/// Body of a part of a list: which list, whether more parts follow, and the items.
///
/// # Errors
/// [`Malformed`] when it ends too early.
pub fn part(body: &[u8]) -> Result<(u16, bool, &[u8]), Malformed> {
    let mut reader = Reader(body);
    let which = reader.u16()?;
    let flags = reader.u16()?;
    reader.take(4)?;
    Ok((which, flags & 1 != 0, reader.0))
}

/// Items of the list of ports: number and name.
///
/// # Errors
/// [`Malformed`] when a length is wrong.
pub fn ports(mut items: &[u8]) -> Result<Vec<(u32, String)>, Malformed> {
    let mut ports = Vec::new();
    while !items.is_empty() {
        let mut reader = Reader(items);
        let number = reader.u32()?;
        let length = usize::from(reader.u16()?);
        reader.take(10)?;
        let name = reader.take(PORT_NAME)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        ports.push((number, String::from_utf8_lossy(name).into_owned()));
        let read = items.len() - reader.0.len();
        if length < read {
            return Err(Malformed("a port is shorter than its head"));
        }
        items = items
            .get(length..)
            .ok_or(Malformed("a port ends too early"))?;
    }
    Ok(ports)
}

/// Items of the list of flows.
///
/// # Errors
/// [`Malformed`] when a length is wrong.
pub fn flows(mut items: &[u8]) -> Result<Vec<Flow>, Malformed> {
    let mut flows = Vec::new();
    while !items.is_empty() {
        let length = usize::from(Reader(items).u16()?);
        let (item, rest) = items
            .split_at_checked(length)
            .ok_or(Malformed("a flow ends too early"))?;
        let mut reader = Reader(item);
        reader.take(2)?;
        let table = reader.u8()?;
        // Padding, duration.
        reader.take(9)?;
        let priority = reader.u16()?;
        // Time limits, flags.
        reader.take(6)?;
        let mark = reader.u16()?;
        reader.take(2)?;
        let cookie = reader.u64()?;
        // Counters.
        reader.take(16)?;
        let matching = get_match(&mut reader)?;
        let actions = get_instructions(reader)?;
        let key = FlowKey {
            table,
            priority,
            matching,
        };
        flows.push(Flow {
            key,
            cookie,
            mark,
            actions,
        });
        items = rest;
    }
    Ok(flows)
}

fn get_match(reader: &mut Reader<'_>) -> Result<Match, Malformed> {
    let type_ = reader.u16()?;
    let length = usize::from(reader.u16()?);
    let fields = length
        .checked_sub(4)
        .ok_or(Malformed("a match is shorter than its head"))?;
    let mut fields = Reader(reader.take(fields)?);
    reader.take(length.next_multiple_of(8) - length)?;
    let mut matching = Match::default();
    if type_ != MATCH_OXM {
        return Err(Malformed("a match is of a type that 1.4 does not have"));
    }
    while !fields.0.is_empty() {
        let all = fields.0;
        let header = fields.u32()?;
        let size = usize::try_from(header & 0xff).unwrap_or_default();
        let mut value = Reader(fields.take(size)?);
        match header {
            OXM_IN_PORT if matching.in_port.is_none() => matching.in_port = Some(value.u32()?),
            OXM_ETH_DST if matching.destination.is_none() => {
                matching.destination = Some(Destination::Exactly(value.array()?));
            }
            OXM_ETH_DST_MASKED if value.0 == [MULTICAST, MULTICAST].concat() => {
                matching.destination = Some(Destination::Multicast);
            }
            OXM_VLAN if matching.vlan.is_none() => match value.u16()? {
                0 => matching.vlan = Some(VlanMatch::Untagged),
                tag if tag & !0xfff == PRESENT => {
                    matching.vlan = Some(VlanMatch::Tag(tag & 0xfff));
                }
                _ => matching.other.extend(all.iter().take(4 + size)),
            },
            _ => matching.other.extend(all.iter().take(4 + size)),
        }
    }
    Ok(matching)
}

fn get_instructions(mut reader: Reader<'_>) -> Result<Vec<FlowAction>, Malformed> {
    let mut actions = Vec::new();
    while !reader.0.is_empty() {
        let all = reader.0;
        let type_ = reader.u16()?;
        let length = usize::from(reader.u16()?);
        let rest = length
            .checked_sub(4)
            .ok_or(Malformed("an instruction is shorter than its head"))?;
        let mut body = Reader(reader.take(rest)?);
        if type_ == APPLY_ACTIONS {
            body.take(4)?;
            get_actions(body, &mut actions)?;
        } else {
            actions.push(FlowAction::Other(
                all.iter().take(length).copied().collect(),
            ));
        }
    }
    Ok(actions)
}

fn get_actions(mut reader: Reader<'_>, actions: &mut Vec<FlowAction>) -> Result<(), Malformed> {
    while !reader.0.is_empty() {
        let length = {
            let mut head = Reader(reader.0);
            head.u16()?;
            usize::from(head.u16()?)
        };
        if length < HEADER {
            return Err(Malformed("an action is shorter than its head"));
        }
        let bytes = reader.take(length)?;
        let action = get_action(bytes).filter(|action| {
            // Only what would be written in exactly this way is understood; the rest belongs to others.
            let mut same = Vec::new();
            put_action(&mut same, action);
            same == bytes
        });
        actions.push(action.unwrap_or_else(|| FlowAction::Other(bytes.to_vec())));
    }
    Ok(())
}

/// What an action could be.
fn get_action(bytes: &[u8]) -> Option<FlowAction> {
    let mut reader = Reader(bytes);
    let type_ = reader.u16().ok()?;
    reader.u16().ok()?;
    if type_ == ACTION_OUTPUT {
        return reader.u32().ok().map(FlowAction::Output);
    }
    if type_ != ACTION_EXPERIMENTER || reader.u32().ok()? != NICIRA {
        return None;
    }
    match reader.u16().ok()? {
        NX_RESUBMIT => {
            reader.u16().ok()?;
            reader.u8().ok().map(FlowAction::Resubmit)
        }
        NX_LOAD => {
            reader.take(6).ok()?;
            let value = u16::try_from(reader.u64().ok()?).ok()?;
            Some(FlowAction::SetTag((value != 0).then_some(value & 0xfff)))
        }
        NX_LEARN => get_learn(reader).map(FlowAction::Learn),
        _ => None,
    }
}

fn get_learn(mut reader: Reader<'_>) -> Option<Learn> {
    reader.take(4).ok()?;
    let priority = reader.u16().ok()?;
    let cookie = reader.u64().ok()?;
    reader.take(8).ok()?;
    let mut learn = Learn {
        cookie,
        priority,
        port: 0,
        tag: None,
        retag: None,
    };
    loop {
        let head = reader.u16().ok()?;
        let count = match head {
            head if head == LEARN_MATCH_VALUE | 16 => {
                learn.port = u32::from(reader.u16().ok()?);
                6
            }
            head if head == LEARN_MATCH_VALUE | 13 => {
                learn.tag = Some(reader.u16().ok()? & 0xfff);
                6
            }
            head if head == LEARN_LOAD_VALUE | 16 => {
                let value = reader.u16().ok()?;
                learn.retag = Some((value != 0).then_some(value & 0xfff));
                6
            }
            48 => 12,
            head if head == LEARN_OUTPUT | 16 => return Some(learn),
            _ => return None,
        };
        reader.take(count).ok()?;
    }
}

/// Type and code of an error message.
///
/// # Errors
/// [`Malformed`] when it ends too early.
pub fn error(body: &[u8]) -> Result<(u16, u16), Malformed> {
    let mut reader = Reader(body);
    Ok((reader.u16()?, reader.u16()?))
}

/// What a bundle control message says.
///
/// # Errors
/// [`Malformed`] when it ends too early.
pub fn bundle_state(body: &[u8]) -> Result<u16, Malformed> {
    let mut reader = Reader(body);
    reader.u32()?;
    reader.u16()
}

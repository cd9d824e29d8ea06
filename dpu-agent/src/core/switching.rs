//! Flows of one learning switch.
//!
//! ```text
//!   table 0, 0   in_port=P             learn "to this sender: P" for every other port Q, go on in table 1
//!   table 1, 2   in_port=P, multicast  to all others
//!   table 1, 1   in_port=Q, sender     to P                                 (learnt; forgotten after 10 s without use)
//!   table 1, 0   in_port=P             to all others
//! ```
//!
//! A frame always passes table 0, so a sender is refreshed also while it only talks to learnt addresses. A port that is
//! in no switch matches nothing and, as the bridge fails secure, is dropped. A VLAN on a port has the same flows ten
//! priorities higher, with its tag in the match; in a switch that has one, frames with a tag of their own do not enter by
//! the other ports, because they would leave by the VLAN with the wrong one.

use super::flow::{
    BYPASS, Destination, ENTER, ENTRY_TABLE, FLOOD, Flow, FlowAction, FlowKey, LEARNT, Learn, MARK,
    MULTICAST, Match, SWITCH_TABLE, TAGGED, VlanMatch,
};
use std::collections::{BTreeMap, BTreeSet};

/// A port of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Plug {
    /// OpenFlow number.
    pub(super) port: u32,
    /// Tag, for a VLAN.
    pub(super) tag: Option<u16>,
}

/// Which learnt flows are right: priority, cookie and match without the address, and what may then be done.
pub(super) type Learnable = BTreeMap<(u16, u64, Match), BTreeSet<Vec<FlowAction>>>;

impl Plug {
    fn priority(self, base: u16) -> u16 {
        base + if self.tag.is_some() { TAGGED } else { 0 }
    }

    /// To send to `to` what came in here.
    fn retag(self, to: Self) -> Option<Option<u16>> {
        (self.tag != to.tag).then_some(to.tag)
    }
}

/// Flows of a switch with these ports, and what they may learn. With less than two ports there is nothing to do.
pub(super) fn flows(cookie: u64, plugs: &[Plug]) -> (Vec<Flow>, Learnable) {
    let mut flows = Vec::new();
    let mut learnable = Learnable::new();
    if plugs.len() < 2 {
        return (flows, learnable);
    }
    let has_tags = plugs.iter().any(|plug| plug.tag.is_some());
    for plug in plugs {
        let vlan = match plug.tag {
            Some(tag) => Some(VlanMatch::Tag(tag)),
            None => has_tags.then_some(VlanMatch::Untagged),
        };
        let entering = Match {
            in_port: Some(plug.port),
            vlan,
            ..Match::default()
        };
        let others: Vec<Plug> = plugs.iter().filter(|p| *p != plug).copied().collect();
        let mut enter: Vec<_> = others
            .iter()
            .map(|other| learn(cookie, *plug, *other))
            .collect();
        enter.push(FlowAction::Resubmit(SWITCH_TABLE));
        flows.push(flow(
            cookie,
            ENTRY_TABLE,
            plug.priority(ENTER),
            entering.clone(),
            enter,
        ));
        let inside = Match {
            vlan: plug.tag.map(VlanMatch::Tag),
            ..entering
        };
        let all = flood(*plug, &others);
        let multicast = Match {
            destination: Some(Destination::Multicast),
            ..inside.clone()
        };
        flows.push(flow(
            cookie,
            SWITCH_TABLE,
            plug.priority(MULTICAST),
            multicast,
            all.clone(),
        ));
        flows.push(flow(
            cookie,
            SWITCH_TABLE,
            plug.priority(FLOOD),
            inside.clone(),
            all,
        ));
        let to_sender = others.iter().map(|other| send(*plug, *other));
        learnable.insert((plug.priority(LEARNT), cookie, inside), to_sender.collect());
    }
    (flows, learnable)
}

/// Time synchronisation frames, which a bridge must not forward, between an uplink and the service that answers them.
pub(super) fn firefly(cookie: u64, uplink: u32, service: u32) -> Vec<Flow> {
    const PEER_DELAY: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e];
    let one_way = |from: u32, to: u32| {
        let matching = Match {
            in_port: Some(from),
            destination: Some(Destination::Exactly(PEER_DELAY)),
            ..Match::default()
        };
        flow(
            cookie,
            ENTRY_TABLE,
            BYPASS,
            matching,
            vec![FlowAction::Output(to)],
        )
    };
    vec![one_way(uplink, service), one_way(service, uplink)]
}

fn flow(cookie: u64, table: u8, priority: u16, matching: Match, actions: Vec<FlowAction>) -> Flow {
    Flow {
        key: FlowKey {
            table,
            priority,
            matching,
        },
        cookie,
        mark: MARK,
        actions,
    }
}

/// What `other` sends to the one who sent from `sender` goes there.
fn learn(cookie: u64, sender: Plug, other: Plug) -> FlowAction {
    FlowAction::Learn(Learn {
        cookie,
        priority: other.priority(LEARNT),
        port: other.port,
        tag: other.tag,
        retag: other.retag(sender),
    })
}

fn send(from: Plug, to: Plug) -> Vec<FlowAction> {
    let retag = from.retag(to).map(FlowAction::SetTag);
    retag
        .into_iter()
        .chain([FlowAction::Output(to.port)])
        .collect()
}

/// To all others; a tag is changed only where the next one needs another.
fn flood(from: Plug, others: &[Plug]) -> Vec<FlowAction> {
    let mut actions = Vec::new();
    let mut tag = from.tag;
    // Those that take the frame as it came go first.
    let (same, different): (Vec<Plug>, Vec<Plug>) = others.iter().partition(|p| p.tag == tag);
    for plug in same.into_iter().chain(different) {
        if plug.tag != tag {
            tag = plug.tag;
            actions.push(FlowAction::SetTag(tag));
        }
        actions.push(FlowAction::Output(plug.port));
    }
    actions
}

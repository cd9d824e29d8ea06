//! What comes from a socket is not trusted: truncated, huge, out of order, or plain noise.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is a failed test with a line number"
)]

use dpu_agent::core::flow::{
    Destination, Flow, FlowAction, FlowKey, Learn, MARK, Match, VlanMatch,
};
use dpu_agent::core::plan::FlowChange;
use dpu_agent::io::openflow::{Connection, SwitchError, wire};
use dpu_agent::io::ovsdb::frame::{DEEPEST, FrameError, LARGEST, Splitter};
use dpu_agent::io::ovsdb::mirror::Mirror;
use dpu_agent::io::ovsdb::{Database, DatabaseError};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What Open vSwitch 3.1 answered to a request for all flows: two VLAN flows, one that learns, one for multicast.
const RECORDED: &str = include_str!("data/flows-ovs-3.1.hex");

fn recorded() -> Vec<u8> {
    let digits: Vec<u8> = RECORDED.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

#[test]
fn flows_of_the_real_switch_are_understood() {
    let flows = wire::flows(&recorded()).unwrap();
    assert_eq!(flows.len(), 4);
    assert!(
        flows
            .iter()
            .all(|flow| flow.cookie == 1234 && flow.key.matching.in_port == Some(1))
    );
    assert_eq!(flows[0].key.matching.vlan, Some(VlanMatch::Tag(100)));
    // Removing a tag by its own action is not how this agent does it.
    assert!(matches!(flows[0].actions[0], FlowAction::Other(_)));
    assert_eq!(flows[0].actions[2], FlowAction::SetTag(Some(100)));
    assert_eq!(flows[1].key.matching.vlan, Some(VlanMatch::Untagged));
    assert_eq!(flows[2].mark, 777);
    let learn = |priority, port, tag: Option<u16>| {
        FlowAction::Learn(Learn {
            cookie: 1234,
            priority,
            port,
            tag,
            retag: tag.map(Some),
        })
    };
    let expected = [
        learn(1, 2, None),
        learn(11, 3, Some(100)),
        FlowAction::Resubmit(1),
    ];
    assert_eq!(flows[2].actions, expected);
    assert_eq!(
        flows[3].key.matching.destination,
        Some(Destination::Multicast)
    );
    assert_eq!(
        flows[3].actions,
        [FlowAction::Output(2), FlowAction::Output(3)]
    );
}

#[test]
fn a_recorded_answer_cut_anywhere_is_an_error_and_no_more() {
    let whole = recorded();
    let ends: Vec<usize> = [0, 0xb8, 0x60, 0xf0]
        .iter()
        .scan(0, |end, l| {
            *end += l;
            Some(*end)
        })
        .collect();
    for end in 0..whole.len() {
        let outcome = wire::flows(&whole[..end]);
        assert_eq!(outcome.is_ok(), ends.contains(&end), "cut at {end}");
    }
}

fn any_flow() -> impl Strategy<Value = Flow> {
    let tag = || prop::option::of(1..4095u16);
    let destination = prop_oneof![
        Just(Destination::Multicast),
        any::<[u8; 6]>().prop_map(Destination::Exactly)
    ];
    let vlan = prop_oneof![
        Just(VlanMatch::Untagged),
        (1..4095u16).prop_map(VlanMatch::Tag)
    ];
    let learn = (
        any::<u64>(),
        any::<u16>(),
        1..0xff00u32,
        tag(),
        prop::option::of(tag()),
    );
    let action = prop_oneof![
        any::<u32>().prop_map(FlowAction::Output),
        any::<u8>().prop_map(FlowAction::Resubmit),
        tag().prop_map(FlowAction::SetTag),
        learn.prop_map(|(cookie, priority, port, tag, retag)| {
            FlowAction::Learn(Learn {
                cookie,
                priority,
                port,
                tag,
                retag,
            })
        }),
    ];
    let matching = (
        prop::option::of(any::<u32>()),
        prop::option::of(destination),
        prop::option::of(vlan),
    );
    let head = (any::<u8>(), any::<u16>(), any::<u64>());
    (head, matching, prop::collection::vec(action, 0..6)).prop_map(|(head, matching, actions)| {
        Flow {
            key: FlowKey {
                table: head.0,
                priority: head.1,
                matching: Match {
                    in_port: matching.0,
                    destination: matching.1,
                    vlan: matching.2,
                    other: Vec::new(),
                },
            },
            cookie: head.2,
            mark: MARK,
            actions,
        }
    })
}

/// A flow as the switch lists it, made of the message that adds it.
fn listed(flow: &Flow) -> Vec<u8> {
    let message = wire::bundle_add(1, 1, &FlowChange::Set(flow.clone()));
    // Heads of both messages, the number of the bundle, and the fixed part of the change.
    let rest = &message[wire::HEADER + 8 + wire::HEADER + 40..];
    let mut item = vec![0, 0, flow.key.table, 0];
    item.extend([0; 8]);
    item.extend(flow.key.priority.to_be_bytes());
    item.extend([0; 6]);
    item.extend(flow.mark.to_be_bytes());
    item.extend([0; 2]);
    item.extend(flow.cookie.to_be_bytes());
    item.extend([0; 16]);
    item.extend(rest);
    let length = u16::try_from(item.len()).unwrap().to_be_bytes();
    item[..2].copy_from_slice(&length);
    item
}

fn rows(name: &str) -> Value {
    json!({
        "Open_vSwitch": {"o": {"new": {"ovs_version": "3.1.0"}}},
        "Bridge": {"b": {"new": {"name": "br-sfc", "ports": ["uuid", "p"], "fail_mode": "secure"}}},
        "Port": {"p": {"new": {"name": name, "interfaces": ["uuid", "i"], "external_ids": ["map", [["k", "v"]]]}}},
        "Interface": {"i": {"new": {"name": name, "ofport": 7, "error": ["set", []],
            "options": ["map", []], "external_ids": ["map", [["dpf-id", "a/b"]]]}}}
    })
}

#[test]
fn rows_in_any_order_become_ports() {
    let all = rows("p0");
    let mut mirror = Mirror::default();
    for table in ["Interface", "Port", "Bridge", "Open_vSwitch"] {
        mirror.update(&json!({table: all[table]})).unwrap();
    }
    let snapshot = mirror.snapshot().unwrap();
    let port = &snapshot.ports["p0"];
    assert_eq!((port.number, port.bridge.as_str()), (Some(7), "br-sfc"));
    assert_eq!(port.interface_ids["dpf-id"], "a/b");
    // The row goes before the reference to it.
    mirror
        .update(&json!({"Port": {"p": {"old": {"name": "p0"}}}}))
        .unwrap();
    let snapshot = mirror.snapshot().unwrap();
    assert!(snapshot.ports.is_empty() && snapshot.bridges.contains_key("br-sfc"));
}

#[test]
fn messages_beyond_the_bounds_are_refused() {
    let mut deep = Splitter::default();
    deep.push(b"[");
    assert_eq!(deep.message(), Err(FrameError::NotAnObject(b'[')));
    let mut deep = Splitter::default();
    deep.push(format!("{{\"a\":{}", "[".repeat(DEEPEST)).as_bytes());
    assert_eq!(deep.message(), Err(FrameError::TooDeep));
    let mut huge = Splitter::default();
    huge.push(b"{\"a\":\"");
    let block = vec![b'x'; 1 << 20];
    let refused = (0..=LARGEST >> 20).find_map(|_| {
        huge.push(&block);
        huge.message().err()
    });
    assert_eq!(refused, Some(FrameError::TooLarge));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop_oneof![
            Just("set"),
            Just("map"),
            Just("uuid"),
            Just("new"),
            Just("p"),
            Just("i")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let key = prop_oneof![
            "[a-z]{1,3}",
            Just("new".to_owned()),
            Just("Port".to_owned()),
            Just("Bridge".to_owned()),
            Just("Interface".to_owned()),
            Just("ports".to_owned()),
            Just("name".to_owned()),
            Just("interfaces".to_owned())
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(flows in prop::collection::vec(any_flow(), 0..4)) {
        let bytes: Vec<u8> = flows.iter().flat_map(listed).collect();
        prop_assert_eq!(wire::flows(&bytes).unwrap(), flows);
    }

    #[test]
    fn noise_is_never_more_than_an_error(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = wire::flows(&noise);
        let _ = wire::ports(&noise);
        let _ = wire::part(&noise);
        let _ = wire::head(&noise);
        let _ = wire::error(&noise);
        let mut splitter = Splitter::default();
        splitter.push(&noise);
        while let Ok(Some(_)) = splitter.message() {}
    }

    #[test]
    fn a_damaged_list_is_never_more_than_an_error(
        flow in any_flow(), at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut bytes = listed(&flow);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = wire::flows(&bytes);
    }

    #[test]
    fn a_stream_is_cut_the_same_however_it_arrives(
        messages in prop::collection::vec(any_json(), 0..5), size in 1..50usize
    ) {
        let messages: Vec<Value> = messages.into_iter().map(|m| json!({"m": m, "s": "}\\\"{"})).collect();
        let text: String = messages.iter().map(|m| format!("{m} \n")).collect();
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            splitter.push(chunk);
            while let Some(message) = splitter.message().unwrap() {
                found.push(serde_json::from_slice::<Value>(&message).unwrap());
            }
        }
        prop_assert_eq!(found, messages);
    }

    #[test]
    fn any_rows_are_ports_or_an_error(update in any_json(), table in 0..3usize, column in any_json()) {
        let mut mirror = Mirror::default();
        mirror.update(&rows("p0")).unwrap();
        let _ = mirror.update(&update);
        let name = ["Bridge", "Port", "Interface"][table];
        let _ = mirror.update(&json!({name: {"b": {"new": {"name": "x", "ports": column, "interfaces": column}}}}));
        let _ = mirror.snapshot();
    }
}

/// A peer that says what a test wants it to say.
struct Peer(UnixListener);

impl Peer {
    fn bind(path: &Path) -> Self {
        Self(UnixListener::bind(path).unwrap())
    }

    async fn accept(&self) -> UnixStream {
        timeout(Duration::from_secs(5), self.0.accept())
            .await
            .unwrap()
            .unwrap()
            .0
    }
}

async fn hear(stream: &mut UnixStream) -> Value {
    let mut splitter = Splitter::default();
    let mut chunk = [0; 4096];
    loop {
        if let Some(message) = splitter.message().unwrap() {
            return serde_json::from_slice(&message).unwrap();
        }
        let count = timeout(Duration::from_secs(5), stream.read(&mut chunk))
            .await
            .unwrap()
            .unwrap();
        assert!(count > 0, "the client left");
        splitter.push(&chunk[..count]);
    }
}

async fn say(stream: &mut UnixStream, message: Value) {
    stream
        .write_all(message.to_string().as_bytes())
        .await
        .unwrap();
}

async fn port_of(database: &mut Database) -> Option<String> {
    for _ in 0..500 {
        if let Some(snapshot) = database.snapshot() {
            return snapshot.ports.keys().next().cloned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}

#[tokio::test]
async fn the_mirror_is_made_anew_after_whatever_the_peer_did() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db.sock");
    let peer = Peer::bind(&path);
    let stop = CancellationToken::new();
    let mut database = Database::start(path, stop.clone());

    // A message that ends in the middle, noise, a level too many, an answer that is no list of tables.
    let deep = format!("{{\"x\":{}", "[".repeat(100));
    for said in [
        r#"{"id":1,"resu"#,
        "hello",
        &deep,
        r#"{"id":1,"result":7,"error":null}"#,
    ] {
        let mut stream = peer.accept().await;
        assert_eq!(hear(&mut stream).await["method"], "monitor");
        stream.write_all(said.as_bytes()).await.unwrap();
    }
    // An update before the answer, an answer to nothing, and then the truth.
    let mut stream = peer.accept().await;
    let id = hear(&mut stream).await["id"].clone();
    say(
        &mut stream,
        json!({"method": "update", "params": ["Open_vSwitch", rows("early")], "id": null}),
    )
    .await;
    say(&mut stream, json!({"id": 99, "result": {}, "error": null})).await;
    say(
        &mut stream,
        json!({"id": id, "result": rows("p0"), "error": null}),
    )
    .await;
    assert_eq!(port_of(&mut database).await.as_deref(), Some("p0"));
    // A request of the peer is answered.
    say(
        &mut stream,
        json!({"method": "echo", "params": ["there?"], "id": "e"}),
    )
    .await;
    assert_eq!(
        hear(&mut stream).await,
        json!({"id": "e", "result": ["there?"], "error": null})
    );
    // A transaction that fails in one operation fails.
    let (refused, ()) = tokio::join!(database.transact(vec![json!({"op": "abort"})]), async {
        let id = hear(&mut stream).await["id"].clone();
        let result = json!([{}, {"error": "constraint violation", "details": "twice"}]);
        say(
            &mut stream,
            json!({"id": id, "result": result, "error": null}),
        )
        .await;
    });
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, DatabaseError::Refused(why) if why.contains("twice")),
        "{refused}"
    );
    // One that is never answered ends with the connection, and the mirror with it.
    let (lost, ()) = tokio::join!(database.transact(vec![]), async {
        hear(&mut stream).await;
        drop(stream);
    });
    assert!(matches!(lost, Err(DatabaseError::Closed)));
    let mut stream = peer.accept().await;
    let id = hear(&mut stream).await["id"].clone();
    assert!(database.snapshot().is_none());
    say(
        &mut stream,
        json!({"id": id, "result": rows("p1"), "error": null}),
    )
    .await;
    assert_eq!(port_of(&mut database).await.as_deref(), Some("p1"));
    stop.cancel();
}

#[tokio::test]
async fn a_switch_that_speaks_something_else_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("br-sfc.mgmt");
    let peer = Peer::bind(&path);
    let answers = async |bytes: Vec<u8>| {
        let (opened, _kept) = tokio::join!(Connection::open(&path), async {
            let mut stream = peer.accept().await;
            stream.write_all(&bytes).await.unwrap();
            let mut heard = [0; 16];
            stream.read_exact(&mut heard).await.unwrap();
            stream
        });
        opened
    };
    let old = answers(vec![1, 0, 0, 8, 0, 0, 0, 1]).await;
    assert!(matches!(old, Err(SwitchError::Version(1))));
    let malformed = answers(vec![5, 0, 0, 3, 0, 0, 0, 1]).await;
    assert!(matches!(malformed, Err(SwitchError::Malformed(_))));
    let refused = answers(wire::message(wire::kind::ERROR, 1, &[0, 0, 0, 1])).await;
    assert!(matches!(
        refused,
        Err(SwitchError::Refused { kind: 0, code: 1 })
    ));
    assert!(matches!(
        Connection::open(&directory.path().join("none")).await,
        Err(SwitchError::Connect { .. })
    ));
}

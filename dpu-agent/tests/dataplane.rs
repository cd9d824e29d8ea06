//! Real packets through a real switch: Open vSwitch in userspace, network namespaces as pods.

#![allow(clippy::disallowed_types, reason = "tests measure time")]

mod support;

use dpf_ovs_sandbox::Namespace;
use serde_json::json;
use std::time::{Duration, Instant};
use support::{Flood, Node, isolated, reaches, skipped};

/// Packets of a flood: three seconds at a thousand a second.
const FLOOD: u32 = 3000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_a_chain_reach_each_other_and_nobody_else_does() {
    if skipped() {
        return;
    }
    let mut node = Node::start().await;
    let producer = node.service("producer", "10.1.0.1/24");
    let consumer = node.service("consumer", "10.1.0.2/24");
    let stranger = node.service("stranger", "10.1.0.3/24");
    node.publish();
    assert!(
        isolated(&producer, "10.1.0.2"),
        "without a chain nothing is forwarded"
    );
    node.chain("c", &[&["producer", "consumer"]]);
    node.ready().await;
    assert!(reaches(&producer, "10.1.0.2") && reaches(&consumer, "10.1.0.1"));
    assert!(isolated(&stranger, "10.1.0.1") && isolated(&producer, "10.1.0.3"));

    // A second chain on the same DPU, with the same addresses.
    let other = node.service("other", "10.1.0.2/24");
    node.chain("d", &[&["stranger", "other"]]);
    node.ready().await;
    assert!(reaches(&stranger, "10.1.0.2"));
    assert!(isolated(&stranger, "10.1.0.1") && isolated(&other, "10.1.0.1"));

    // Gone is gone, and the other chain stays.
    node.wanted.chains.pop_first();
    node.publish();
    node.eventually("no path in the deleted chain", |_| {
        isolated(&producer, "10.1.0.2")
    })
    .await;
    assert!(reaches(&stranger, "10.1.0.2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_with_three_ports_learns() {
    if skipped() {
        return;
    }
    let mut node = Node::start().await;
    let names = ["a", "b", "c"];
    let pods: Vec<_> = (1..)
        .zip(names)
        .map(|(i, n)| node.service(n, &format!("10.2.0.{i}/24")))
        .collect();
    node.chain("three", &[&names]);
    node.ready().await;
    for (from, to) in [(0, 2), (0, 3), (1, 1), (1, 3), (2, 1), (2, 2)] {
        assert!(
            reaches(&pods[from], &format!("10.2.0.{to}")),
            "{from} to {to}"
        );
    }
    let received = |pod: &Namespace| -> u64 {
        let text = pod
            .run("cat", &["/sys/class/net/eth1/statistics/rx_packets"])
            .unwrap();
        text.trim().parse().unwrap()
    };
    let before = received(&pods[2]);
    let output = pods[0]
        .output("ping", &["-c", "50", "-i", "0.01", "10.2.0.2"])
        .unwrap();
    assert!(output.status.success());
    let flooded = received(&pods[2]) - before;
    assert!(
        flooded < 10,
        "{flooded} of 100 frames between two ports reached the third"
    );
    let flows = node
        .sandbox
        .ofctl(&["dump-flows"], "br-sfc", &["table=1"])
        .unwrap();
    assert!(flows.contains("idle_timeout=10, priority=1"), "{flows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_edit_that_keeps_two_ports_loses_no_packet_between_them() {
    if skipped() {
        return;
    }
    let mut node = Node::start().await;
    let a = node.service("a", "10.3.0.1/24");
    let _b = node.service("b", "10.3.0.2/24");
    let c = node.service("c", "10.3.0.3/24");
    node.chain("edited", &[&["a", "b"]]);
    node.ready().await;
    assert!(reaches(&a, "10.3.0.2"));
    let flood = Flood::start(&a, "10.3.0.2", FLOOD);
    for ports in [&["a", "b", "c"][..], &["a", "b"], &["c", "b", "a"]] {
        tokio::time::sleep(Duration::from_millis(500)).await;
        node.chain("edited", &[ports]);
        node.ready().await;
    }
    assert!(reaches(&c, "10.3.0.2"));
    assert_eq!(flood.finish().await, (FLOOD, FLOOD));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_loses_no_packet_and_its_successor_cleans_up() {
    if skipped() {
        return;
    }
    let mut node = Node::start().await;
    let a = node.service("a", "10.4.0.1/24");
    let b = node.service("b", "10.4.0.2/24");
    let (c, _d) = (
        node.service("c", "10.4.1.1/24"),
        node.service("d", "10.4.1.2/24"),
    );
    node.chain("kept", &[&["a", "b"]]);
    node.chain("lost", &[&["c", "d"]]);
    node.interface("uplink", "patch", json!({"peerBridge": "br-hbn"}));
    node.publish();
    node.ready().await;
    assert!(reaches(&a, "10.4.0.2") && reaches(&c, "10.4.1.2"));
    let foreign = "cookie=0x77,table=0,priority=5,in_port=60000,actions=drop";
    node.sandbox
        .ofctl(&["add-flow"], "br-sfc", &[foreign])
        .unwrap();
    node.sandbox
        .vsctl(&[
            "add-port",
            "br-sfc",
            "theirs",
            "--",
            "set",
            "Interface",
            "theirs",
            "type=internal",
        ])
        .unwrap();

    let flood = Flood::start(&a, "10.4.0.2", FLOOD);
    tokio::time::sleep(Duration::from_millis(500)).await;
    node.kill_agent().await;
    // Meanwhile a chain and an interface go.
    node.wanted.chains.pop_last();
    node.wanted.interfaces.retain(|key, _| key.name != "uplink");
    node.publish();
    tokio::time::sleep(Duration::from_millis(500)).await;
    node.start_agent();
    node.publish();
    node.ready().await;
    node.eventually("what is left of the chain to be removed", |_| {
        isolated(&c, "10.4.1.2")
    })
    .await;
    node.eventually("the patch to be removed", |node| {
        let ports = ["br-sfc", "br-hbn"].map(|b| node.sandbox.vsctl(&["list-ports", b]).unwrap());
        !ports.concat().contains("p_br")
    })
    .await;
    assert_eq!(flood.finish().await, (FLOOD, FLOOD));
    let flows = node
        .sandbox
        .ofctl(&["dump-flows"], "br-sfc", &["cookie=0x77/-1"])
        .unwrap();
    assert!(
        flows.contains("in_port=60000"),
        "flows of others stay: {flows}"
    );
    assert!(
        node.sandbox
            .vsctl(&["list-ports", "br-sfc"])
            .unwrap()
            .contains("theirs")
    );
    drop(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_switch_or_the_database_is_repaired() {
    if skipped() {
        return;
    }
    let mut node = Node::start().await;
    let a = node.service("a", "10.5.0.1/24");
    let _b = node.service("b", "10.5.0.2/24");
    node.chain("c", &[&["a", "b"]]);
    node.ready().await;
    assert!(reaches(&a, "10.5.0.2"));
    let before = node
        .sandbox
        .ofctl(&["dump-flows", "--no-stats"], "br-sfc", &["table=0"])
        .unwrap();
    node.sandbox.restart_switch().unwrap();
    let restarted = Instant::now();
    node.eventually("the flows after a restart", |node| {
        let flows = node
            .sandbox
            .ofctl(&["dump-flows", "--no-stats"], "br-sfc", &["table=0"]);
        flows.is_ok_and(|flows| flows.lines().count() == before.lines().count())
    })
    .await;
    let took = restarted.elapsed();
    println!(
        "repaired {} ms after the restart of ovs-vswitchd",
        took.as_millis()
    );
    assert!(took < Duration::from_secs(2), "repaired after {took:?}");
    node.ready().await;
    assert!(reaches(&a, "10.5.0.2"));

    node.sandbox.restart_database().unwrap();
    assert!(reaches(&a, "10.5.0.2"), "forwarding needs no database");
    let c = node.service("c", "10.5.0.3/24");
    node.chain("c", &[&["a", "b", "c"]]);
    node.ready().await;
    assert!(reaches(&c, "10.5.0.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vlan_tags_and_an_uplink_gets_its_mtu() {
    if skipped() {
        return;
    }
    let mut node = Node::start().await;
    let inside = node.service("inside", "10.6.0.1/24");
    // What is plugged into p0: a second switch, with access ports of VLANs 100 and 200.
    let own = node.sandbox.namespace().name().to_owned();
    dpf_ovs_sandbox::run(
        "ip",
        &[
            "-n", &own, "link", "add", "p0", "type", "veth", "peer", "name", "wire",
        ],
    )
    .unwrap();
    dpf_ovs_sandbox::run("ip", &["-n", &own, "link", "set", "p0", "up"]).unwrap();
    dpf_ovs_sandbox::run(
        "ip",
        &["-n", &own, "link", "set", "wire", "up", "mtu", "9216"],
    )
    .unwrap();
    node.sandbox
        .vsctl(&[
            "add-br",
            "fabric",
            "--",
            "set",
            "bridge",
            "fabric",
            "datapath_type=netdev",
            "--",
            "add-port",
            "fabric",
            "wire",
        ])
        .unwrap();
    let outside: Vec<_> = [("100", "t100"), ("200", "t200"), ("", "bare")]
        .map(|(tag, name)| {
            let pod = Namespace::new(&format!("dpf-{name}-{}", std::process::id())).unwrap();
            node.sandbox.wire(name, &pod, "eth1").unwrap();
            pod.run("ip", &["addr", "add", "10.6.0.2/24", "dev", "eth1"])
                .unwrap();
            node.sandbox.vsctl(&["add-port", "fabric", name]).unwrap();
            if !tag.is_empty() {
                node.sandbox
                    .vsctl(&["set", "port", name, &format!("tag={tag}")])
                    .unwrap();
            }
            pod
        })
        .into();
    node.interface("uplink", "physical", json!({"interfaceName": "p0"}));
    node.interface(
        "tagged",
        "vlan",
        json!({"vlanID": 100, "parentInterfaceRef": "uplink"}),
    );
    node.chain("c", &[&["inside", "tagged"]]);
    node.ready().await;
    assert!(
        reaches(&outside[0], "10.6.0.1"),
        "VLAN 100 leads to the service"
    );
    assert!(isolated(&outside[1], "10.6.0.1"), "VLAN 200 leads nowhere");
    assert!(isolated(&outside[2], "10.6.0.1"), "no VLAN leads nowhere");
    inside.run("ip", &["neigh", "flush", "all"]).unwrap();
    assert!(reaches(&inside, "10.6.0.2"));
    let link = dpf_ovs_sandbox::run("ip", &["-n", &own, "-o", "link", "show", "p0"]).unwrap();
    assert!(link.contains("mtu 9216"), "{link}");
    let ids = node
        .sandbox
        .vsctl(&["--bare", "--columns=external_ids", "list", "port", "p0"])
        .unwrap();
    assert!(ids.contains("dpf-type=physical"), "{ids}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_on_br_hbn_and_patches_to_other_bridges_are_joined() {
    if skipped() {
        return;
    }
    let mut node = Node::start().await;
    let a = node.service("a", "10.7.0.1/24");
    let routed = Namespace::new(&format!("dpf-hbn-{}", std::process::id())).unwrap();
    node.plug(&routed, "routed", "10.7.0.2/24", "br-hbn", 1500);
    let ovn = Namespace::new(&format!("dpf-ovn-{}", std::process::id())).unwrap();
    node.sandbox
        .vsctl(&[
            "add-br",
            "br-ovn",
            "--",
            "set",
            "bridge",
            "br-ovn",
            "datapath_type=netdev",
        ])
        .unwrap();
    node.sandbox.wire("vovn", &ovn, "eth1").unwrap();
    ovn.run("ip", &["addr", "add", "10.7.0.3/24", "dev", "eth1"])
        .unwrap();
    node.sandbox.vsctl(&["add-port", "br-ovn", "vovn"]).unwrap();
    // Inside br-hbn it is the service itself that forwards.
    node.sandbox
        .ofctl(&["add-flow"], "br-hbn", &["actions=normal"])
        .unwrap();
    node.interface("ovn", "ovn", json!({}));
    node.chain("c", &[&["a", "routed", "ovn"]]);
    node.ready().await;
    assert!(reaches(&a, "10.7.0.2"), "a service on br-hbn");
    assert!(
        reaches(&a, "10.7.0.3") && reaches(&ovn, "10.7.0.2"),
        "through br-ovn"
    );
    let ports = node.sandbox.vsctl(&["list-ports", "br-ovn"]).unwrap();
    assert!(ports.contains("puplinkbrovntobrsfc"), "{ports}");
    node.wanted.interfaces.retain(|key, _| key.name != "ovn");
    node.publish();
    node.eventually("both ends of the patch to be removed", |node| {
        let ports = ["br-sfc", "br-ovn"].map(|b| node.sandbox.vsctl(&["list-ports", b]).unwrap());
        !ports.concat().contains("puplink")
    })
    .await;
    assert!(reaches(&a, "10.7.0.2"));
}

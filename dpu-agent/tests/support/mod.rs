//! A node with a real switch, its agent, and pods as network namespaces.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_types,
    reason = "helpers of tests: a panic is a failed test with a line number"
)]

use dpf_api::svc::{ServiceChain, ServiceInterface};
use dpf_ovs_sandbox::{Namespace, PodPort, Sandbox};
use dpu_agent::core::inputs::ServicePod;
use dpu_agent::core::names::Key;
use dpu_agent::core::{Inputs, Settings};
use dpu_agent::io::driver::{self, Places, Report};
use serde_json::{Value, json};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const NODE: &str = "dpu-1";
pub const NAMESPACE: &str = "ns";
/// Nothing on one machine takes longer.
pub const SOON: Duration = Duration::from_secs(20);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Prints why and returns true when this machine cannot run a switch.
pub fn skipped() -> bool {
    let reason = dpf_ovs_sandbox::missing();
    if let Some(reason) = &reason {
        println!("skipped: {reason}");
    }
    reason.is_some()
}

fn unique(what: &str) -> String {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("dpf-{what}-{}-{number}", std::process::id())
}

pub fn settings() -> Settings {
    Settings {
        port_type: "system".to_owned(),
        ..Settings::new(NODE)
    }
}

/// A node and everything on it.
pub struct Node {
    pub sandbox: Sandbox,
    pub inputs: watch::Sender<Option<Arc<Inputs>>>,
    pub report: watch::Receiver<Arc<Report>>,
    pub wanted: Inputs,
    agent: Option<(CancellationToken, JoinHandle<()>)>,
    report_to: watch::Sender<Arc<Report>>,
    directory: TempDir,
}

impl Node {
    pub async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("dpf").tempdir().unwrap();
        let sandbox = Sandbox::start(directory.path(), &unique("dpu")).unwrap();
        let (inputs, _) = watch::channel(None);
        let (report_to, report) = watch::channel(Arc::default());
        let mut node = Self {
            sandbox,
            inputs,
            report,
            wanted: Inputs::default(),
            agent: None,
            report_to,
            directory,
        };
        node.start_agent();
        node.publish();
        node.eventually("the bridges", |node| {
            let bridges = node.sandbox.vsctl(&["list-br"]).unwrap();
            bridges.contains("br-sfc") && bridges.contains("br-hbn")
        })
        .await;
        node
    }

    pub fn start_agent(&mut self) {
        let stop = CancellationToken::new();
        let places = Places {
            sysfs: self.directory.path().join("no-sysfs"),
            ..Places::new(self.directory.path())
        };
        let running = driver::run(
            settings(),
            places,
            self.inputs.subscribe(),
            self.report_to.clone(),
            stop.clone(),
        );
        self.agent = Some((stop, tokio::spawn(running)));
    }

    /// Ends the agent without giving it a chance to do anything.
    pub async fn kill_agent(&mut self) {
        if let Some((stop, running)) = self.agent.take() {
            running.abort();
            let _ = running.await;
            stop.cancel();
        }
    }

    pub fn publish(&self) {
        self.inputs
            .send_replace(Some(Arc::new(self.wanted.clone())));
    }

    pub async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "not in time: {what}\n{:#?}",
                *self.report.borrow()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until these chains and all interfaces of now are in place.
    pub async fn ready(&self) {
        self.eventually("all chains and interfaces", |node| {
            let report = node.report.borrow();
            let chains = node.wanted.chains.iter().all(|(key, chain)| {
                let outcome = report.chains.get(key);
                outcome.is_some_and(|o| {
                    o.wrong.is_empty() && o.generation == chain.metadata.generation
                })
            });
            let interfaces = node.wanted.interfaces.keys().all(|key| {
                report
                    .interfaces
                    .get(key)
                    .is_some_and(|outcome| outcome.wrong.is_empty())
            });
            chains && interfaces
        })
        .await;
    }

    /// A pod of a service of this name with an interface `eth1`, and its ServiceInterface.
    pub fn service(&mut self, name: &str, address: &str) -> Namespace {
        let pod = Namespace::new(&unique("pod")).unwrap();
        self.plug(&pod, name, address, "br-sfc", 1500);
        pod
    }

    pub fn plug(&mut self, pod: &Namespace, name: &str, address: &str, bridge: &str, mtu: u32) {
        let pod_name = format!("{name}-x7k2p");
        let port = PodPort {
            namespace: NAMESPACE,
            pod: &pod_name,
            interface: "eth1",
            bridge,
            address: Some(address),
            mtu,
            representor: &format!("r{name}"),
        };
        self.sandbox.attach(pod, &port).unwrap();
        let running = ServicePod {
            service_id: name.to_owned(),
            ..ServicePod::default()
        };
        self.wanted
            .pods
            .insert(Key::new(NAMESPACE, pod_name), running);
        let service = json!({"serviceID": name, "network": "mybrsfc", "interfaceName": "eth1"});
        self.interface(name, "service", service);
    }

    /// A ServiceInterface with the label `name` of its name.
    pub fn interface(&mut self, name: &str, type_: &str, block: Value) {
        let interface: ServiceInterface = serde_json::from_value(json!({
            "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "ServiceInterface",
            "metadata": {"name": name, "namespace": NAMESPACE, "generation": 1, "labels": {"name": name}},
            "spec": {"node": NODE, "interfaceType": type_, type_: block}
        }))
        .unwrap();
        self.wanted
            .interfaces
            .insert(Key::new(NAMESPACE, name), interface);
    }

    /// A chain with these switches, or a new generation of it.
    pub fn chain(&mut self, name: &str, switches: &[&[&str]]) {
        let key = Key::new(NAMESPACE, name);
        let before = self
            .wanted
            .chains
            .get(&key)
            .and_then(|c| c.metadata.generation);
        let port = |name: &&str| json!({"serviceInterface": {"matchLabels": {"name": name}}});
        let switch = |ports: &&[&str]| json!({"ports": ports.iter().map(port).collect::<Vec<_>>()});
        let chain: ServiceChain = serde_json::from_value(json!({
            "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "ServiceChain",
            "metadata": {"name": name, "namespace": NAMESPACE, "generation": before.unwrap_or(0) + 1},
            "spec": {"node": NODE, "switches": switches.iter().map(switch).collect::<Vec<_>>()}
        }))
        .unwrap();
        self.wanted.chains.insert(key, chain);
        self.publish();
    }
}

/// Whether a ping gets an answer; a few are tried, as address resolution may just have given up.
pub fn reaches(from: &Namespace, to: &str) -> bool {
    (0..5).any(|_| pings(from, to, "1"))
}

/// Whether none of a few pings gets an answer.
pub fn isolated(from: &Namespace, to: &str) -> bool {
    !pings(from, to, "4")
}

fn pings(from: &Namespace, to: &str, count: &str) -> bool {
    let output = from
        .output("ping", &["-c", count, "-i", "0.2", "-W", "1", to])
        .unwrap();
    output.status.success()
}

/// A ping at a thousand packets a second.
pub struct Flood(Child);

impl Flood {
    pub fn start(from: &Namespace, to: &str, packets: u32) -> Self {
        let count = packets.to_string();
        let mut command = from.command("ping", &["-q", "-i", "0.001", "-c", &count, "-W", "2", to]);
        Self(
            command
                .stdout(Stdio::piped())
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// Packets sent and answered.
    pub async fn finish(self) -> (u32, u32) {
        let output = tokio::task::spawn_blocking(move || self.0.wait_with_output()).await;
        let text = String::from_utf8(output.unwrap().unwrap().stdout).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("packets transmitted"));
        let line = line.unwrap_or_else(|| panic!("no summary in {text:?}"));
        let numbers: Vec<u32> = line
            .split_whitespace()
            .filter_map(|w| w.parse().ok())
            .collect();
        println!("{line}");
        (numbers[0], numbers[1])
    }
}

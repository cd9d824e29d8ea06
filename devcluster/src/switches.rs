//! Real switches instead of simulated agents: an Open vSwitch and a `dpu-agent` per DPU, a network namespace per pod.
//!
//! ```text
//!   Node joins ──> sandbox <dir>/ovs/<node>, dpu-agent --node <node> (restarted when it dies)
//!   Pod on it  ──> namespace, and one pair of devices per interface of its network annotation: what CNIs do
//!   Node or Pod goes ──> the same backwards
//! ```
//!
//! Addresses are 10.100.0.0/16, counted per DPU; a `cni-args` with addresses or an MTU goes before.

use crate::kit::suffix;
use dpf_api::keys::labels;
use dpf_ovs_sandbox::{Namespace, PodPort, Sandbox, SandboxError};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often dead agents are started again and what failed is tried again.
const LOOK: Duration = Duration::from_secs(1);
/// Which interfaces a pod wants, as Multus reads it.
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// Network of services that route by themselves; its bridge is paired with that of the chains.
const HBN_NETWORK: &str = "mybrhbn";
/// MTU of an interface whose chain says nothing.
const MTU: u32 = 1500;
/// Bytes of a device's name that are derived: with the prefix within the 15 that the kernel takes.
const NAME: usize = 10;

/// What the switches are run with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The agent's program.
    pub program: PathBuf,
    /// Its kubeconfig.
    pub kubeconfig: PathBuf,
    /// Directory of the switches.
    pub directory: PathBuf,
}

/// What a pod wants.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    node: String,
    namespace: String,
    name: String,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Interface {
    name: String,
    bridge: &'static str,
    mtu: u32,
}

/// A DPU: its switch, its agent, and the pods on it by uid.
struct Dpu {
    sandbox: Sandbox,
    agent: Child,
    pods: BTreeMap<String, Attached>,
    addresses: u16,
}

struct Attached {
    representors: Vec<String>,
    _namespace: Namespace,
}

impl Drop for Dpu {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// Objects of a kind: what is known, and what a new list has brought so far.
struct Known<T> {
    now: BTreeMap<String, T>,
    coming: BTreeMap<String, T>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            now: BTreeMap::new(),
            coming: BTreeMap::new(),
        }
    }
}

impl<T> Known<T> {
    fn take<K>(
        &mut self,
        event: Event<K>,
        key: impl Fn(&K) -> String,
        read: impl Fn(&K) -> Option<T>,
    ) {
        match event {
            Event::Init => self.coming.clear(),
            Event::InitApply(object) => {
                self.coming
                    .extend(read(&object).map(|value| (key(&object), value)));
            }
            Event::InitDone => self.now = std::mem::take(&mut self.coming),
            Event::Apply(object) => {
                self.now
                    .extend(read(&object).map(|value| (key(&object), value)));
            }
            Event::Delete(object) => {
                self.now.remove(&key(&object));
            }
        }
    }
}

#[derive(Default)]
struct World {
    nodes: Known<()>,
    pods: Known<Wanted>,
    dpus: BTreeMap<String, Dpu>,
    told: BTreeMap<String, String>,
}

/// Name of the namespace of a pod, or of a DPU, in the development cluster of this directory.
#[must_use]
pub fn namespace_of(directory: &Path, name: &str) -> String {
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    format!("dpf-{}-{name}", suffix(&[&directory.to_string_lossy()], 4))
}

/// Runs until `stop`.
pub async fn run(client: Client, settings: Settings, stop: CancellationToken) {
    let everything = watcher::Config::default;
    let nodes = watcher(Api::<Node>::all(client.clone()), everything()).default_backoff();
    let selected = everything().labels(labels::SERVICE);
    let pods = watcher(Api::<Pod>::all(client), selected).default_backoff();
    let (mut nodes, mut pods) = (pin!(nodes), pin!(pods));
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut world = World::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(Ok(event)) = nodes.next() => {
                world.nodes.take(event, |node: &Node| node.name_any(), |_| Some(()));
            }
            Some(Ok(event)) = pods.next() => {
                world.pods.take(event, |pod: &Pod| pod.uid().unwrap_or_default(), wanted);
            }
            _ = tick.tick() => {}
        }
        let settings = settings.clone();
        // Starting programs blocks.
        let done = tokio::task::spawn_blocking(move || {
            world.reconcile(&settings);
            world
        });
        world = match done.await {
            Ok(world) => world,
            Err(_) => return,
        };
    }
}

fn wanted(pod: &Pod) -> Option<Wanted> {
    let node = pod.spec.as_ref()?.node_name.clone()?;
    let networks = pod.annotations().get(NETWORKS)?;
    let networks: Vec<Value> = serde_json::from_str(networks).ok()?;
    let interface = |network: &Value| {
        let text = |key: &str| network.get(key).and_then(Value::as_str);
        // What keeps a pod waiting for its chain is no network.
        if text("name") == Some("invalid-network") {
            return None;
        }
        let mtu = network.pointer("/cni-args/mtu").and_then(Value::as_u64);
        Some(Interface {
            name: text("interface")?.to_owned(),
            bridge: if text("name") == Some(HBN_NETWORK) {
                "br-hbn"
            } else {
                "br-sfc"
            },
            mtu: mtu.and_then(|mtu| u32::try_from(mtu).ok()).unwrap_or(MTU),
        })
    };
    Some(Wanted {
        node,
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        interfaces: networks.iter().filter_map(interface).collect(),
    })
}

impl World {
    /// Starts and ends what came and went. What fails is told once and tried again.
    fn reconcile(&mut self, settings: &Settings) {
        self.dpus
            .retain(|node, _| self.nodes.now.contains_key(node));
        let nodes: Vec<String> = self.nodes.now.keys().cloned().collect();
        for node in nodes {
            let result = match self.dpus.get_mut(&node) {
                Some(dpu) => dpu.restart(&node, settings),
                None => Dpu::start(&node, settings).map(|dpu| {
                    self.dpus.insert(node.clone(), dpu);
                }),
            };
            self.tell(&node, result);
        }
        let mut results = Vec::new();
        for (node, dpu) in &mut self.dpus {
            let here = |pod: &Wanted| pod.node == *node;
            dpu.leave(|uid| self.pods.now.get(uid).is_some_and(here));
            for (uid, pod) in self.pods.now.iter().filter(|(_, pod)| here(pod)) {
                if !dpu.pods.contains_key(uid) {
                    results.push((uid.clone(), dpu.attach(uid, pod, settings)));
                }
            }
        }
        for (uid, result) in results {
            self.tell(&uid, result);
        }
    }

    fn tell(&mut self, what: &str, result: Result<(), SandboxError>) {
        match result {
            Ok(()) => {
                self.told.remove(what);
            }
            Err(error) => {
                let text = error.to_string();
                if self.told.get(what) != Some(&text) {
                    tracing::warn!("{text}; trying again");
                }
                self.told.insert(what.to_owned(), text);
            }
        }
    }
}

impl Dpu {
    fn start(node: &str, settings: &Settings) -> Result<Self, SandboxError> {
        let directory = settings.directory.join(node);
        let sandbox = Sandbox::start(&directory, &namespace_of(&settings.directory, node))?;
        // Bridges of a DPU come from its flavor; the agent adds those of chains itself.
        sandbox.vsctl(&[
            "--no-wait",
            "--may-exist",
            "add-br",
            "br-ovn",
            "--",
            "set",
            "bridge",
            "br-ovn",
            "datapath_type=netdev",
        ])?;
        let agent = agent(node, &directory, settings)?;
        Ok(Self {
            sandbox,
            agent,
            pods: BTreeMap::new(),
            addresses: 0,
        })
    }

    /// Starts the agent again if it died.
    fn restart(&mut self, node: &str, settings: &Settings) -> Result<(), SandboxError> {
        if matches!(self.agent.try_wait(), Ok(Some(_))) {
            let directory = self.sandbox.directory().to_owned();
            self.agent = agent(node, &directory, settings)?;
        }
        Ok(())
    }

    fn leave(&mut self, stays: impl Fn(&str) -> bool) {
        let sandbox = &self.sandbox;
        self.pods.retain(|uid, attached| {
            let stays = stays(uid);
            if !stays {
                for representor in &attached.representors {
                    // The device goes with the namespace in any case.
                    let _ = sandbox.detach(representor);
                }
            }
            stays
        });
    }

    fn attach(&mut self, uid: &str, pod: &Wanted, settings: &Settings) -> Result<(), SandboxError> {
        let namespace = Namespace::new(&namespace_of(&settings.directory, &pod.name))?;
        let mut representors = Vec::new();
        for interface in &pod.interfaces {
            self.addresses = self.addresses.wrapping_add(1);
            let [high, low] = self.addresses.to_be_bytes();
            let representor = format!("v{}", suffix(&[uid, &interface.name], NAME));
            let port = PodPort {
                namespace: &pod.namespace,
                pod: &pod.name,
                interface: &interface.name,
                bridge: interface.bridge,
                address: Some(&format!("10.100.{high}.{low}/16")),
                mtu: interface.mtu,
                representor: &representor,
            };
            self.sandbox.attach(&namespace, &port)?;
            representors.push(representor);
        }
        self.pods.insert(
            uid.to_owned(),
            Attached {
                representors,
                _namespace: namespace,
            },
        );
        Ok(())
    }
}

fn agent(node: &str, directory: &Path, settings: &Settings) -> Result<Child, SandboxError> {
    let log = directory.join("agent.log");
    let prepare = |source| SandboxError::Prepare {
        path: log.clone(),
        source,
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(prepare)?;
    let child = Command::new(&settings.program)
        .args([
            "run",
            "--node",
            node,
            "--port-type",
            "system",
            "--ovs-run-dir",
        ])
        .arg(directory)
        .arg("--kubeconfig")
        .arg(&settings.kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn();
    child.map_err(|source| SandboxError::Start {
        program: settings.program.display().to_string(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn a_pod_is_plugged_in_as_its_annotation_says() {
        let networks = json!([
            {"name": "mynad", "interface": "app-iface", "cni-args": {"mtu": 4000}},
            {"name": "mybrhbn", "interface": "p0_if", "cni-args": null},
            {"name": "invalid-network", "interface": "invalid-interface", "cni-args": null}
        ]);
        let pod: Pod = from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "annotations": {NETWORKS: networks.to_string()}},
            "spec": {"nodeName": "n1", "containers": []}
        }))
        .unwrap();
        let found = wanted(&pod).unwrap();
        let interfaces: Vec<_> = found
            .interfaces
            .iter()
            .map(|i| (i.name.as_str(), i.bridge, i.mtu))
            .collect();
        assert_eq!(
            interfaces,
            [("app-iface", "br-sfc", 4000), ("p0_if", "br-hbn", 1500)]
        );
        let names = ["a", "b"].map(|d| namespace_of(Path::new(d), "p"));
        assert!(names[0] != names[1] && names[0].ends_with("-p"));
    }
}

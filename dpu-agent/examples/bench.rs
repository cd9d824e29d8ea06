//! Measures the agent on a node with 50 chains: from an event of the API to the flow in the switch, memory, and CPU at rest.
//!
//! ```sh
//! cargo build --release -p dpu-agent && cargo run --release -p dpu-agent --example bench
//! ```
//!
//! Needs root and Open vSwitch, like the tests. Everything is real: the binary, an API server over TCP, a switch.

#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a benchmark measures time and prints it"
)]

use anyhow::{Context as _, bail};
use dpf_api::svc::ServiceChain;
use dpf_apiserver::{ApiServer, Options, Tls, Token};
use dpf_ovs_sandbox::Sandbox;
use dpu_agent::core::names::{Key, cookie};
use dpu_agent::io::openflow::Connection;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

const NODE: &str = "dpu-1";
const CHAINS: usize = 50;
const EDITS: usize = 200;
const REST: Duration = Duration::from_secs(20);
const DEADLINE: Duration = Duration::from_secs(60);

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    if let Some(reason) = dpf_ovs_sandbox::missing() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let directory = tempfile::Builder::new().prefix("dpf").tempdir()?;
    let name = format!("dpf-bench-{}", std::process::id());
    let sandbox = Sandbox::start(directory.path(), &name)?;
    let server = ApiServer::new(Options {
        tokens: vec![Token::admin("bench")],
        anonymous: false,
        ..Options::default()
    });
    let client = Client::new(server.service(), "default");
    let listening = server
        .listen(([127, 0, 0, 1], 0).into(), Tls::SelfSigned)
        .await?;
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, listening.kubeconfig("bench"))?;
    populate(&client).await?;
    let program = std::env::current_exe()?;
    let program = program
        .parent()
        .and_then(|p| p.parent())
        .context("no target directory")?;
    let log = std::fs::File::create(directory.path().join("agent.log"))?;
    let agent = Command::new(program.join("dpu-agent"))
        .args(["run", "--node", NODE, "--port-type", "system"])
        .arg("--ovs-run-dir")
        .arg(directory.path())
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("failed to start dpu-agent; build it first: cargo build -p dpu-agent")?;
    let agent = Agent(agent);
    let socket = directory.path().join("br-sfc.mgmt");
    until("the bridge", || socket.exists()).await?;
    let mut switch = Connection::open(&socket).await?;
    plug_in(&sandbox)?;
    let started = Instant::now();
    while switch.read().await?.flows.len() < CHAINS * 6 {
        if started.elapsed() > DEADLINE {
            bail!(
                "the chains are not programmed: see {}",
                directory.path().join("agent.log").display()
            );
        }
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_secs(2)).await;
    let mut latencies = edits(&client, &mut switch).await?;
    latencies.sort();
    let at = |part: usize| {
        latencies
            .get((latencies.len() * part / 100).min(latencies.len() - 1))
            .copied()
    };
    let text = |part| at(part).unwrap_or_default().as_secs_f64() * 1000.0;
    println!(
        "{CHAINS} chains, {EDITS} edits, from the write in the API to the flow in the switch:"
    );
    println!(
        "  p50 {:.1} ms   p99 {:.1} ms   max {:.1} ms",
        text(50),
        text(99),
        text(100)
    );
    sleep(Duration::from_secs(2)).await;
    println!("memory of the agent: {:.1} MiB", resident(agent.0.id())?);
    let before = cpu(agent.0.id())?;
    sleep(REST).await;
    let used = cpu(agent.0.id())?.saturating_sub(before);
    println!(
        "CPU of the agent at rest: {used} ms in {} s",
        REST.as_secs()
    );
    listening.stop().await;
    Ok(())
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > DEADLINE {
            bail!("not in time: {what}");
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Changes one chain after the other, and waits for the flow of each.
async fn edits(client: &Client, switch: &mut Connection) -> anyhow::Result<Vec<Duration>> {
    let chains: Api<ServiceChain> = Api::namespaced(client.clone(), "default");
    let mut latencies = Vec::new();
    for edit in 0..EDITS {
        let number = edit % CHAINS;
        let name = format!("chain-{number}");
        let with_third = (edit / CHAINS).is_multiple_of(2);
        let expected = if with_third { 9 } else { 6 };
        let patch = Patch::Merge(json!({"spec": chain(number, with_third)}));
        let started = Instant::now();
        chains.patch(&name, &PatchParams::default(), &patch).await?;
        let ours = cookie(&Key::new("default", name));
        loop {
            let flows = switch.read().await?.flows;
            if flows.iter().filter(|flow| flow.cookie == ours).count() == expected {
                break;
            }
            if started.elapsed() > DEADLINE {
                bail!("edit {edit} is not in the switch");
            }
            sleep(Duration::from_millis(1)).await;
        }
        latencies.push(started.elapsed());
        // Let what follows an edit, above all its status, not count for the next.
        sleep(Duration::from_millis(20)).await;
    }
    Ok(latencies)
}

fn chain(number: usize, with_third: bool) -> Value {
    let ports = if with_third { 3 } else { 2 };
    let port = |index: usize| json!({"serviceInterface": {"matchLabels": {"name": format!("s{number}-{index}")}}});
    json!({"node": NODE, "switches": [{"ports": (0..ports).map(port).collect::<Vec<_>>()}]})
}

async fn populate(client: &Client) -> anyhow::Result<()> {
    for crd in dpf_api::all_crds() {
        let mut object = serde_json::to_value(crd)?;
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), json!("apiextensions.k8s.io/v1"));
            fields.insert("kind".to_owned(), json!("CustomResourceDefinition"));
        }
        apply(
            client,
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            object,
        )
        .await?;
    }
    for number in 0..CHAINS {
        for index in 0..3 {
            let name = format!("s{number}-{index}");
            let labels = json!({"name": name, "svc.dpu.nvidia.com/service": name});
            let pod = json!({"metadata": {"name": name, "labels": labels},
                "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "i"}]}});
            apply(client, "v1", "Pod", pod).await?;
            let service = json!({"serviceID": name, "network": "n", "interfaceName": "eth1"});
            let interface = json!({"metadata": {"name": name, "labels": labels},
                "spec": {"node": NODE, "interfaceType": "service", "service": service}});
            apply(
                client,
                "svc.dpu.nvidia.com/v1alpha1",
                "ServiceInterface",
                interface,
            )
            .await?;
        }
        let object =
            json!({"metadata": {"name": format!("chain-{number}")}, "spec": chain(number, false)});
        apply(
            client,
            "svc.dpu.nvidia.com/v1alpha1",
            "ServiceChain",
            object,
        )
        .await?;
    }
    Ok(())
}

async fn apply(
    client: &Client,
    version: &str,
    kind: &str,
    mut object: Value,
) -> anyhow::Result<()> {
    let (group, short) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, short, kind));
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".to_owned(), json!(version));
        fields.insert("kind".to_owned(), json!(kind));
    }
    let api: Api<DynamicObject> = if kind == "CustomResourceDefinition" {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), "default", &resource)
    };
    api.patch(
        &name,
        &PatchParams::apply("bench").force(),
        &Patch::Apply(object),
    )
    .await?;
    Ok(())
}

/// Ports as a CNI would add them; internal ones, because a thousand devices take long to make.
fn plug_in(sandbox: &Sandbox) -> anyhow::Result<()> {
    for number in 0..CHAINS {
        let mut words = Vec::new();
        for index in 0..3 {
            let (port, name) = (format!("r{number}-{index}"), format!("s{number}-{index}"));
            let add = [
                "--",
                "add-port",
                "br-sfc",
                &port,
                "--",
                "set",
                "Interface",
                &port,
                "type=internal",
            ];
            words.extend(add.map(str::to_owned));
            words.push(format!("external_ids:dpf-id=default/{name}/eth1"));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        sandbox.vsctl(&words)?;
    }
    Ok(())
}

/// Resident memory in MiB.
fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// CPU time used so far in milliseconds; the kernel counts in hundredths of a second.
fn cpu(pid: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("no name")?;
    // utime and stime are fields 14 and 15 of the line; the one behind the name is the third.
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    Ok((ticks(11) + ticks(12)) * 10)
}

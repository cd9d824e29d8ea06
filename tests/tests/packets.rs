//! From a deployment to packets: real agents, real switches, namespaces as pods.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is a failed test"
)]

use anyhow::{Context as _, ensure};
use dpf_api::svc::{ServiceChain, ServiceInterface};
use dpf_tests::{Demo, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt as _};
use std::collections::BTreeMap;
use std::process::Command;

const NAMESPACE: &str = "customer-namespace";
const NAME: &str = "producer-consumer";

/// Network namespaces of the pods of each node, by the service in their name.
async fn pods(dpu: &Client) -> anyhow::Result<BTreeMap<String, BTreeMap<&'static str, String>>> {
    let listed = Command::new("ip").args(["netns", "list"]).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    let namespaces: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let mut nodes: BTreeMap<String, BTreeMap<&'static str, String>> = BTreeMap::new();
    for pod in Api::<Pod>::namespaced(dpu.clone(), NAMESPACE)
        .list(&ListParams::default())
        .await?
    {
        let name = pod.name_any();
        let service = ["producer", "consumer"]
            .into_iter()
            .find(|service| name.contains(service));
        let service = service.with_context(|| format!("pod {name} is of no service"))?;
        let namespace = namespaces
            .iter()
            .find(|n| n.starts_with("dpf-") && n.ends_with(&format!("-{name}")));
        let namespace =
            namespace.with_context(|| format!("pod {name} has no network namespace"))?;
        let node = pod
            .spec
            .and_then(|spec| spec.node_name)
            .context("a pod without a node")?;
        nodes
            .entry(node)
            .or_default()
            .insert(service, (*namespace).to_owned());
    }
    Ok(nodes)
}

fn inside(namespace: &str, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("ip")
        .args(["netns", "exec", namespace])
        .args(words)
        .output()?;
    ensure!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn address(namespace: &str) -> anyhow::Result<String> {
    let text = inside(
        namespace,
        &["ip", "-4", "-o", "addr", "show", "scope", "global"],
    )?;
    let found = text
        .split_whitespace()
        .skip_while(|word| *word != "inet")
        .nth(1);
    let found = found.and_then(|cidr| cidr.split('/').next());
    Ok(found
        .with_context(|| format!("no address in {text:?}"))?
        .to_owned())
}

#[tokio::test]
async fn producer_and_consumer_of_a_deployment_ping_each_other() {
    if let Some(reason) = dpf_ovs_sandbox::missing() {
        println!("skipped: {reason}");
        return;
    }
    let demo = Demo::start_with(&["--ovs"], &["examples/producer-consumer"])
        .await
        .unwrap();
    let done = check(&demo).await;
    assert!(done.is_ok(), "{done:?}\n{}", demo.log());
}

async fn check(demo: &Demo) -> anyhow::Result<()> {
    demo.rolled_out(NAME, NAMESPACE).await?;
    let dpu = demo.dpu_client().await?;
    let nodes = pods(&dpu).await?;
    ensure!(!nodes.is_empty(), "no pod runs");
    for (node, pods) in &nodes {
        let (producer, consumer) = (
            pods.get("producer")
                .with_context(|| format!("no producer on {node}"))?,
            pods.get("consumer")
                .with_context(|| format!("no consumer on {node}"))?,
        );
        for (from, to) in [(producer, consumer), (consumer, producer)] {
            let to = address(to)?;
            inside(from, &["ping", "-c", "3", "-i", "0.2", "-W", "2", &to])
                .with_context(|| format!("from {from} on {node}"))?;
        }
    }
    // What nobody chains cannot be reached: without the chain there is no path.
    let client = demo.client().await?;
    let deployments: Api<dpf_api::svc::DpuDeployment> = Api::namespaced(client, NAMESPACE);
    deployments.delete(NAME, &DeleteParams::default()).await?;
    let (chains, interfaces): (Api<ServiceChain>, Api<ServiceInterface>) =
        (Api::all(dpu.clone()), Api::all(dpu.clone()));
    eventually(
        "chains, interfaces and namespaces of pods are gone",
        || async {
            let all = ListParams::default();
            let left =
                chains.list(&all).await?.items.len() + interfaces.list(&all).await?.items.len();
            ensure!(left == 0, "{left} chains and interfaces are left");
            let listed = Command::new("ip").args(["netns", "list"]).output()?;
            let listed = String::from_utf8(listed.stdout)?;
            for namespace in nodes.values().flat_map(BTreeMap::values) {
                ensure!(!listed.contains(namespace.as_str()), "{namespace} is left");
            }
            Ok(())
        },
    )
    .await
}

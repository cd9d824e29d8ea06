//! Four DPUs on two hosts: provisioned, one of them only after its BMC was repaired, rolled to another image one at a time, and
//! deleted without a trace on the hosts.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

use anyhow::{Context, ensure};
use dpf_api::keys::labels;
use dpf_api::provisioning::{Bfb, Dpu, DpuDevice, DpuFlavor, DpuNode, DpuPhase, DpuSet};
use dpf_tests::journal::{Entry, Journal, What};
use dpf_tests::{Demo, eventually};
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::api::{ApiResource, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NAMESPACE: &str = "racks";
const INVENTORY: &str = "dpf-operator-system";
/// The hosts, and the numbers of their cards.
const HOSTS: [(&str, [u16; 2]); 2] = [("worker-1", [1, 3]), ("worker-2", [2, 4])];
/// The DPU whose BMC refuses.
const SICK: (&str, &str) = ("mt2550xz0004", "worker-2-mt2550xz0004");

#[tokio::test(flavor = "multi_thread")]
async fn four_dpus_on_two_hosts_from_nothing_to_nothing() {
    let demo = Demo::start(&[]).await.unwrap();
    if let Err(error) = all(&demo).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

async fn all(demo: &Demo) -> anyhow::Result<()> {
    let client = demo.client().await?;
    two_hosts(demo, &client).await.context("two hosts")?;
    let before = hosts(&client).await?;
    ask(demo).await?;
    one_fails_and_is_repaired(demo, &client).await?;
    roll(&client).await.context("another image")?;
    delete(demo, &client).await.context("deletion")?;
    eventually("hosts are as before", || async {
        let now = hosts(&client).await?;
        ensure!(now == before, "{now:#?}\nis not\n{before:#?}");
        Ok(())
    })
    .await
}

/// The development cluster has a host per card; a fleet would register these.
async fn two_hosts(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let nodes: Api<DpuNode> = Api::namespaced(client.clone(), INVENTORY);
    let none = json!({"spec": {"dpus": []}});
    for name in ["worker-3", "worker-4"] {
        let patch = Patch::Merge(&none);
        nodes.patch(name, &PatchParams::default(), &patch).await?;
    }
    let devices: Api<DpuDevice> = Api::namespaced(client.clone(), INVENTORY);
    for (host, cards) in HOSTS {
        let cards: Vec<Value> = cards
            .iter()
            .map(|card| json!({"name": device(*card)}))
            .collect();
        let patch = Patch::Merge(json!({"spec": {"dpus": cards}}));
        nodes.patch(host, &PatchParams::default(), &patch).await?;
    }
    eventually("cards are where they were put", || async {
        for (host, cards) in HOSTS {
            for card in cards {
                let device = devices.get(&device(card)).await?;
                let label = device.labels().get(labels::DPUNODE_NAME);
                ensure!(label.is_some_and(|l| l == host), "{label:?} is not {host}");
            }
        }
        Ok(())
    })
    .await?;
    let kube_nodes: Api<Node> = Api::all(client.clone());
    for name in ["worker-3", "worker-4"] {
        kube_nodes.delete(name, &DeleteParams::default()).await?;
    }
    eventually("hosts without cards are gone", || async {
        let left = nodes.list(&ListParams::default()).await?.items.len();
        ensure!(left == 2, "{left} DPUNodes");
        Ok(())
    })
    .await?;
    // A BMC that refuses is not to be waited for for ten minutes, nor a card for others of its host.
    let settings = json!({
        "apiVersion": "operator.dpu.nvidia.com/v1alpha1", "kind": "DPFOperatorConfig",
        "metadata": {"name": "dpfoperatorconfig", "namespace": INVENTORY},
        "spec": {"provisioningController": {
            "phaseDeadlines": {DpuPhase::InitializeInterface.as_str(): "8s"},
            "multiDPUOperationsSyncWaitTime": "1s"
        }}
    });
    demo.apply(&[settings]).await
}

fn device(card: u16) -> String {
    format!("mt2550xz{card:04}")
}

/// What a host is to everybody else.
async fn hosts(client: &Client) -> anyhow::Result<Vec<Value>> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await?;
    let seen = nodes.items.into_iter().map(|node| {
        json!({"name": node.name_any(), "labels": node.labels(), "annotations": node.annotations(), "spec": node.spec})
    });
    Ok(seen.collect())
}

/// What a user applies, and a BMC with another password than the others.
async fn ask(demo: &Demo) -> anyhow::Result<()> {
    let kind = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "provisioning.dpu.nvidia.com/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec
        })
    };
    let image =
        |version: &str| json!({"url": format!("http://internal-nfs/bf-bundle-{version}_x.bfb")});
    demo.apply(&[
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sick", "namespace": INVENTORY},
            "data": {"password": "d3Jvbmc="}
        }),
    ])
    .await?;
    let client = demo.client().await?;
    let devices: Api<DpuDevice> = Api::namespaced(client, INVENTORY);
    let own = Patch::Merge(json!({"spec": {"bmcCredentialSecretName": "sick"}}));
    devices.patch(SICK.0, &PatchParams::default(), &own).await?;
    demo.apply(&[
        kind("BFB", "old", image("2.9.0-33")),
        kind("BFB", "new", image("2.10.0-12")),
        kind(
            "DPUFlavor",
            "plain",
            json!({"grub": {"kernelParameters": ["console=hvc0"]}}),
        ),
        kind(
            "DPUSet",
            "all",
            json!({
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
                "dpuTemplate": {"spec": {
                    "bfb": {"name": "old"}, "dpuFlavor": "plain", "nodeEffect": {"drain": true},
                    "cluster": {"nodeLabels": {"example.com/rack": "a"}}
                }}
            }),
        ),
    ])
    .await
}

fn dpus(client: &Client) -> Api<Dpu> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn phases(client: &Client) -> anyhow::Result<BTreeMap<String, DpuPhase>> {
    let dpus = dpus(client).list(&ListParams::default()).await?;
    let phase = |dpu: Dpu| {
        (
            dpu.name_any(),
            dpu.status.map(|s| s.phase).unwrap_or_default(),
        )
    };
    Ok(dpus.items.into_iter().map(phase).collect())
}

async fn one_fails_and_is_repaired(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    eventually("three are Ready and one has failed", || async {
        let phases = phases(client).await?;
        let ready = phases.values().filter(|p| **p == DpuPhase::Ready).count();
        ensure!(
            phases.get(SICK.1) == Some(&DpuPhase::Error) && ready == 3,
            "{phases:?}"
        );
        Ok(())
    })
    .await?;
    let failed = dpus(client).get(SICK.1).await?;
    let conditions = failed.status.and_then(|s| s.conditions).unwrap_or_default();
    let error = conditions
        .iter()
        .find(|c| c.type_ == "Error")
        .context("no condition Error")?;
    ensure!(
        error.message.contains("password") && error.message.contains("dpfctl retry"),
        "{}",
        error.message
    );
    let healthy = demo
        .dpfctl(&["retry", "dpu/worker-1-mt2550xz0001", "-n", NAMESPACE])
        .await?;
    let said = String::from_utf8_lossy(&healthy.stderr).into_owned();
    ensure!(
        healthy.status.code() == Some(1) && said.contains("phase Ready"),
        "{said}"
    );

    let secrets: Api<Secret> = Api::namespaced(client.clone(), INVENTORY);
    let shared = secrets.get("bmc-shared-password").await?;
    let repaired = Patch::Merge(json!({"data": shared.data}));
    secrets
        .patch("sick", &PatchParams::default(), &repaired)
        .await?;
    let target = format!("dpu/{}", SICK.1);
    let retried = demo.dpfctl(&["retry", &target, "-n", NAMESPACE]).await?;
    let said = String::from_utf8_lossy(&retried.stdout).into_owned();
    ensure!(
        retried.status.success() && said.contains("password"),
        "{said}"
    );
    all_ready(client, "old").await.context("after the repair")
}

async fn all_ready(client: &Client, image: &str) -> anyhow::Result<()> {
    eventually("every DPU is Ready", || async {
        let dpus = dpus(client).list(&ListParams::default()).await?.items;
        ensure!(dpus.len() == 4, "{} DPUs", dpus.len());
        for dpu in dpus {
            let (name, status) = (dpu.name_any(), dpu.status.unwrap_or_default());
            ensure!(
                dpu.spec.bfb.as_deref() == Some(image),
                "{name} has another image"
            );
            let open: Vec<String> = status
                .conditions
                .iter()
                .flatten()
                .filter(|c| c.status != "True")
                .map(|c| format!("{} {}", c.reason, c.message))
                .collect();
            ensure!(
                status.phase == DpuPhase::Ready,
                "{name} {} {open:?}",
                status.phase
            );
        }
        Ok(())
    })
    .await
}

/// One DPU after the other; at every moment one host at least takes work.
async fn roll(client: &Client) -> anyhow::Result<()> {
    let nodes = ApiResource::erase::<Node>(&());
    let on_hosts = Journal::of(client, &nodes, "").await?;
    let of_dpus = Journal::start(client, "provisioning.dpu.nvidia.com", "DPU", NAMESPACE).await?;
    let sets: Api<DpuSet> = Api::namespaced(client.clone(), NAMESPACE);
    let change = Patch::Merge(json!({"spec": {"dpuTemplate": {"spec": {"bfb": {"name": "new"}}}}}));
    sets.patch("all", &PatchParams::default(), &change).await?;
    all_ready(client, "new").await?;

    let mut cordoned = BTreeMap::new();
    let mut disturbed = 0;
    for Entry { object, .. } in on_hosts.entries()? {
        let now = object.data.pointer("/spec/unschedulable") == Some(&json!(true));
        let before = cordoned.insert(object.name_any(), now) == Some(true);
        disturbed += usize::from(now && !before);
        let away = cordoned.values().filter(|cordoned| **cordoned).count();
        ensure!(away <= 1, "both hosts are cordoned: {cordoned:?}");
    }
    ensure!(
        disturbed == 4,
        "hosts were cordoned {disturbed} times for four DPUs, one at a time"
    );

    let mut ready: BTreeMap<String, bool> = of_dpus
        .before
        .iter()
        .map(|dpu| (dpu.name_any(), true))
        .collect();
    for entry in of_dpus.entries()? {
        let going = entry.object.metadata.deletion_timestamp.is_some();
        let serves = entry.what != What::Deleted && entry.ready() == "True" && !going;
        ready.insert(entry.object.name_any(), serves);
        let unavailable = ready.values().filter(|ready| !**ready).count();
        ensure!(
            unavailable <= 1,
            "more than maxUnavailable are away: {ready:?}"
        );
    }
    Ok(())
}

async fn delete(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let at_once = DeleteParams::default();
    let sets: Api<DpuSet> = Api::namespaced(client.clone(), NAMESPACE);
    sets.delete("all", &at_once).await?;
    let images: Api<Bfb> = Api::namespaced(client.clone(), NAMESPACE);
    for name in ["old", "new"] {
        images.delete(name, &at_once).await?;
    }
    let flavors: Api<DpuFlavor> = Api::namespaced(client.clone(), NAMESPACE);
    flavors.delete("plain", &at_once).await?;
    let dpu_client = demo.dpu_client().await?;
    let joined: Api<Node> = Api::all(dpu_client);
    eventually("nothing is left", || async {
        let all = ListParams::default();
        let left = [
            ("DPUSets", sets.list(&all).await?.items.len()),
            ("BFBs", images.list(&all).await?.items.len()),
            ("DPUFlavors", flavors.list(&all).await?.items.len()),
            ("DPUs", dpus(client).list(&all).await?.items.len()),
            ("nodes of DPUs", joined.list(&all).await?.items.len()),
        ];
        ensure!(left.iter().all(|(_, count)| *count == 0), "{left:?}");
        Ok(())
    })
    .await
}

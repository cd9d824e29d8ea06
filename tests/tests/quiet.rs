//! Writes that are not made: a converged deployment causes none, and creating one writes each child's spec once.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

use anyhow::{Context, ensure};
use dpf_api::svc::{DpuDeployment, DpuServiceTemplate};
use dpf_tests::journal::Journal;
use dpf_tests::{Demo, eventually, manifests};
use kube::api::{ApiResource, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Discovery, ResourceExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAMESPACE: &str = "customer-namespace";
const NAME: &str = "producer-consumer";
/// How long nothing may be written. Every controller looks at every object when the host starts and at each event of the
/// window, so that an object that is written again and again shows within seconds; the longest requeue of a converged object
/// is longer than any test wants to be.
const WINDOW: Duration = Duration::from_secs(10);
/// Labels of unrelated objects that are touched in the window, and how often.
const TOUCHES: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_converged_deployment_is_left_alone() {
    let demo = Demo::start(&[]).await.unwrap();
    if let Err(error) = left_alone(&demo).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

async fn left_alone(demo: &Demo) -> anyhow::Result<()> {
    let host = demo.client().await?;
    let dpu = demo.dpu_client().await?;
    let from_the_start = journals(&host, &dpu).await?;
    demo.apply(&manifests("examples/producer-consumer")?)
        .await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    each_spec_was_written_once(&from_the_start)?;
    drop(from_the_start);
    settled(&host, &dpu).await?;

    let quiet = journals(&host, &dpu).await?;
    provoke(demo, &host).await?;
    // The absence of writes has no event to wait for.
    tokio::time::sleep(WINDOW).await;
    nothing_was_written(&quiet)?;
    the_new_host_works(&host).await
}

/// Journals of all our kinds: of the management cluster, and of the DPU cluster.
async fn journals(host: &Client, dpu: &Client) -> anyhow::Result<Vec<(String, Journal)>> {
    let mut all = Vec::new();
    for (cluster, client) in [("management", host), ("DPU", dpu)] {
        for resource in ours(client).await? {
            let title = format!("{cluster} cluster: {}", resource.kind);
            all.push((title, Journal::of(client, &resource, "").await?));
        }
    }
    ensure!(all.len() > 20, "too few kinds: {}", all.len());
    Ok(all)
}

/// Our kinds, and what the host writes for Argo CD.
async fn ours(client: &Client) -> anyhow::Result<Vec<ApiResource>> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let groups = discovery
        .groups()
        .filter(|group| group.name().ends_with("dpu.nvidia.com") || group.name() == "argoproj.io");
    Ok(groups
        .flat_map(|group| group.recommended_resources())
        .map(|(resource, _)| resource)
        .collect())
}

/// Children whose spec was written again: everything a deployment makes is right the first time.
fn each_spec_was_written_once(journals: &[(String, Journal)]) -> anyhow::Result<()> {
    let mut first = BTreeMap::new();
    let mut again = BTreeMap::new();
    for (title, journal) in journals {
        let kind = title.rsplit(' ').next().unwrap_or_default();
        if !CHILDREN.contains(&kind) {
            continue;
        }
        for entry in journal.entries()? {
            let key = format!("{title} {}", entry.object.name_any());
            let spec = entry.object.data["spec"].clone();
            let before = first.entry(key.clone()).or_insert_with(|| spec.clone());
            let mut changes = differences(before, &spec);
            changes.retain(|change| !SET_BACK.contains(&change.as_str()));
            if !changes.is_empty() {
                again.insert(key, changes);
            }
        }
    }
    ensure!(first.len() >= 16, "too few children: {:?}", first.keys());
    ensure!(again.is_empty(), "written more than once: {again:#?}");
    Ok(())
}

/// What a deployment makes, directly and through its children, in both clusters. A DPU, its DPUNode and a
/// DPUNodeMaintenance are places where controllers work together: writing them in turn is their purpose.
const CHILDREN: [&str; 9] = [
    "DPUSet",
    "DPUService",
    "DPUServiceInterface",
    "DPUServiceChain",
    "Application",
    "ServiceChainSet",
    "ServiceChain",
    "ServiceInterfaceSet",
    "ServiceInterface",
];

/// A DPUSet is made with this field set, because its revisions are new, and it is set back when they all run: as in the
/// original.
const SET_BACK: [&str; 1] = [".dpuTemplate.spec.nodeEffect.applyOnLabelChange: true -> false"];

/// Paths at which two values differ, with both values.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            keys.into_iter()
                .flat_map(|key| {
                    let of = |map: &serde_json::Map<String, Value>| {
                        map.get(key).cloned().unwrap_or_default()
                    };
                    let below = differences(&of(before), &of(after)).into_iter();
                    below.map(move |line| format!(".{key}{line}"))
                })
                .collect()
        }
        _ if before == after => Vec::new(),
        _ => vec![format!(": {before} -> {after}")],
    }
}

/// Waits until nothing moves for two seconds: the last DPU may still be on its way out of its node effect.
async fn settled(host: &Client, dpu: &Client) -> anyhow::Result<()> {
    eventually("writes come to an end", || async {
        let journals = journals(host, dpu).await?;
        // The absence of writes has no event to wait for.
        tokio::time::sleep(Duration::from_secs(2)).await;
        nothing_was_written(&journals)
    })
    .await
}

/// What happens to a cluster without concerning the deployment: other objects come, change and go; the host starts again.
async fn provoke(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let config_maps: Api<k8s_openapi::api::core::v1::ConfigMap> =
        Api::namespaced(client.clone(), NAMESPACE);
    let unrelated = serde_json::from_value(json!({"metadata": {"name": "unrelated"}}))?;
    config_maps
        .create(&PostParams::default(), &unrelated)
        .await?;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    for touch in 0..TOUCHES {
        let change = json!({"metadata": {"labels": {"touched": touch.to_string()}}});
        let parameters = PatchParams::default();
        config_maps
            .patch("unrelated", &parameters, &Patch::Merge(&change))
            .await?;
        namespaces
            .patch(NAMESPACE, &parameters, &Patch::Merge(&change))
            .await?;
    }
    config_maps
        .delete("unrelated", &DeleteParams::default())
        .await?;
    let pid = demo.host_pid().context("no host.pid")?;
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()?;
    ensure!(killed.success(), "kill failed");
    eventually("the host runs again", || async {
        let now = demo.host_pid().context("no host.pid")?;
        ensure!(now != pid, "still {now}");
        Ok(())
    })
    .await
}

fn nothing_was_written(journals: &[(String, Journal)]) -> anyhow::Result<()> {
    let mut written = Vec::new();
    for (title, journal) in journals {
        for entry in journal.entries()? {
            let managers = entry.object.managed_fields().iter();
            let newest = managers
                .max_by_key(|m| m.time.as_ref().map(|t| t.0))
                .and_then(|m| m.manager.clone());
            written.push(format!(
                "{title} {}: {:?}, last by {}",
                entry.object.name_any(),
                entry.what,
                newest.unwrap_or_default()
            ));
        }
    }
    ensure!(
        written.is_empty(),
        "{} writes:\n{}",
        written.len(),
        written.join("\n")
    );
    Ok(())
}

/// The window was observed with a host that worked: a change is carried out, and a template that nobody uses is looked at.
async fn the_new_host_works(client: &Client) -> anyhow::Result<()> {
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    let change = json!({"spec": {"revisionHistoryLimit": 7}});
    let changed = deployments
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&change))
        .await?;
    eventually("the new process reconciles", || async {
        let status = deployments.get(NAME).await?.status.unwrap_or_default();
        ensure!(
            status.observed_generation == changed.metadata.generation,
            "{:?}",
            status.observed_generation
        );
        Ok(())
    })
    .await?;
    let templates: Api<DpuServiceTemplate> = Api::namespaced(client.clone(), NAMESPACE);
    let generation = templates.get("producer").await?.metadata.generation;
    ensure!(
        generation == Some(1),
        "a template was written: {generation:?}"
    );
    Ok(())
}

//! Writes that are not made: a converged deployment causes none, and creating one writes each child once and the status of
//! the deployment twice. Counted are requests, also those that change nothing.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a panic is a failed test, and what was counted is worth reading"
)]

use anyhow::{Context, ensure};
use dpf_api::keys::managers;
use dpf_api::svc::{DpuDeployment, DpuServiceTemplate};
use dpf_tests::audit::{self, Write};
use dpf_tests::{Demo, eventually, manifests};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const NAMESPACE: &str = "customer-namespace";
const NAME: &str = "producer-consumer";
/// Seconds in which nothing may be written; 600 for the whole truth. Every controller looks at every object when the host
/// starts and at each event of the window. Ten minutes of resyncs pass faster in `host/tests/whole/quiet.rs`.
const WINDOW_VARIABLE: &str = "QUIET_SECONDS";
const WINDOW_SECONDS: u64 = 10;
/// Nothing was written for this long: the last DPU is out of its node effect.
const SETTLED: Duration = Duration::from_secs(3);
/// Labels of unrelated objects that are touched in the window, and how often.
const TOUCHES: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_converged_deployment_is_left_alone() {
    let demo = Demo::start_with(&["--audit"], &[]).await.unwrap();
    if let Err(error) = left_alone(&demo).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

async fn left_alone(demo: &Demo) -> anyhow::Result<()> {
    let host = demo.client().await?;
    demo.apply(&manifests("examples/producer-consumer")?)
        .await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    let writes = settled(demo).await?;
    eprintln!("{}", audit::summary(&writes));
    each_child_was_written_once(&writes)?;
    the_status_was_written_twice(&writes)?;

    provoke(demo, &host).await?;
    // The absence of writes has no event to wait for.
    tokio::time::sleep(window()?).await;
    nothing_was_written(demo, writes.len())?;
    the_new_host_works(&host).await
}

fn window() -> anyhow::Result<Duration> {
    let seconds = match std::env::var(WINDOW_VARIABLE) {
        Ok(text) => text.parse().context(WINDOW_VARIABLE)?,
        Err(_) => WINDOW_SECONDS,
    };
    Ok(Duration::from_secs(seconds))
}

/// Waits until the host asks for nothing any more; everything it asked for.
async fn settled(demo: &Demo) -> anyhow::Result<Vec<Write>> {
    eventually("writes come to an end", || async {
        let before = audit::of_host(&demo.dir())?.len();
        // The absence of writes has no event to wait for.
        tokio::time::sleep(SETTLED).await;
        let writes = audit::of_host(&demo.dir())?;
        ensure!(writes.len() == before, "{} writes", writes.len() - before);
        Ok(writes)
    })
    .await
}

/// What a deployment makes, directly and through its children, in both clusters. A DPU, its DPUNode and a
/// DPUNodeMaintenance are places where controllers work together: writing them in turn is their purpose.
const CHILDREN: [&str; 9] = [
    "dpusets",
    "dpuservices",
    "dpuserviceinterfaces",
    "dpuservicechains",
    "applications",
    "servicechainsets",
    "servicechains",
    "serviceinterfacesets",
    "serviceinterfaces",
];

/// Each child is written once by the controller that makes it, and at most once more by its own, which adds its finalizer.
fn each_child_was_written_once(writes: &[Write]) -> anyhow::Result<()> {
    let mut counts: BTreeMap<(&str, &str, &str), Vec<&Write>> = BTreeMap::new();
    for write in writes {
        let (resource, _, subresource) = write.object();
        // A refused request wrote nothing: what it was computed from had changed.
        if CHILDREN.contains(&resource) && subresource.is_empty() && write.code < 300 {
            let key = (
                write.cluster,
                write.path.as_str(),
                write.field_manager.as_str(),
            );
            counts.entry(key).or_default().push(write);
        }
    }
    let children = counts.keys().map(|(cluster, path, _)| (cluster, path));
    let children = children.collect::<std::collections::BTreeSet<_>>().len();
    ensure!(children >= 16, "too few children: {:?}", counts.keys());
    let again = counts.into_values().filter(|writes| writes.len() > 1);
    let again: Vec<String> = again.flatten().map(Write::line).collect();
    ensure!(again.is_empty(), "written again:\n{}", again.join("\n"));
    Ok(())
}

/// From the creation of the deployment until its last child is written. Later writes of the status follow the world: services
/// get ready, DPUs are installed.
fn the_status_was_written_twice(writes: &[Write]) -> anyhow::Result<()> {
    let by_deployment = || {
        let writes = writes.iter().enumerate();
        writes.filter(|(_, write)| write.field_manager == managers::DPUDEPLOYMENT)
    };
    let is_child = |write: &Write| {
        let (resource, _, subresource) = write.object();
        CHILDREN.contains(&resource) && subresource.is_empty()
    };
    let (last_child, _) = by_deployment()
        .rfind(|(_, write)| is_child(write))
        .context("no child")?;
    let statuses: Vec<(usize, &Write)> = by_deployment()
        .filter(|(_, write)| write.is_status())
        .collect();
    let until = |end: usize| statuses.iter().filter(|(at, _)| *at < end).count();
    eprintln!(
        "the status of the deployment was written {} times before the last child, {} times in all",
        until(last_child),
        statuses.len()
    );
    // One tells that work began, and the first after the last child tells what is waited for.
    ensure!(until(last_child) <= 1, "{statuses:#?}");
    Ok(())
}

/// What happens to a cluster without concerning the deployment: other objects come, change and go; the host starts again.
async fn provoke(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let unrelated = serde_json::from_value(json!({"metadata": {"name": "unrelated"}}))?;
    config_maps
        .create(&PostParams::default(), &unrelated)
        .await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
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
    demo.restart_host().await
}

fn nothing_was_written(demo: &Demo, before: usize) -> anyhow::Result<()> {
    let writes = audit::of_host(&demo.dir())?;
    let mut lines = writes.iter().skip(before).map(Write::line);
    let first: Vec<String> = lines.by_ref().take(50).collect();
    ensure!(
        first.is_empty(),
        "{} requests:\n{}",
        first.len() + lines.count(),
        first.join("\n")
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

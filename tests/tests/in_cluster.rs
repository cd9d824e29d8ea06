//! A service that runs in the management cluster, on the hosts of the DPUs: rolled out, replaced, removed.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

use anyhow::{Context, ensure};
use dpf_api::keys::labels::{DPUDEPLOYMENT_SERVICE, IN_CLUSTER_VERSION_PREFIX};
use dpf_api::provisioning::DpuNodeMaintenance;
use dpf_api::svc::{DpuDeployment, DpuService, DpuServiceConfiguration};
use dpf_tests::{Demo, eventually, root};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const EXAMPLE: &str = "examples/producer-consumer";
const NAMESPACE: &str = "customer-namespace";
const NAME: &str = "producer-consumer";
const SERVICE: &str = "producer";

/// The example, with the producer on the hosts. There is nothing to chain it with there.
fn manifests(directory: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(root().join(EXAMPLE))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .context("no name")?
            .to_owned();
        if !name.ends_with(".yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let text = match name.as_str() {
            "30-producer-configuration.yaml" => {
                let (before, _) = text
                    .split_once("  # Interfaces")
                    .context("the example changed: no interfaces")?;
                before.replace(
                    "  serviceConfiguration:\n",
                    "  serviceConfiguration:\n    deployInCluster: true\n",
                )
            }
            "40-dpudeployment.yaml" => {
                let (before, _) = text
                    .split_once("  # Each switch")
                    .context("the example changed: no chains")?;
                before.to_owned()
            }
            _ => text,
        };
        std::fs::write(directory.join(name), text)?;
    }
    Ok(())
}

async fn wait_until_ready(client: &Client) -> anyhow::Result<()> {
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    eventually("the deployment is Ready", || async {
        let deployment = deployments.get(NAME).await?;
        let conditions = deployment
            .status
            .clone()
            .and_then(|s| s.conditions)
            .unwrap_or_default();
        let open: Vec<String> = conditions
            .iter()
            .filter(|c| c.status != "True")
            .map(|c| format!("{}: {}", c.type_, c.message))
            .collect();
        ensure!(
            !conditions.is_empty() && open.is_empty(),
            "{}",
            open.join("\n")
        );
        Ok(())
    })
    .await
}

/// What the labels of in-cluster services say, by node.
async fn labels(client: &Client) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    Ok(nodes
        .into_iter()
        .map(|node| {
            let values = node.labels().iter();
            let values = values
                .filter(|(key, _)| key.starts_with(IN_CLUSTER_VERSION_PREFIX))
                .map(|(_, value)| value.clone())
                .collect();
            (node.name_any(), values)
        })
        .collect())
}

/// The revisions of a service.
async fn revisions(client: &Client, service: &str) -> anyhow::Result<Vec<String>> {
    let of_it = ListParams::default().labels(&format!("{DPUDEPLOYMENT_SERVICE}={service}"));
    let services: Api<DpuService> = Api::namespaced(client.clone(), NAMESPACE);
    let found = services.list(&of_it).await?;
    Ok(found.iter().map(ResourceExt::name_any).collect())
}

/// One revision, its name on every host, and one pod of it running on each.
async fn runs_everywhere(client: &Client, tier: &str) -> anyhow::Result<String> {
    let of_it = ListParams::default().labels(&format!("{DPUDEPLOYMENT_SERVICE}={SERVICE}"));
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    eventually("one revision runs on every host", || async {
        let [revision] = revisions(client, SERVICE)
            .await?
            .try_into()
            .map_err(|several| anyhow::anyhow!("revisions {several:?}"))?;
        let labels = labels(client).await?;
        ensure!(labels.len() == 4, "four hosts: {labels:?}");
        ensure!(
            labels.values().all(|values| *values == [revision.clone()]),
            "{revision} is not on every host: {labels:?}"
        );
        let pods = pods.list(&of_it).await?;
        let places: BTreeSet<_> = pods
            .iter()
            .filter(|pod| {
                pod.labels()
                    .get("sre.nvidia.com/service-tier")
                    .map(String::as_str)
                    == Some(tier)
            })
            .filter(|pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running"))
            .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
            .collect();
        ensure!(
            pods.items.len() == 4 && places.len() == 4,
            "{} pods, of {revision} on {places:?}",
            pods.items.len()
        );
        Ok(revision)
    })
    .await
}

#[tokio::test]
async fn an_in_cluster_service_runs_on_the_hosts_and_rolls_over() {
    let directory = tempfile::tempdir().unwrap();
    manifests(directory.path()).unwrap();
    let demo = Demo::start(&[directory.path().to_str().unwrap()])
        .await
        .unwrap();
    if let Err(error) = life(&demo).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

async fn life(demo: &Demo) -> anyhow::Result<()> {
    let client = demo.client().await?;
    wait_until_ready(&client).await?;
    let first = runs_everywhere(&client, "t1").await?;
    let other = revisions(&client, "consumer").await?;

    let configurations: Api<DpuServiceConfiguration> = Api::namespaced(client.clone(), NAMESPACE);
    let change = json!({"spec": {"serviceConfiguration": {"serviceDaemonSet": {"labels": {
        "sre.nvidia.com/service-tier": "t2"
    }}}}});
    configurations
        .patch(SERVICE, &PatchParams::default(), &Patch::Merge(&change))
        .await?;
    let second = runs_everywhere(&client, "t2").await?;
    ensure!(first != second, "a disruptive change is a new revision");
    wait_until_ready(&client).await?;
    ensure!(
        revisions(&client, "consumer").await? == other,
        "the other service was not changed"
    );
    let maintenances: Api<DpuNodeMaintenance> = Api::all(client.clone());
    eventually("every host is given back", || async {
        let left = maintenances.list(&ListParams::default()).await?;
        ensure!(left.items.is_empty(), "left: {:?}", left.items);
        Ok(())
    })
    .await?;

    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    deployments.delete(NAME, &DeleteParams::default()).await?;
    eventually("no label is left behind", || async {
        let labels = labels(&client).await?;
        ensure!(labels.values().all(Vec::is_empty), "{labels:?}");
        ensure!(deployments.get_opt(NAME).await?.is_none(), "still there");
        Ok(())
    })
    .await
}

//! What a newcomer does: start the demo, look at it with kubectl, kill the host, delete everything.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

use anyhow::{Context, bail, ensure};
use dpf_api::provisioning::{Dpu, DpuSet};
use dpf_api::svc::{DpuDeployment, DpuService, DpuServiceChain, DpuServiceInterface};
use dpf_tests::{Demo, dpfctl, eventually, has_kubectl};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;

const EXAMPLE: &str = "examples/producer-consumer";
const NAMESPACE: &str = "customer-namespace";
const NAME: &str = "producer-consumer";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
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
        let ready = conditions
            .iter()
            .find(|c| c.type_ == "Ready")
            .context("no condition Ready")?;
        let open: Vec<String> = conditions
            .iter()
            .filter(|c| c.status != "True")
            .map(|c| format!("{}: {}", c.type_, c.message))
            .collect();
        ensure!(ready.status == "True", "{}", open.join("\n"));
        ensure!(
            ready.observed_generation == deployment.metadata.generation,
            "Ready speaks of an older generation"
        );
        Ok(())
    })
    .await
}

/// Names and uids of all objects of a kind.
async fn identities<K>(client: &Client) -> anyhow::Result<BTreeMap<String, String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let objects = Api::<K>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    Ok(objects
        .into_iter()
        .filter(|object| object.meta().deletion_timestamp.is_none())
        .map(|object| {
            (
                format!("{}/{}", K::kind(&()), object.name_any()),
                object.uid().unwrap_or_default(),
            )
        })
        .collect())
}

async fn all_children(client: &Client) -> anyhow::Result<BTreeMap<String, String>> {
    let mut all = identities::<DpuService>(client).await?;
    all.extend(identities::<DpuServiceInterface>(client).await?);
    all.extend(identities::<DpuServiceChain>(client).await?);
    all.extend(identities::<DpuSet>(client).await?);
    all.extend(identities::<Dpu>(client).await?);
    Ok(all)
}

#[tokio::test]
async fn demo_exits_zero_when_ready_and_prints_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("dev");
    let output = dpfctl(&[
        "dev",
        "up",
        "--dir",
        dir.to_str().unwrap(),
        "--apply",
        EXAMPLE,
        "--exit",
        "--timeout",
        "180s",
    ])
    .await
    .unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(
        stdout.contains("DPUDeployment/producer-consumer"),
        "{stdout}"
    );
    assert!(
        stdout.contains("DPUSet/producer-consumer-dpuset1"),
        "{stdout}"
    );
    assert!(stdout.contains("Ready: True"), "{stdout}");
}

#[tokio::test]
async fn demo_exits_non_zero_and_says_what_it_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("manifests");
    std::fs::create_dir(&manifests).unwrap();
    for entry in std::fs::read_dir(dpf_tests::root().join(EXAMPLE)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".yaml") && name != "21-consumer-template.yaml" {
            std::fs::copy(&path, manifests.join(name)).unwrap();
        }
    }
    let output = dpfctl(&[
        "dev",
        "up",
        "--dir",
        dir.path().join("dev").to_str().unwrap(),
        "--apply",
        manifests.to_str().unwrap(),
        "--exit",
        "--timeout",
        "15s",
    ])
    .await
    .unwrap();
    let all = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{all}");
    assert!(
        all.contains("DPUServiceTemplate customer-namespace/consumer does not exist"),
        "{all}"
    );
}

#[tokio::test]
async fn life_of_a_deployment() {
    let demo = Demo::start(&[EXAMPLE]).await.unwrap();
    let outcome = life(&demo).await;
    if let Err(error) = outcome {
        panic!("{error:#}\n{}", demo.log());
    }
}

async fn life(demo: &Demo) -> anyhow::Result<()> {
    let client = demo.client().await?;
    wait_until_ready(&client).await?;
    has_the_shape_of_the_page(&client).await?;
    survives_a_kill(demo, &client).await?;
    if has_kubectl() {
        answers_kubectl(demo).await?;
    }
    disappears_completely(demo, &client).await
}

async fn has_the_shape_of_the_page(client: &Client) -> anyhow::Result<()> {
    let children = all_children(client).await?;
    let count = |kind: &str| {
        children
            .keys()
            .filter(|name| name.starts_with(&format!("{kind}/")))
            .count()
    };
    ensure!(count("DPU") == 4, "four DPUs: {children:?}");
    ensure!(
        count("DPUService") == 2 && count("DPUServiceInterface") == 2,
        "two services with interfaces: {children:?}"
    );
    ensure!(
        count("DPUServiceChain") == 1 && count("DPUSet") == 2,
        "one chain, two sets: {children:?}"
    );
    let sets: Api<DpuSet> = Api::namespaced(client.clone(), NAMESPACE);
    for (set, suffix) in [
        ("producer-consumer-dpuset1", "b-100"),
        ("producer-consumer-dpuset2", "b-101"),
    ] {
        let set = sets.get(set).await?;
        let statistics = set
            .status
            .and_then(|s| s.dpu_statistics)
            .unwrap_or_default();
        ensure!(
            statistics.get("Ready") == Some(&2),
            "two DPUs of rack {suffix}: {statistics:?}"
        );
    }
    Ok(())
}

async fn survives_a_kill(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let before = all_children(client).await?;
    let pid = demo.host_pid().context("no host.pid")?;
    ensure!(
        std::process::Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()?
            .success(),
        "kill failed"
    );
    eventually("the host runs again", || async {
        let now = demo.host_pid().context("no host.pid")?;
        ensure!(
            now != pid && std::path::Path::new(&format!("/proc/{now}")).exists(),
            "still {now}"
        );
        Ok(())
    })
    .await?;
    // A change that the new process has to carry out proves that it works, and that it found what was there.
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = serde_json::json!({"spec": {"revisionHistoryLimit": 7}});
    let changed = deployments
        .patch(
            NAME,
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&patch),
        )
        .await?;
    eventually("the new process reconciles", || async {
        let deployment = deployments.get(NAME).await?;
        let observed = deployment.status.and_then(|s| s.observed_generation);
        ensure!(
            observed == changed.metadata.generation,
            "observed {observed:?}"
        );
        Ok(())
    })
    .await?;
    wait_until_ready(client).await?;
    let after = all_children(client).await?;
    ensure!(
        before == after,
        "objects changed:\nbefore {before:#?}\nafter {after:#?}"
    );
    Ok(())
}

async fn answers_kubectl(demo: &Demo) -> anyhow::Result<()> {
    for (resource, columns) in [
        ("dpudeployments", &["NAME", "READY", "PHASE", "AGE"][..]),
        ("dpuservices", &["NAME", "READY", "PHASE", "AGE"]),
        (
            "dpuserviceinterfaces",
            &["NAME", "READY", "PHASE", "IFTYPE", "IFNAME", "AGE"],
        ),
        ("dpuservicechains", &["NAME", "READY", "PHASE", "AGE"]),
        ("dpusets", &["NAME", "AGE"]),
    ] {
        let table = demo.kubectl_ok(&["get", resource, "-n", NAMESPACE]).await?;
        let header: Vec<&str> = table
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        ensure!(header == columns, "columns of {resource}: {table}");
        let ready =
            !columns.contains(&"READY") || (table.contains("True") && table.contains("Success"));
        ensure!(ready, "{table}");
    }
    let interfaces = demo
        .kubectl_ok(&["get", "dpuserviceinterfaces", "-n", NAMESPACE])
        .await?;
    ensure!(
        interfaces.matches("app-iface  ").count() >= 2,
        "IFNAME shows the name: {interfaces}"
    );
    for resource in [
        "dpusets",
        "dpus",
        "bfbs",
        "dpuflavors",
        "dpuservicetemplates",
        "dpuserviceconfigurations",
    ] {
        let names = demo
            .kubectl_ok(&["get", resource, "-n", NAMESPACE, "-o", "name"])
            .await?;
        ensure!(!names.trim().is_empty(), "no {resource}");
    }
    let description = demo
        .kubectl_ok(&["describe", "dpudeployment", NAME, "-n", NAMESPACE])
        .await?;
    ensure!(description.contains("DPUServicesReady"), "{description}");
    let waited = demo
        .kubectl_ok(&[
            "wait",
            "--for=condition=Ready",
            "dpudeployment/producer-consumer",
            "-n",
            NAMESPACE,
        ])
        .await?;
    ensure!(waited.contains("condition met"), "{waited}");
    demo.kubectl_ok(&["apply", "-f", EXAMPLE]).await?;
    // The page's non-disruptive change: the interface is renamed in place, its service keeps its name.
    let service = demo
        .kubectl_ok(&["get", "dpuservices", "-n", NAMESPACE, "-o", "name"])
        .await?;
    let op = r#"[{"op":"replace","path":"/spec/serviceConfiguration/serviceDaemonSet/annotations/sre.nvidia.com~1page","value":"true"},
                 {"op":"replace","path":"/spec/upgradePolicy/applyNodeEffect","value":false}]"#;
    demo.kubectl_ok(&[
        "patch",
        "dpuserviceconfiguration",
        "producer",
        "-n",
        NAMESPACE,
        "--type=json",
        "-p",
        op,
    ])
    .await?;
    eventually("the change reaches the service", || async {
        let pages = demo
            .kubectl_ok(&[
                "get",
                "dpuservices",
                "-n",
                NAMESPACE,
                "-o",
                "jsonpath={.items[*].spec.serviceDaemonSet.annotations}",
            ])
            .await?;
        ensure!(!pages.contains("false"), "{pages}");
        Ok(())
    })
    .await?;
    let after = demo
        .kubectl_ok(&["get", "dpuservices", "-n", NAMESPACE, "-o", "name"])
        .await?;
    ensure!(
        service == after,
        "a non-disruptive change keeps the objects: {service} became {after}"
    );
    Ok(())
}

async fn disappears_completely(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    deployments
        .delete(NAME, &kube::api::DeleteParams::default())
        .await?;
    eventually("the deployment and all its children are gone", || async {
        let children = all_children(client).await?;
        ensure!(children.is_empty(), "left: {:?}", children.keys());
        if let Some(left) = deployments.get_opt(NAME).await? {
            bail!(
                "the deployment still exists: {:?}",
                left.metadata.finalizers
            );
        }
        Ok(())
    })
    .await?;
    let dpu_client = demo.dpu_client().await?;
    eventually("the nodes of the DPU cluster are gone", || async {
        let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(dpu_client.clone())
            .list(&ListParams::default())
            .await?;
        ensure!(
            nodes.items.is_empty(),
            "left: {:?}",
            nodes
                .items
                .iter()
                .map(ResourceExt::name_any)
                .collect::<Vec<_>>()
        );
        Ok(())
    })
    .await
}

//! Whole lives of DPUs: provisioned, relabelled, held, failed, deleted.

use crate::world::*;
use dpf_api::keys::{annotations, labels};
use dpf_api::provisioning::{Bfb, BfbPhase, Dpu, DpuNode, DpuNodeMaintenance, DpuPhase, DpuSet};
use dpf_devcluster::bmc::InstallFault;
use dpf_devcluster::{Options, start};
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_dpus_are_provisioned_relabelled_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(Options::new(dir.path().join("dev"))).await.unwrap();
    let client = cluster.host.clone();
    let registry = Registry::start(&cluster, dir.path()).await;
    let host = Host::start(context(&cluster, dir.path(), &registry.url));
    prepare(&client).await;
    create::<DpuSet>(&client, dpu_set("racks", None, json!({"drain": true}))).await;

    let dpus = all_ready(&client, 4).await;
    let images: Vec<Bfb> = all(&client).await;
    let image = images[0].status.clone().unwrap();
    assert_eq!(image.phase, BfbPhase::Ready);
    assert_eq!(image.versions.unwrap().doca.as_deref(), Some("2.9.0"));
    assert!(image.checksum.unwrap().starts_with("sha256:"));
    hosts_are_as_before(&client).await;

    for dpu in &dpus {
        let nodes: Api<Node> = Api::all(cluster.dpu.clone());
        let node = nodes.get(&dpu.name_any()).await.unwrap();
        assert_eq!(node.labels()["example.com/service"], "v1");
        assert_eq!(node.labels()[labels::NODE_HOST], dpu.spec.dpu_node_name);
        assert_eq!(node.labels()[labels::DPF_VERSION], "v0.0.0-test");
        let status = dpu.status.clone().unwrap();
        assert!(!status.addresses.unwrap().is_empty());
        assert_eq!(status.redfish_task_id, None);
    }
    let tokens: Vec<Secret> = all(&cluster.dpu).await;
    assert!(
        !tokens
            .iter()
            .any(|s| s.name_any().starts_with("bootstrap-token-")),
        "bootstrap tokens are revoked after use"
    );

    // A change of labels reaches the nodes without another installation.
    let change = json!({"spec": {"dpuTemplate": {"spec": {
        "nodeEffect": {"applyOnLabelChange": true},
        "cluster": {"nodeLabels": {"example.com/service": "v2"}}
    }}}});
    patch::<DpuSet>(&client, NAMESPACE, "racks", change).await;
    eventually("the new label is on every node", async || {
        let nodes: Vec<Node> = all(&cluster.dpu).await;
        let done = nodes
            .iter()
            .filter(|n| {
                n.labels()
                    .get("example.com/service")
                    .is_some_and(|v| v == "v2")
            })
            .count();
        if done == 4 {
            Ok(())
        } else {
            Err(format!("{done} of 4"))
        }
    })
    .await;
    let after = all_ready(&client, 4).await;
    for (before, after) in dpus.iter().zip(&after) {
        assert_eq!(before.uid(), after.uid(), "not replaced");
    }
    hosts_are_as_before(&client).await;

    // The image is used: it stays until the DPUs are gone.
    let bfbs: Api<Bfb> = Api::namespaced(client.clone(), NAMESPACE);
    bfbs.delete("image", &DeleteParams::default())
        .await
        .unwrap();
    eventually("deletion of the image names its users", async || {
        let bfb = bfbs.get("image").await.unwrap();
        let conditions = bfb.status.and_then(|s| s.conditions).unwrap_or_default();
        match conditions.iter().find(|c| c.type_ == "Deleted") {
            Some(c) if c.message.contains("DPUSet racks") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    delete_set(&client, "racks").await;
    hosts_are_as_before(&client).await;
    assert!(
        all::<Node>(&cluster.dpu).await.is_empty(),
        "nodes go with their DPUs"
    );
    host.stop().await;
    registry.stop().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_are_survived_and_devices_are_never_shared() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(Options::new(dir.path().join("dev"))).await.unwrap();
    let client = cluster.host.clone();
    let registry = Registry::start(&cluster, dir.path()).await;
    let mut host = Host::start(context(&cluster, dir.path(), &registry.url));
    prepare(&client).await;
    let set = dpu_set("racks", Some("0000:0e:00.0"), json!({"noEffect": true}));
    create::<DpuSet>(&client, set).await;

    // Killed whenever a phase was left, until everything runs.
    let mut before = Vec::new();
    loop {
        let phases = eventually("a phase is left", async || {
            let now = phases(&client).await;
            if now == before {
                Err(format!("{now:?}"))
            } else {
                Ok(now)
            }
        })
        .await;
        if phases == [DpuPhase::Ready, DpuPhase::Ready] {
            break;
        }
        assert!(!phases.contains(&DpuPhase::Error), "{phases:?}");
        before = phases;
        host = host.crash_and_restart().await;
    }
    let dpus = all_ready(&client, 2).await;
    let on: Vec<_> = dpus.iter().map(|d| d.spec.dpu_node_name.clone()).collect();
    assert_eq!(
        on,
        ["worker-1", "worker-3"],
        "both spellings of a PCI address select"
    );
    for dpu in &dpus {
        assert_eq!(
            installations_of(&client, dpu).await,
            1,
            "{}",
            dpu.name_any()
        );
    }

    // Another set that selects the same devices gets none of them and says whose they are.
    create::<DpuSet>(
        &client,
        dpu_set("others", Some("0000-0e-00"), json!({"noEffect": true})),
    )
    .await;
    eventually("the conflict is reported", async || {
        let sets: Api<DpuSet> = Api::namespaced(client.clone(), NAMESPACE);
        let set = sets.get("others").await.unwrap();
        let conditions = set.status.and_then(|s| s.conditions).unwrap_or_default();
        match conditions.iter().find(|c| c.type_ == "Ready") {
            Some(c) if c.message.contains("/racks") && c.message.contains("/others") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(all::<Dpu>(&client).await.len(), 2);
    delete_set(&client, "others").await;
    delete_set(&client, "racks").await;
    host.stop().await;
    registry.stop().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_and_an_external_reboot_wait_for_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        dpus: 1,
        ..Options::new(dir.path().join("dev"))
    };
    let cluster = start(options).await.unwrap();
    let client = cluster.host.clone();
    let registry = Registry::start(&cluster, dir.path()).await;
    let host = Host::start(context(&cluster, dir.path(), &registry.url));
    prepare(&client).await;
    let external = json!({"spec": {"nodeRebootMethod": {"external": {}, "hostAgent": null}}});
    patch::<DpuNode>(&client, INVENTORY, "worker-1", external).await;
    create::<DpuSet>(&client, dpu_set("racks", None, json!({"hold": true}))).await;

    let key = annotations::WAIT_FOR_EXTERNAL_NODEEFFECT;
    let held: Api<DpuNodeMaintenance> = Api::namespaced(client.clone(), INVENTORY);
    eventually("the host is held", async || {
        match held.get_opt("worker-1-hold").await.unwrap() {
            Some(object) if object.annotations().get(key).is_some_and(|v| v == "true") => Ok(()),
            other => Err(format!("{:?}", other.map(|o| o.status))),
        }
    })
    .await;
    let release = json!({"metadata": {"annotations": {key: "false"}}});
    patch::<DpuNodeMaintenance>(&client, INVENTORY, "worker-1-hold", release).await;

    let key = annotations::EXTERNAL_REBOOT_REQUIRED;
    let nodes: Api<DpuNode> = Api::namespaced(client.clone(), INVENTORY);
    eventually("a restart is asked for", async || {
        let node = nodes.get("worker-1").await.unwrap();
        let asked = node.annotations().contains_key(key);
        let dpus: Vec<Dpu> = all(&client).await;
        let phase = dpus[0].status.clone().unwrap_or_default().phase;
        if asked && phase == DpuPhase::Rebooting {
            Ok(())
        } else {
            Err(phase.to_string())
        }
    })
    .await;
    let done = json!({"metadata": {"annotations": {key: null}}});
    patch::<DpuNode>(&client, INVENTORY, "worker-1", done).await;
    all_ready(&client, 1).await;
    hosts_are_as_before(&client).await;
    delete_set(&client, "racks").await;
    host.stop().await;
    registry.stop().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_installation_is_tried_again_and_then_waits_for_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        dpus: 1,
        ..Options::new(dir.path().join("dev"))
    };
    let cluster = start(options).await.unwrap();
    let client = cluster.host.clone();
    let registry = Registry::start(&cluster, dir.path()).await;
    let host = Host::start(context(&cluster, dir.path(), &registry.url));
    prepare(&client).await;
    create::<DpuSet>(&client, dpu_set("racks", None, json!({"drain": true}))).await;
    let failed = eventually("the DPU gives up", async || {
        cluster.bmcs[0].fail_next_install(InstallFault::Exception("no space left".to_owned()));
        let dpus: Vec<Dpu> = all(&client).await;
        let failed = dpus.into_iter().find(|dpu| {
            dpu.status
                .as_ref()
                .is_some_and(|s| s.phase == DpuPhase::Error)
        });
        failed.ok_or_else(|| "no DPU is in Error".to_owned())
    })
    .await;
    assert_eq!(installations_of(&client, &failed).await, 3);
    let conditions = failed.status.clone().unwrap().conditions.unwrap();
    let error = conditions.iter().find(|c| c.type_ == "Error").unwrap();
    assert!(
        error.message.contains("no space left") && error.message.contains(annotations::RETRY),
        "{}",
        error.message
    );
    hosts_are_as_before(&client).await;

    let retry = json!({"metadata": {"annotations": {annotations::RETRY: "true"}}});
    patch::<Dpu>(&client, NAMESPACE, &failed.name_any(), retry).await;
    let dpus = all_ready(&client, 1).await;
    assert_eq!(dpus[0].uid(), failed.uid());
    assert!(!dpus[0].annotations().contains_key(annotations::RETRY));
    delete_set(&client, "racks").await;
    host.stop().await;
    registry.stop().await;
    cluster.shutdown().await;
}

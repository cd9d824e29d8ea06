//! Manifests as other people write them: servers that nobody reaches from here, older and newer names side by side, fields that
//! are empty, kinds that nothing acts on. They apply as they are, roll out, and leave nothing behind.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

use anyhow::ensure;
use dpf_api::provisioning::{Dpu, DpuDiscovery, DpuNodeMaintenance};
use dpf_api::svc::{DpuDeployment, DpuService, DpuServiceIpam};
use dpf_tests::{Demo, eventually};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

/// Where the inventory is, too, as on most sites.
const NAMESPACE: &str = "dpf-operator-system";
/// A text with braces that are not for us, in a service without dependencies.
const JINJA: &str = "router-id: {{ addresses.loopback.ip }}\nasn: {{ (addresses.loopback.ip.split(\".\")[3] | int) + 64512 }}\n";

fn object(group: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{group}.dpu.nvidia.com/v1alpha1"), "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    })
}

fn template(name: &str, repository: &str, chart: &str, version: &str) -> Value {
    let source = json!({"repoURL": repository, "chart": chart, "version": version});
    let spec = json!({"deploymentServiceName": name, "helmChart": {"source": source, "values": {"image": {"tag": "7"}}}});
    object("svc", "DPUServiceTemplate", name, spec)
}

fn port(name: &str, label: &str, interface: Value) -> Value {
    let template = json!({"metadata": {"labels": {"wire": label}}, "spec": interface});
    let spec = json!({"template": {"spec": {"template": template}}});
    object("svc", "DPUServiceInterface", name, spec)
}

fn flavor() -> Value {
    object(
        "provisioning",
        "DPUFlavor",
        "edge-r7",
        json!({
            "bfcfgParameters": ["UPDATE_DPU_OS=yes", "WITH_NIC_FW_UPDATE=no"],
            "grub": {"kernelParameters": ["console=hvc0", "earlycon=pl011,0x13010000", "hugepages=512"]},
            "nvconfig": [{"device": "*", "parameters": ["SRIOV_EN=1", "NUM_OF_VFS=12", "LINK_TYPE_P1=ETH"]}],
            "configFiles": [
                {"path": "/etc/edge/empty.conf", "operation": "override", "permissions": "0644", "raw": ""},
                {"path": "/etc/edge/offload.conf", "operation": "append", "raw": "MODE=\"hardware\"\n"},
            ],
            "ovs": {"rawConfigScript": "add() {\n  ovs-vsctl --timeout 10 \"$@\"\n}\nadd --may-exist add-br br-edge\n"},
            "hostNetworkInterfaceConfigs": [{"portNumber": 0, "dhcp": true, "mtu": 1500}],
            "packages": [{"name": "tcpdump"}],
            "scalableFunctions": [{"count": 8, "device": "p0", "poolName": "bf_sf"}],
        }),
    )
}

/// A router on the DPUs, an exporter from a registry, and a collector on the hosts that depends on both.
fn deployment(effect: Value) -> Value {
    object(
        "svc",
        "DPUDeployment",
        "edge",
        json!({
            "dpus": {
                "bfb": "edge-image", "flavor": "edge-r7", "nodeEffect": effect,
                "dpuSetStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}},
                "dpuSets": [{
                    "nameSuffix": "all",
                    "nodeSelector": {"matchLabels": {"feature.node.kubernetes.io/dpu-enabled": "true"}},
                    "dpuAnnotations": {"noderesources.dpu.nvidia.com/nodesriovdevicepluginconfig": "edge-vfs"},
                }],
            },
            "services": {
                "router": {"serviceTemplate": "router", "serviceConfiguration": "router"},
                "exporter": {"serviceTemplate": "exporter", "serviceConfiguration": "exporter"},
                "collector": {
                    "serviceTemplate": "collector", "serviceConfiguration": "collector",
                    "dependsOn": [{"name": "router"}, {"name": "exporter"}],
                },
            },
            "serviceChains": {"switches": [
                {"serviceMTU": 9000, "ports": [
                    {"serviceInterface": {"matchLabels": {"wire": "uplink"}}},
                    {"service": {"name": "router", "interface": "up_if", "ipam": {"matchLabels": {"pool": "edge"}}}},
                ]},
                {"ports": [{"serviceInterface": {"matchLabels": {"wire": "host"}}}]},
            ]},
        }),
    )
}

fn manifests() -> Vec<Value> {
    let configuration =
        |name: &str, spec: Value| object("svc", "DPUServiceConfiguration", name, spec);
    vec![
        object(
            "provisioning",
            "BFB",
            "edge-image",
            json!({"url": "https://images.site.test/r7/bf-bundle-3.1.0-76_25.07_prod.bfb"}),
        ),
        flavor(),
        template(
            "router",
            "https://charts.vendor.test/stable",
            "edge-router",
            "2.4.0",
        ),
        template(
            "exporter",
            "oci://registry.vendor.test/edge",
            "exporter",
            "v1.0.0+r7",
        ),
        template(
            "collector",
            "https://charts.vendor.test/stable",
            "collector",
            "0.9.1",
        ),
        configuration(
            "router",
            json!({
                "deploymentServiceName": "router",
                "serviceConfiguration": {
                    // Left empty by the author, and no reason to refuse the rest.
                    "serviceDaemonSet": {"labels": null, "annotations": {"site.test/tier": "1"}},
                    "helmChart": {"values": {"startup": JINJA}},
                },
                "interfaces": [{"name": "up_if", "network": "mybrsfc"}],
            }),
        ),
        configuration("exporter", json!({"deploymentServiceName": "exporter"})),
        configuration(
            "collector",
            json!({
                "deploymentServiceName": "collector",
                "upgradePolicy": {"applyNodeEffect": false},
                "serviceConfiguration": {
                    "deployInCluster": true,
                    "helmChart": {"values": {"source": "{{ (index .Services \"exporter\").Name }}.{{ .Services.router.Namespace }}"}},
                },
            }),
        ),
        port(
            "uplink",
            "uplink",
            json!({"interfaceType": "physical", "physical": {"interfaceName": "p0"}}),
        ),
        port(
            "host",
            "host",
            json!({"interfaceType": "vf", "vf": {"pfID": 0, "vfID": 3, "parentInterfaceRef": ""}}),
        ),
        object(
            "svc",
            "DPUServiceIPAM",
            "edge",
            json!({
                "metadata": {"labels": {"pool": "edge"}},
                "ipv4Subnet": {"subnet": "10.7.0.0/20", "gateway": "10.7.0.1", "perNodeIPCount": 8},
            }),
        ),
        object(
            "provisioning",
            "DPUDiscovery",
            "lab",
            json!({"ipRangeSpec": {"ipRange": {"startIP": "192.0.2.10", "endIP": "192.0.2.20"}}}),
        ),
    ]
}

/// What `Ready` says: its status, reason and message.
fn ready(status: &impl serde::Serialize) -> anyhow::Result<(String, String, String)> {
    let status = serde_json::to_value(status)?;
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|c| c["type"] == "Ready");
    let text = |key: &str| {
        found
            .and_then(|c| c[key].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    Ok((text("status"), text("reason"), text("message")))
}

async fn rolled_out(client: &Client) -> anyhow::Result<()> {
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    eventually("the deployment is Ready", || async {
        let deployment = deployments.get("edge").await?;
        let (status, _, message) = ready(&deployment.status)?;
        ensure!(status == "True", "{message}: {:#?}", deployment.status);
        Ok(())
    })
    .await
}

/// Deletes the deployment and waits until no DPU is left; then no host may be disturbed any more.
async fn deleted(client: &Client) -> anyhow::Result<()> {
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    deployments.delete("edge", &DeleteParams::default()).await?;
    let all = ListParams::default();
    eventually("deployment and DPUs are gone", || async {
        ensure!(deployments.get_opt("edge").await?.is_none(), "deployment");
        let dpus = Api::<Dpu>::all(client.clone()).list(&all).await?;
        ensure!(dpus.items.is_empty(), "{} DPUs", dpus.items.len());
        Ok(())
    })
    .await?;
    eventually("every host is as before", || async {
        let effects = Api::<DpuNodeMaintenance>::all(client.clone())
            .list(&all)
            .await?;
        let left: Vec<_> = effects
            .iter()
            .map(|e| format!("{}: {:?}", e.name_any(), e.spec.requestor))
            .collect();
        ensure!(left.is_empty(), "{left:#?}");
        let nodes = Api::<Node>::all(client.clone()).list(&all).await?;
        for node in &nodes {
            let spec = node.spec.clone().unwrap_or_default();
            ensure!(
                spec.unschedulable != Some(true),
                "{} is cordoned",
                node.name_any()
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_of_others_roll_out_and_go() -> anyhow::Result<()> {
    let demo = Demo::start(&[]).await?;
    let client = demo.client().await?;
    demo.apply(&manifests()).await?;
    demo.apply(&[deployment(json!({"noEffect": true}))]).await?;
    rolled_out(&client).await?;

    let services: Api<DpuService> = Api::namespaced(client.clone(), NAMESPACE);
    let services = services.list(&ListParams::default()).await?.items;
    let values = |name: &str| {
        let service = services.iter().find(|s| s.name_any().starts_with(name));
        let chart = serde_json::to_value(&service.unwrap().spec.helm_chart).unwrap();
        chart["values"].clone()
    };
    ensure!(values("router-")["startup"] == JINJA);
    ensure!(values("router-")["image"]["tag"] == "7");
    let exporter = services
        .iter()
        .find(|s| s.name_any().starts_with("exporter-"))
        .unwrap();
    let source = format!("{}.{NAMESPACE}", exporter.name_any());
    ensure!(values("collector-")["source"] == source);

    // What nothing acts on says so.
    let ipam: DpuServiceIpam = Api::namespaced(client.clone(), NAMESPACE)
        .get("edge")
        .await?;
    let discovery: DpuDiscovery = Api::namespaced(client.clone(), NAMESPACE)
        .get("lab")
        .await?;
    for (status, reason, message) in [ready(&ipam.status)?, ready(&discovery.status)?] {
        ensure!(status == "False" && reason == "NotSupported" && !message.is_empty());
    }
    deleted(&client).await?;

    // Deleted while a service that cannot start holds every host.
    let broken = template(
        "exporter",
        "https://charts.invalid/edge",
        "exporter",
        "1.0.0",
    );
    let mut known = broken.clone();
    known["metadata"]["annotations"] = json!({"dpu.nvidia.com/doca-version": ">= 3.0"});
    demo.apply(&[known, deployment(json!({"drain": true}))])
        .await?;
    let dpus: Api<Dpu> = Api::namespaced(client.clone(), NAMESPACE);
    eventually("a host is held by the service", || async {
        let dpus = dpus.list(&ListParams::default()).await?;
        let held = dpus.iter().any(|dpu| {
            let phase = dpu.status.as_ref().map(|s| s.phase.to_string());
            phase.as_deref() == Some("Node Effect Removal")
        });
        ensure!(held, "none in Node Effect Removal");
        Ok(())
    })
    .await?;
    deleted(&client).await
}

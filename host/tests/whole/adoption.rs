//! A deployment that DPF 25.10 made is taken over: its children stay what they are.
//!
//! The children are written as that release wrote them, by its field manager: names drawn at random, service IDs without a
//! digest, no label of the service, no security setting. Their digests are those of the example's specs.

use crate::world::{NAME, NAMESPACE, World, apply};
use dpf_api::provisioning::Dpu;
use dpf_api::svc::DpuDeployment;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, Discovery, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MANAGER: &str = "dpudeploymentcontroller";
const OWNER: &str = "customer-namespace_producer-consumer";
/// Service, suffix of its objects, digest.
const SERVICES: [(&str, &str, &str); 2] = [
    ("consumer", "fjfh8", "5f650804cb"),
    ("producer", "ln2kk", "feaffd1fa3"),
];
const CHAIN: &str = "producer-consumer-vpn7w";

#[tokio::test]
async fn what_25_10_left_is_taken_over() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(dir.path()).await;
    world.apply_example().await;
    let client = world.cluster.host.clone();
    leave_children(&client).await;
    let before = children(&client).await;
    world.start_host().await;
    world.converge().await;

    let after = children(&client).await;
    assert_eq!(before, after, "children were replaced");
    let by_deployment: Vec<String> = world
        .writes()
        .into_iter()
        .filter(|line| line.contains(&format!("\"fieldManager\":\"{MANAGER}\"")))
        .filter(|line| KINDS.iter().any(|kind| line.contains(&format!("/{kind}/"))))
        .collect();
    assert!(by_deployment.is_empty(), "{by_deployment:#?}");
    // The DPUs run for the revisions that were there, and went through their node effect once, to be installed.
    let dpus: Api<Dpu> = Api::namespaced(client, NAMESPACE);
    for dpu in dpus.list(&ListParams::default()).await.unwrap() {
        let labels = dpu
            .spec
            .cluster
            .unwrap_or_default()
            .node_labels
            .unwrap_or_default();
        for (service, suffix, _) in SERVICES {
            let key = format!("svc.dpu.nvidia.com/dpuservice-{service}-version");
            assert_eq!(labels[&key], format!("{service}-{suffix}"));
        }
    }
    let count = |resource: &str, verb: &str, manager: &str| {
        let (resource, verb) = (format!("/{resource}"), format!("\"verb\":\"{verb}\""));
        let manager = format!("\"fieldManager\":\"{manager}\"");
        let writes = world.writes().into_iter();
        let writes = writes.filter(|line| !line.contains("/status\""));
        let parts = [resource, verb, manager];
        writes
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .count()
    };
    assert_eq!(
        count("dpus/", "apply", "dpuset"),
        2,
        "each DPU is written once"
    );
    assert_eq!(
        count("dpunodemaintenances", "create", "dpu"),
        2,
        "one per host, for the installation"
    );
    world.stop().await;
}

const KINDS: [&str; 4] = [
    "dpuservices",
    "dpuserviceinterfaces",
    "dpuservicechains",
    "dpusets",
];

/// Uids of the children by kind and name.
async fn children(client: &Client) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for kind in KINDS {
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), NAMESPACE, &resource(client, kind).await);
        for object in api.list(&ListParams::default()).await.unwrap() {
            all.insert(
                format!("{kind}/{}", object.name_any()),
                object.uid().unwrap(),
            );
        }
    }
    all
}

async fn resource(client: &Client, plural: &str) -> ApiResource {
    let discovery = Discovery::new(client.clone()).run().await.unwrap();
    let mut all = discovery
        .groups()
        .flat_map(|group| group.recommended_resources());
    all.find(|(resource, _)| resource.plural == plural)
        .unwrap()
        .0
}

fn object(
    api_version: &str,
    kind: &str,
    name: &str,
    version: Option<(&str, &str)>,
    owners: Value,
    spec: Value,
) -> Value {
    let annotations = version.map(|(key, digest)| json!({ key: digest }));
    json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {
            "name": name, "namespace": NAMESPACE, "ownerReferences": owners,
            "labels": {"svc.dpu.nvidia.com/owned-by-dpudeployment": OWNER},
            "annotations": annotations.unwrap_or_else(|| json!({})),
        },
        "spec": spec,
    })
}

fn expressions(key: &str, value: &str) -> Value {
    json!([
        {"key": key, "operator": "In", "values": [value]},
        {"key": "svc.dpu.nvidia.com/owned-by-dpudeployment", "operator": "In", "values": [OWNER]},
    ])
}

fn owner(kind: &str, name: &str, uid: Option<String>, controller: bool) -> Value {
    json!({
        "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": kind, "name": name, "uid": uid.unwrap(),
        "controller": controller, "blockOwnerDeletion": controller,
    })
}

/// Writes services, interfaces, chain and sets in the form of 25.10.
async fn leave_children(client: &Client) {
    let svc = "svc.dpu.nvidia.com/v1alpha1";
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    let deployment = owner(
        "DPUDeployment",
        NAME,
        deployments.get(NAME).await.unwrap().uid(),
        true,
    );
    let version = "svc.dpu.nvidia.com/dpuservice-version";
    for (service, suffix, digest) in SERVICES {
        let (name, interface) = (
            format!("{service}-{suffix}"),
            format!("{service}-app-iface-w6t{}", &suffix[..2]),
        );
        let key = format!("svc.dpu.nvidia.com/dpuservice-{service}-version");
        let id = format!("dpudeployment_{NAME}_{service}");
        let values = match service {
            "consumer" => json!({"worker": {"parallelization": 10, "resources": {
                "limits": {"cpu": 1, "memory": "2Gi", "nvidia.com/sf": 1},
                "requests": {"cpu": 1, "memory": "1Gi", "nvidia.com/sf": 1}}}}),
            _ => json!({"container1": {"resources": {
                "limits": {"cpu": 0.4, "memory": "0.4Gi", "nvidia.com/sf": 1},
                "requests": {"cpu": 0.2, "memory": "0.2Gi", "nvidia.com/sf": 1}}},
                "container2": {"resources": {"limits": {"cpu": 0.6, "memory": "0.6Gi"}}}}),
        };
        let spec = json!({
            "helmChart": {"source": {"path": service, "repoURL": "https://example.com/charts", "version": "v0.0.1"}, "values": values},
            "interfaces": [interface], "serviceID": id,
            "serviceDaemonSet": {
                "annotations": {"sre.nvidia.com/page": if service == "consumer" { "true" } else { "false" }},
                "labels": {"sre.nvidia.com/service-tier": "t1"},
                "nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": expressions(&key, &name)}]},
            },
        });
        let owners = json!([deployment]);
        let written = apply(
            client,
            MANAGER,
            &object(
                svc,
                "DPUService",
                &name,
                Some((version, digest)),
                owners,
                spec,
            ),
        )
        .await;
        let owners = json!([deployment, owner("DPUService", &name, written.uid(), false)]);
        let spec = json!({"template": {"spec": {
            "nodeSelector": {"matchExpressions": expressions(&key, &name)},
            "template": {
                "metadata": {"labels": {"svc.dpu.nvidia.com/service": id, "svc.dpu.nvidia.com/interface": "app-iface"}},
                "spec": {"interfaceType": "service", "service": {"serviceID": id, "network": "mynad", "interfaceName": "app-iface"}},
            },
        }}});
        apply(
            client,
            MANAGER,
            &object(
                svc,
                "DPUServiceInterface",
                &interface,
                Some((version, digest)),
                owners,
                spec,
            ),
        )
        .await;
    }
    let port = |service: &str| {
        json!({"serviceInterface": {"matchLabels": {
            "svc.dpu.nvidia.com/service": format!("dpudeployment_{NAME}_{service}"), "svc.dpu.nvidia.com/interface": "app-iface"}}})
    };
    let key = "svc.dpu.nvidia.com/dpuservicechain-version";
    let spec = json!({"template": {"spec": {
        "nodeSelector": {"matchExpressions": expressions(key, CHAIN)},
        "template": {"spec": {"switches": [{"ports": [port("producer"), port("consumer")], "serviceMTU": 1500}]}},
    }}});
    let digest = "0c5f295fbb";
    apply(
        client,
        MANAGER,
        &object(
            svc,
            "DPUServiceChain",
            CHAIN,
            Some((key, digest)),
            json!([deployment]),
            spec,
        ),
    )
    .await;
    leave_sets(client, &deployment).await;
}

async fn leave_sets(client: &Client, deployment: &Value) {
    let mut labels = json!({
        "svc.dpu.nvidia.com/owned-by-dpudeployment": OWNER, "svc.dpu.nvidia.com/dpuservicechain-version": CHAIN,
    });
    let mut requestors = Vec::new();
    for (service, suffix, _) in SERVICES {
        let name = format!("{service}-{suffix}");
        requestors.push(format!("{OWNER}_{name}"));
        labels[format!("svc.dpu.nvidia.com/dpuservice-{service}-version")] = json!(name);
    }
    requestors.push(format!("{OWNER}_{CHAIN}"));
    requestors.sort();
    for (set, address, rack) in [
        ("dpuset1", "0000-0e-00", "b-100"),
        ("dpuset2", "0000-1a-00", "b-101"),
    ] {
        let spec = json!({
            "strategy": {"type": "RollingUpdate"},
            "dpuNodeSelector": {"matchLabels": {"datacenter.nvidia.com/rack": rack}},
            "dpuDeviceSelector": {"matchLabels": {"provisioning.dpu.nvidia.com/dpudevice-pciAddress": address}},
            "dpuTemplate": {"spec": {
                "bfb": {"name": "bfb-2.9"}, "dpuFlavor": "producer-consumer", "cluster": {"nodeLabels": labels},
                "nodeEffect": {"drain": true, "force": false, "applyOnLabelChange": false, "nodeMaintenanceAdditionalRequestors": requestors},
            }},
        });
        let name = format!("{NAME}-{set}");
        apply(
            client,
            MANAGER,
            &object(
                "provisioning.dpu.nvidia.com/v1alpha1",
                "DPUSet",
                &name,
                None,
                json!([deployment]),
                spec,
            ),
        )
        .await;
    }
}

//! Services, chains and interfaces from the management cluster to the nodes of a DPU cluster and back, with real
//! controllers and clients over the embedded API servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may be as blunt as the tests"
)]

use dpf_api::keys::{annotations, labels};
use dpf_api::provisioning::{Dpu, DpuNodeMaintenance};
use dpf_api::svc::{
    DpuService, DpuServiceChain, DpuServiceInterface, DpuServiceTemplate, ServiceChain,
    ServiceInterface, ServiceInterfaceSet,
};
use dpf_core::dpuplugin::CallLimits;
use dpf_core::dpuservice::argo::Application;
use dpf_devcluster::DevCluster;
use dpf_devcluster::kubelet::{Machine, register};
use dpf_host::kit::{Clock, Context, DpuClusters, Mirrors, Settings, Shutdown};
use dpf_host::plugins::PluginSettings;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const NAMESPACE: &str = "team";
/// Everything that is waited for happens within this time, or the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// A kind with a namespace.
trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}
impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

struct World {
    cluster: DevCluster,
    stop: Shutdown,
    controllers: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = dpf_devcluster::Options::new(directory.path());
        options.dpus = 0;
        let cluster = dpf_devcluster::start(options).await.unwrap();
        for (name, number) in [("d1", 1), ("d2", 2)] {
            let machine = Machine {
                name: name.to_owned(),
                address: Ipv4Addr::new(10, 1, 0, number),
                architecture: "arm64",
                labels: [("role".to_owned(), "edge".to_owned())].into(),
                capacity: [("cpu", "16"), ("pods", "110"), ("nvidia.com/bf_sf", "20")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
            };
            register(&cluster.dpu, &machine).await.unwrap();
        }
        let context = Arc::new(context(&cluster));
        let stop = Shutdown::new();
        let mut controllers = JoinSet::new();
        macro_rules! run {
            ($($kind:ident),*) => {
                $(controllers.spawn(dpf_host::$kind::run(context.clone(), stop.clone()));)*
            };
        }
        run!(
            dpuservicetemplate,
            dpuservice,
            dpuserviceinterface,
            dpuservicechain,
            sets,
            dpuready
        );
        let namespaces: Api<Namespace> = Api::all(cluster.host.clone());
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let params = PatchParams::apply("test");
        namespaces
            .patch(NAMESPACE, &params, &Patch::Apply(&namespace))
            .await
            .unwrap();
        Self {
            cluster,
            stop,
            controllers,
            _directory: directory,
        }
    }

    async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.controllers.join_next().await {
            ended.unwrap();
        }
        self.cluster.shutdown().await;
    }

    fn host<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.cluster.host.clone(), NAMESPACE)
    }

    fn dpu<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.cluster.dpu.clone(), NAMESPACE)
    }

    async fn apply<K: Kind>(&self, name: &str, labels: Value, spec: Value) -> K {
        let object = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name, "labels": labels}, "spec": spec
        });
        let params = PatchParams::apply("test").force();
        self.host::<K>()
            .patch(name, &params, &Patch::Apply(&object))
            .await
            .unwrap()
    }
}

fn context(cluster: &DevCluster) -> Context {
    let client: Client = cluster.host.clone();
    Context {
        client: client.clone(),
        dpu_clusters: DpuClusters::new(client.clone()),
        engine: dpf_engine::Engine::new(dpf_engine::EngineOptions::default()).unwrap(),
        plugins: Arc::default(),
        recorder: Recorder::new(
            client,
            Reporter {
                controller: "test".to_owned(),
                instance: None,
            },
        ),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        clock: Clock::default(),
        settings: Settings {
            operator_namespace: "dpf-operator-system".to_owned(),
            inventory_namespace: "dpf-operator-system".to_owned(),
            bfb_dir: std::path::PathBuf::new(),
            registry_url: String::new(),
            mirrors: Mirrors::parse(cluster.mirrors.iter().map(String::as_str)).unwrap(),
            plugins: PluginSettings::new(None, CallLimits::default()).unwrap(),
            version: "test".to_owned(),
        },
    }
}

/// Waits until the object fulfils the condition; fails with what it was like at the deadline.
async fn until<K: Kind>(api: &Api<K>, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K {
    let reached = await_condition(api.clone(), name, |object: Option<&K>| {
        object.is_some_and(&holds)
    });
    match tokio::time::timeout(DEADLINE, reached).await {
        Ok(object) => object.unwrap().unwrap(),
        Err(_) => {
            let last = api.get_opt(name).await.unwrap();
            let last = serde_json::to_string_pretty(&last).unwrap();
            panic!(
                "{} {name} is not {what} after {DEADLINE:?}: {last}",
                K::kind(&())
            );
        }
    }
}

/// Waits until the object is ready for its current generation.
async fn ready<K: Kind>(api: &Api<K>, name: &str) -> K {
    until(api, name, "ready", |object| {
        let object = serde_json::to_value(object).unwrap();
        let conditions = object["status"]["conditions"].as_array().cloned();
        conditions.unwrap_or_default().iter().any(|c| {
            c["type"] == "Ready"
                && c["status"] == "True"
                && c["observedGeneration"] == object["metadata"]["generation"]
        })
    })
    .await
}

async fn gone<K: Kind>(api: &Api<K>, object: &K) {
    let name = object.name_any();
    let uid = object.uid().unwrap();
    let deleted = conditions::is_deleted(&uid);
    let waited = await_condition(api.clone(), &name, deleted);
    match tokio::time::timeout(DEADLINE, waited).await {
        Ok(result) => drop(result.unwrap()),
        Err(_) => {
            let last = api.get_opt(&name).await.unwrap();
            let last = serde_json::to_string_pretty(&last).unwrap();
            panic!(
                "{} {name} still exists after {DEADLINE:?}: {last}",
                K::kind(&())
            );
        }
    }
}

async fn delete<K: Kind>(api: &Api<K>, name: &str) -> K {
    let object = api.get(name).await.unwrap();
    api.delete(name, &DeleteParams::default()).await.unwrap();
    object
}

async fn on_node<K: Kind>(api: &Api<K>, node: &str) -> Vec<K> {
    let all = api.list(&ListParams::default()).await.unwrap();
    all.items
        .into_iter()
        .filter(|object| serde_json::to_value(object).unwrap()["spec"]["node"] == node)
        .collect()
}

/// Two interfaces, a chain between them, and the service behind one of them.
async fn wire(world: &World) {
    world
        .apply::<DpuServiceInterface>(
            "p0",
            json!({}),
            json!({"template": {"spec": {"template": {
                "metadata": {"labels": {"uplink": "p0"}},
                "spec": {"interfaceType": "physical", "physical": {"interfaceName": "p0"}}
            }}}}),
        )
        .await;
    world
        .apply::<DpuServiceInterface>(
            "app-if",
            json!({}),
            json!({"template": {"spec": {"template": {
                "metadata": {"labels": {labels::INTERFACE: "net1"}},
                "spec": {"interfaceType": "service", "service": {
                    "serviceID": "app-id", "network": "mybrsfc", "interfaceName": "net1"
                }}
            }}}}),
        )
        .await;
    let port = |labels: Value| json!({"serviceInterface": {"matchLabels": labels}});
    let owner = json!({labels::OWNED_BY_DPUDEPLOYMENT: "team_dep"});
    world
        .apply::<DpuServiceChain>(
            "chain",
            owner.clone(),
            json!({"template": {"spec": {
                "nodeSelector": {"matchLabels": {"role": "edge"}},
                "template": {"spec": {"switches": [{"ports": [
                    port(json!({"uplink": "p0"})),
                    port(json!({labels::SERVICE: "app-id", labels::INTERFACE: "net1"}))
                ]}]}}
            }}}),
        )
        .await;
    world
        .apply::<DpuService>(
            "app",
            owner,
            json!({
                "helmChart": {"source": {
                    "repoURL": "https://example.com/charts", "chart": "producer", "version": "v0.0.1"
                }},
                "serviceID": "app-id", "interfaces": ["app-if"],
                "serviceDaemonSet": {"nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "role", "operator": "In", "values": ["edge"]}
                ]}]}}
            }),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chained_service_reaches_every_node_and_goes_again() {
    let world = World::start().await;
    wire(&world).await;
    for interface in ["p0", "app-if"] {
        ready(&world.host::<DpuServiceInterface>(), interface).await;
    }
    ready(&world.host::<DpuServiceChain>(), "chain").await;
    ready(&world.host::<DpuService>(), "app").await;

    // In the DPU cluster: one object per node, counted, with what chains and pods are found by.
    let set = ready(&world.dpu::<ServiceInterfaceSet>(), "app-if").await;
    let status = set.status.unwrap();
    assert_eq!(
        (status.number_applied, status.number_ready),
        (Some(2), Some(2))
    );
    for node in ["d1", "d2"] {
        assert_eq!(on_node(&world.dpu::<ServiceChain>(), node).await.len(), 1);
        assert_eq!(
            on_node(&world.dpu::<ServiceInterface>(), node).await.len(),
            2
        );
    }
    let pods = world.dpu::<Pod>().list(&ListParams::default()).await;
    let pods = pods.unwrap().items;
    assert_eq!(pods.len(), 2);
    let networks = &pods[0].annotations()["k8s.v1.cni.cncf.io/networks"];
    let networks: Value = serde_json::from_str(networks).unwrap();
    assert_eq!(
        networks,
        json!([{"name": "mybrsfc", "interface": "net1", "cni-args": null}])
    );
    assert_eq!(pods[0].labels()[labels::SERVICE], "app-id");
    let interface = world.host::<DpuServiceInterface>().get("app-if").await;
    assert_eq!(
        interface.unwrap().annotations()[annotations::CONSUMED_BY],
        "app"
    );

    a_manual_change_is_reverted(&world).await;
    a_vanished_node_takes_its_objects_along(&world).await;
    everything_goes_also_when_paused(&world).await;
    world.end().await;
}

async fn a_manual_change_is_reverted(world: &World) {
    let sets = world.dpu::<ServiceInterfaceSet>();
    let other = json!({"spec": {"template": {"spec": {"physical": {"interfaceName": "p1"}}}}});
    sets.patch("p0", &PatchParams::default(), &Patch::Merge(&other))
        .await
        .unwrap();
    until(&sets, "p0", "reverted", |set| {
        let physical = set.spec.template.spec.physical.as_ref();
        physical.is_some_and(|p| p.interface_name == "p0")
    })
    .await;
}

async fn a_vanished_node_takes_its_objects_along(world: &World) {
    let nodes: Api<Node> = Api::all(world.cluster.dpu.clone());
    let left = on_node(&world.dpu::<ServiceInterface>(), "d2").await;
    assert_eq!(left.len(), 2);
    nodes.delete("d2", &DeleteParams::default()).await.unwrap();
    for interface in &left {
        gone(&world.dpu(), interface).await;
    }
    ready(&world.host::<DpuServiceChain>(), "chain").await;
}

async fn everything_goes_also_when_paused(world: &World) {
    let pause = json!({"spec": {"paused": true}});
    let services = world.host::<DpuService>();
    services
        .patch("app", &PatchParams::default(), &Patch::Merge(&pause))
        .await
        .unwrap();
    let applications: Api<Application> =
        Api::namespaced(world.cluster.host.clone(), "dpf-operator-system");
    let skipped = until(&applications, "dpu-cluster-app", "paused", |application| {
        let skip = application
            .annotations()
            .get(annotations::ARGO_SKIP_RECONCILE);
        skip.is_some_and(|value| value == "true")
    })
    .await;
    let service = delete(&services, "app").await;
    gone(&services, &service).await;
    gone(&applications, &skipped).await;
    let chain = delete(&world.host::<DpuServiceChain>(), "chain").await;
    gone(&world.host(), &chain).await;
    for name in ["p0", "app-if"] {
        let interface = delete(&world.host::<DpuServiceInterface>(), name).await;
        assert!(
            !interface
                .annotations()
                .contains_key(annotations::CONSUMED_BY)
        );
        gone(&world.host(), &interface).await;
    }
    let all = ListParams::default();
    let chains = world.dpu::<ServiceChain>().list(&all).await.unwrap();
    let interfaces = world.dpu::<ServiceInterface>().list(&all).await.unwrap();
    assert_eq!((chains.items.len(), interfaces.items.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_given_back_when_its_dpu_runs_what_it_should() {
    let world = World::start().await;
    world
        .apply::<Dpu>(
            "d1",
            json!({labels::OWNED_BY_DPUDEPLOYMENT: "team_dep"}),
            json!({
                "dpuNodeName": "worker", "dpuDeviceName": "device", "serialNumber": "1",
                "cluster": {"name": "dpu-cluster", "namespace": "dpf-operator-system"}
            }),
        )
        .await;
    let requestors = ["d1", "team_dep_app", "team_dep_chain"];
    let spec = json!({"dpuNodeName": "worker", "requestor": requestors});
    world
        .apply::<DpuNodeMaintenance>("worker-hold", json!({}), spec)
        .await;
    let params = PatchParams::default();
    let applied = json!({"status": {"conditions": [{
        "type": "NodeEffectApplied", "status": "True", "reason": "Success", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"
    }]}});
    let maintenances = world.host::<DpuNodeMaintenance>();
    maintenances
        .patch_status("worker-hold", &params, &Patch::Merge(&applied))
        .await
        .unwrap();
    let phase = json!({"status": {"phase": "Node Effect Removal"}});
    let dpus = world.host::<Dpu>();
    dpus.patch_status("d1", &params, &Patch::Merge(&phase))
        .await
        .unwrap();

    wire(&world).await;
    until(&maintenances, "worker-hold", "released", |maintenance| {
        maintenance.spec.requestor.as_deref() == Some(&["d1".to_owned()])
    })
    .await;
    // Not before: pod and chain are ready on the node now.
    let chains = on_node(&world.dpu::<ServiceChain>(), "d1").await;
    let conditions = chains[0]
        .status
        .as_ref()
        .unwrap()
        .conditions
        .as_ref()
        .unwrap();
    assert!(
        conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_learns_the_constraints_of_its_chart() {
    let world = World::start().await;
    let spec = |version: &str| {
        json!({"deploymentServiceName": "app", "helmChart": {"source": {
            "repoURL": "https://example.com/charts", "chart": "producer", "version": version
        }}})
    };
    let templates = world.host::<DpuServiceTemplate>();
    world
        .apply::<DpuServiceTemplate>("app", json!({}), spec("0.0.1"))
        .await;
    let template = ready(&templates, "app").await;
    let versions = template.status.unwrap().versions.unwrap();
    assert_eq!(versions[annotations::DOCA_VERSION], ">= 2.9");

    world
        .apply::<DpuServiceTemplate>("app", json!({}), spec("9.9.9"))
        .await;
    until(&templates, "app", "explained", |template| {
        let conditions = template.status.as_ref().and_then(|s| s.conditions.as_ref());
        conditions.is_some_and(|list| {
            list.iter().any(|c| {
                c.message.contains("has no version 9.9.9") && c.message.contains("/index.yaml")
            })
        })
    })
    .await;
    let template = delete(&templates, "app").await;
    gone(&templates, &template).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_ends_although_its_first_list_never_came() {
    let world = World::start().await;
    let stop = Shutdown::new();
    stop.cancel();
    let context = Arc::new(context(&world.cluster));
    let ended = dpf_host::dpuservice::run(context, stop);
    tokio::time::timeout(DEADLINE, ended).await.unwrap();
    world.end().await;
}

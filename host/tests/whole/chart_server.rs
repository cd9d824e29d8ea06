//! A chart server that goes away beside a running deployment.

use crate::world::{NAME, NAMESPACE, PATIENCE, World};
use dpf_api::provisioning::{Dpu, DpuSet};
use dpf_api::svc::{
    DpuDeployment, DpuService, DpuServiceChain, DpuServiceInterface, DpuServiceTemplate,
};
use dpf_devcluster::charts::{self, Chart};
use dpf_devcluster::servers::{Handler, Listener, body, text};
use futures::FutureExt as _;
use hyper::StatusCode;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const REPOSITORY: &str = "https://charts.site.test";
/// The server is asked again after 0.25 s, 0.5 s, 1 s, 2 s and so on, and once when the condition is written.
const WATCHED: Duration = Duration::from_secs(6);
const ASKED_AT_MOST: usize = 7;

/// Answers while `up`, and counts who asks.
struct Server {
    up: AtomicBool,
    asked: AtomicUsize,
}

impl Server {
    fn handler(self: &Arc<Self>) -> Handler {
        let this = self.clone();
        let newer = charts::example().into_iter().map(|chart| Chart {
            version: "v0.0.2".to_owned(),
            ..chart
        });
        let all: Vec<Chart> = charts::example().into_iter().chain(newer).collect();
        let index = charts::index(&all).to_string();
        Arc::new(move |_| {
            this.asked.fetch_add(1, Ordering::SeqCst);
            let answer = match this.up.load(Ordering::SeqCst) {
                true => body(StatusCode::OK, "text/yaml", index.clone()),
                false => text(StatusCode::SERVICE_UNAVAILABLE, "closed for the night"),
            };
            async move { answer }.boxed()
        })
    }
}

/// Nothing that runs is touched, the condition names URL and cause, the server is asked less and less often, and when it is
/// back the rollout goes on.
#[tokio::test]
async fn a_chart_server_that_goes_away_disturbs_nothing() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Arc::new(Server {
        up: AtomicBool::new(true),
        asked: AtomicUsize::new(0),
    });
    let listener = Listener::bind().await.unwrap();
    let mirrors = [format!("{REPOSITORY}={}", listener.url())];
    let stop = CancellationToken::new();
    let served = tokio::spawn(listener.serve(stop.clone(), server.handler()));
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(dir.path()).await;
    world
        .apply_example_with(|text| text.replace("https://example.com/charts", REPOSITORY))
        .await;
    world.start_host_with(&mirrors).await;
    world.converge().await;
    let running = what_runs(&world).await;

    // A host that starts while the server is away knows what it needs.
    server.up.store(false, Ordering::SeqCst);
    let asked = server.asked.load(Ordering::SeqCst);
    world.stop_host().await;
    let writes = world.writes().len();
    world.start_host_with(&mirrors).await;
    world.converge().await;
    assert_eq!(world.writes().len(), writes, "something was written");
    assert_eq!(server.asked.load(Ordering::SeqCst), asked, "it was asked");

    // What a new version of the chart asks for cannot be known.
    set_version(&world, "v0.0.2").await;
    let started = Instant::now();
    let told = until(&world, "PrerequisitesReady", "False").await;
    for text in [
        "DPUServiceTemplate customer-namespace/consumer is not ready yet",
        "https://charts.site.test/index.yaml",
        "503",
    ] {
        assert!(told.contains(text), "no {text:?} in {told}");
    }
    let templates: Api<DpuServiceTemplate> = api(&world);
    let template = templates.get("consumer").await.unwrap();
    let conditions = template.status.unwrap().conditions.unwrap();
    let condition = of(&conditions, "DPUServiceTemplateReconciled");
    assert!(
        condition.status == "False"
            && condition
                .message
                .contains("https://charts.site.test/index.yaml")
            && condition.message.contains("503"),
        "{condition:?}"
    );
    tokio::time::sleep(WATCHED.saturating_sub(started.elapsed())).await;
    let again = server.asked.load(Ordering::SeqCst) - asked;
    assert!((2..=ASKED_AT_MOST).contains(&again), "asked {again} times");
    assert_eq!(what_runs(&world).await, running);

    server.up.store(true, Ordering::SeqCst);
    until(&world, "PrerequisitesReady", "True").await;
    world.converge().await;
    assert_ne!(what_runs(&world).await, running, "the new version came");
    world.stop().await;
    stop.cancel();
    served.await.unwrap();
}

async fn set_version(world: &World, version: &str) {
    let change = json!({"spec": {"helmChart": {"source": {"version": version}}}});
    api::<DpuServiceTemplate>(world)
        .patch("consumer", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .unwrap();
}

fn api<K>(world: &World) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(world.cluster.host.clone(), NAMESPACE)
}

fn of<'a>(conditions: &'a [Condition], type_: &str) -> &'a Condition {
    conditions.iter().find(|c| c.type_ == type_).unwrap()
}

/// Waits for the condition of the deployment; its message.
async fn until(world: &World, type_: &str, status: &str) -> String {
    let started = Instant::now();
    loop {
        let conditions = world.conditions().await;
        let condition = of(&conditions, type_);
        if condition.status == status {
            return condition.message.clone();
        }
        assert!(started.elapsed() < PATIENCE, "{condition:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Uid and generation by name: a spec that is touched has another generation.
type Running = BTreeMap<String, (Option<String>, Option<i64>)>;

async fn what_runs(world: &World) -> Running {
    let mut all = of_kind::<DpuService>(world).await;
    all.extend(of_kind::<DpuServiceInterface>(world).await);
    all.extend(of_kind::<DpuServiceChain>(world).await);
    all.extend(of_kind::<DpuSet>(world).await);
    all.extend(of_kind::<Dpu>(world).await);
    assert!(all.len() >= 9, "{all:?}");
    let deployment = api::<DpuDeployment>(world).get(NAME).await.unwrap();
    all.insert("the deployment".to_owned(), (deployment.uid(), None));
    all
}

async fn of_kind<K>(world: &World) -> Running
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let list = api::<K>(world).list(&ListParams::default()).await.unwrap();
    let row = |object: K| {
        let name = format!("{}/{}", K::kind(&()), object.name_any());
        (name, (object.uid(), object.meta().generation))
    };
    list.items.into_iter().map(row).collect()
}

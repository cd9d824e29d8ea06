//! kube-rs on the in-process service: what operators do all day.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may be as blunt as the tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dpf_apiserver::{ApiServer, Options};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event as NewEvent, EventType, Recorder};
use kube::runtime::{WatchStreamExt as _, finalizer, wait, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(20);

fn client(server: &ApiServer) -> Client {
    Client::new(server.service(), "default")
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    let mut map = ConfigMap {
        data: Some(BTreeMap::from([("k".into(), value.into())])),
        ..ConfigMap::default()
    };
    map.metadata.name = Some(name.into());
    map
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("it should not take this long")
}

#[tokio::test]
async fn objects_are_created_read_changed_and_deleted() {
    let server = ApiServer::new(Options::default());
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let created = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap();
    let again = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await;
    assert!(
        matches!(again, Err(kube::Error::Api(status)) if status.code == 409 && status.is_already_exists())
    );

    let mut stale = created.clone();
    stale.data.as_mut().unwrap().insert("x".into(), "y".into());
    let replaced = maps
        .replace("a", &PostParams::default(), &stale)
        .await
        .unwrap();
    assert_ne!(replaced.resource_version(), created.resource_version());
    let conflict = maps.replace("a", &PostParams::default(), &stale).await;
    assert!(matches!(conflict, Err(kube::Error::Api(status)) if status.is_conflict()));

    let listed = maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    let partial = maps.get_metadata("a").await.unwrap();
    assert_eq!(partial.uid(), created.uid());
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

/// What a watcher knows: names, kept up to date by its events.
#[derive(Default)]
struct Known {
    names: BTreeSet<String>,
    next: BTreeSet<String>,
    restarts: usize,
}

impl Known {
    fn take(&mut self, event: watcher::Event<ConfigMap>) {
        match event {
            watcher::Event::Init => self.restarts += 1,
            watcher::Event::InitApply(map) => {
                self.next.insert(map.name_any());
            }
            watcher::Event::InitDone => self.names = std::mem::take(&mut self.next),
            watcher::Event::Apply(map) => {
                self.names.insert(map.name_any());
            }
            watcher::Event::Delete(map) => {
                self.names.remove(&map.name_any());
            }
        }
    }
}

#[tokio::test]
async fn a_watcher_recovers_from_lost_history() {
    let server = ApiServer::new(Options {
        history_limit: 4,
        ..Options::default()
    });
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    maps.create(&PostParams::default(), &config_map("first", "0"))
        .await
        .unwrap();
    let mut events = Box::pin(watcher(maps.clone(), watcher::Config::default()).default_backoff());
    let mut known = Known::default();
    while known.names.is_empty() {
        known.take(within(events.next()).await.unwrap().unwrap());
    }
    // More changes than the server remembers: the watch ends with 410 and starts over with a list.
    for index in 0..20 {
        maps.create(
            &PostParams::default(),
            &config_map(&format!("m{index}"), "1"),
        )
        .await
        .unwrap();
    }
    while known.names.len() < 21 {
        if let Ok(event) = within(events.next()).await.unwrap() {
            known.take(event);
        }
    }
    assert_eq!(known.restarts, 2);
    maps.delete("first", &DeleteParams::default())
        .await
        .unwrap();
    while known.names.len() > 20 {
        known.take(within(events.next()).await.unwrap().unwrap());
    }
    assert!(!known.names.contains("first"));
}

#[tokio::test]
async fn streaming_lists_end_with_the_announced_bookmark() {
    let server = ApiServer::new(Options::default());
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    for name in ["a", "b", "c"] {
        maps.create(&PostParams::default(), &config_map(name, "1"))
            .await
            .unwrap();
    }
    let mut events = Box::pin(watcher(maps, watcher::Config::default().streaming_lists()));
    let mut names = Vec::new();
    within(async {
        loop {
            match events.try_next().await.unwrap().unwrap() {
                watcher::Event::InitApply(map) => names.push(map.name_any()),
                watcher::Event::InitDone => break,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(names, ["a", "b", "c"]);
}

fn widget_definition() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gears.test.example.com"},
        "spec": {"group": "test.example.com", "scope": "Namespaced",
            "names": {"kind": "Gear", "plural": "gears"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"teeth": {"type": "integer", "minimum": 3}}},
                    "status": {"type": "object", "properties": {"turns": {"type": "integer"}}}}}}}]}
    }))
    .unwrap()
}

fn gears(client: Client) -> (Api<DynamicObject>, ApiResource) {
    let kind = GroupVersionKind::gvk("test.example.com", "v1", "Gear");
    let resource = ApiResource::from_gvk_with_plural(&kind, "gears");
    (Api::default_namespaced_with(client, &resource), resource)
}

#[tokio::test]
async fn custom_kinds_are_defined_used_and_removed() {
    let server = ApiServer::new(Options::default());
    let definitions: Api<CustomResourceDefinition> = Api::all(client(&server));
    definitions
        .create(&PostParams::default(), &widget_definition())
        .await
        .unwrap();
    let established = wait::conditions::is_crd_established();
    within(wait::await_condition(
        definitions.clone(),
        "gears.test.example.com",
        established,
    ))
    .await
    .unwrap();

    let (gears, resource) = gears(client(&server));
    let gear = DynamicObject::new("g", &resource).data(json!({"spec": {"teeth": 12}}));
    gears.create(&PostParams::default(), &gear).await.unwrap();
    let bad = DynamicObject::new("bad", &resource).data(json!({"spec": {"teeth": 1}}));
    let refused = gears.create(&PostParams::default(), &bad).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 422));

    let turns = Patch::Merge(json!({"status": {"turns": 7}}));
    let turned = gears
        .patch_status("g", &PatchParams::default(), &turns)
        .await
        .unwrap();
    assert_eq!(turned.data["status"]["turns"], 7);
    assert_eq!(turned.metadata.generation, Some(1));

    definitions
        .delete("gears.test.example.com", &DeleteParams::default())
        .await
        .unwrap();
    assert!(
        definitions
            .get_opt("gears.test.example.com")
            .await
            .unwrap()
            .is_none()
    );
    assert!(gears.get("g").await.is_err());
}

#[tokio::test]
async fn appliers_share_an_object_and_conflict_over_fields() {
    let server = ApiServer::new(Options::default());
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let apply = |manager: &'static str, value: &'static str, force: bool| {
        let maps = maps.clone();
        async move {
            let mut parameters = PatchParams::apply(manager);
            parameters.force = force;
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"shared": value, manager: "x"}});
            maps.patch("a", &parameters, &Patch::Apply(body)).await
        }
    };
    apply("one", "1", false).await.unwrap();
    let same = apply("one", "1", false).await.unwrap();
    assert_eq!(
        same.resource_version(),
        maps.get("a").await.unwrap().resource_version()
    );
    let conflict = apply("two", "2", false).await;
    assert!(matches!(conflict, Err(kube::Error::Api(status)) if status.is_conflict()));
    let forced = apply("two", "2", true).await.unwrap();
    let data = forced.data.unwrap();
    assert_eq!(
        (
            data["shared"].as_str(),
            data["one"].as_str(),
            data["two"].as_str()
        ),
        ("2", "x", "x")
    );
}

/// Copies each ConfigMap `source-*` to a child, holding the source with a finalizer.
async fn reconcile(
    map: Arc<ConfigMap>,
    maps: Arc<Api<ConfigMap>>,
) -> Result<Action, finalizer::Error<kube::Error>> {
    if !map.name_any().starts_with("source") {
        return Ok(Action::await_change());
    }
    let api = (*maps).clone();
    finalizer(&maps, "test.example.com/copy", map, |event| async move {
        if let finalizer::Event::Apply(source) = event {
            let mut child = config_map(&format!("copy-of-{}", source.name_any()), "copied");
            child.metadata.owner_references = Some(vec![source.controller_owner_ref(&()).unwrap()]);
            child.metadata.managed_fields = None;
            api.patch(
                &child.name_any(),
                &PatchParams::apply("copier").force(),
                &Patch::Apply(&child),
            )
            .await?;
        }
        Ok(Action::await_change())
    })
    .await
}

#[tokio::test]
async fn a_controller_with_finalizer_and_children() {
    let server = ApiServer::new(Options::default());
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let controller = Controller::new(maps.clone(), watcher::Config::default())
        .owns(maps.clone(), watcher::Config::default())
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(50)),
            Arc::new(maps.clone()),
        );
    let running = tokio::spawn(controller.for_each(|_| async {}));

    maps.create(&PostParams::default(), &config_map("source-1", "x"))
        .await
        .unwrap();
    let exists = |object: Option<&ConfigMap>| object.is_some();
    within(wait::await_condition(
        maps.clone(),
        "copy-of-source-1",
        exists,
    ))
    .await
    .unwrap();
    let source = maps.get("source-1").await.unwrap();
    assert_eq!(source.finalizers(), ["test.example.com/copy"]);

    maps.delete("source-1", &DeleteParams::default())
        .await
        .unwrap();
    let uid = source.uid().unwrap();
    within(wait::await_condition(
        maps.clone(),
        "source-1",
        wait::conditions::is_deleted(&uid),
    ))
    .await
    .unwrap();
    let gone = |object: Option<&ConfigMap>| object.is_none();
    within(wait::await_condition(
        maps.clone(),
        "copy-of-source-1",
        gone,
    ))
    .await
    .unwrap();
    running.abort();
}

#[tokio::test]
async fn events_have_two_faces() {
    let server = ApiServer::new(Options::default());
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let about = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap();
    let recorder = Recorder::new(client(&server), "tester".into());
    let event = NewEvent {
        type_: EventType::Normal,
        reason: "Tested".into(),
        note: Some("hello".into()),
        action: "Testing".into(),
        secondary: None,
    };
    recorder
        .publish(&event, &about.object_ref(&()))
        .await
        .unwrap();
    recorder
        .publish(&event, &about.object_ref(&()))
        .await
        .unwrap();
    let core: Api<Event> = Api::default_namespaced(client(&server));
    let selector = format!(
        "involvedObject.name=a,involvedObject.uid={}",
        about.uid().unwrap()
    );
    let found = core
        .list(&ListParams::default().fields(&selector))
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
    assert_eq!(found.items[0].message.as_deref(), Some("hello"));
}

#[tokio::test]
async fn only_one_candidate_gets_the_lease() {
    let server = ApiServer::new(Options::default());
    let leases: Api<Lease> = Api::default_namespaced(client(&server));
    let mut lease = Lease {
        spec: Some(LeaseSpec::default()),
        ..Lease::default()
    };
    lease.metadata.name = Some("leader".into());
    let lease = leases.create(&PostParams::default(), &lease).await.unwrap();
    let take = |who: &'static str| {
        let (leases, mut lease) = (leases.clone(), lease.clone());
        async move {
            lease.spec.as_mut().unwrap().holder_identity = Some(who.into());
            leases
                .replace("leader", &PostParams::default(), &lease)
                .await
                .is_ok()
        }
    };
    let (a, b) = tokio::join!(take("a"), take("b"));
    assert!(a ^ b, "exactly one must win");
}

#[tokio::test]
async fn a_namespace_takes_its_content_along() {
    let server = ApiServer::new(Options::default());
    let namespaces: Api<Namespace> = Api::all(client(&server));
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some("ns".into());
    let namespace = namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client(&server), "ns");
    let mut held = config_map("held", "1");
    held.metadata.finalizers = Some(vec!["test.example.com/hold".into()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    maps.create(&PostParams::default(), &config_map("free", "1"))
        .await
        .unwrap();

    namespaces
        .delete("ns", &DeleteParams::default())
        .await
        .unwrap();
    assert!(maps.get_opt("free").await.unwrap().is_none());
    let late = maps
        .create(&PostParams::default(), &config_map("late", "1"))
        .await;
    assert!(matches!(late, Err(kube::Error::Api(status)) if status.code == 403));
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &release)
        .await
        .unwrap();
    let uid = namespace.uid().unwrap();
    within(wait::await_condition(
        namespaces,
        "ns",
        wait::conditions::is_deleted(&uid),
    ))
    .await
    .unwrap();
}

#[tokio::test]
async fn pods_of_a_node_are_found_and_evicted() {
    let server = ApiServer::new(Options::default());
    let pods: Api<Pod> = Api::default_namespaced(client(&server));
    for (name, node) in [("p1", "n1"), ("p2", "n2")] {
        let pod = json!({"metadata": {"name": name},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
        pods.create(
            &PostParams::default(),
            &serde_json::from_value(pod).unwrap(),
        )
        .await
        .unwrap();
    }
    let on_node = pods
        .list(&ListParams::default().fields("spec.nodeName=n1"))
        .await
        .unwrap();
    assert_eq!(on_node.items.len(), 1);
    assert_eq!(
        on_node.items[0]
            .spec
            .as_ref()
            .unwrap()
            .restart_policy
            .as_deref(),
        Some("Always")
    );
    pods.evict("p1", &kube::api::EvictParams::default())
        .await
        .unwrap();
    assert!(pods.get_opt("p1").await.unwrap().is_none());
}

#[tokio::test]
async fn a_lease_may_be_created_by_replacing_it() {
    let server = ApiServer::new(Options::default());
    let leases: Api<Lease> = Api::default_namespaced(client(&server));
    let mut lease = Lease::default();
    lease.metadata.name = Some("l".into());
    let created = leases
        .replace("l", &PostParams::default(), &lease)
        .await
        .unwrap();
    assert!(created.uid().is_some());
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let refused = maps
        .replace("m", &PostParams::default(), &config_map("m", "1"))
        .await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.is_not_found()));
}

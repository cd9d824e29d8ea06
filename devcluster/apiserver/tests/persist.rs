//! A server with a file: what was answered is there again after it was killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may be as blunt as the tests"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dpf_apiserver::{ApiServer, Options, Tls, Token};
use futures::TryStreamExt as _;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::json;

/// Tells the process that is killed where its file is.
const FOLDER: &str = "PERSIST_FOLDER";

/// Not a test of its own: this program starts itself with the variable set, to have a process to kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let options = Options {
        tokens: vec![Token::admin("boss")],
        anonymous: false,
        ..Options::default()
    };
    let server = ApiServer::open(options, &folder.join("objects.redb")).unwrap();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listening = server.listen(loopback, Tls::SelfSigned).await.unwrap();
    std::fs::write(folder.join("kubeconfig"), listening.kubeconfig("boss")).unwrap();
    std::future::pending::<()>().await;
}

/// A server as a process of its own; killed, not asked, at the end.
struct Server(Child);

impl Server {
    async fn start(folder: &Path) -> Self {
        let kubeconfig = folder.join("kubeconfig");
        let _ = std::fs::remove_file(&kubeconfig);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["the_process_that_is_killed", "--exact"])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        let complete = || {
            let text = std::fs::read_to_string(&kubeconfig).unwrap_or_default();
            text.contains("current-context")
        };
        while !complete() {
            assert!(begin.elapsed() < Duration::from_secs(60), "no kubeconfig");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL: nothing is tidied up.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn connect(folder: &Path, token: Option<&str>) -> Client {
    let kubeconfig = Kubeconfig::read_from(folder.join("kubeconfig")).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    if let Some(token) = token {
        config.auth_info.token = Some(token.to_owned().into());
    }
    Client::try_from(config).unwrap()
}

fn named(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map
}

fn gears(client: Client) -> (Api<DynamicObject>, ApiResource) {
    let kind = GroupVersionKind::gvk("test.example.com", "v1", "Gear");
    let resource = ApiResource::from_gvk_with_plural(&kind, "gears");
    (Api::default_namespaced_with(client, &resource), resource)
}

async fn prepare(client: &Client) -> String {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = json!({"metadata": {"name": "gears.test.example.com"}, "spec": {"group": "test.example.com",
        "scope": "Namespaced", "names": {"kind": "Gear", "plural": "gears"},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let definition = serde_json::from_value(definition).unwrap();
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    let (gears, resource) = gears(client.clone());
    let gear = DynamicObject::new("g", &resource).data(json!({"spec": {"teeth": 12}}));
    gears.create(&PostParams::default(), &gear).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    let account = serde_json::from_value(json!({"metadata": {"name": "robot"}})).unwrap();
    accounts
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    let request: TokenRequest =
        serde_json::from_value(json!({"metadata": {}, "spec": {"audiences": []}})).unwrap();
    let issued = accounts
        .create_token_request("robot", &PostParams::default(), &request)
        .await
        .unwrap();
    issued.status.unwrap().token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let client = connect(folder.path(), None).await;
    let token = prepare(&client).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    maps.create(&PostParams::default(), &named("gone"))
        .await
        .unwrap();
    maps.delete("gone", &DeleteParams::default()).await.unwrap();
    let first = maps
        .create(&PostParams::default(), &named("first"))
        .await
        .unwrap();
    // Killed in the middle of writing.
    let writer = tokio::spawn(async move {
        let mut answered = Vec::new();
        for index in 0.. {
            let name = format!("m{index}");
            match maps.create(&PostParams::default(), &named(&name)).await {
                Ok(map) => answered.push((name, map.uid().unwrap())),
                Err(_) => break,
            }
        }
        answered
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(server);
    let answered = writer.await.unwrap();
    assert!(!answered.is_empty());

    let server = Server::start(folder.path()).await;
    let client = connect(folder.path(), None).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    for (name, uid) in &answered {
        assert_eq!(
            maps.get(name).await.unwrap().uid().as_ref(),
            Some(uid),
            "{name}"
        );
    }
    assert!(maps.get_opt("gone").await.unwrap().is_none());
    let (gears, _) = gears(client.clone());
    assert_eq!(gears.get("g").await.unwrap().data["spec"]["teeth"], 12);

    // Revisions go on, uids do not repeat, and who watched before has to list again.
    let later = maps
        .create(&PostParams::default(), &named("later"))
        .await
        .unwrap();
    let number = |map: &ConfigMap| map.resource_version().unwrap().parse::<u64>().unwrap();
    assert!(number(&later) > number(&first) + answered.len() as u64);
    assert!(answered.iter().all(|(_, uid)| *uid != later.uid().unwrap()));
    let since = first.resource_version().unwrap();
    let watch = maps.watch(&WatchParams::default(), &since).await.unwrap();
    let event = std::pin::pin!(watch).try_next().await.unwrap().unwrap();
    match event {
        WatchEvent::Error(status) => assert_eq!(status.code, 410),
        other => panic!("not 410: {other:?}"),
    }
    assert!(maps.list(&ListParams::default()).await.unwrap().items.len() > answered.len());

    let robot = connect(folder.path(), Some(&token)).await;
    let selves: Api<SelfSubjectReview> = Api::all(robot);
    selves
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .unwrap();
    drop(server);
}

//! Constraints of charts in a registry and in a repository that want credentials, and in one that does not answer.

use crate::world::{INVENTORY, NAMESPACE, PATIENCE, World, apply};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dpf_api::keys::annotations::DOCA_VERSION;
use dpf_api::svc::DpuServiceTemplate;
use dpf_devcluster::charts;
use dpf_devcluster::servers::{Answer, Handler, Listener, body, text};
use dpf_tests::registry::{PASSWORD, Registry, USER};
use futures::FutureExt as _;
use hyper::{Request, StatusCode, body::Bytes};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn constraints_come_from_private_registries_and_repositories() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut registry = Registry::start_private().await.unwrap();
    push_chart(
        registry.address(),
        "charts/firewall",
        "1.2.3_build",
        ">= 2.9, < 4",
    )
    .await;
    let stop = CancellationToken::new();
    let repository = Listener::bind().await.unwrap();
    let repository_host = repository.address().to_string();
    let served = tokio::spawn(repository.serve(stop.clone(), private_repository()));
    let silent = free_address();

    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(dir.path()).await;
    let mirrors: Vec<String> = [registry.address(), &repository_host, &silent.to_string()]
        .map(|host| format!("https://{host}=http://{host}"))
        .to_vec();
    world.start_host_with(&mirrors).await;
    let client = world.cluster.host.clone();
    apply(
        &client,
        "test",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
    )
    .await;
    let oci = format!("oci://{}/charts", registry.address());
    let https = format!("https://{repository_host}");
    template(&world, "oci", &oci, "firewall", "1.2.3+build").await;
    template(&world, "index", &https, "producer", "0.0.1").await;
    template(
        &world,
        "silent",
        &format!("https://{silent}"),
        "producer",
        "0.0.1",
    )
    .await;

    // Nobody may read them yet, and the message says how to change that.
    for name in ["oci", "index"] {
        let message = until(&world, name, |t| {
            reason(t) == "Error" || !message(t).is_empty()
        })
        .await;
        let message = self::message(&message);
        assert!(
            message.contains("401") && message.contains("Argo CD repository Secret"),
            "{message}"
        );
    }
    // Argo CD writes the address of a registry without a scheme.
    secret(
        &world,
        "registry",
        &format!("{}/charts", registry.address()),
    )
    .await;
    secret(&world, "repository", &https).await;
    for (name, constraint) in [("oci", ">= 2.9, < 4"), ("index", ">= 2.9")] {
        until(&world, name, |t| versions(t).as_deref() == Some(constraint)).await;
    }

    // What does not answer is named with its cause, and asked again until it does.
    let template = until(&world, "silent", |t| !message(t).is_empty()).await;
    let told = message(&template);
    assert!(
        told.contains(&silent.to_string()) && told.contains("refused"),
        "{told}"
    );
    assert!(!told.contains(PASSWORD), "{told}");
    let listener = Listener::bind_to(silent).await.unwrap();
    let index = charts::handler(&charts::example()).unwrap();
    let late = tokio::spawn(listener.serve(stop.clone(), index));
    until(&world, "silent", |t| {
        versions(t).as_deref() == Some(">= 2.9")
    })
    .await;

    // What is known stays known when the servers are gone and the host starts again.
    registry.stop().await.unwrap();
    stop.cancel();
    let _ = (served.await, late.await);
    world.stop_host().await;
    let before = world.writes().len();
    world.start_host_with(&mirrors).await;
    let touch = json!({"metadata": {"annotations": {"example.com/touched": "yes"}}});
    for name in ["oci", "index", "silent"] {
        let templates = templates(&world);
        templates
            .patch(name, &PatchParams::default(), &Patch::Merge(&touch))
            .await
            .unwrap();
        until(&world, name, |t| {
            versions(t).is_some() && message(t).is_empty()
        })
        .await;
    }
    let writes: Vec<String> = world.writes().into_iter().skip(before).collect();
    let of_templates = writes
        .iter()
        .filter(|line| line.contains("dpuservicetemplates"));
    assert_eq!(of_templates.count(), 0, "{writes:#?}");
    world.stop().await;
}

fn templates(world: &World) -> Api<DpuServiceTemplate> {
    Api::namespaced(world.cluster.host.clone(), NAMESPACE)
}

async fn template(world: &World, name: &str, repository: &str, chart: &str, version: &str) {
    let object = json!({
        "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "DPUServiceTemplate",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"deploymentServiceName": name, "helmChart": {"source": {
            "repoURL": repository, "chart": chart, "version": version}}},
    });
    apply(&world.cluster.host, "test", &object).await;
}

/// Credentials as Argo CD keeps them.
async fn secret(world: &World, name: &str, url: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": INVENTORY,
            "labels": {"argocd.argoproj.io/secret-type": "repository"}},
        "stringData": {"type": "helm", "url": url, "username": USER, "password": PASSWORD},
    });
    apply(&world.cluster.host, "test", &object).await;
}

async fn until(
    world: &World,
    name: &str,
    holds: impl Fn(&DpuServiceTemplate) -> bool,
) -> DpuServiceTemplate {
    let started = Instant::now();
    loop {
        let template = templates(world).get(name).await.unwrap();
        if holds(&template) {
            return template;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{name}: {:#?}",
            template.status
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

fn condition(template: &DpuServiceTemplate) -> Option<(String, String)> {
    let conditions = template.status.as_ref()?.conditions.as_ref()?;
    let reconciled = conditions
        .iter()
        .find(|c| c.type_ == "DPUServiceTemplateReconciled")?;
    Some((reconciled.reason.clone(), reconciled.message.clone()))
}

fn reason(template: &DpuServiceTemplate) -> String {
    condition(template).unwrap_or_default().0
}

fn message(template: &DpuServiceTemplate) -> String {
    condition(template).unwrap_or_default().1
}

fn versions(template: &DpuServiceTemplate) -> Option<String> {
    template
        .status
        .as_ref()?
        .versions
        .as_ref()?
        .get(DOCA_VERSION)
        .cloned()
}

/// A port on which nobody listens.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The index of the example, for those who know the password.
fn private_repository() -> Handler {
    let index = serde_json::to_string(&charts::index(&charts::example())).unwrap();
    let expected = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    Arc::new(move |request: Request<Bytes>| {
        let given = request
            .headers()
            .get("authorization")
            .map(|v| v.as_bytes().to_vec());
        let allowed = given.as_deref() == Some(expected.as_bytes());
        let answer: Answer = match (allowed, request.uri().path()) {
            (false, _) => text(StatusCode::UNAUTHORIZED, "who are you?"),
            (true, "/index.yaml") => body(StatusCode::OK, "text/yaml", index.clone()),
            (true, _) => text(StatusCode::NOT_FOUND, "there is only /index.yaml here"),
        };
        async move { answer }.boxed()
    })
}

/// Pushes a chart as Helm does: the metadata of the chart as configuration, an archive, and annotations on the manifest.
async fn push_chart(registry: &str, name: &str, tag: &str, constraint: &str) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let config =
        json!({"apiVersion": "v2", "name": "firewall", "version": "1.2.3+build"}).to_string();
    let (config, archive) = (
        config.into_bytes(),
        b"an archive, which nobody unpacks here".to_vec(),
    );
    let mut descriptors: Vec<Value> = Vec::new();
    for (content, media_type) in [
        (config, "application/vnd.cncf.helm.config.v1+json"),
        (
            archive,
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        ),
    ] {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&content)));
        let size = content.len();
        let started = http
            .post(format!("http://{registry}/v2/{name}/blobs/uploads/"))
            .basic_auth(USER, Some(PASSWORD))
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
        let location = started.headers()["location"].to_str().unwrap().to_owned();
        let location = match location.starts_with('/') {
            true => format!("http://{registry}{location}"),
            false => location,
        };
        let separator = if location.contains('?') { '&' } else { '?' };
        http.put(format!("{location}{separator}digest={digest}"))
            .basic_auth(USER, Some(PASSWORD))
            .body(content)
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
        descriptors.push(json!({"mediaType": media_type, "digest": digest, "size": size}));
    }
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": descriptors[0], "layers": [descriptors[1]],
        "annotations": {DOCA_VERSION: constraint, "org.opencontainers.image.title": "firewall"},
    });
    http.put(format!("http://{registry}/v2/{name}/manifests/{tag}"))
        .basic_auth(USER, Some(PASSWORD))
        .header("content-type", media_type)
        .body(manifest.to_string())
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
}

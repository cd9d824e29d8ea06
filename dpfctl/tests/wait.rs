//! `dpfctl wait` as a process, against an API server where the test plays the controller.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

use dpf_devcluster::{DevCluster, Options};
use kube::api::{Api, ApiResource, DeleteParams, Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// Nothing in here takes a tenth of this.
const DEADLINE: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "customer-namespace";
const NAME: &str = "producer-consumer";
const TARGET: &str = "dpudeployment/producer-consumer";

struct World {
    cluster: DevCluster,
    _directory: TempDir,
}

impl World {
    /// An API server with the example, no DPUs and no controller.
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            dpus: 0,
            ..Options::new(directory.path())
        };
        let cluster = dpf_devcluster::start(options).await.unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/producer-consumer");
        let entries = std::fs::read_dir(example).unwrap();
        let mut files: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            apply(&cluster.host, &serde_saphyr::from_str(&text).unwrap()).await;
        }
        Self {
            cluster,
            _directory: directory,
        }
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let group = match kind {
            "BFB" | "DPUFlavor" => "provisioning.dpu.nvidia.com",
            _ => "svc.dpu.nvidia.com",
        };
        let gvk = GroupVersionKind::gvk(group, "v1alpha1", kind);
        let resource = ApiResource::from_gvk(&gvk);
        Api::namespaced_with(self.cluster.host.clone(), NAMESPACE, &resource)
    }

    /// The status that the controller writes when all is done, for what is there now.
    async fn all_done(&self) {
        let mut seen = Vec::new();
        for (kind, name) in [
            ("BFB", "bfb-2.9"),
            ("DPUFlavor", NAME),
            ("DPUServiceTemplate", "producer"),
            ("DPUServiceTemplate", "consumer"),
            ("DPUServiceConfiguration", "producer"),
            ("DPUServiceConfiguration", "consumer"),
        ] {
            let object = self.api(kind).get(name).await.unwrap();
            let generation = object.metadata.generation;
            seen.push(json!({"kind": kind, "name": name, "generation": generation, "digest": "0123456789"}));
        }
        let deployments = self.api("DPUDeployment");
        let generation = deployments.get(NAME).await.unwrap().metadata.generation;
        let status = json!({"status": {
            "observedGeneration": generation, "observedDependencies": seen,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Success", "message": "", "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z"
            }]
        }});
        deployments
            .patch_status(NAME, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
    }

    async fn change_the_configuration(&self) {
        let change = json!({"spec": {"interfaces": [{"name": "app-iface2", "network": "mynad"}]}});
        self.api("DPUServiceConfiguration")
            .patch("producer", &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dpfctl"));
        command
            .arg("wait")
            .args(arguments)
            .env("KUBECONFIG", &self.cluster.host_kubeconfig)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn wait(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output();
        let output = tokio::time::timeout(DEADLINE, output)
            .await
            .unwrap()
            .unwrap();
        (output.status.code(), said(&output))
    }

    /// Starts to wait; once `text` is said, does `then`, and returns how it ended.
    async fn wait_and(&self, text: &str, then: impl AsyncFnOnce()) -> (Option<i32>, String) {
        let mut child = self
            .command(&[TARGET, "-n", NAMESPACE])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut heard = Vec::new();
        let listening = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                heard.push(line);
                if heard.last().is_some_and(|line| line.contains(text)) {
                    return;
                }
            }
            panic!("never said {text:?}: {heard:?}");
        };
        tokio::time::timeout(DEADLINE, listening).await.unwrap();
        then().await;
        let ending = async {
            let mut rest = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                rest.push_str(&line);
                rest.push('\n');
            }
            let output = child.wait_with_output().await.unwrap();
            (output.status.code(), rest + &said(&output))
        };
        tokio::time::timeout(DEADLINE, ending).await.unwrap()
    }
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

async fn apply(client: &Client, manifest: &Value) {
    let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
    let gvk = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let resource = ApiResource::from_gvk(&gvk);
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let parameters = PatchParams::apply("test").force();
    api.patch(&object.name_any(), &parameters, &Patch::Apply(manifest))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_for_an_older_state_is_not_enough() {
    let world = World::start().await;
    let (code, said) = world.wait(&["dpudeployment/nope", "-n", NAMESPACE]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no DPUDeployment nope in namespace customer-namespace"),
        "{said}"
    );
    let (code, said) = world.wait(&["dpuset/x"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("dpudeployment/NAME"), "{said}");

    let (code, said) = world
        .wait(&[TARGET, "-n", NAMESPACE, "--timeout", "1s"])
        .await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is not rolled out after 1 s"), "{said}");
    assert!(
        said.contains("is the controller manager running?"),
        "{said}"
    );

    world.all_done().await;
    let (code, said) = world.wait(&[TARGET, "-n", NAMESPACE]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("is rolled out"), "{said}");

    // The condition is still True, of the old configuration: the moment that `kubectl wait` gets wrong.
    world.change_the_configuration().await;
    let (code, said) = world
        .wait(&[TARGET, "-n", NAMESPACE, "--timeout", "1s"])
        .await;
    assert_eq!(code, Some(1), "{said}");
    let line = "has not seen generation 2 of DPUServiceConfiguration producer";
    assert!(said.contains(line), "{said}");
    let (code, said) = world.wait_and(line, async || world.all_done().await).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_goes_away_ends_the_wait() {
    let world = World::start().await;
    let (code, said) = world
        .wait_and("nobody has looked", async || {
            world
                .api("DPUDeployment")
                .delete(NAME, &DeleteParams::default())
                .await
                .unwrap();
        })
        .await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("was deleted"), "{said}");
}

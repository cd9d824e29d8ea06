//! The controller manager runs with the rights it is shipped with, and with one verb less it does not.
//!
//! Skipped, saying so, where `dpf-host` was not built; `DPF_HOST_BIN` names another one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a panic is a failed test"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dpf_api::svc::DpuDeployment;
use dpf_devcluster::{DevCluster, Options};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};

/// Longest wait: other builds may share the machine.
const DEADLINE: Duration = Duration::from_secs(180);
const NAMESPACE: &str = "customer-namespace";
const NAME: &str = "producer-consumer";

fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("DPF_HOST_BIN") {
        return Some(path.into());
    }
    let test = std::env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join("dpf-host");
    path.is_file().then_some(path)
}

/// The controller manager; it ends with the test.
struct Host(Child);

impl Host {
    fn start(program: &Path, directory: &Path, cluster: &DevCluster) -> Self {
        let log = std::fs::File::create(directory.join("host.log")).unwrap();
        let (images, plugins) = (directory.join("bfb"), directory.join("plugins"));
        std::fs::create_dir_all(&images).unwrap();
        std::fs::create_dir_all(&plugins).unwrap();
        let mut command = Command::new(program);
        command.arg("run");
        command
            .arg("--kubeconfig")
            .arg(&cluster.controller_kubeconfig);
        command.arg("--bfb-dir").arg(images);
        command.arg("--plugin-cache-dir").arg(plugins);
        command.args(["--registry-listen", "127.0.0.1:0"]);
        for mirror in &cluster.mirrors {
            command.args(["--mirror", mirror]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn apply_example(client: &Client) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/producer-consumer");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        for object in serde_saphyr::from_multiple::<DynamicObject>(&text).unwrap() {
            let types = object.types.clone().unwrap();
            let kind = GroupVersionKind::try_from(&types).unwrap();
            let (resource, _) = kube::discovery::pinned_kind(client, &kind).await.unwrap();
            let api: Api<DynamicObject> = match object.namespace() {
                Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let manager = PatchParams::apply("test").force();
            api.patch(&object.name_any(), &manager, &Patch::Apply(&object))
                .await
                .unwrap();
        }
    }
}

async fn eventually(what: &str, log: &Path, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(begin.elapsed() < DEADLINE, "{what}:\n{}", said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_ready(deployment: &DpuDeployment) -> bool {
    let conditions = deployment
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Takes the verb with which DPUSets are written.
async fn take_one_verb(client: &Client) {
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let mut role = roles.get("dpf-host").await.unwrap();
    for rule in role.rules.iter_mut().flatten() {
        let resources = rule.resources.iter().flatten();
        if resources.into_iter().any(|r| r == "dpusets") {
            rule.verbs.retain(|verb| verb != "patch");
        }
    }
    role.metadata.managed_fields = None;
    roles
        .replace("dpf-host", &PostParams::default(), &role)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_rights_suffice_and_one_verb_less_does_not() {
    let Some(program) = program() else {
        eprintln!("skipped: run `cargo build -p dpf-host` first, or set DPF_HOST_BIN");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let cluster = dpf_devcluster::start(Options::new(directory.path()))
        .await
        .unwrap();
    let host = Host::start(&program, directory.path(), &cluster);
    let log = directory.path().join("host.log");
    let client = cluster.host.clone();
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);

    apply_example(&client).await;
    eventually("the example must become Ready", &log, async || {
        deployments.get(NAME).await.is_ok_and(|d| is_ready(&d))
    })
    .await;
    deployments
        .delete(NAME, &DeleteParams::default())
        .await
        .unwrap();
    eventually("the example must go", &log, async || {
        deployments.get_opt(NAME).await.unwrap().is_none()
    })
    .await;
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(!said.contains("forbidden"), "{said}");

    take_one_verb(&client).await;
    apply_example(&client).await;
    eventually("the missing verb must be missed", &log, async || {
        let said = std::fs::read_to_string(&log).unwrap();
        said.contains("cannot patch resource \"dpusets\"")
    })
    .await;
    assert!(!is_ready(&deployments.get(NAME).await.unwrap()));
    drop(host);
    cluster.shutdown().await;
}

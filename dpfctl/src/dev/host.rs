//! The controller manager as a child process: started, restarted when it dies, ended.

use super::say;
use crate::cli::UpArgs;
use anyhow::{Context as _, bail};
use dpf_devcluster::DevCluster;
use dpf_devcluster::world::OPERATOR_NAMESPACE;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Name of the program beside this one.
const PROGRAM: &str = "dpf-host";
/// Names the program when it is elsewhere.
const PROGRAM_VARIABLE: &str = "DPF_HOST_BIN";
/// How long it may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// One that lived this long has not failed to start.
const HEALTHY: Duration = Duration::from_secs(5);
/// First and longest pause before it is started again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The controller manager.
///
/// # Errors
/// Where it was looked for, and what to do.
pub fn find() -> anyhow::Result<PathBuf> {
    find_program(PROGRAM, PROGRAM_VARIABLE, ", or use --no-host")
}

/// A program named in `variable`, or beside this one.
///
/// # Errors
/// Where it was looked for, and what to do.
pub fn find_program(program: &str, variable: &str, instead: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("{variable} names {}, which is no file", path.display());
        }
        return Ok(path);
    }
    let own = std::env::current_exe().context("failed to find the directory of dpfctl")?;
    let beside = own.with_file_name(program);
    if !beside.is_file() {
        bail!(
            "{} does not exist: build it with `cargo build -p {program}`, name another one in {variable}{instead}",
            beside.display()
        );
    }
    Ok(beside)
}

/// What it is started with.
#[must_use]
pub fn arguments(asked: &UpArgs, cluster: &DevCluster, registry: &str) -> Vec<String> {
    let inside = |name: &str| asked.dir.join(name).display().to_string();
    let kubeconfig = cluster.controller_kubeconfig.display().to_string();
    let (images, plugins) = (inside("bfb"), inside("plugins"));
    let mut list: Vec<String> = [
        "run",
        "--kubeconfig",
        &kubeconfig,
        "--operator-namespace",
        OPERATOR_NAMESPACE,
        "--inventory-namespace",
        OPERATOR_NAMESPACE,
        "--bfb-dir",
        &images,
        "--plugin-cache-dir",
        &plugins,
        "--registry-listen",
        registry,
        // The log says which port it became.
        "--metrics-listen",
        "127.0.0.1:0",
    ]
    .map(str::to_owned)
    .to_vec();
    for mirror in &cluster.mirrors {
        list.extend(["--mirror".to_owned(), mirror.clone()]);
    }
    if let Some(dir) = &asked.plugin_file_dir {
        list.extend(["--plugin-file-dir".to_owned(), dir.display().to_string()]);
    }
    list
}

/// The running program.
pub struct Host {
    end: CancellationToken,
    supervisor: JoinHandle<()>,
}

impl Host {
    /// Starts it; its output goes to `host.log`, its process ID to `host.pid`.
    ///
    /// # Errors
    /// When it does not start at all.
    pub async fn start(
        program: PathBuf,
        asked: &UpArgs,
        cluster: &DevCluster,
    ) -> anyhow::Result<Self> {
        let directory = &asked.dir;
        for name in ["bfb", "plugins"] {
            let path = directory.join(name);
            tokio::fs::create_dir_all(&path)
                .await
                .with_context(|| format!("failed to create {}", path.display()))?;
        }
        // The same address after a restart: BMCs may be in the middle of a download.
        let registry =
            free_address().context("failed to find a free port for the image registry")?;
        let launch = Launch {
            arguments: arguments(asked, cluster, &registry),
            program,
            log: directory.join("host.log"),
            pid: directory.join("host.pid"),
        };
        let _ = tokio::fs::remove_file(&launch.log).await;
        let child = launch.start().await?;
        let end = CancellationToken::new();
        let supervisor = tokio::spawn(supervise(launch, child, end.clone()));
        Ok(Self { end, supervisor })
    }

    /// Ends it: first it is asked, then killed.
    pub async fn end(self) {
        self.end.cancel();
        let _ = self.supervisor.await;
    }
}

fn free_address() -> std::io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.to_string())
}

struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    pid: PathBuf,
}

impl Launch {
    async fn start(&self) -> anyhow::Result<Child> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("failed to open {}", self.log.display()))?;
        let errors = log.try_clone().context("failed to share the log file")?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // Ctrl-C is for us: we end it in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {}", self.program.display()))?;
        if let Some(pid) = child.id() {
            tokio::fs::write(&self.pid, format!("{pid}\n"))
                .await
                .with_context(|| format!("failed to write {}", self.pid.display()))?;
        }
        Ok(child)
    }
}

async fn supervise(launch: Launch, mut child: Child, end: CancellationToken) {
    let (first, longest) = PAUSES;
    let mut pause = first;
    let mut since = Instant::now();
    loop {
        let ended = tokio::select! {
            ended = child.wait() => ended,
            () = end.cancelled() => break stop(&mut child).await,
        };
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        if since.elapsed() > HEALTHY {
            pause = first;
        }
        say(&format!(
            "         dpf-host ended ({how}) and is started again; see {}",
            launch.log.display()
        ));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = end.cancelled() => break,
        }
        pause = (pause * 2).min(longest);
        since = Instant::now();
        match launch.start().await {
            Ok(started) => {
                let pid = started.id().unwrap_or_default();
                say(&format!("         dpf-host runs as process {pid}"));
                child = started;
            }
            Err(error) => {
                say(&format!("         {error:#}"));
                break;
            }
        }
    }
    let _ = tokio::fs::remove_file(&launch.pid).await;
}

async fn stop(child: &mut Child) {
    if let Some(pid) = child.id() {
        // The shell's own `kill`: the program of that name is not installed everywhere.
        let asked = Command::new("sh")
            .args(["-c", &format!("kill -TERM {pid}")])
            .status()
            .await;
        if asked.is_ok() && tokio::time::timeout(GRACE, child.wait()).await.is_ok() {
            return;
        }
    }
    let _ = child.kill().await;
}

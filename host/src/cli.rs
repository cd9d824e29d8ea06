//! The command line of `dpf-host`.

use crate::kit::{Clock, Context, DpuClusters, Mirrors, Settings, Shutdown, identify};
use crate::plugins::{PluginSettings, compiler};
use crate::{manager, metrics, registry};
use anyhow::Context as _;
use clap::{Args, CommandFactory, Parser, Subcommand};
use dpf_core::dpuplugin::CallLimits;
use dpf_engine::{Engine, EngineOptions, Limits};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, Config};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Outgoing HTTP that does not connect within this time is a failure.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The controller manager of DPU deployments.
#[derive(Debug, Parser)]
#[command(name = "dpf-host", version, about, long_about = None, after_help = "\
Examples:
  dpf-host run                                   in a cluster, with the ServiceAccount of its pod
  dpf-host run --kubeconfig .dev/host.kubeconfig on a laptop
  dpf-host run --mirror https://example.com/charts=https://mirror.local/charts
                                                 fetch charts from an internal mirror")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controllers until SIGINT or SIGTERM.
    Run(Box<RunOptions>),
    /// Examine and compile a plugin from standard input; the host runs it as a child.
    #[command(hide = true, name = compiler::COMMAND)]
    CompilePlugin {
        /// Where machine code is kept.
        cache_dir: PathBuf,
    },
    /// Print a completion script for this shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Settings of `dpf-host run`.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// Kubeconfig of the management cluster; without it KUBECONFIG, then the pod's ServiceAccount.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of DPFOperatorConfig, Argo CD Applications and registry credentials.
    #[arg(long, value_name = "NAMESPACE", default_value = "dpf-operator-system")]
    pub operator_namespace: String,
    /// Namespace in which DPUNodes and DPUDevices are looked up besides the namespace of a DPUSet.
    #[arg(long, value_name = "NAMESPACE", default_value = "dpf-operator-system")]
    pub inventory_namespace: String,
    /// Directory of downloaded images and rendered configuration.
    #[arg(long, value_name = "DIR", default_value = "/bfb")]
    pub bfb_dir: PathBuf,
    /// Address on which BMCs fetch images.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8082")]
    pub registry_listen: SocketAddr,
    /// URL under which BMCs reach that address; derived from it when unset.
    #[arg(long, value_name = "URL")]
    pub registry_url: Option<String>,
    /// Fetch URLs that begin with FROM from TO instead; may be repeated.
    #[arg(long, value_name = "FROM=TO")]
    pub mirror: Vec<String>,
    /// Address of metrics (`/metrics`) in the format of OpenMetrics and Prometheus; without it there are none.
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Directory for plugins and their machine code; private to this user. Without it they do not survive a restart.
    #[arg(long, value_name = "DIR")]
    pub plugin_cache_dir: Option<PathBuf>,
    /// Directory from which a DPUPlugin may take a file; without it none may.
    #[arg(long, value_name = "DIR")]
    pub plugin_file_dir: Option<PathBuf>,
    /// Memory of one call of a plugin; a DPUPlugin may ask for less.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=2048))]
    pub plugin_memory_mib: u32,
    /// Time of one call of a plugin; a DPUPlugin may ask for less.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub plugin_deadline_ms: u32,
    /// Size of an answer of a plugin; a DPUPlugin may ask for less.
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub plugin_output_mib: u32,
    /// Calls of one plugin at a time; a DPUPlugin may ask for fewer.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub plugin_concurrency: u32,
    /// Size of a component.
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub plugin_component_mib: u32,
}

impl RunOptions {
    fn plugin_limits(&self) -> Limits {
        let mebibytes = |number: u32| usize::try_from(number).unwrap_or(usize::MAX) << 20;
        Limits {
            memory_bytes: mebibytes(self.plugin_memory_mib),
            deadline: Duration::from_millis(self.plugin_deadline_ms.into()),
            output_bytes: mebibytes(self.plugin_output_mib),
            component_bytes: mebibytes(self.plugin_component_mib),
            ..Limits::default()
        }
    }

    /// Creates the directories of plugins.
    fn plugin_settings(&self) -> anyhow::Result<PluginSettings> {
        let limits = self.plugin_limits();
        let caps = CallLimits {
            memory_bytes: limits.memory_bytes,
            deadline_milliseconds: self.plugin_deadline_ms.into(),
            output_bytes: limits.output_bytes,
            concurrency: self.plugin_concurrency,
            log_lines_per_minute: limits.log_lines_per_minute,
        };
        let dir = self.plugin_cache_dir.as_deref();
        let settings = PluginSettings::new(dir, caps)
            .context("failed to prepare a directory for plugins; set another --plugin-cache-dir")?;
        let program = std::env::current_exe()
            .context("failed to find this program, which compiles plugins")?;
        Ok(PluginSettings {
            file_dir: self.plugin_file_dir.clone(),
            compiler: Some(program),
            ..settings
        })
    }
}

/// Prints a completion script.
#[must_use]
pub fn completion(shell: clap_complete::Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Cli::command(), "dpf-host", &mut io::stdout());
    ExitCode::SUCCESS
}

/// Runs the controllers; exit code 0 after a signal, 1 after an error.
#[must_use]
pub fn run(options: RunOptions) -> ExitCode {
    init_logging();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")
        .and_then(|runtime| runtime.block_on(serve(options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn init_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("DPF_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube=warn,kube_runtime=error"));
    let ansi =
        std::io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(io::stderr)
        .init();
}

async fn serve(options: RunOptions) -> anyhow::Result<()> {
    // Fails only if a provider was installed before, which is then as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = connect(options.kubeconfig.as_deref()).await?;
    let mirrors =
        Mirrors::parse(options.mirror.iter().map(String::as_str)).map_err(anyhow::Error::msg)?;
    let http = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
        .context("failed to prepare outgoing HTTP")?;
    let plugins = options.plugin_settings()?;
    let engine_options = EngineOptions {
        cache_dir: Some(plugins.compiled_dir.clone()),
        limits: options.plugin_limits(),
        ..EngineOptions::default()
    };
    let engine = tokio::task::spawn_blocking(move || Engine::new(engine_options))
        .await
        .context("failed to start the plugin engine")?
        .context("failed to start the plugin engine")?;
    let shutdown = Shutdown::new();
    let metrics_listener = match options.metrics_listen {
        Some(address) => Some(TcpListener::bind(address).await.with_context(|| {
            format!("failed to listen on {address} for metrics; choose another --metrics-listen")
        })?),
        None => None,
    };
    let listener = TcpListener::bind(options.registry_listen)
        .await
        .with_context(|| {
            format!(
                "failed to listen on {} for BMCs; choose another --registry-listen",
                options.registry_listen
            )
        })?;
    let registry_url = match options.registry_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!(
            "http://{}",
            listener
                .local_addr()
                .context("failed to read the address of the image registry")?
        ),
    };
    let context = Arc::new(Context {
        dpu_clusters: DpuClusters::new(client.clone()),
        engine,
        plugins: Arc::default(),
        recorder: Recorder::new(
            client.clone(),
            Reporter {
                controller: "dpf-host".to_owned(),
                instance: None,
            },
        ),
        http,
        clock: Clock::default(),
        settings: Settings {
            operator_namespace: options.operator_namespace,
            inventory_namespace: options.inventory_namespace,
            bfb_dir: options.bfb_dir,
            registry_url,
            mirrors,
            plugins,
            version: format!("v{}", env!("CARGO_PKG_VERSION")),
        },
        client,
    });
    let serving = tokio::spawn(registry::serve(listener, context.clone(), shutdown.clone()));
    let measuring = metrics_listener
        .map(|listener| tokio::spawn(metrics::serve(listener, context.clone(), shutdown.clone())));
    let on_signal = shutdown.clone();
    let signal = tokio::spawn(async move {
        wait_for_signal().await;
        on_signal.cancel();
    });
    tracing::info!(version = context.settings.version, "controllers start");
    let outcome = manager::run(context, shutdown.clone()).await;
    shutdown.cancel();
    signal.abort();
    serving.await.context("the image registry failed")?;
    if let Some(measuring) = measuring {
        measuring.await.context("the server of metrics failed")?;
    }
    outcome.map_err(anyhow::Error::msg)
}

async fn connect(kubeconfig: Option<&std::path::Path>) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(path) => {
            let kubeconfig =
                Kubeconfig::read_from(path).with_context(|| format!("failed to read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("the kubeconfig {} has no usable context", path.display()))?
        }
        None => Config::infer()
            .await
            .context("no cluster to talk to: pass --kubeconfig, set KUBECONFIG, or run in a pod with a ServiceAccount")?,
    };
    identify(&mut config);
    Client::try_from(config).context("failed to prepare the client of the management cluster")
}

/// Without a way to hear SIGTERM, SIGINT still ends the process.
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

//! The command line of `dpu-agent`.

use crate::core::{Settings, names};
use crate::io::api::{self, Objects};
use crate::io::driver::{self, Places, Report};
use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Wires the interfaces and programs the service chains of a DPU.
#[derive(Debug, Parser)]
#[command(name = "dpu-agent", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  dpu-agent run --node dpu-1                               on a DPU, with the ServiceAccount of its pod
  dpu-agent run --node dpu-1 --kubeconfig dpu.kubeconfig \\
      --ovs-run-dir ./ovs --port-type system               with a private Open vSwitch and ordinary devices

Environment:
  NODE_NAME   name of the node, instead of --node
  KUBECONFIG  kubeconfig of the DPU cluster
  DPF_LOG     what is logged, for example debug
  NO_COLOR    when set, no colour is used

Exit codes: 0 done, 1 failed, 2 not understood.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run until SIGINT or SIGTERM. The switch goes on forwarding afterwards.
    Run(RunOptions),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Settings of `dpu-agent run`.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// Name of this node in the DPU cluster. Objects of other nodes are not touched.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node: String,
    /// Kubeconfig of the DPU cluster; without it KUBECONFIG, then the pod's ServiceAccount.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the Lease by which this agent shows that it lives.
    #[arg(long, value_name = "NAMESPACE", default_value = "dpf-operator-system")]
    pub lease_namespace: String,
    /// Directory with the sockets of Open vSwitch: db.sock, and one per bridge.
    #[arg(long, value_name = "DIR", default_value = "/var/run/openvswitch")]
    pub ovs_run_dir: PathBuf,
    /// Bridge that is made when it is missing, and made to drop what no flow matches; may be repeated.
    #[arg(long = "bridge", value_name = "NAME", default_values = [names::BRIDGE, names::HBN_BRIDGE])]
    pub bridges: Vec<String>,
    /// Datapath type of bridges that are made.
    #[arg(long, value_name = "TYPE", default_value = "netdev")]
    pub datapath_type: String,
    /// OVS type of ports to network devices: dpdk on a DPU, system for ordinary devices.
    #[arg(long, value_name = "TYPE", default_value = "dpdk")]
    pub port_type: String,
    /// MTU asked for ports to network devices, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 9216, value_parser = clap::value_parser!(i64).range(68..=65535))]
    pub port_mtu: i64,
}

/// Prints a completion script.
#[must_use]
pub fn completion(shell: clap_complete::Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Cli::command(), "dpu-agent", &mut io::stdout());
    ExitCode::SUCCESS
}

/// Runs the agent; exit code 0 after a signal, 1 after an error.
#[must_use]
pub fn run(options: RunOptions) -> ExitCode {
    init_logging();
    // One thread is enough for a node, and a DPU's memory is for its services.
    let outcome = tokio::runtime::Builder::new_current_thread()
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

#[allow(
    clippy::disallowed_methods,
    reason = "this is where settings come from"
)]
fn init_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("DPF_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube=warn,kube_client=off,kube_runtime=error"));
    let ansi = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
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
    let settings = Settings {
        node: options.node,
        bridges: options.bridges,
        datapath_type: options.datapath_type,
        port_type: options.port_type,
        port_mtu: options.port_mtu,
    };
    let stop = CancellationToken::new();
    tracing::info!(node = settings.node, "agent starts");
    tokio::select! {
        () = agent(client, settings, Places::new(options.ovs_run_dir), &options.lease_namespace, stop.clone()) => {}
        () = wait_for_signal() => {}
    }
    stop.cancel();
    tracing::info!("agent ends; the switch goes on forwarding");
    Ok(())
}

/// Everything the agent does, until `stop`.
pub async fn agent(
    client: Client,
    settings: Settings,
    places: Places,
    lease_namespace: &str,
    stop: CancellationToken,
) {
    let (to_driver, inputs) = watch::channel(None);
    let (to_status, report) = watch::channel(Arc::<Report>::default());
    let objects = Objects::new(to_driver);
    let node = settings.node.clone();
    tokio::join!(
        api::watch(client.clone(), &node, objects.clone(), stop.clone()),
        api::report(
            client.clone(),
            &node,
            lease_namespace,
            report.clone(),
            stop.clone()
        ),
        api::write(client, objects, report, stop.clone()),
        driver::run(settings, places, inputs, to_status, stop),
    );
}

async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("failed to read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("the kubeconfig {} has no usable context", path.display()))?
        }
        None => Config::infer().await.context(
            "no cluster to talk to: pass --kubeconfig, set KUBECONFIG, or run in a pod with a ServiceAccount",
        )?,
    };
    Client::try_from(config).context("failed to prepare the client of the DPU cluster")
}

/// Without a way to hear SIGTERM, SIGINT still ends the process.
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
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

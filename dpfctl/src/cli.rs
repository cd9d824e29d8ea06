//! What people type.

use crate::describe::{Output, ShowConditions};
use crate::plugin::arguments::PluginCommand;
use crate::retry::Target as RetryTarget;
use crate::wait::Target;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Look at DPU deployments, run a cluster of simulated DPUs on a laptop, and write plugins.
#[derive(Debug, Parser)]
#[command(name = "dpfctl", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  dpfctl dev up --apply examples/producer-consumer   a cluster with 4 simulated DPUs and an example on it
  dpfctl describe dpudeployments                     all deployments, what belongs to them, what they wait for
  dpfctl wait dpudeployment/producer-consumer        until everything applied before is rolled out
  dpfctl retry dpu/worker-1-mt2550xz0001             another try for a DPU in phase Error
  dpfctl plugin new my-check --stage version-check    a plugin that builds and passes its test
  dpfctl completion bash > /etc/bash_completion.d/dpfctl

Environment:
  KUBECONFIG     kubeconfig of the management cluster
  NO_COLOR       when set, no colour is used
  DPF_HOST_BIN   the dpf-host that `dev up` starts, instead of the one beside dpfctl
  DPF_AGENT_BIN  the dpu-agent that `dev up --ovs` starts, instead of the one beside dpfctl

Exit codes: 0 done, 1 failed, 2 not understood.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show objects as a tree with their conditions.
    Describe {
        /// Which objects.
        #[command(subcommand)]
        what: Describe,
    },
    /// Wait until everything applied before the call is rolled out.
    #[command(after_help = WAIT_EXAMPLES)]
    Wait(WaitArgs),
    /// Start the failed phase of a DPU again.
    #[command(after_help = RETRY_EXAMPLES)]
    Retry(RetryArgs),
    /// Run a development cluster on this machine.
    Dev {
        /// What to do with it.
        #[command(subcommand)]
        what: Dev,
    },
    /// Write, build, test and look at plugins.
    Plugin {
        /// What to do.
        #[command(subcommand)]
        what: PluginCommand,
    },
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Objects that `describe` knows.
#[derive(Debug, Subcommand)]
pub enum Describe {
    /// DPUDeployments and everything they own.
    #[command(visible_aliases = ["dpudeployment"], after_help = DESCRIBE_EXAMPLES)]
    Dpudeployments(DescribeArgs),
}

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  dpfctl describe dpudeployments
  dpfctl describe dpudeployments producer-consumer -n customer-namespace
  dpfctl describe dpudeployments --show-conditions all
  dpfctl describe dpudeployments --output json | jq '.tree'";

/// Arguments of `describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Only the deployment of this name.
    pub name: Option<String>,
    /// Only deployments of this namespace; without it, those of all namespaces.
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Deployments of all namespaces, which is also the default.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Output::Tree)]
    pub output: Output,
    /// List conditions one by one: of all objects, or of those that are not ready.
    #[arg(long, value_enum)]
    pub show_conditions: Option<ShowConditions>,
    /// Kubeconfig to use instead of $KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
}

const WAIT_EXAMPLES: &str = "\
A deployment is rolled out when its condition Ready is True for the present generation of the DPUDeployment and of the
BFB, flavor, templates and configurations it refers to. `kubectl wait --for=condition=Ready` can return too early after
a change of one of those: the condition is still the old one until the controller has seen the change.

Examples:
  kubectl apply -f configuration.yaml && dpfctl wait dpudeployment/producer-consumer -n customer-namespace
  dpfctl wait dpudeployment/producer-consumer -n customer-namespace --timeout 60m

What it waits for is printed to stderr. Exit codes: 0 rolled out, 1 not in time or not there, 2 not understood.";

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// What to wait for.
    #[arg(value_name = "dpudeployment/NAME")]
    pub target: Target,
    /// Namespace; without it, that of the kubeconfig's context.
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// How long to wait, for example 60s or 5m.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// Kubeconfig to use instead of $KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
}

const RETRY_EXAMPLES: &str = "\
A DPU in phase Error has given its host back and waits. Remove the cause first: the condition Error names it. A DPU whose
image was not installed yet starts from the queue again, another one goes on where it failed.

Examples:
  kubectl get dpus -A                                            the column Phase says which have failed
  dpfctl retry dpu/worker-1-mt2550xz0001 -n customer-namespace

Exit codes: 0 asked for, 1 not there or not failed, 2 not understood.";

/// Arguments of `retry`.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// What to try again.
    #[arg(value_name = "dpu/NAME", required = true)]
    pub targets: Vec<RetryTarget>,
    /// Namespace; without it, that of the kubeconfig's context.
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Kubeconfig to use instead of $KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
}

/// What to do with a development cluster.
#[derive(Debug, Subcommand)]
pub enum Dev {
    /// Start two API servers, simulated DPUs and the controller manager; Ctrl-C ends it all.
    #[command(after_help = UP_EXAMPLES)]
    Up(UpArgs),
}

const UP_EXAMPLES: &str = "\
Examples:
  dpfctl dev up
  dpfctl dev up --dpus 8 --apply examples/producer-consumer
  dpfctl dev up --apply examples/producer-consumer --exit      for scripts: exit code 0 only when Ready
  dpfctl dev up --ovs --apply examples/producer-consumer       real packets: a switch and an agent per DPU (as root)
  dpfctl dev up --plugin-file-dir ./my-plugin                  DPUPlugins with spec.source.file find my-plugin's component

While it runs, from another terminal:
  export KUBECONFIG=.dev/host.kubeconfig
  kubectl get dpus -A";

/// Arguments of `dev up`.
#[derive(Clone, Debug, Args)]
pub struct UpArgs {
    /// Number of hosts, each with one DPU.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub dpus: u16,
    /// Directory for kubeconfigs, logs and images.
    #[arg(long, value_name = "D", default_value = ".dev")]
    pub dir: PathBuf,
    /// File or directory with manifests to apply; can be repeated.
    #[arg(long, value_name = "PATH")]
    pub apply: Vec<PathBuf>,
    /// End when the applied DPUDeployments are Ready, or when the timeout has passed.
    #[arg(long, requires = "apply")]
    pub exit: bool,
    /// How long to wait for Ready, for example 60s or 5m.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// Write who asked for which change to host.audit and dpu.audit in the directory, a JSON object per line.
    #[arg(long)]
    pub audit: bool,
    /// Run the real agent and a real Open vSwitch per DPU, and network namespaces as pods. Needs root and Debian's
    /// packages openvswitch-switch, iproute2 and iputils-ping.
    #[arg(long)]
    pub ovs: bool,
    /// Directory whose files DPUPlugins may name as their source, to try a plugin without a registry.
    #[arg(long, value_name = "D")]
    pub plugin_file_dir: Option<PathBuf>,
    /// Start the servers and the simulation without the controller manager, to run it elsewhere.
    #[arg(long)]
    pub no_host: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write for example 90s, 5m or 1h");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let amount: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let total = amount.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert!(duration("soon").unwrap_err().contains("90s"));
        assert!(duration("5d").is_err());
    }

    #[test]
    fn exit_needs_something_to_wait_for() {
        assert!(Cli::try_parse_from(["dpfctl", "dev", "up", "--exit"]).is_err());
        assert!(Cli::try_parse_from(["dpfctl", "dev", "up", "--exit", "--apply", "x"]).is_ok());
    }
}

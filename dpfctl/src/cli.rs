//! What people type.

use crate::describe::{Output, ShowConditions};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Look at DPU deployments.
#[derive(Debug, Parser)]
#[command(name = "dpfctl", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  dpfctl describe dpudeployments                     all deployments, what belongs to them, what they wait for
  dpfctl completion bash > /etc/bash_completion.d/dpfctl

Environment:
  KUBECONFIG     kubeconfig of the management cluster
  NO_COLOR       when set, no colour is used

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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}

//! The command line for people: `dpfctl describe`, `dpfctl wait`, `dpfctl retry`, `dpfctl dev`, `dpfctl plugin`.
//!
//! What it is not: there is no decision about any object in here. It reads, renders, and starts processes.
//!
//! ```text
//!   cli (arguments) -> describe (fetch, tree, text)
//!                   -> wait     (watch, compare generations)
//!                   -> retry    (one annotation)
//!                   -> dev      (devcluster, dpf-host as a child, apply, progress)
//!                   -> plugin   (scaffold, compilers as children, the engine of the host)
//! ```

mod cli;
mod client;
mod describe;
mod dev;
mod plugin;
mod retry;
mod wait;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use cli::{Cli, Command, Describe, DescribeArgs, Dev};
use describe::{Appearance, Output, Scope};
use jiff::Timestamp;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("failed to start the runtime")
    };
    match cli.command {
        Command::Completion { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "dpfctl", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Describe {
            what: Describe::Dpudeployments(arguments),
        } => runtime()?.block_on(describe_deployments(arguments)),
        Command::Wait(arguments) => runtime()?.block_on(wait::wait(arguments)),
        Command::Retry(arguments) => runtime()?.block_on(retry::retry(arguments)),
        Command::Plugin { what } => plugin::run(what),
        Command::Dev {
            what: Dev::Up(arguments),
        } => runtime()?.block_on(dev::up(arguments, colour())),
    }
}

/// Writes to stdout.
///
/// # Errors
/// Nobody reads it any more, or the disk is full.
fn say(text: &str) -> anyhow::Result<()> {
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .context("failed to write to stdout")
}

/// Writes a line to stderr, which is for remarks.
fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether stdout wants colour: a terminal, and nobody said no.
fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

async fn describe_deployments(arguments: DescribeArgs) -> anyhow::Result<ExitCode> {
    let client = client::connect(arguments.kubeconfig.as_deref()).await?;
    let scope = Scope {
        name: arguments.name,
        namespace: arguments.namespace,
    };
    let observed = describe::observe(&client, &scope).await?;
    let now = Timestamp::now();
    let text = match arguments.output {
        Output::Tree if observed.deployments.is_empty() => "No DPUDeployments found.\n".to_owned(),
        Output::Tree => {
            let appearance = Appearance {
                show: arguments.show_conditions.unwrap_or_default(),
                colour: colour(),
            };
            describe::as_table(&observed, &appearance, now)
        }
        Output::Json => describe::as_machine(&observed, false, now)?,
        Output::Yaml => describe::as_machine(&observed, true, now)?,
    };
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .context("failed to write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

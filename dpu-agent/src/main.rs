//! The binary of the agent.

use clap::Parser as _;
use dpu_agent::cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(options) => dpu_agent::cli::run(options),
        Command::Completion { shell } => dpu_agent::cli::completion(shell),
    }
}

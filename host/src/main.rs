//! The binary of the controller manager.

use clap::Parser;
use dpf_host::cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Run(options) => dpf_host::cli::run(*options),
        Command::CompilePlugin { cache_dir } => dpf_host::plugins::compiler::child_main(cache_dir),
        Command::Completion { shell } => dpf_host::cli::completion(shell),
    }
}

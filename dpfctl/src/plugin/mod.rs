//! `dpfctl plugin`: everything a plugin author does, without a cluster.
//!
//! ```text
//!   new      scaffold   files from templates/, wit/ and the SDK, all compiled in
//!   build    project -> rust | python | js -> component
//!   inspect  show       what admission sees
//!   run, test, bench    the engine of the host, by way of dpf-plugin-harness
//!   push     dpf-plugin-oci
//! ```

pub mod arguments;
mod ask;
mod build;
mod embedded;
mod js;
mod process;
mod project;
mod push;
mod python;
mod scaffold;
mod show;
mod source;
#[cfg(test)]
mod templates;
mod trial;

use std::process::ExitCode;

use arguments::PluginCommand;
use tracing_subscriber::EnvFilter;

/// Runs one of the commands.
///
/// # Errors
/// It cannot be done at all. That a plugin fails is an exit code.
pub fn run(command: PluginCommand) -> anyhow::Result<ExitCode> {
    // A test or benchmark calls again and again.
    let quiet = matches!(command, PluginCommand::Test(_) | PluginCommand::Bench(_));
    show_log(if quiet { "plugin=warn" } else { "plugin=info" });
    match command {
        PluginCommand::New(arguments) => scaffold::new(&arguments),
        PluginCommand::Build(arguments) => build::build(&arguments),
        PluginCommand::Inspect(arguments) => show::inspect(&arguments),
        PluginCommand::Run(arguments) => ask::run(&arguments),
        PluginCommand::Test(arguments) => trial::test(&arguments),
        PluginCommand::Bench(arguments) => trial::bench(&arguments),
        PluginCommand::Push(arguments) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(push::push(&arguments)),
    }
}

/// What plugins log goes to stderr. `RUST_LOG` chooses, as it does for the host.
fn show_log(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // A second one in the same process, in a test, is no harm.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .try_init();
}

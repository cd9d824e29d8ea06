//! Programs other than ours.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Runs a program to its end. What it says goes to stderr, or into the error when it is to be quiet.
///
/// # Errors
/// It does not start, or it fails. `hint` says what to do when it does not start.
pub fn run(command: &mut Command, quiet: bool, hint: &str) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    if !quiet {
        // stdout is for what this program says itself.
        command.stdout(std::io::stderr()).stderr(Stdio::inherit());
    }
    let output = command
        .output()
        .with_context(|| format!("failed to start {name}; {hint}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    let said: Vec<String> = said.into_iter().filter(|it| !it.is_empty()).collect();
    if said.is_empty() {
        bail!("{name} failed ({})", output.status);
    }
    bail!("{name} failed ({}):\n{}", output.status, said.join("\n"))
}

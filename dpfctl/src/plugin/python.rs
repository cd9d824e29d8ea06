//! Plugins in Python, made into components by componentize-py.

use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;

use super::build::Script;
use super::process::run;

const PROGRAM: &str = "componentize-py";

/// Builds the component.
///
/// # Errors
/// The compiler cannot be had, or it fails.
pub fn build(script: &Script<'_>) -> anyhow::Result<()> {
    let compiler = compiler(script)?;
    let Some(module) = script.source.strip_suffix(".py") else {
        bail!("plugin.yaml: source {:?} is no Python file", script.source);
    };
    let mut command = Command::new(&compiler);
    command
        .arg("--wit-path")
        .arg(&script.wit)
        .args(["--world", script.world, "componentize"])
        // Hosts give no WASI: what the interpreter imports of it becomes a trap.
        .args(["--stub-wasi", "--python-path", ".", "--output"])
        .arg(script.output)
        .arg(module.replace('/', "."))
        .current_dir(&script.project.dir);
    if let Some(environment) = compiler.parent().and_then(|bin| bin.parent()) {
        // Packages beside the compiler can be imported.
        command.env("VIRTUAL_ENV", environment);
    }
    run(
        &mut command,
        script.quiet,
        "install componentize-py, or python3 with venv",
    )
}

/// The one in the project's environment, which is made when it is not there.
fn compiler(script: &Script<'_>) -> anyhow::Result<PathBuf> {
    let environment = script.project.dir.join(".venv");
    let compiler = environment.join("bin").join(PROGRAM);
    if compiler.is_file() {
        return Ok(compiler);
    }
    let hint = "install python3 with venv (on Debian the packages python3 and python3-venv)";
    run(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment),
        script.quiet,
        hint,
    )?;
    let mut install = Command::new(environment.join("bin/python"));
    install
        .args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--requirement",
            "requirements.txt",
        ])
        .current_dir(&script.project.dir);
    if script.quiet {
        install.arg("--quiet");
    }
    run(&mut install, script.quiet, hint)?;
    if !compiler.is_file() {
        bail!("requirements.txt does not install {PROGRAM}; add a line with its name and version");
    }
    Ok(compiler)
}

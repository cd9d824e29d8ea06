//! Plugins in JavaScript, made into components by componentize-js.

use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::build::Script;
use super::embedded;
use super::process::run;

/// Builds the component.
///
/// # Errors
/// The compiler cannot be had, or it fails.
pub fn build(script: &Script<'_>) -> anyhow::Result<()> {
    let dir = &script.project.dir;
    let hint = "install node (20 or newer) and npm";
    if !dir
        .join("node_modules/@bytecodealliance/componentize-js")
        .is_dir()
    {
        let what = if dir.join("package-lock.json").is_file() {
            "ci"
        } else {
            "install"
        };
        let mut install = Command::new("npm");
        install
            .args([what, "--no-audit", "--no-fund"])
            .current_dir(dir);
        run(&mut install, script.quiet, hint)?;
    }
    // Node looks for packages from where the script is, so it is put into the project for a moment.
    let program = dir.join(".componentize.mjs");
    std::fs::write(&program, embedded::COMPONENTIZE_JS)
        .with_context(|| format!("failed to write {}", program.display()))?;
    let mut command = Command::new("node");
    command
        .arg(&program)
        .arg(script.source)
        .arg(&script.wit)
        .arg(script.world)
        .arg(script.output)
        .stdin(Stdio::null())
        .current_dir(dir);
    let result = run(&mut command, script.quiet, hint);
    std::fs::remove_file(&program)
        .with_context(|| format!("failed to remove {}", program.display()))?;
    result
}

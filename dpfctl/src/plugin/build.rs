//! `dpfctl plugin build`: the component of a project.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use dpf_plugin_build::{BuildOptions, Guest, Toolchain};
use dpf_plugin_harness::size;
use sha2::{Digest as _, Sha256};

use super::arguments::{BuildArgs, Language};
use super::project::{Kind, Project};
use super::{embedded, js, python};
use crate::say;

/// A plugin in a language that brings its own compiler.
pub struct Script<'s> {
    /// The project.
    pub project: &'s Project,
    /// Its source.
    pub source: &'s str,
    /// The world.
    pub world: &'static str,
    /// Where the interface is.
    pub wit: PathBuf,
    /// Where the component goes.
    pub output: &'s Path,
    /// Say nothing unless it fails.
    pub quiet: bool,
}

/// Builds a project.
///
/// # Errors
/// There is none, its compiler is missing, or it does not compile.
pub fn build(arguments: &BuildArgs) -> anyhow::Result<ExitCode> {
    let dir = std::path::absolute(&arguments.project)?;
    let project = Project::open(&dir)?;
    let output = match &arguments.output {
        Some(path) => std::path::absolute(path)?,
        None => project.component(),
    };
    match &project.kind {
        Kind::Rust => rust(&project, &output, arguments)?,
        Kind::Script {
            language,
            stage,
            source,
        } => {
            let script = Script {
                project: &project,
                source,
                world: stage.as_str(),
                wit: wit(&project.dir)?,
                output: &output,
                quiet: arguments.quiet,
            };
            match language {
                Language::Js => js::build(&script)?,
                _ => python::build(&script)?,
            }
        }
    }
    let component =
        std::fs::read(&output).with_context(|| format!("failed to read {}", output.display()))?;
    say(&format!(
        "{}  {}  sha256:{}\n",
        shown(&output).display(),
        size(component.len()),
        hex::encode(Sha256::digest(&component))
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn rust(project: &Project, output: &Path, arguments: &BuildArgs) -> anyhow::Result<()> {
    let guest = Guest {
        crate_dir: project.dir.clone(),
        target_dir: dpf_plugin_harness::target_dir(&project.dir),
    };
    let options = BuildOptions {
        locked: arguments.locked,
        verbose: !arguments.quiet,
    };
    let built = dpf_plugin_build::build_with(&guest, &Toolchain::find()?, options)?;
    std::fs::write(output, built.component)
        .with_context(|| format!("failed to write {}", output.display()))
}

/// The interface the project has, else the one of this binary.
fn wit(dir: &Path) -> anyhow::Result<PathBuf> {
    let own = dir.join("wit");
    if own.is_dir() {
        return Ok(own);
    }
    let written = dir.join("build").join("wit");
    std::fs::create_dir_all(&written)
        .with_context(|| format!("failed to make {}", written.display()))?;
    for (name, text) in embedded::WIT {
        let path = written.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(written)
}

/// A path as short as it can be said from here.
fn shown(path: &Path) -> &Path {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path)
}

//! Which component a command means.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;
use dpf_engine::Stage;
use dpf_plugin_harness::{Harness, HarnessOptions, read_document};
use serde_json::Value;

use super::arguments::{ComponentArgs, StageName};
use super::project::Project;
use crate::warn;

/// A component to work with.
pub struct Source {
    /// What to call it.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The stage, when it is said or known.
    pub stage: Option<Stage>,
    /// The directory its cases are in.
    pub dir: PathBuf,
}

/// Reads the component.
///
/// # Errors
/// There is none.
pub fn open(arguments: &ComponentArgs) -> anyhow::Result<Source> {
    open_at(&arguments.component, arguments.stage)
}

/// Reads the component that a word on the command line means.
///
/// # Errors
/// There is none.
pub fn open_at(text: &str, stage: Option<StageName>) -> anyhow::Result<Source> {
    let said = stage.map(Stage::from);
    if let Some(stage) = text.strip_prefix("default:") {
        let stage = StageName::from_str(stage, false).map_err(|_| {
            anyhow::anyhow!("default:{stage} is no plugin of hosts; there are template-merge, version-check and chain-builder")
        })?;
        let stage = Stage::from(stage);
        return Ok(Source {
            name: text.to_owned(),
            bytes: dpf_engine::default_component(stage).to_vec(),
            stage: Some(stage),
            dir: PathBuf::from("."),
        });
    }
    let path = Path::new(text);
    let (path, dir) = if path.is_dir() {
        (built(&Project::open(path)?)?, path.to_owned())
    } else {
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        (path.to_owned(), dir)
    };
    Ok(Source {
        name: path.display().to_string(),
        bytes: fs::read(&path)
            .with_context(|| format!("failed to read the component {}", path.display()))?,
        stage: said,
        dir,
    })
}

/// The component of a project, with a word when it is old.
fn built(project: &Project) -> anyhow::Result<PathBuf> {
    let component = project.component();
    if !component.is_file() {
        bail!(
            "{} is not there yet; build it with `dpfctl plugin build {}`",
            component.display(),
            project.dir.display()
        );
    }
    if let Some(source) = project.changed_since_build() {
        warn(&format!(
            "{} is newer than {}; build again to see the change",
            source.display(),
            component.display()
        ));
    }
    Ok(component)
}

/// The engine, as the arguments say.
///
/// # Errors
/// It does not start.
pub fn harness(arguments: &ComponentArgs, options: HarnessOptions) -> anyhow::Result<Harness> {
    let cache_dir = if arguments.no_cache {
        None
    } else {
        arguments.cache_dir.clone().or_else(user_cache)
    };
    let options = HarnessOptions {
        cache_dir,
        limits: arguments.limits(),
        ..options
    };
    Ok(Harness::new(options)?)
}

/// The cache directory of the user.
pub fn user_cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    base.is_absolute()
        .then(|| base.join("dpfctl").join("plugins"))
}

/// A request or settings: a file, or stdin.
///
/// # Errors
/// It cannot be read, or is neither JSON nor YAML.
pub fn document(path: &Path) -> anyhow::Result<Value> {
    if path != Path::new("-") {
        return Ok(read_document(path)?);
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("failed to read stdin")?;
    serde_saphyr::from_str(&text).context("stdin is neither JSON nor YAML")
}

/// Settings as text, `{}` when there are none.
///
/// # Errors
/// As [`document`].
pub fn settings(path: Option<&Path>) -> anyhow::Result<String> {
    path.map_or_else(
        || Ok("{}".to_owned()),
        |path| Ok(document(path)?.to_string()),
    )
}

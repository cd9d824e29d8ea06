//! Chores: generates what is generated and checks that it is fresh.

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Chores of this repository.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the CustomResourceDefinitions to deploy/crds.
    Crds {
        /// Only check that they are fresh.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Crds { check } => crds(check),
    }
}

fn crds(check: bool) -> anyhow::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    let mut desired = BTreeMap::new();
    for crd in dpf_api::all_crds() {
        let name = crd.metadata.name.clone().context("a CRD without a name")?;
        // By way of JSON values, so that keys are sorted and the files do not move with the Rust field order.
        let text = serde_saphyr::to_string(&serde_json::to_value(&crd)?)?;
        desired.insert(dir.join(format!("{name}.yaml")), text);
    }
    if check {
        return check_fresh(&dir, &desired);
    }
    std::fs::create_dir_all(&dir)?;
    for stale in existing(&dir)?
        .into_iter()
        .filter(|path| !desired.contains_key(path))
    {
        std::fs::remove_file(stale)?;
    }
    for (path, text) in desired {
        std::fs::write(&path, text)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

fn existing(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    std::fs::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

fn check_fresh(dir: &Path, desired: &BTreeMap<PathBuf, String>) -> anyhow::Result<()> {
    let mut stale: Vec<String> = Vec::new();
    for (path, text) in desired {
        if std::fs::read_to_string(path).ok().as_deref() != Some(text) {
            stale.push(path.display().to_string());
        }
    }
    stale.extend(
        existing(dir)?
            .iter()
            .filter(|path| !desired.contains_key(*path))
            .map(|path| path.display().to_string()),
    );
    if stale.is_empty() {
        return Ok(());
    }
    bail!(
        "these files do not match the types in host/api; run `cargo run -p xtask -- crds`:\n{}",
        stale.join("\n")
    )
}

#[cfg(test)]
mod tests {
    /// A test and not only a command: built with everything else of the workspace, it costs no second build of the
    /// libraries with fewer features.
    #[test]
    fn generated_files_are_fresh() -> anyhow::Result<()> {
        super::crds(true)
    }
}

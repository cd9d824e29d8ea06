//! A plugin's project on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use dpf_engine::Stage;
use serde::Deserialize;

use super::arguments::Language;

/// A directory with a plugin in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The directory.
    pub dir: PathBuf,
    /// The name of the plugin.
    pub name: String,
    /// What it is built from.
    pub kind: Kind,
}

/// What a plugin is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A crate.
    Rust,
    /// A source file of another language.
    Script {
        /// Which.
        language: Language,
        /// The world.
        stage: Stage,
        /// The file, in the project.
        source: String,
    },
}

/// `plugin.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    name: String,
    language: Language,
    stage: Stage,
    source: String,
}

impl Project {
    /// Looks at a directory.
    ///
    /// # Errors
    /// There is no project in it, or its description is malformed.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let description = dir.join("plugin.yaml");
        if description.is_file() {
            let text = fs::read_to_string(&description)
                .with_context(|| format!("failed to read {}", description.display()))?;
            let it: Description = serde_saphyr::from_str(&text).with_context(|| {
                format!(
                    "{} is not the description of a plugin",
                    description.display()
                )
            })?;
            if it.language == Language::Rust {
                bail!(
                    "{}: a plugin in Rust is described by its Cargo.toml alone",
                    description.display()
                );
            }
            return Ok(Self {
                dir: dir.to_owned(),
                name: it.name,
                kind: Kind::Script {
                    language: it.language,
                    stage: it.stage,
                    source: it.source,
                },
            });
        }
        if dir.join("Cargo.toml").is_file() {
            return Ok(Self {
                dir: dir.to_owned(),
                name: dpf_plugin_build::package_name(&dir.join("Cargo.toml"))?,
                kind: Kind::Rust,
            });
        }
        bail!(
            "{} is no plugin project: it has neither Cargo.toml nor plugin.yaml; begin one with `dpfctl plugin new`",
            dir.display()
        )
    }

    /// Where its component is.
    pub fn component(&self) -> PathBuf {
        self.dir.join(format!("{}.wasm", self.name))
    }

    /// A source that is newer than the component.
    pub fn changed_since_build(&self) -> Option<PathBuf> {
        let built = modified(&self.component())?;
        let sources = match &self.kind {
            Kind::Rust => vec![self.dir.join("Cargo.toml"), self.dir.join("src")],
            Kind::Script { source, .. } => {
                vec![self.dir.join("plugin.yaml"), self.dir.join(source)]
            }
        };
        sources.into_iter().find_map(|source| newer(&source, built))
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|it| it.modified()).ok()
}

/// A file at or below a path that was changed later.
fn newer(path: &Path, than: SystemTime) -> Option<PathBuf> {
    if let Ok(entries) = path.read_dir() {
        return entries
            .flatten()
            .find_map(|entry| newer(&entry.path(), than));
    }
    (modified(path)? > than).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_what_its_files_say() {
        let dir = tempfile::tempdir().unwrap();
        let error = Project::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("dpfctl plugin new"), "{error}");
        fs::write(
            dir.path().join("Cargo.toml"),
            "[package]\nname = \"thing\"\n",
        )
        .unwrap();
        let project = Project::open(dir.path()).unwrap();
        assert_eq!(
            (project.name.as_str(), &project.kind),
            ("thing", &Kind::Rust)
        );
        let yaml = "name: other\nlanguage: python\nstage: version-check\nsource: plugin.py\n";
        fs::write(dir.path().join("plugin.yaml"), yaml).unwrap();
        let project = Project::open(dir.path()).unwrap();
        assert_eq!(project.component(), dir.path().join("other.wasm"));
        fs::write(
            dir.path().join("plugin.yaml"),
            format!("{yaml}colour: red\n"),
        )
        .unwrap();
        let error = format!("{:#}", Project::open(dir.path()).unwrap_err());
        assert!(error.contains("colour"), "{error}");
    }

    #[test]
    fn a_newer_source_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("Cargo.toml", "[package]\nname = \"thing\"\n");
        fs::create_dir(dir.path().join("src")).unwrap();
        write("src/lib.rs", "");
        let project = Project::open(dir.path()).unwrap();
        assert_eq!(
            project.changed_since_build(),
            None,
            "there is no component yet"
        );
        write("thing.wasm", "");
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        let source = fs::File::options()
            .write(true)
            .open(dir.path().join("src/lib.rs"))
            .unwrap();
        source.set_modified(later).unwrap();
        assert_eq!(
            project.changed_since_build(),
            Some(dir.path().join("src/lib.rs"))
        );
    }
}

//! Why a plugin cannot be built.

use std::path::PathBuf;

/// Why a plugin cannot be built.
///
/// A build script that returns it shows its `Debug` form, so that is the message with its causes.
#[derive(thiserror::Error)]
pub enum BuildError {
    /// No compiler for the target.
    #[error(
        "no Rust toolchain for {target} found. Either `rustup target add {target}`, or on Debian 12 (with bookworm-updates) \
         `apt-get install rustc-web rust-web-src lld-19`.\n  looked for rustup's target: {rustup}\n  looked for Debian's packages: {debian}",
        target = crate::TARGET
    )]
    NoToolchain {
        /// What was found of the first way.
        rustup: String,
        /// What was found of the second.
        debian: String,
    },
    /// `embed` needs the environment of a build script.
    #[error("OUT_DIR or CARGO_MANIFEST_DIR is not set; embed() works only in a build script")]
    NotABuildScript,
    /// The manifest cannot be read.
    #[error("failed to read the plugin's manifest {}", path.display())]
    ReadManifest {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The manifest has no package.
    #[error("{} has no [package] with a name; give the directory of the plugin's crate", path.display())]
    NoPackageName {
        /// Which one.
        path: PathBuf,
    },
    /// Cargo does not start.
    #[error("failed to start cargo for the plugin")]
    StartCargo(#[source] std::io::Error),
    /// The plugin does not compile.
    #[error("failed to compile the plugin {name}:\n{messages}")]
    Compile {
        /// Which one.
        name: String,
        /// What cargo and the compiler say.
        messages: String,
    },
    /// Cargo did not leave what it should.
    #[error("failed to read {}; is the crate-type of the plugin's [lib] \"cdylib\"?", path.display())]
    ReadModule {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The module is not a plugin.
    #[error("failed to make a component of {name}: {detail}")]
    Componentize {
        /// Which one.
        name: String,
        /// What wit-component says.
        detail: String,
    },
    /// The component cannot be written.
    #[error("failed to write {}", path.display())]
    WriteComponent {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl std::fmt::Debug for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

//! Builds a plugin crate into a WebAssembly component.
//!
//! Used from build scripts ([`embed`]) and by `dpfctl plugin build` ([`build`]). It finds a toolchain that can compile for
//! `wasm32-unknown-unknown` ([`Toolchain::find`]), runs cargo for the plugin's crate in a target directory of its own and
//! turns the module into a component. It is not a general wasm packager: the crate must use dpf-plugin-sdk.
//!
//! ```text
//!   crate -> cargo (wasm32-unknown-unknown, size-optimised, panic = abort) -> core module -> component
//! ```
//!
//! In a build script:
//!
//! ```no_run
//! fn main() -> Result<(), dpf_plugin_build::BuildError> {
//!     // Writes $OUT_DIR/chain-builder.wasm, for include_bytes!.
//!     dpf_plugin_build::embed("../../plugins/chain-builder")
//! }
//! ```

mod error;
mod toolchain;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use error::BuildError;
pub use toolchain::{TARGET, Toolchain};

/// What to build and where.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Directory of the plugin's crate.
    pub crate_dir: PathBuf,
    /// Where cargo keeps its work. Guests that share it share the standard library, which takes a minute to build.
    pub target_dir: PathBuf,
}

/// How to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildOptions {
    /// Refuse to change a Cargo.lock that is there. For builds that must be the same tomorrow.
    pub locked: bool,
    /// Show cargo's progress and messages on stderr instead of keeping them for the error.
    pub verbose: bool,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            locked: true,
            verbose: false,
        }
    }
}

/// A component and what it was made from.
#[derive(Debug, Clone)]
pub struct Built {
    /// The name of the crate.
    pub name: String,
    /// The component.
    pub component: Vec<u8>,
    /// The files that went into it: a change of one makes it stale.
    pub sources: Vec<PathBuf>,
}

/// Builds a plugin into a component, with the default options.
///
/// # Errors
/// The toolchain is missing, cargo fails (its messages are in the error) or the module is not a component of the dpf:plugin
/// worlds.
pub fn build(guest: &Guest, toolchain: &Toolchain) -> Result<Built, BuildError> {
    build_with(guest, toolchain, BuildOptions::default())
}

/// Builds a plugin into a component.
///
/// # Errors
/// As [`build`].
pub fn build_with(
    guest: &Guest,
    toolchain: &Toolchain,
    options: BuildOptions,
) -> Result<Built, BuildError> {
    // One spelling of a directory: another one would mean other compiler flags, and the standard library built again.
    let crate_dir = guest
        .crate_dir
        .canonicalize()
        .map_err(|source| BuildError::ReadManifest {
            path: guest.crate_dir.clone(),
            source,
        })?;
    let target_dir =
        std::path::absolute(&guest.target_dir).map_err(|source| BuildError::ReadModule {
            path: guest.target_dir.clone(),
            source,
        })?;
    let guest = &Guest {
        crate_dir,
        target_dir,
    };
    let manifest = guest.crate_dir.join("Cargo.toml");
    let name = package_name(&manifest)?;
    run_cargo(guest, &name, &manifest, toolchain, options)?;
    let release = guest.target_dir.join(TARGET).join("release");
    let stem = name.replace('-', "_");
    let module_path = release.join(format!("{stem}.wasm"));
    let module = fs::read(&module_path).map_err(|source| BuildError::ReadModule {
        path: module_path,
        source,
    })?;
    let component = componentize(&module, &name)?;
    let mut sources = dependencies(&release.join(format!("{stem}.d")))?;
    sources.push(manifest);
    Ok(Built {
        name,
        component,
        sources,
    })
}

/// Builds the plugin in `crate_dir` and writes it to `$OUT_DIR/<package>.wasm`. For build scripts only.
///
/// The guests of a workspace share `<target>/plugins`. Cargo is told to run the script again when a source changes.
///
/// # Errors
/// As [`build`]; also when it is not called from a build script.
#[expect(
    clippy::print_stdout,
    reason = "this is how a build script talks to cargo"
)]
pub fn embed(crate_dir: impl AsRef<Path>) -> Result<(), BuildError> {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or(BuildError::NotABuildScript)?);
    let base = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(BuildError::NotABuildScript)?);
    let guest = Guest {
        crate_dir: base.join(crate_dir),
        target_dir: workspace_target(&out_dir).join("plugins"),
    };
    let built = build(&guest, &Toolchain::find()?)?;
    let path = out_dir.join(format!("{}.wasm", built.name));
    fs::write(&path, &built.component)
        .map_err(|source| BuildError::WriteComponent { path, source })?;
    for source in &built.sources {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    // The locked versions of what the plugin uses.
    if let Some(lock) = guest
        .crate_dir
        .ancestors()
        .map(|dir| dir.join("Cargo.lock"))
        .find(|lock| lock.is_file())
    {
        println!("cargo::rerun-if-changed={}", lock.display());
    }
    Ok(())
}

/// The target directory `out_dir` is in: cargo tags it. Its layout below the tag is cargo's own business.
fn workspace_target(out_dir: &Path) -> &Path {
    out_dir
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .unwrap_or(out_dir)
}

/// The `name` in the `[package]` table of a Cargo.toml. Enough of TOML for a manifest as cargo writes it.
///
/// # Errors
/// The file cannot be read, or has no package.
pub fn package_name(manifest: &Path) -> Result<String, BuildError> {
    let text = fs::read_to_string(manifest).map_err(|source| BuildError::ReadManifest {
        path: manifest.to_owned(),
        source,
    })?;
    let mut in_package = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_package = line == "[package]";
        } else if let (true, Some((key, value))) = (in_package, line.split_once('='))
            && key.trim() == "name"
        {
            return Ok(value.trim().trim_matches('"').to_owned());
        }
    }
    Err(BuildError::NoPackageName {
        path: manifest.to_owned(),
    })
}

fn run_cargo(
    guest: &Guest,
    name: &str,
    manifest: &Path,
    toolchain: &Toolchain,
    options: BuildOptions,
) -> Result<(), BuildError> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args([
        "build",
        "--release",
        "--lib",
        "--target",
        TARGET,
        "--package",
        name,
        "--manifest-path",
    ]);
    command
        .arg(manifest)
        .arg("--target-dir")
        .arg(&guest.target_dir);
    let has_lock = || {
        guest
            .crate_dir
            .ancestors()
            .any(|dir| dir.join("Cargo.lock").is_file())
    };
    if options.locked && has_lock() {
        command.arg("--locked");
    }
    if options.verbose {
        command.stderr(Stdio::inherit());
    } else {
        command.arg("--quiet");
    }
    forget_the_outer_build(&mut command);
    let profile = [
        // A merge takes a quarter less time than with "s", and the component is as large.
        ("OPT_LEVEL", "3"),
        ("LTO", "true"),
        ("CODEGEN_UNITS", "1"),
        ("PANIC", "abort"),
        ("STRIP", "debuginfo"),
    ];
    for (key, value) in profile {
        command.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", remapped_paths());
    toolchain.apply(&mut command);
    let output = command
        .current_dir(&guest.crate_dir)
        .output()
        .map_err(BuildError::StartCargo)?;
    if output.status.success() {
        return Ok(());
    }
    Err(BuildError::Compile {
        name: name.to_owned(),
        messages: String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned(),
    })
}

/// Cargo hands its own settings (compiler, wrapper, flags, target directory, profile) to build scripts through the
/// environment, and the guest is built with others. What concerns the user's network and home stays.
fn forget_the_outer_build(command: &mut Command) {
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_TERM_",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_CACHE_",
    ];
    const DROPPED: [&str; 14] = [
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTC_BOOTSTRAP",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "TARGET",
        "HOST",
        "PROFILE",
        "OPT_LEVEL",
        "CLIPPY_ARGS",
        // Cargo puts its own compiler's libraries in front.
        "LD_LIBRARY_PATH",
    ];
    for (key, _) in env::vars_os() {
        let Some(text) = key.to_str() else { continue };
        let cargo_own = text == "CARGO"
            || text.starts_with("CARGO_") && !KEPT.iter().any(|kept| text.starts_with(kept))
            || text.starts_with("DEP_");
        if cargo_own || DROPPED.contains(&text) {
            command.env_remove(&key);
        }
    }
}

/// Panic messages name source files. They must not depend on the machine, or the digest of the component would.
///
/// Cargo names the files of a workspace relative to it, so only those of the registry need a name. The flags must be the same for
/// every plugin: what is compiled with others is compiled again, the standard library included.
fn remapped_paths() -> OsString {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let mut flags = OsString::new();
    if let Some(home) = home {
        flags.push("--remap-path-prefix=");
        flags.push(home.join("registry").join("src"));
        flags.push("=registry");
    }
    flags
}

fn componentize(module: &[u8], name: &str) -> Result<Vec<u8>, BuildError> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| BuildError::Componentize {
            name: name.to_owned(),
            detail: format!("{error:#}"),
        })
}

/// The files of a dep-info file, which is written like a Makefile rule: `output: input input\ with\ blank`.
fn dependencies(dep_info: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let text = fs::read_to_string(dep_info).map_err(|source| BuildError::ReadModule {
        path: dep_info.to_owned(),
        source,
    })?;
    Ok(parse_dep_info(&text))
}

fn parse_dep_info(text: &str) -> Vec<PathBuf> {
    let Some((_, inputs)) = text.lines().next().and_then(|line| line.split_once(": ")) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    let mut file = String::new();
    let mut characters = inputs.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => file.extend(characters.next()),
            ' ' if !file.is_empty() => files.push(PathBuf::from(std::mem::take(&mut file))),
            ' ' => {}
            other => file.push(other),
        }
    }
    if !file.is_empty() {
        files.push(PathBuf::from(file));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_info_keeps_blanks_in_names() {
        let files = parse_dep_info("/t/x.wasm: /a/b\\ c/lib.rs /a/d.rs\n\n/a/d.rs:\n");
        assert_eq!(
            files,
            [PathBuf::from("/a/b c/lib.rs"), PathBuf::from("/a/d.rs")]
        );
    }

    #[test]
    fn the_name_is_the_packages_and_no_others() {
        let dir = std::env::temp_dir().join(format!("dpf-plugin-build-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let manifest = dir.join("Cargo.toml");
        fs::write(
            &manifest,
            "[lib]\nname = \"wrong\"\n[package]\nversion = \"1\"\nname = \"right-one\"\n",
        )
        .unwrap();
        let name = package_name(&manifest);
        fs::write(&manifest, "[workspace]\n").unwrap();
        let none = package_name(&manifest);
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(name.unwrap(), "right-one");
        assert!(matches!(none, Err(BuildError::NoPackageName { .. })));
    }

    #[test]
    fn a_module_without_the_worlds_is_refused() {
        let error = componentize(b"\0asm\x02\0\0\0", "x").unwrap_err();
        assert!(matches!(error, BuildError::Componentize { .. }), "{error}");
    }
}

//! Finds a compiler for plugins.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::BuildError;

/// The one target of plugins. Others import WASI, which hosts refuse.
pub const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "wasm-ld-19";

/// A compiler for [`TARGET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The compiler in use has the target's standard library.
    Current {
        /// The compiler.
        rustc: PathBuf,
    },
    /// Debian's compiler; the standard library is built from its sources.
    Debian {
        /// The compiler.
        rustc: PathBuf,
        /// The linker.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// Looks for the current toolchain's target first, then for Debian's packages.
    ///
    /// # Errors
    /// Neither is there; the error names both ways to get one.
    pub fn find() -> Result<Self, BuildError> {
        let current = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let rustup = match current_target(Path::new(&current)) {
            Ok(()) => {
                return Ok(Toolchain::Current {
                    rustc: current.into(),
                });
            }
            Err(reason) => reason,
        };
        match debian() {
            Ok(toolchain) => Ok(toolchain),
            Err(debian) => Err(BuildError::NoToolchain { rustup, debian }),
        }
    }

    /// Makes a cargo command use it.
    pub(crate) fn apply(&self, command: &mut Command) {
        match self {
            Toolchain::Current { rustc } => {
                command.env("RUSTC", rustc);
            }
            Toolchain::Debian { rustc, linker } => {
                command
                    .arg("-Zbuild-std=std,panic_abort")
                    // Nightly options of a stable compiler: the packages have no prebuilt library for the target.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", rustc)
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            }
        }
    }
}

fn current_target(rustc: &Path) -> Result<(), String> {
    let library = print(rustc, &["--print", "target-libdir", "--target", TARGET])?;
    let found = Path::new(&library)
        .read_dir()
        .is_ok_and(|entries| entries.flatten().any(|entry| is_std(&entry.file_name())));
    if found {
        Ok(())
    } else {
        Err(format!(
            "{} has no standard library in {library}",
            rustc.display()
        ))
    }
}

fn is_std(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with("libstd-") && name.ends_with(".rlib"))
}

fn debian() -> Result<Toolchain, String> {
    let rustc = PathBuf::from(DEBIAN_RUSTC);
    let sysroot = print(&rustc, &["--print", "sysroot"])?;
    let sources = Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if !sources.is_file() {
        return Err(format!(
            "{} is missing (package rust-web-src)",
            sources.display()
        ));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let linker = env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin")])
        .map(|dir| dir.join(DEBIAN_LINKER))
        .find(|linker| linker.is_file())
        .ok_or_else(|| format!("{DEBIAN_LINKER} is missing (package lld-19)"))?;
    Ok(Toolchain::Debian { rustc, linker })
}

fn print(rustc: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(rustc)
        .args(arguments)
        // Cargo puts its own compiler's libraries in front.
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .map_err(|error| format!("{} does not start: {error}", rustc.display()))?;
    if !output.status.success() {
        return Err(format!(
            "{} fails: {}",
            rustc.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_is_not_there_says_so() {
        let reason = current_target(Path::new("/nonexistent/rustc")).unwrap_err();
        assert!(
            reason.contains("/nonexistent/rustc does not start"),
            "{reason}"
        );
    }

    #[test]
    fn the_error_names_both_ways() {
        let text = BuildError::NoToolchain {
            rustup: "no".into(),
            debian: "no".into(),
        }
        .to_string();
        assert!(
            text.contains("rustup target add wasm32-unknown-unknown"),
            "{text}"
        );
        assert!(
            text.contains("apt-get install rustc-web rust-web-src lld-19"),
            "{text}"
        );
    }

    #[test]
    fn debian_builds_the_standard_library() {
        let mut command = Command::new("cargo");
        Toolchain::Debian {
            rustc: "/usr/bin/rustc".into(),
            linker: "/usr/bin/wasm-ld-19".into(),
        }
        .apply(&mut command);
        assert!(
            command
                .get_args()
                .any(|argument| argument == "-Zbuild-std=std,panic_abort")
        );
        assert!(
            command
                .get_envs()
                .any(|(key, value)| key == "RUSTC_BOOTSTRAP" && value == Some(OsStr::new("1")))
        );
    }
}

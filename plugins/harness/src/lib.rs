//! Tests a built plugin in the engine of the host.
//!
//! What `dpfctl plugin test` does, as a library: a vendor's `cargo test` builds the component, runs its golden cases in the
//! configuration hosts use and compares. It tests components in any language, and nothing else: the logic of a plugin in Rust is
//! tested natively, with `dpf-plugin-sdk` alone.
//!
//! ```text
//!   cases/NAME/request.yaml    what the host asks (.json works as well)
//!   cases/NAME/settings.yaml   settings of the DPUPlugin, {} when absent
//!   cases/NAME/expected.json   what the plugin answers; written by blessing
//!
//!   component -> admission -> per case: settings -> two fresh instances -> same bytes? -> as expected? -> fuel, time, memory
//! ```
//!
//! ```no_run
//! use dpf_plugin_harness::{Harness, HarnessOptions, build_crate};
//!
//! let component = build_crate(env!("CARGO_MANIFEST_DIR").as_ref())?;
//! let harness = Harness::new(HarnessOptions::default())?;
//! let report = harness.test(&component, None, "cases".as_ref())?;
//! assert!(report.passed(), "{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bench;
mod case;
mod error;
mod harness;
mod outcome;
mod report;

pub use bench::{Bench, Spread};
pub use case::{Case, read_document};
pub use error::HarnessError;
pub use harness::{Harness, HarnessOptions};
pub use outcome::{Outcome, Request};
pub use report::{CaseReport, Report, size};

use std::path::{Path, PathBuf};

/// Builds the plugin crate in a directory into a component, in `$CARGO_TARGET_DIR` or the `target` of the crate's workspace.
///
/// # Errors
/// The toolchain is missing or the plugin does not compile.
pub fn build_crate(crate_dir: &Path) -> Result<Vec<u8>, HarnessError> {
    let guest = dpf_plugin_build::Guest {
        crate_dir: crate_dir.to_owned(),
        target_dir: target_dir(crate_dir),
    };
    let toolchain = dpf_plugin_build::Toolchain::find()?;
    Ok(dpf_plugin_build::build(&guest, &toolchain)?.component)
}

/// Where guests of a crate are built: beside what cargo builds for it, in a directory of their own.
pub fn target_dir(crate_dir: &Path) -> PathBuf {
    let root = crate_dir
        .ancestors()
        .find(|dir| dir.join("Cargo.lock").is_file())
        .unwrap_or(crate_dir);
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), PathBuf::from)
        .join("plugins")
}

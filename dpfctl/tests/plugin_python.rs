//! `plugins/examples/conflicts`: a vendor plugin in Python, built by `dpfctl plugin build` and tested in the engine of the host.
//! The interface is not Rust's alone.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Copies what is in the repository, beside what an earlier run has installed.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn dpfctl(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_dpfctl"))
        .arg("plugin")
        .args(arguments)
        .current_dir(dir)
        .env(
            "DPFCTL_PLUGIN_CACHE",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache"),
        )
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "dpfctl plugin {arguments:?}\n{said}"
    );
    said
}

#[test]
fn a_plugin_in_python_builds_and_passes_its_cases() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/examples/conflicts");
    // Not below the example: what is installed for it is no part of the repository.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conflicts");
    copy(&example, &dir);
    dpfctl(&dir, &["build", "--quiet"]);
    // Counting fuel would compile 19 MB a second time.
    let report = dpfctl(&dir, &["test", "--no-fuel"]);
    assert!(
        report.contains("conflicts 0.1.0 by example.com, stage version-check"),
        "{report}"
    );
    assert!(report.contains("4 passed, 0 failed"), "{report}");
    let seen = dpfctl(&dir, &["inspect"]);
    assert!(
        seen.contains("imports    dpf:plugin/") && !seen.contains("wasi:"),
        "{seen}"
    );
}

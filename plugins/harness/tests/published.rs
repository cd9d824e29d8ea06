//! What was published stays: the text of the interface, and that components built against it load and answer as they did.
//!
//! `fixtures/VERSION/STAGE.wasm` was built by `dpfctl plugin new STAGE --stage STAGE && dpfctl plugin build` when that version was
//! current, and is never built again; its cases lie beside it. A new version of the interface adds a directory here and in `wit/`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dpf_engine::Stage;
use dpf_plugin_harness::{Harness, HarnessOptions};
use sha2::{Digest as _, Sha256};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The WIT files of a directory, with their text.
fn wit_files(dir: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|it| it == "wit"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// Names of the published versions.
fn versions() -> Vec<String> {
    let entries = std::fs::read_dir(repository().join("wit")).unwrap();
    let mut versions: Vec<String> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    versions.sort();
    assert!(versions.contains(&"1.0.0".to_owned()), "{versions:?}");
    versions
}

#[test]
fn a_published_interface_never_changes() {
    let frozen = std::fs::read_to_string(repository().join("wit/frozen.sha256")).unwrap();
    let mut expected: BTreeMap<String, String> = frozen
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, path)| (path.to_owned(), digest.to_owned()))
        .collect();
    for version in versions() {
        for (name, text) in wit_files(&repository().join("wit").join(&version)) {
            let path = format!("{version}/{name}");
            let digest = hex::encode(Sha256::digest(&text));
            assert_eq!(
                expected.remove(&path).as_ref(),
                Some(&digest),
                "wit/{path} is published and must not change: add a new minor version instead"
            );
        }
    }
    assert!(expected.is_empty(), "published and gone: {expected:?}");
}

#[test]
fn the_current_interface_is_the_published_one_until_its_version_grows() {
    let current = wit_files(&repository().join("wit"));
    let header = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let package = header(&current["types.wit"]);
    for (name, text) in &current {
        assert_eq!(header(text), package, "{name}");
    }
    let version = package
        .trim_start_matches("package dpf:plugin@")
        .trim_end_matches(';');
    if versions().iter().any(|published| published == version) {
        let published = wit_files(&repository().join("wit").join(version));
        assert_eq!(
            current, published,
            "{version} is published: give wit/ a new minor version first"
        );
    }
}

#[test]
fn components_of_every_published_version_load_and_answer_as_they_did() {
    let harness = Harness::new(HarnessOptions {
        skip_fuel: true,
        cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")),
        ..HarnessOptions::default()
    })
    .unwrap();
    for version in versions() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(&version);
        for stage in Stage::ALL {
            let file = dir.join(format!("{stage}.wasm"));
            let component =
                std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let report = harness
                .test(&component, None, &dir.join(stage.as_str()))
                .unwrap();
            assert!(report.passed(), "{version} {stage}\n{report}");
            assert_eq!(report.stage, stage);
        }
    }
}

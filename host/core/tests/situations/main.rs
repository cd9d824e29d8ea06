//! Situations of a deployment. Each file in `cases/` tells how one came about; the snapshot beside it shows what is
//! planned then, the conditions after that pass, and how it goes on while everything becomes ready.
//!
//! In every case the plan of an applied plan is empty. Adding a case is adding a file; `INSTA_UPDATE=always` writes its
//! snapshot, which a person has to read before it is kept.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a panic is a failed test"
)]

mod plugins;
mod show;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/situations/cases");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_situation_has_the_plan_of_its_snapshot() {
    let cases = cases();
    let failed: Vec<String> = cases
        .iter()
        .filter(|path| catch_unwind(AssertUnwindSafe(|| check(path))).is_err())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(failed.is_empty(), "failed situations: {failed:#?}");
    assert!(cases.len() >= 60, "only {} situations", cases.len());
}

#[test]
fn every_snapshot_belongs_to_a_situation() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/situations/cases");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let case = path.with_extension("yaml");
        assert!(case.exists(), "{} has no case", path.display());
    }
}

/// The table of `docs/compatibility-tests.md` is worth something only while its tests exist.
#[test]
fn every_line_of_the_table_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = std::fs::read_to_string(root.join("docs/compatibility-tests.md")).unwrap();
    let mut file = String::new();
    let mut named = 0;
    for line in table.lines().filter(|line| line.starts_with('|')) {
        for code in line.split('`').skip(1).step_by(2) {
            if let Some(case) = code.strip_prefix("cases/") {
                let path = format!("host/core/tests/situations/cases/{case}.snap");
                assert!(root.join(&path).exists(), "{path}, in {line}");
                named += 1;
                continue;
            }
            let (path, test) = code.split_once("::").unwrap_or((code, ""));
            if path.ends_with(".rs") {
                file = match path.strip_prefix("core/") {
                    Some(path) => format!("host/core/tests/{path}"),
                    None => path.to_owned(),
                };
                assert!(root.join(&file).exists(), "{file}, in {line}");
                named += 1;
            }
            // `::name` is in the file before it.
            if !test.is_empty() && (path.is_empty() || path.ends_with(".rs")) {
                let text = std::fs::read_to_string(root.join(&file)).unwrap();
                assert!(
                    text.contains(&format!("fn {test}(")) || text.contains(&format!("fn {test}<")),
                    "{test} in {file}, in {line}"
                );
            }
        }
    }
    assert!(named > 100, "only {named} tests are named");
}

fn check(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let case: story::Case =
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let told = story::tell(&case);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(path.parent().unwrap());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(case.about.trim());
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    settings.bind(|| insta::assert_snapshot!(name, show::yaml(&told)));
}

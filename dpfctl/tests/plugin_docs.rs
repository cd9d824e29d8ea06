//! docs/plugins.md, taken at its word: the tutorial is typed into a shell far from this repository, and every request of the
//! reference is asked.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A fenced block: what stands behind the fence, and the lines.
struct Block {
    info: String,
    text: String,
}

/// The blocks of a section of the page.
fn blocks(section: &str) -> Vec<Block> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plugins.md");
    let page = fs::read_to_string(page).unwrap();
    let begin = page.find(&format!("\n## {section}\n")).unwrap();
    let rest = &page[begin + 4..];
    let section = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in section.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => {
                open = Some(Block {
                    info: info.to_owned(),
                    text: String::new(),
                });
            }
            (None, Some(block)) => block.text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "an open fence");
    blocks
}

/// Runs a script as a person would, with `dpfctl` in the path.
fn shell(dir: &TempDir, script: &str) -> Output {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_dpfctl"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    // What is built for plugins is shared with all other tests: the standard library takes a minute.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(dir.path())
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", target)
        .env("DPFCTL_PLUGIN_CACHE", dir.path().join("cache"))
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_tutorial_leads_to_a_tested_plugin() {
    let script: String = blocks("Tutorial")
        .iter()
        .filter(|block| block.info == "sh")
        .map(|block| block.text.as_str())
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let output = shell(&dir, &script);
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    for words in [
        "2 passed, 0 failed",
        "2 passed, 1 failed",
        "one case fails, as expected",
        "3 passed, 0 failed",
        "hosts admit it",
        "the chart of service router does not say which dpu.nvidia.com/doca-version it needs",
        "calls: least",
    ] {
        assert!(said.contains(words), "{words:?} is missing\n{said}");
    }
    assert!(
        dir.path()
            .join("doca-required/doca-required.wasm")
            .is_file(),
        "it is where the page says"
    );
}

#[test]
fn every_request_of_the_reference_has_its_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut asked = 0;
    let mut answer: Option<Output> = None;
    for block in blocks("Reference") {
        match block.info.as_str() {
            "sh" => answer = Some(shell(&dir, &block.text)),
            "json answer" => {
                let output = answer.take().unwrap();
                let expected: Value = serde_json::from_str(&block.text).unwrap();
                let actual: Value = serde_json::from_slice(&output.stdout)
                    .unwrap_or_else(|error| panic!("{error}\n{}", text(&output)));
                assert_eq!(actual, expected, "{actual:#}");
                let good = ["failure", "refused"]
                    .iter()
                    .all(|key| actual.get(key).is_none());
                assert_eq!(output.status.code(), Some(i32::from(!good)), "{actual:#}");
                asked += 1;
            }
            json => {
                let name = json.strip_prefix("json ").unwrap();
                fs::write(dir.path().join(name), &block.text).unwrap();
            }
        }
    }
    assert!(asked >= 7, "every function, and failures");
}

#[test]
fn every_function_of_the_interface_is_in_the_reference() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/plugins.md")).unwrap();
    let mut functions = 0;
    for entry in fs::read_dir(root.join("wit")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "wit") {
            continue;
        }
        let interface = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for line in fs::read_to_string(&path).unwrap().lines() {
            if let Some((name, _)) = line.trim().split_once(": func(") {
                let heading = format!("\n### {interface}.{name}\n");
                assert!(page.contains(&heading), "{heading}");
                functions += 1;
            }
        }
    }
    assert_eq!(functions, 7);
}

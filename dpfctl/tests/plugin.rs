//! `dpfctl plugin` as a process: what it says when something is wrong, and its exit codes.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn dpfctl(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_dpfctl"))
        .arg("plugin")
        .args(arguments)
        .current_dir(dir)
        .env(
            "DPFCTL_PLUGIN_CACHE",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache"),
        )
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn what_is_no_plugin_is_refused_with_the_reason() {
    let wasi = r#"(component (import "wasi:clocks/wall-clock@0.2.6" (instance)))"#;
    let dir = directory(&[("core.wasm", "\0asm\x01\0\0\0"), ("text.wasm", "hello")]);
    fs::write(dir.path().join("wasi.wasm"), wat::parse_str(wasi).unwrap()).unwrap();

    let (code, out, _) = dpfctl(
        dir.path(),
        &["inspect", "wasi.wasm", "--stage", "version-check"],
    );
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("hosts refuse it") && out.contains("imports wasi:clocks/wall-clock@0.2.6"),
        "{out}"
    );
    assert!(
        out.contains("wasm32-unknown-unknown, without WASI"),
        "{out}"
    );

    let (code, _, error) = dpfctl(dir.path(), &["inspect", "core.wasm"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("it is a core module; make a component of it"),
        "{error}"
    );
    let (code, _, error) = dpfctl(dir.path(), &["inspect", "text.wasm"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("not a valid WebAssembly component"),
        "{error}"
    );
    let (code, _, error) = dpfctl(dir.path(), &["run", "absent.wasm", "--request", "x"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("failed to read the component absent.wasm"),
        "{error}"
    );
}

#[test]
fn a_default_plugin_is_inspected_for_people_and_programs() {
    let dir = directory(&[]);
    let (code, out, _) = dpfctl(dir.path(), &["inspect", "default:chain-builder"]);
    assert_eq!(code, Some(0), "{out}");
    for words in [
        "world      dpf:plugin/chain-builder",
        "dpf:plugin/chain@1.0.0",
        "hosts admit it",
    ] {
        assert!(out.contains(words), "{words:?} is missing\n{out}");
    }
    let (code, out, _) = dpfctl(
        dir.path(),
        &["inspect", "default:chain-builder", "-o", "json"],
    );
    let facts: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &facts["admitted"]), (Some(0), &Value::Bool(true)));
    assert_eq!(facts["descriptor"]["name"], "chain-builder");
    assert_eq!(
        facts["digest"].as_str().unwrap().len(),
        "sha256:".len() + 64
    );
    assert_eq!(facts["forbidden"], Value::Array(Vec::new()));
}

#[test]
fn a_request_with_a_mistake_is_not_asked() {
    let dir = directory(&[
        ("typo.yaml", "servicez: []\n"),
        ("port.yaml", "switches: [{ports: [{service: {nam: x}}]}]\n"),
        ("text.json", "{"),
    ]);
    for (stage, file, words) in [
        ("version-check", "typo.yaml", "unknown field `servicez`"),
        ("chain-builder", "port.yaml", "unknown field `nam`"),
        ("version-check", "text.json", "text.json is not JSON"),
    ] {
        let component = format!("default:{stage}");
        let (code, out, error) = dpfctl(dir.path(), &["run", &component, "--request", file]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
        assert!(error.contains(words), "{error}");
    }
    let (code, _, error) = dpfctl(dir.path(), &["run", "default:version-check"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("--request"), "{error}");
    let (code, _, error) = dpfctl(
        dir.path(),
        &["run", "default:lunch", "--request", "typo.yaml"],
    );
    assert_eq!(code, Some(1));
    assert!(
        error.contains("there are template-merge, version-check and chain-builder"),
        "{error}"
    );
}

#[test]
fn what_a_call_cost_is_told_apart_from_its_answer() {
    let dir = directory(&[("request.json", "{}")]);
    let arguments = [
        "run",
        "default:version-check",
        "--request",
        "request.json",
        "--stats",
    ];
    let (code, out, error) = dpfctl(dir.path(), &arguments);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "{\n  \"response\": []\n}\n")
    );
    assert!(
        error.contains(" fuel") && error.contains("of memory"),
        "{error}"
    );
}

#[test]
fn a_directory_without_a_plugin_says_how_to_begin() {
    let dir = directory(&[]);
    let (code, _, error) = dpfctl(dir.path(), &["build"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("dpfctl plugin new"), "{error}");

    let dir = directory(&[(
        "plugin.yaml",
        "name: x\nlanguage: python\nstage: version-check\nsource: x.py\n",
    )]);
    let (code, _, error) = dpfctl(dir.path(), &["test"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("x.wasm is not there yet") && error.contains("dpfctl plugin build"),
        "{error}"
    );
}

#[test]
fn new_does_not_write_over_anything() {
    let dir = directory(&[]);
    let (code, out, _) = dpfctl(
        dir.path(),
        &["new", "thing", "--stage", "template-merge", "--lang", "js"],
    );
    assert_eq!(code, Some(0));
    assert!(
        out.contains("cd thing\n    dpfctl plugin build\n    dpfctl plugin test"),
        "{out}"
    );
    let yaml = fs::read_to_string(dir.path().join("thing/plugin.yaml")).unwrap();
    assert!(
        yaml.contains("stage: template-merge") && yaml.contains("source: plugin.js"),
        "{yaml}"
    );
    let (code, _, error) = dpfctl(dir.path(), &["new", "thing", "--stage", "template-merge"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("thing is there and not empty"), "{error}");
    let (code, _, error) = dpfctl(
        dir.path(),
        &["new", "No Label", "--stage", "template-merge"],
    );
    assert_eq!(code, Some(1));
    assert!(error.contains("lower-case letters"), "{error}");
}

#[test]
fn nothing_is_pushed_that_hosts_refuse() {
    let dir = directory(&[("text.wasm", "hello")]);
    // Nobody listens there, and nobody is asked.
    let (code, _, error) = dpfctl(
        dir.path(),
        &[
            "push",
            "text.wasm",
            "localhost:1/x:1",
            "--stage",
            "version-check",
        ],
    );
    assert_eq!(code, Some(1));
    assert!(
        error.contains("text.wasm is not pushed")
            && error.contains("not a valid WebAssembly component"),
        "{error}"
    );
    let (code, _, error) = dpfctl(
        dir.path(),
        &[
            "push",
            "text.wasm",
            "no reference",
            "--stage",
            "version-check",
        ],
    );
    assert_eq!(code, Some(1));
    assert!(error.contains("is not a reference"), "{error}");
}

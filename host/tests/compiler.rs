//! The process that examines and compiles plugins: what it leaves, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use dpf_engine::{Engine, EngineOptions, Limits, Stage};
use dpf_host::plugins::compiler::{Unfit, examine_in_child};
use std::path::Path;
use std::time::Duration;

fn component() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guest = dpf_plugin_build::Guest {
        crate_dir: root.join("plugins/examples/misbehaving"),
        target_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("plugins"),
    };
    let toolchain = dpf_plugin_build::Toolchain::find().unwrap();
    dpf_plugin_build::build(&guest, &toolchain)
        .unwrap()
        .component
}

#[tokio::test]
async fn the_child_leaves_machine_code_and_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let cache_dir = dir.path().join("compiled");
    let limits = Limits {
        deadline: Duration::from_millis(500),
        ..Limits::default()
    };
    let component = component();
    let examine = async |bytes: &[u8], stage: Stage, settings: &str| -> Result<(), Unfit> {
        let program = Path::new(env!("CARGO_BIN_EXE_dpf-host"));
        examine_in_child(program, &cache_dir, &limits, stage, bytes, settings).await
    };
    let merge = Stage::TemplateMerge;
    examine(&component, merge, "{}").await.unwrap();

    // The host finds the machine code: of the three built-in plugins, and of this one.
    let engine = Engine::new(EngineOptions {
        cache_dir: Some(cache_dir.clone()),
        limits: limits.clone(),
        ..EngineOptions::default()
    })
    .unwrap();
    engine.load(merge, &component, "{}").unwrap();
    assert_eq!(engine.compile_cache_hits(), Stage::ALL.len() + 1);

    for (bytes, stage, settings, reason) in [
        (
            &component[..component.len() / 2],
            merge,
            "{}",
            "ComponentInvalid",
        ),
        (b"#!/bin/sh", merge, "{}", "ComponentInvalid"),
        (&component, Stage::ChainBuilder, "{}", "WrongWorld"),
        (
            &component,
            merge,
            "{\"mode\":\"refuse\"}",
            "SettingsInvalid",
        ),
        (&component, merge, "{\"other\":1}", "SettingsInvalid"),
        (
            &component,
            merge,
            "{\"mode\":\"loop at load\"}",
            "PluginDeadlineExceeded",
        ),
    ] {
        let unfit = examine(bytes, stage, settings).await.unwrap_err();
        assert_eq!(unfit.reason, reason, "{unfit:?}");
        assert!(!unfit.transient);
    }

    let missing = Path::new("/nonexistent/compiler");
    let unfit = examine_in_child(missing, &cache_dir, &limits, merge, &component, "{}")
        .await
        .unwrap_err();
    assert_eq!(unfit.reason, "CompilerUnavailable");
    assert!(unfit.transient);
}

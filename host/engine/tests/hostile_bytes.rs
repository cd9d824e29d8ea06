//! Plugins no compiler would make: written by hand, byte by byte, against the published interface.
//!
//! They also show that a component needs neither our SDK nor our build: a core module, the WIT and `wit-component` are enough.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

use std::sync::OnceLock;

use dpf_engine::{
    CallError, Engine, EngineOptions, Fault, FaultKind, LoadError, MergeRequest, Plugin, Stage,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A template-merge plugin whose `merge` writes its result at 4096 by these instructions.
fn module(merge: &str) -> String {
    format!(
        r#"(module
  (memory (export "memory") 4)
  (data (i32.const 16) "by-hand")
  (data (i32.const 32) "1.0.0")
  (data (i32.const 48) "{{}}")
  ;; Name, version, vendor, description; no annotations.
  (data (i32.const 64) "\10\00\00\00\07\00\00\00\20\00\00\00\05\00\00\00\10\00\00\00\07\00\00\00\10\00\00\00\07\00\00\00\00\00\00\00\00\00\00\00")
  (data (i32.const 128) "\30\00\00\00\02\00\00\00")
  ;; Where strings of requests go: over each other, nobody reads them.
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072))
  (func (export "dpf:plugin/plugin@1.0.0#describe") (result i32) (i32.const 64))
  (func (export "dpf:plugin/plugin@1.0.0#settings-schema") (result i32) (i32.const 128))
  ;; A result without findings is all zeros.
  (func (export "dpf:plugin/plugin@1.0.0#validate-settings") (param i32 i32) (result i32) (i32.const 1024))
  (func (export "dpf:plugin/values@1.0.0#merge") (param i32) (result i32)
    (local $i i32)
    {merge}
    (i32.const 4096))
)"#
    )
}

fn component(module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/1.0.0"))
        .unwrap();
    let world = resolve
        .select_world(&[package], Some("template-merge"))
        .unwrap();
    let mut bytes = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default()
        .module(&bytes)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(EngineOptions::default()).unwrap())
}

fn load(merge: &str) -> Plugin {
    let component = component(&module(merge));
    let plugin = engine()
        .load(Stage::TemplateMerge, &component, "{}")
        .unwrap();
    assert_eq!(plugin.descriptor().name, "by-hand");
    plugin
}

fn fault(merge: &str) -> Fault {
    match load(merge).merge(&MergeRequest::default()) {
        Err(CallError::Fault(fault)) => fault,
        other => panic!("expected a fault, got {other:?}"),
    }
}

fn peak_kibibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

#[test]
fn a_plugin_written_by_hand_serves() {
    // Zeros: no values, no findings.
    let response = load("").merge(&MergeRequest::default()).unwrap();
    assert_eq!(response.values, None);
}

/// 1600 annotations that are all the same 64 KiB: a hundred megabytes out of a memory of 256 KiB.
const HUNDRED_MEGABYTES: &str = r"
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 65536))
    (loop $next
      (i32.store (i32.add (i32.const 8192) (i32.mul (local.get $i) (i32.const 16))) (i32.const 16))
      (i32.store (i32.add (i32.const 8196) (i32.mul (local.get $i) (i32.const 16))) (i32.const 7))
      (i32.store (i32.add (i32.const 8200) (i32.mul (local.get $i) (i32.const 16))) (i32.const 65536))
      (i32.store (i32.add (i32.const 8204) (i32.mul (local.get $i) (i32.const 16))) (i32.const 65536))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 1600))))
    (i32.store (i32.const 4132) (i32.const 8192))
    (i32.store (i32.const 4136) (i32.const 1600))";

#[test]
fn a_hundred_megabytes_out_of_a_small_memory_are_not_copied() {
    load("").merge(&MergeRequest::default()).unwrap();
    let before = peak_kibibytes();
    let fault = fault(HUNDRED_MEGABYTES);
    assert!(matches!(fault.kind, FaultKind::Output { .. }), "{fault}");
    let grown = peak_kibibytes() - before;
    assert!(grown < 64 << 10, "the host took {grown} KiB for it");
}

#[test]
fn what_points_nowhere_is_no_answer() {
    for (what, merge) in [
        // A text of two gigabytes at the end of the memory.
        (
            "out of bounds",
            "(i32.store8 (i32.const 4100) (i32.const 1)) (i32.store (i32.const 4104) (i32.const 262140)) \
             (i32.store (i32.const 4108) (i32.const 0x7fffffff))",
        ),
        // 0xff is in no UTF-8 text.
        (
            "no UTF-8",
            "(i32.store8 (i32.const 300) (i32.const 255)) (i32.store8 (i32.const 4100) (i32.const 1)) \
             (i32.store (i32.const 4104) (i32.const 300)) (i32.store (i32.const 4108) (i32.const 1))",
        ),
        // An option is there or not: there is no third way.
        (
            "no such case",
            "(i32.store8 (i32.const 4100) (i32.const 7))",
        ),
        (
            "a list of four thousand million findings",
            "(i32.store (i32.const 4124) (i32.const 8192)) (i32.store (i32.const 4128) (i32.const 0xffffffff))",
        ),
        (
            "a list that is not aligned",
            "(i32.store (i32.const 4124) (i32.const 8193)) (i32.store (i32.const 4128) (i32.const 1))",
        ),
    ] {
        let fault = fault(merge);
        assert!(
            matches!(
                fault.kind,
                FaultKind::Output { .. } | FaultKind::Trap { .. }
            ),
            "{what}: {fault}"
        );
        assert!(fault.is_of_plugin(), "{what}: {fault}");
    }
}

#[test]
fn a_result_outside_of_the_memory_is_no_answer() {
    let far = module("").replace("(i32.const 4096))\n)", "(i32.const 0x7ffffff0))\n)");
    let plugin = engine()
        .load(Stage::TemplateMerge, &component(&far), "{}")
        .unwrap();
    let error = plugin.merge(&MergeRequest::default()).unwrap_err();
    assert!(matches!(error, CallError::Fault(_)), "{error:?}");
}

#[test]
fn a_plugin_that_wants_more_memory_than_there_is_is_not_admitted() {
    let large = module("").replace("\"memory\") 4)", "\"memory\") 65536)");
    let error = engine()
        .load(Stage::TemplateMerge, &component(&large), "{}")
        .unwrap_err();
    assert!(
        matches!(&error, LoadError::Faulted(fault) if matches!(fault.kind, FaultKind::Memory { .. }))
            || matches!(error, LoadError::Compile { .. }),
        "{error:?}"
    );
}

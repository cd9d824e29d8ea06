//! The built component, in the engine of the host.

use std::path::Path;

use dpf_plugin_harness::{Harness, HarnessOptions, build_crate};

#[test]
fn the_component_passes_its_cases() {
    let component = build_crate(env!("CARGO_MANIFEST_DIR").as_ref()).unwrap();
    let options = HarnessOptions {
        cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")),
        ..HarnessOptions::default()
    };
    let harness = Harness::new(options).unwrap();
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
    let report = harness.test(&component, None, cases.as_ref()).unwrap();
    assert!(report.passed(), "{report}");
}

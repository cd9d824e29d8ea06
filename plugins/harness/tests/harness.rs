//! What the harness says of plugins that misbehave, and of cases that are wrong.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use dpf_engine::{Limits, Stage};
use dpf_plugin_harness::{Case, Harness, HarnessError, HarnessOptions, Report, build_crate};
use tempfile::TempDir;

/// What hosts do, with compiled code kept between tests.
fn options() -> HarnessOptions {
    HarnessOptions {
        cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")),
        ..HarnessOptions::default()
    }
}

/// `plugins/examples/misbehaving`: its settings say what it does.
fn misbehaving() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/misbehaving");
        build_crate(&dir).unwrap()
    })
}

fn case(dir: &TempDir, name: &str, settings: &str, request: &str) {
    let case = dir.path().join(name);
    fs::create_dir_all(&case).unwrap();
    fs::write(case.join("request.yaml"), request).unwrap();
    fs::write(case.join("settings.json"), format!("\"{settings}\"")).unwrap();
}

fn test(dir: &TempDir, options: HarnessOptions) -> Report {
    let limits = Limits {
        deadline: Duration::from_millis(500),
        memory_bytes: 16 << 20,
        concurrency: 2,
        ..Limits::default()
    };
    let harness = Harness::new(HarnessOptions { limits, ..options }).unwrap();
    harness.test(misbehaving(), None, dir.path()).unwrap()
}

#[test]
fn faults_fail_a_case_in_words() {
    let dir = tempfile::tempdir().unwrap();
    for mode in ["grow", "loop", "panic"] {
        case(&dir, mode, mode, "{}");
    }
    let options = HarnessOptions {
        skip_fuel: true,
        bless: true,
        ..options()
    };
    let report = test(&dir, options);
    let problems: Vec<&str> = report
        .cases
        .iter()
        .map(|case| case.problems[0].as_str())
        .collect();
    let words = [
        "PluginMemoryExceeded",
        "PluginDeadlineExceeded",
        "PluginTrapped",
    ];
    for (problem, word) in problems.iter().zip(words) {
        assert!(problem.starts_with(word), "{problem}");
    }
    assert!(
        problems[2].contains("panicking, as asked"),
        "{}",
        problems[2]
    );
    assert!(
        !report.passed() && report.to_string().contains("0 passed, 3 failed"),
        "{report}"
    );
    assert!(
        !dir.path().join("loop/expected.json").exists(),
        "a fault is never blessed"
    );
}

#[test]
fn blessing_writes_what_the_next_test_compares() {
    let dir = tempfile::tempdir().unwrap();
    case(&dir, "merge", "", "configuration_values: {a: 1}");
    case(&dir, "refused", "refuse", "{}");
    let report = test(
        &dir,
        HarnessOptions {
            bless: true,
            ..options()
        },
    );
    assert!(
        report.passed() && report.cases.iter().all(|case| case.blessed),
        "{report}"
    );
    let report = test(&dir, options());
    assert!(
        report.passed() && !report.cases.iter().any(|case| case.blessed),
        "{report}"
    );
    let usage = report.cases[0].usage.unwrap();
    assert!(
        usage.fuel.is_some_and(|fuel| fuel > 1000) && usage.memory_bytes > 1 << 16,
        "{usage:?}"
    );

    let fuel = test(
        &dir,
        HarnessOptions {
            max_fuel: Some(10),
            ..options()
        },
    );
    assert!(
        fuel.cases[0].problems[0].contains("more than the 10 allowed"),
        "{fuel}"
    );
    // The same fuel, whatever the machine does meanwhile.
    assert_eq!(fuel.cases[0].usage.unwrap().fuel, usage.fuel);

    case(&dir, "merge", "", "configuration_values: {a: 2}");
    let report = test(
        &dir,
        HarnessOptions {
            skip_fuel: true,
            ..options()
        },
    );
    let problem = &report.cases[0].problems[0];
    assert!(
        problem.contains("-       \"a\": 1") && problem.contains("+       \"a\": 2"),
        "{problem}"
    );
}

#[test]
fn a_request_with_an_unknown_field_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    case(&dir, "typo", "", "configuration_valuez: {}");
    let harness = Harness::new(HarnessOptions {
        skip_fuel: true,
        ..options()
    })
    .unwrap();
    let error = harness.test(misbehaving(), None, dir.path()).unwrap_err();
    assert!(
        matches!(&error, HarnessError::Malformed { detail, .. } if detail.contains("configuration_valuez")),
        "{error}"
    );
}

#[test]
fn no_cases_and_no_stage_say_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let error = Case::find(dir.path()).unwrap_err().to_string();
    assert!(error.contains("request.yaml"), "{error}");
    let harness = Harness::new(HarnessOptions {
        skip_fuel: true,
        ..options()
    })
    .unwrap();
    let empty = wat::parse_str("(component)").unwrap();
    let error = harness.admit(&empty, None).unwrap_err();
    assert!(matches!(error, HarnessError::NoStage { .. }), "{error}");
    let error = harness
        .admit(&empty, Some(Stage::VersionCheck))
        .unwrap_err();
    assert!(matches!(error, HarnessError::Admit(_)), "{error}");
}

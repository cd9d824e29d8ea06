//! A plugin that misbehaves harms nobody but itself, and the error says what it did.
//!
//! The plugin is `plugins/examples/misbehaving`, built here as a vendor would build it; its settings say what it does.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use dpf_engine::{
    Answer, CallError, Circuit, Engine, EngineOptions, FaultKind, GuardOptions, Guarded, Limits,
    LoadError, MergeRequest, MergeResponse, Outcome, Plugin, Stage,
};
use serde_json::json;

/// Long enough for a plugin that behaves on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(1);

fn component() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("plugins");
        let crate_dir =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/examples/misbehaving");
        let guest = dpf_plugin_build::Guest {
            crate_dir,
            target_dir: target,
        };
        let toolchain =
            dpf_plugin_build::Toolchain::find().expect("invariant: the engine was built with it");
        dpf_plugin_build::build(&guest, &toolchain)
            .expect("invariant: the plugin compiles")
            .component
    })
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let limits = Limits {
            deadline: DEADLINE,
            memory_bytes: 16 << 20,
            output_bytes: 1 << 20,
            concurrency: 2,
            ..Limits::default()
        };
        Engine::new(EngineOptions {
            limits,
            ..EngineOptions::default()
        })
        .expect("invariant: the built-in plugins load")
    })
}

fn plugin(settings: &str) -> Result<Plugin, LoadError> {
    engine().load(
        Stage::TemplateMerge,
        component(),
        &format!("\"{settings}\""),
    )
}

fn call(settings: &str, request: &MergeRequest) -> Answer<MergeResponse> {
    plugin(settings)
        .expect("invariant: it behaves while it is loaded")
        .merge(request)
}

#[expect(clippy::panic, reason = "a helper of tests")]
fn fault(settings: &str) -> FaultKind {
    let kind = match call(settings, &MergeRequest::default()) {
        Err(CallError::Fault(fault)) => {
            assert!(
                fault
                    .to_string()
                    .starts_with("the template-merge plugin misbehaving ("),
                "{fault}"
            );
            fault.kind
        }
        other => panic!("expected a fault, got {other:?}"),
    };
    // Other plugins, and other calls of this one, go on.
    call("", &MergeRequest::default()).expect("invariant: without settings it behaves");
    kind
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    let begin = Instant::now();
    assert_eq!(fault("loop"), FaultKind::Deadline { limit: DEADLINE });
    assert!(begin.elapsed() >= DEADLINE, "it had its time");
}

#[test]
fn memory_is_capped() {
    assert_eq!(fault("grow"), FaultKind::Memory { limit: 16 << 20 });
}

#[test]
fn a_panic_is_reported_in_its_own_words() {
    let kind = fault("panic");
    assert!(
        matches!(&kind, FaultKind::Trap { detail } if detail.contains("panicking, as asked")),
        "{kind:?}"
    );
}

#[test]
fn an_overflown_stack_is_a_trap() {
    let kind = fault("recurse");
    assert!(matches!(kind, FaultKind::Trap { .. }), "{kind:?}");
}

#[test]
fn output_is_capped_and_checked() {
    for settings in ["huge", "not json", "not an object", "no findings"] {
        let kind = fault(settings);
        assert!(
            matches!(kind, FaultKind::Output { .. }),
            "{settings}: {kind:?}"
        );
    }
}

#[test]
fn chatter_is_dropped_not_a_fault() {
    call("chatter", &MergeRequest::default()).unwrap();
}

#[test]
fn no_state_survives_a_call() {
    let plugin = plugin("count").unwrap();
    for round in 0..3 {
        // Another request each time, so that no kept result answers.
        let request = MergeRequest {
            delimiters: Some(format!("{round}")),
            ..MergeRequest::default()
        };
        assert_eq!(
            plugin.merge(&request).unwrap().values,
            Some(json!({"calls": 0}))
        );
    }
}

#[test]
fn refused_settings_say_why() {
    let error = plugin("refuse").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the plugin refuses its settings: settings.mode: refused, as asked"
    );
}

#[test]
fn misbehaviour_while_loading_is_a_fault() {
    let error = plugin("loop at load").unwrap_err();
    assert!(
        matches!(&error, LoadError::Faulted(fault) if fault.reason() == "PluginDeadlineExceeded"),
        "{error:?}"
    );
}

#[test]
fn a_component_of_another_world_is_refused() {
    let error = engine()
        .load(Stage::ChainBuilder, component(), "{}")
        .unwrap_err();
    assert!(
        matches!(&error, LoadError::WrongWorld { detail, .. } if detail.contains("dpf:plugin/chain")),
        "{error}"
    );
}

#[test]
fn a_truncated_component_is_refused() {
    for length in [1, 8, 100, component().len() / 2, component().len() - 1] {
        let error = engine()
            .load(Stage::TemplateMerge, &component()[..length], "{}")
            .unwrap_err();
        assert!(
            matches!(
                error,
                LoadError::Parse { .. } | LoadError::WrongWorld { .. }
            ),
            "{length}: {error}"
        );
    }
}

#[test]
fn faults_are_not_kept() {
    let plugin = plugin("loop").unwrap();
    for _ in 0..2 {
        let begin = Instant::now();
        plugin.merge(&MergeRequest::default()).unwrap_err();
        assert!(begin.elapsed() >= DEADLINE, "it was called again");
    }
}

#[test]
fn results_are_kept_per_request_and_settings() {
    // An engine of its own, so that nobody else counts.
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let load = |settings| {
        engine
            .load(Stage::TemplateMerge, component(), settings)
            .unwrap()
    };
    let request = MergeRequest {
        configuration_values: Some(json!({"a": 1})),
        ..MergeRequest::default()
    };
    let first = load("\"\"").merge(&request).unwrap();
    assert_eq!(engine.result_cache_hits(), 0);
    assert_eq!(load("\"\"").merge(&request).unwrap(), first);
    assert_eq!(engine.result_cache_hits(), 1);
    load("\"other\"").merge(&request).unwrap();
    load("\"\"").merge(&MergeRequest::default()).unwrap();
    assert_eq!(engine.result_cache_hits(), 1);
}

#[test]
fn calls_beyond_the_slots_wait_for_their_turn() {
    let plugin = plugin("").unwrap();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..16)
            .map(|round| {
                let plugin = plugin.clone();
                let request = MergeRequest {
                    delimiters: Some(format!("wait {round}")),
                    ..MergeRequest::default()
                };
                scope.spawn(move || plugin.merge(&request))
            })
            .collect();
        for call in calls {
            call.join().unwrap().unwrap();
        }
    });
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let request = MergeRequest {
        template_values: Some(json!({"b": [1, 2.5], "a": {"z": null}})),
        configuration_values: Some(json!({"a": {"y": "{{ .Services }}"}})),
        render: true,
        ..MergeRequest::default()
    };
    // An engine that keeps no results, so that every call runs.
    let options = EngineOptions {
        result_cache_bytes: 0,
        ..EngineOptions::default()
    };
    let plugin = Engine::new(options)
        .unwrap()
        .default_plugin(Stage::TemplateMerge);
    let answers: Vec<String> = (0..3)
        .map(|_| serde_json::to_string(&*plugin.merge(&request).unwrap()).unwrap())
        .collect();
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

#[test]
fn compiled_code_is_kept_in_a_private_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("compiled");
    let start = || {
        Engine::new(EngineOptions {
            cache_dir: Some(cache.clone()),
            ..EngineOptions::default()
        })
        .unwrap()
    };
    assert_eq!(start().compile_cache_hits(), 0);
    assert_eq!(start().compile_cache_hits(), Stage::ALL.len());
    assert_eq!(
        std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

/// A guarded plugin with this deadline, in an engine of its own.
fn guarded(settings: &str, deadline: Duration) -> Guarded {
    let engine =
        Engine::new(EngineOptions::default()).expect("invariant: the built-in plugins load");
    let settings = format!("{{\"mode\":\"{settings}\"}}");
    let plugin = engine
        .load(Stage::TemplateMerge, component(), &settings)
        .expect("invariant: it behaves while it is loaded");
    let options = GuardOptions {
        name: "acme".to_owned(),
        limits: Limits {
            deadline,
            memory_bytes: 4 << 20,
            concurrency: 1,
            ..Limits::default()
        },
    };
    engine.guard(plugin, options)
}

/// A request like no other.
fn asking(delimiters: &str) -> MergeRequest {
    MergeRequest {
        delimiters: Some(delimiters.to_owned()),
        ..MergeRequest::default()
    }
}

fn reason(guarded: &Guarded, delimiters: &str) -> String {
    match guarded.merge(&asking(delimiters), |_| Ok(())) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.reason().to_owned(),
    }
}

#[test]
fn a_plugin_that_fails_again_and_again_is_left_alone() {
    let guarded = guarded("loop", Duration::from_millis(50));
    for _ in 0..3 {
        assert_eq!(guarded.circuit(), Circuit::Closed);
        assert_eq!(reason(&guarded, ""), "PluginDeadlineExceeded");
    }
    assert!(matches!(guarded.circuit(), Circuit::Open { .. }));
    let begin = Instant::now();
    assert_eq!(reason(&guarded, ""), "PluginCircuitOpen");
    assert!(begin.elapsed() < DEADLINE, "nobody waits for it");
}

#[test]
fn limits_of_its_own_are_below_those_of_the_engine() {
    let kind = |mode: &str, deadline| match guarded(mode, deadline)
        .merge(&MergeRequest::default(), |_| Ok(()))
    {
        Err(CallError::Fault(fault)) => fault.kind,
        other => panic!("expected a fault, got {other:?}"),
    };
    assert_eq!(kind("grow", DEADLINE), FaultKind::Memory { limit: 4 << 20 });
    let limit = Duration::from_millis(50);
    assert_eq!(kind("loop", limit), FaultKind::Deadline { limit });
}

#[test]
fn a_kept_result_answers_while_the_circuit_is_open() {
    let guarded = guarded("", DEADLINE);
    assert_eq!(reason(&guarded, "known"), "ok");
    for round in 0..3 {
        // Answers of the right form, which somebody judges to be useless. In between none was good.
        let rejected = guarded.merge(&asking(&format!("rejected {round}")), |_| {
            Err("as if it reached beyond its service".to_owned())
        });
        assert!(
            matches!(&rejected, Err(CallError::Fault(fault)) if fault.reason() == "PluginOutputInvalid"),
            "{rejected:?}"
        );
    }
    assert_eq!(reason(&guarded, "known"), "ok");
    assert_eq!(reason(&guarded, "unknown"), "PluginCircuitOpen");
    let again = guarded.merge(&asking("rejected 0"), |_| Err("still".to_owned()));
    assert_eq!(again.unwrap_err().reason(), "PluginOutputInvalid");
}

#[test]
fn a_plugin_waits_for_its_own_slots_only() {
    let looping = guarded("loop", DEADLINE);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| reason(&looping, "first"));
        // Until the first call has the slot, the second one could get it; then the first is the one that is busy.
        let second = scope.spawn(|| reason(&looping, "second"));
        let reasons = [first.join().unwrap(), second.join().unwrap()];
        assert!(reasons.contains(&"PluginsBusy".to_owned()), "{reasons:?}");
    });
    assert_eq!(
        looping.circuit(),
        Circuit::Closed,
        "being busy is no fault of the plugin"
    );
}

#[test]
fn calls_are_counted_by_how_they_end() {
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let load = |mode: &str| {
        let settings = format!("{{\"mode\":\"{mode}\"}}");
        let plugin = engine
            .load(Stage::TemplateMerge, component(), &settings)
            .unwrap();
        let options = GuardOptions {
            name: "acme".to_owned(),
            limits: Limits::default(),
        };
        engine.guard(plugin, options)
    };
    let good = load("");
    assert_eq!(reason(&good, ""), "ok");
    assert_eq!(reason(&good, ""), "ok");
    assert_eq!(reason(&load("panic"), ""), "PluginTrapped");
    let chatty = load("chatter");
    assert_eq!(reason(&chatty, ""), "ok");
    let statistics = engine.statistics("acme");
    assert_eq!(statistics.calls(Outcome::Ok), 2);
    assert_eq!(statistics.calls(Outcome::Trap), 1);
    assert_eq!(statistics.cache_hits(), 1);
    assert_eq!(statistics.durations().iter().sum::<u64>(), 3);
    assert!(statistics.memory_peak_bytes() > 0);
    let (written, dropped) = statistics.log_lines();
    assert_eq!(written + dropped, 5_001, "the panic wrote one");
    assert!(dropped > 4_000);
}

//! What WebAssembly costs: the default template-merge natively, in a fresh instance per call, and answered by a kept result.
//!
//! `cargo bench -p dpf-engine` prints criterion's distributions and then a verdict on the goals: a fresh merge of 10 KB at most
//! 2.5 times native, a kept one at most 0.1 times, the three defaults loaded from the compiled cache in less than 10 ms, less than
//! 256 KiB for an instance that lives. Ratios are medians over rounds that run every variant, so that a machine that is busy with
//! something else slows all of them. The exit code is 1 when a goal is missed.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark is read by people, and criterion's macros have no documentation"
)]

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use criterion::Criterion;
use dpf_engine::{
    Engine, EngineOptions, Limits, MergeRequest, MergeResponse, MergeService, Plugin, Stage,
};
use dpf_plugin_sdk::{Deployment, call, values};
use serde_json::{Map, Value, json};
use template_merge::DefaultTemplateMerge;

/// Rounds of the comparison.
const ROUNDS: usize = 400;
/// Instances that live at the same time while memory is measured.
const INSTANCES: usize = 48;

fn main() -> ExitCode {
    // `cargo test --benches` only wants to know whether it starts.
    let quick = std::env::args().any(|argument| argument == "--test");
    let mut criterion = Criterion::default().configure_from_args();
    distributions(&mut criterion);
    criterion.final_summary();
    let rounds = if quick { 3 } else { ROUNDS };
    let goals = [
        ratios(rounds).to_vec(),
        vec![load(if quick { 1 } else { 20 }), memory()],
    ]
    .concat();
    println!(
        "\n{:44} {:>12} {:>12}  VERDICT",
        "GOAL", "MEASURED", "AT MOST"
    );
    for goal in &goals {
        println!("{goal}");
    }
    if quick || goals.iter().all(Goal::reached) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Clone)]
struct Goal {
    what: &'static str,
    measured: f64,
    most: f64,
    unit: &'static str,
}

impl Goal {
    fn reached(&self) -> bool {
        self.measured <= self.most
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.reached() { "pass" } else { "FAIL" };
        let with_unit = |value: f64| format!("{value:.3} {}", self.unit);
        let (measured, most) = (with_unit(self.measured), with_unit(self.most));
        write!(f, "{:44} {measured:>12} {most:>12}  {verdict}", self.what)
    }
}

/// A template of about 9 KB and a configuration of about 1 KB that changes some of it.
fn request() -> MergeRequest {
    let mut template = Map::new();
    for index in 0..30 {
        let port =
            json!({"name": format!("port-{index}"), "number": 8000 + index, "protocol": "TCP"});
        template.insert(
            format!("component-{index}"),
            json!({
                "image": {"repository": format!("example/component-{index}"), "tag": "1.2.3", "pullPolicy": "IfNotPresent"},
                "replicas": index % 3,
                "resources": {"cpu": "100m", "memory": "128Mi", "nvidia.com/bf_sf": 2},
                "ports": [port],
                "enabled": index % 2 == 0,
            }),
        );
    }
    let mut configuration = Map::new();
    for index in (0..30).step_by(4) {
        configuration.insert(
            format!("component-{index}"),
            json!({"image": {"tag": "1.2.4"}, "replicas": 5, "extra": {"annotation": "of the site"}}),
        );
    }
    MergeRequest {
        service: MergeService {
            name: "router".into(),
            template: "router-template".into(),
            configuration: "router-configuration".into(),
        },
        template_values: Some(Value::Object(template)),
        configuration_values: Some(Value::Object(configuration)),
        ..MergeRequest::default()
    }
}

/// The plugin without WebAssembly, behind the same types.
fn native(request: &MergeRequest) -> MergeResponse {
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    let response = call::merge::<DefaultTemplateMerge>(values::Request {
        settings: "{}".into(),
        deployment: Deployment {
            namespace: request.deployment.namespace.clone(),
            name: request.deployment.name.clone(),
        },
        service: values::Service {
            name: request.service.name.clone(),
            template: request.service.template.clone(),
            configuration: request.service.configuration.clone(),
        },
        template_values: text(&request.template_values),
        configuration_values: text(&request.configuration_values),
        render: request.render,
        ..Default::default()
    })
    .expect("invariant: the values are right");
    let parse = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
    MergeResponse {
        configuration_values: parse(response.configuration_values),
        values: parse(response.values),
        ..MergeResponse::default()
    }
}

fn start(result_cache_bytes: usize) -> Plugin {
    let options = EngineOptions {
        result_cache_bytes,
        ..EngineOptions::default()
    };
    Engine::new(options)
        .expect("invariant: the engine starts")
        .default_plugin(Stage::TemplateMerge)
}

fn merge(plugin: &Plugin, request: &MergeRequest) -> Arc<MergeResponse> {
    plugin
        .merge(request)
        .expect("invariant: the values are right")
}

fn distributions(criterion: &mut Criterion) {
    let (fresh, cached, request) = (start(0), start(16 << 20), request());
    assert_eq!(
        *merge(&fresh, &request),
        native(&request),
        "both do the same"
    );
    let mut group = criterion.benchmark_group("merge 10 KB");
    group
        .sample_size(50)
        .measurement_time(Duration::from_secs(3));
    group.bench_function("native", |b| b.iter(|| black_box(native(&request))));
    group.bench_function("fresh instance", |b| {
        b.iter(|| black_box(merge(&fresh, &request)))
    });
    group.bench_function("cached", |b| b.iter(|| black_box(merge(&cached, &request))));
    group.finish();
}

/// Fresh and cached against native.
fn ratios(rounds: usize) -> [Goal; 2] {
    let (fresh, cached, request) = (start(0), start(16 << 20), request());
    fn time<T>(call: impl FnOnce() -> T) -> f64 {
        let begin = Instant::now();
        black_box(call());
        begin.elapsed().as_secs_f64()
    }
    merge(&cached, &request);
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let base = time(|| native(&request));
        for (ratios, plugin) in measured.iter_mut().zip([&fresh, &cached]) {
            ratios.push(time(|| merge(plugin, &request)) / base);
        }
    }
    let [fresh, cached] = measured.map(median);
    let goal = |what, measured, most| Goal {
        what,
        measured,
        most,
        unit: "x",
    };
    [
        goal("merge in a fresh instance, against native", fresh, 2.5),
        goal("merge answered by a kept result", cached, 0.1),
    ]
}

/// Starting the engine with its three default plugins, all compiled before.
fn load(rounds: usize) -> Goal {
    let dir = tempfile::tempdir().expect("invariant: there is a temporary directory");
    let start = || {
        let options = EngineOptions {
            cache_dir: Some(dir.path().join("compiled")),
            ..EngineOptions::default()
        };
        let begin = Instant::now();
        let engine = Engine::new(options).expect("invariant: the engine starts");
        (begin.elapsed().as_secs_f64() * 1e3, engine)
    };
    drop(start());
    let (times, hits): (Vec<f64>, Vec<usize>) = (0..rounds)
        .map(|_| start())
        .map(|(time, engine)| (time, engine.compile_cache_hits()))
        .unzip();
    assert!(
        hits.iter().all(|hits| *hits == Stage::ALL.len()),
        "{hits:?}"
    );
    Goal {
        what: "engine and three defaults from the cache",
        measured: median(times),
        most: 10.0,
        unit: "ms",
    }
}

/// What instances take that are in the middle of a call: `plugins/examples/routing-merge` writes to the log after it has merged,
/// and the log waits until all others are there.
fn memory() -> Goal {
    let crate_dir =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/examples/routing-merge");
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("plugins");
    let guest = dpf_plugin_build::Guest {
        crate_dir,
        target_dir,
    };
    let toolchain =
        dpf_plugin_build::Toolchain::find().expect("invariant: the engine was built with it");
    let component = dpf_plugin_build::build(&guest, &toolchain)
        .expect("invariant: the plugin compiles")
        .component;
    let limits = Limits {
        concurrency: u32::try_from(INSTANCES).expect("invariant: a small number"),
        deadline: Duration::from_secs(60),
        ..Limits::default()
    };
    let options = EngineOptions {
        limits,
        result_cache_bytes: 0,
        ..EngineOptions::default()
    };
    let engine = Engine::new(options).expect("invariant: the engine starts");
    let plugin = engine
        .load(Stage::TemplateMerge, &component, "{}")
        .expect("invariant: it is a plugin");
    let gate = Arc::new(Gate::default());
    tracing::subscriber::set_global_default(Subscriber(Arc::clone(&gate)))
        .expect("invariant: there is no other");
    let request = request();
    let ready = Barrier::new(INSTANCES + 1);
    std::thread::scope(|scope| {
        for _ in 0..INSTANCES {
            scope.spawn(|| {
                // Stack and allocator of the thread are not the instance's.
                merge(&plugin, &request);
                ready.wait();
                ready.wait();
                merge(&plugin, &request);
            });
        }
        ready.wait();
        let before = resident_bytes();
        gate.close();
        ready.wait();
        gate.wait_for(INSTANCES);
        let during = resident_bytes();
        gate.open();
        Goal {
            what: "an instance that lives, after a merge",
            measured: (during - before) / 1024.0 / f64::from(u32::try_from(INSTANCES).unwrap_or(1)),
            most: 256.0,
            unit: "KiB",
        }
    })
}

/// Holds back who logs.
#[derive(Default)]
struct Gate {
    state: std::sync::Mutex<(bool, usize)>,
    changed: std::sync::Condvar,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut (bool, usize))) {
        change(&mut self.state.lock().expect("invariant: nobody panics"));
        self.changed.notify_all();
    }

    fn close(&self) {
        self.change(|state| *state = (true, 0));
    }

    fn open(&self) {
        self.change(|state| state.0 = false);
    }

    fn pass(&self) {
        self.change(|state| state.1 += 1);
        let state = self.state.lock().expect("invariant: nobody panics");
        drop(self.changed.wait_while(state, |state| state.0));
    }

    fn wait_for(&self, count: usize) {
        let state = self.state.lock().expect("invariant: nobody panics");
        drop(self.changed.wait_while(state, |state| state.1 < count));
    }
}

struct Subscriber(Arc<Gate>);

impl tracing::Subscriber for Subscriber {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "plugin"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.pass();
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

fn resident_bytes() -> f64 {
    /// `/proc/self/statm` counts pages of this size.
    const PAGE: f64 = 4096.0;
    std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<f64>().ok())
        .map_or(f64::NAN, |pages| pages * PAGE)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

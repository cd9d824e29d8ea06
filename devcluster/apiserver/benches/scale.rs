//! Ten thousand objects of 4 KiB: how long creating, listing and watching them takes, and what they weigh.
//!
//! `cargo bench -p dpf-apiserver` prints each figure beside the one of `benches/baseline.json` and fails when a goal
//! is missed; `cargo bench -p dpf-apiserver -- --save` writes a new baseline. Figures of different machines do not
//! compare.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use dpf_apiserver::{ApiServer, ApiService, Options};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const OBJECTS: usize = 10_000;
const WATCHERS: usize = 10;
const PATH: &str = "/api/v1/namespaces/default/configmaps";
/// What a list may take.
const LIST_GOAL_MS: f64 = 200.0;
/// What the objects may weigh, as a multiple of their JSON.
const MEMORY_GOAL: f64 = 3.0;

type Figures = BTreeMap<String, f64>;

/// An object of about 4 KiB with many small values, as real ones have.
fn object(index: usize, round: usize) -> Value {
    let data: BTreeMap<String, String> = (0..32)
        .map(|i| {
            (
                format!("setting-{i:02}"),
                format!("{round:04}-{index:06}-{}", "x".repeat(84)),
            )
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": format!("object-{index:06}"), "labels": {"app": "bench", "shard": (index % 16).to_string()}}})
}

async fn send(
    service: &ApiService,
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> anyhow::Result<http::Response<dpf_apiserver::Body>> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = service.clone().oneshot(request).await?;
    ensure!(
        response.status().is_success(),
        "{method} {path}: {}",
        response.status()
    );
    Ok(response)
}

/// Reads a body to its end without keeping it, and returns its size.
async fn drain(mut body: dpf_apiserver::Body) -> anyhow::Result<usize> {
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        size += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(size)
}

/// Resident memory of this process in bytes.
fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .context("no VmRSS in /proc/self/status")?;
    let kib: f64 = line
        .split_whitespace()
        .next()
        .context("VmRSS is empty")?
        .parse()?;
    Ok(kib * 1024.0)
}

async fn create(service: &ApiService) -> anyhow::Result<Duration> {
    let bodies: Vec<Vec<u8>> = (0..OBJECTS)
        .map(|i| object(i, 0).to_string().into_bytes())
        .collect();
    let begin = Instant::now();
    for body in bodies {
        drain(send(service, "POST", PATH, body).await?.into_body()).await?;
    }
    Ok(begin.elapsed())
}

async fn list(service: &ApiService, query: &str) -> anyhow::Result<(f64, usize)> {
    let mut best = f64::MAX;
    let mut size = 0;
    for _ in 0..5 {
        let begin = Instant::now();
        let path = format!("{PATH}{query}");
        size = drain(send(service, "GET", &path, Vec::new()).await?.into_body()).await?;
        best = best.min(begin.elapsed().as_secs_f64() * 1000.0);
    }
    Ok((best, size))
}

/// Reads a watch until it has seen so many events.
async fn follow(service: ApiService, from: u64) -> anyhow::Result<()> {
    let path = format!("{PATH}?watch=true&resourceVersion={from}");
    let mut body = send(&service, "GET", &path, Vec::new()).await?.into_body();
    let mut seen = 0;
    while seen < OBJECTS {
        let frame = body
            .frame()
            .await
            .context("the watch ended before all events were seen")??;
        let data = frame.into_data().unwrap_or_default();
        ensure!(
            !data.starts_with(br#"{"type":"ERROR""#),
            "the watch fell behind"
        );
        seen += data.iter().filter(|b| **b == b'\n').count();
    }
    Ok(())
}

async fn fan_out(server: &ApiServer) -> anyhow::Result<(Duration, Duration)> {
    let service = server.service();
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|_| tokio::spawn(follow(server.service(), server.revision())))
        .collect();
    let begin = Instant::now();
    for index in 0..OBJECTS {
        let path = format!("{PATH}/object-{index:06}");
        let body = object(index, 1).to_string().into_bytes();
        drain(send(&service, "PUT", &path, body).await?.into_body()).await?;
    }
    let written = begin.elapsed();
    for watcher in watchers {
        watcher.await??;
    }
    Ok((written, begin.elapsed()))
}

async fn measure() -> anyhow::Result<Figures> {
    let server = ApiServer::new(Options::default());
    let service = server.service();
    // Schemas are made on first use; they are not what is weighed.
    drain(
        send(&service, "GET", "/openapi/v3/api/v1", Vec::new())
            .await?
            .into_body(),
    )
    .await?;
    let before = resident()?;
    let created = create(&service).await?;
    let after = resident()?;
    let (list_ms, bytes) = list(&service, "").await?;
    let (selected_ms, _) = list(&service, "?labelSelector=shard%3D3").await?;
    let (written, followed) = fan_out(&server).await?;
    let after_updates = resident()?;
    let count = OBJECTS as f64;
    let events = count * WATCHERS as f64;
    Ok(Figures::from([
        ("create, objects/s".into(), count / created.as_secs_f64()),
        ("list of all, ms".into(), list_ms),
        (
            "list of all, MB/s".into(),
            bytes as f64 / 1e6 / (list_ms / 1000.0),
        ),
        ("list of one in 16 by label, ms".into(), selected_ms),
        (
            "update with 10 watchers, objects/s".into(),
            count / written.as_secs_f64(),
        ),
        (
            "watch fan-out, events/s".into(),
            events / followed.as_secs_f64(),
        ),
        ("stored JSON, MB".into(), bytes as f64 / 1e6),
        (
            "memory, times the stored JSON".into(),
            (after - before) / bytes as f64,
        ),
        (
            "memory with the history of updates, times the stored JSON".into(),
            (after_updates - before) / bytes as f64,
        ),
    ]))
}

fn baseline_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.json")
}

#[expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]
fn report(figures: &Figures) -> anyhow::Result<()> {
    let baseline: Figures = match std::fs::read_to_string(baseline_path()) {
        Ok(text) => serde_json::from_str(&text).context("benches/baseline.json is malformed")?,
        Err(_) => Figures::new(),
    };
    for (name, value) in figures {
        match baseline.get(name) {
            Some(was) => println!(
                "{name:<60} {value:>10.1}   baseline {was:>10.1}   {:>+6.1} %",
                (value / was - 1.0) * 100.0
            ),
            None => println!("{name:<60} {value:>10.1}"),
        }
    }
    let figure = |name: &str| figures.get(name).copied().unwrap_or(f64::MAX);
    let list_ms = figure("list of all, ms");
    if list_ms > LIST_GOAL_MS {
        bail!("a list of {OBJECTS} took {list_ms:.0} ms, the goal is {LIST_GOAL_MS} ms");
    }
    let memory = figure("memory, times the stored JSON");
    if memory > MEMORY_GOAL {
        bail!("{OBJECTS} objects take {memory:.1} times their JSON, the goal is {MEMORY_GOAL}");
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let figures = tokio::runtime::Runtime::new()?.block_on(measure())?;
    report(&figures)?;
    if std::env::args().any(|a| a == "--save") {
        let rounded: Figures = figures
            .into_iter()
            .map(|(name, value)| (name, (value * 100.0).round() / 100.0))
            .collect();
        let text = serde_json::to_string_pretty(&rounded)? + "\n";
        std::fs::write(baseline_path(), text)?;
    }
    Ok(())
}

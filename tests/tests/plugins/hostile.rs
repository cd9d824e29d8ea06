//! Hostile plugins through the running host: only who uses them is told, nobody else waits, memory comes back, the host lives.

use super::shop::*;
use anyhow::{Context as _, ensure};
use dpf_api::plugin::DpuPlugin;
use dpf_api::svc::{DpuDeployment, DpuServiceConfiguration};
use dpf_plugin_oci::Pushed;
use dpf_tests::registry::Registry;
use dpf_tests::{Demo, eventually, manifests};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PLUGIN: &str = "hostile";
const THEIRS: &str = "hostile-namespace";
/// Turns without and with a hostile plugin: what else the machine does then slows both.
const TURNS: usize = 3;
/// Looks at the latency of a deployment in each turn.
const ROUNDS: usize = 25;
/// Every way to misbehave, and the reason its users are told.
const MODES: [(&str, &str); 11] = [
    ("loop", "PluginDeadlineExceeded"),
    ("grow", "PluginMemoryExceeded"),
    ("panic", "PluginTrapped"),
    ("recurse", "PluginTrapped"),
    ("huge", "PluginOutputInvalid"),
    ("hundred megabytes", "PluginMemoryExceeded"),
    ("not json", "PluginOutputInvalid"),
    ("deep", "PluginOutputInvalid"),
    ("deeper", "PluginOutputInvalid"),
    ("other namespace", "PluginOutputInvalid"),
    ("cluster kind", "PluginOutputInvalid"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_plugin_harms_its_users_alone() {
    let registry = Registry::start().await.unwrap();
    let demo = rolled_out_demo().await.unwrap();
    if let Err(error) = hostile(&demo, &registry).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

async fn hostile(demo: &Demo, registry: &Registry) -> anyhow::Result<()> {
    let component = tokio::task::spawn_blocking(component).await??;
    move_in(demo).await?;
    let host = demo.host_pid().context("no host")?;
    let untouched = generations(demo).await?;
    let memory = resident_bytes(host)?;

    not_admitted(demo, registry, &component).await?;
    let no_text = with_last_byte(&component, 0xff)?;
    let pushed = push(registry, "plugins/hostile:1", component).await?;
    for (mode, reason) in MODES {
        misbehaves(demo, &pushed, mode, reason).await?;
    }
    let no_text = push(registry, "plugins/hostile:no-text", no_text).await?;
    misbehaves(demo, &no_text, "stamp", "PluginOutputInvalid").await?;
    // Log lines by the thousand are no fault, but most of them are dropped.
    install(demo, &pushed, "chatter").await?;
    eventually("lines are dropped", || async {
        let text = metrics(demo).await?;
        let label = format!("plugin=\"{PLUGIN}\"");
        let dropped = metric(&text, "dpf_plugin_log_lines_dropped_total", &[&label]);
        ensure!(dropped > Some(1000.0), "{dropped:?}");
        Ok(())
    })
    .await?;

    // The worst of them, asked again and again.
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    let mut loops = 0.0;
    for _ in 0..TURNS {
        remove(demo).await?;
        quiet.extend(latencies(demo).await?);
        install(demo, &pushed, "loop").await?;
        let stop = tokio_util::sync::CancellationToken::new();
        let poking = tokio::spawn(poke(demo.client().await?, stop.clone()));
        let rounds = latencies(demo).await;
        stop.cancel();
        poking.await?;
        busy.extend(rounds?);
        let label = format!("plugin=\"{PLUGIN}\"");
        let labels = [label.as_str(), "outcome=\"deadline\""];
        loops += metric(&metrics(demo).await?, "dpf_plugin_calls_total", &labels).unwrap_or(0.0);
    }
    let (quiet, busy) = (median(quiet), median(busy));
    let ratio = busy.as_secs_f64() / quiet.as_secs_f64();
    println!(
        "latency of another deployment: {quiet:?} without, {busy:?} with a hostile plugin that ran into its deadline {loops} times ({ratio:.2}x)"
    );
    ensure!(loops >= 3.0, "the plugin hardly ran");
    ensure!(ratio <= 2.0, "{quiet:?} became {busy:?}");

    remove(demo).await?;
    ensure!(
        demo.host_pid() == Some(host),
        "the host was restarted:\n{}",
        demo.log()
    );
    let after = resident_bytes(host)?;
    println!(
        "memory of the host: {} MiB before, {} MiB after",
        memory >> 20,
        after >> 20
    );
    // The pool keeps what one call of each slot touched; a leak of the hundreds of MiB that were asked for would show.
    ensure!(
        after < memory + (160 << 20),
        "{memory} bytes became {after}"
    );
    let written = changed(&untouched, &generations(demo).await?);
    let ours: Vec<&String> = written
        .iter()
        .filter(|name| !name.contains("/hostile"))
        .collect();
    ensure!(ours.is_empty(), "{ours:?}");
    Ok(())
}

/// A second team with the same services in a namespace of its own. It has no DPUs, and needs none.
async fn move_in(demo: &Demo) -> anyhow::Result<()> {
    let mut theirs = manifests("examples/producer-consumer")?;
    for manifest in &mut theirs {
        if manifest["kind"] == "Namespace" {
            manifest["metadata"]["name"] = json!(THEIRS);
            manifest["metadata"]["labels"] = json!({"team": "hostile"});
        } else {
            manifest["metadata"]["namespace"] = json!(THEIRS);
        }
        if manifest["kind"] == "DPUDeployment" {
            for set in manifest["spec"]["dpus"]["dpuSets"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                set["nodeSelector"] = json!({"matchLabels": {"no": "node"}});
            }
        }
    }
    demo.apply(&theirs).await?;
    theirs_recover(demo).await
}

/// Their services are written as desired.
async fn theirs_recover(demo: &Demo) -> anyhow::Result<()> {
    eventually("the other team's services are reconciled", || async {
        let told = told(demo, THEIRS, NAME).await?;
        ensure!(
            told.iter()
                .any(|line| line.starts_with("DPUServicesReconciled=True")),
            "{told:#?}"
        );
        Ok(())
    })
    .await
}

async fn remove(demo: &Demo) -> anyhow::Result<()> {
    let api: Api<DpuPlugin> = Api::all(demo.client().await?);
    api.delete(PLUGIN, &DeleteParams::default()).await?;
    theirs_recover(demo).await
}

async fn install(demo: &Demo, pushed: &Pushed, mode: &str) -> anyhow::Result<()> {
    demo.apply(&[manifest(pushed, mode)]).await?;
    plugin_is(demo, PLUGIN, "Compatible", "True", "Success").await?;
    Ok(())
}

fn manifest(pushed: &Pushed, mode: &str) -> Value {
    let image = pushed.reference.to_string();
    let mut manifest = plugin(PLUGIN, &image, &pushed.component, "producer", mode);
    manifest["spec"]["namespaceSelector"] = json!({"matchLabels": {"team": "hostile"}});
    manifest["spec"]["limits"] =
        json!({"deadlineMilliseconds": 500, "memory": "16Mi", "output": "1Mi"});
    manifest
}

/// What does not even get in: it says why, and nobody but the plugin itself has a condition.
async fn not_admitted(demo: &Demo, registry: &Registry, component: &[u8]) -> anyhow::Result<()> {
    let core_module = b"\0asm\x01\0\0\0".to_vec();
    let mut corrupted = component.to_vec();
    let middle = corrupted.len() / 2;
    corrupted[middle..middle + 64].fill(0xff);
    let wasi = wat::parse_str(r#"(component (import "wasi:sockets/tcp@0.2.6" (instance)))"#)?;
    for (name, bytes, reason) in [
        ("module", core_module, "ComponentInvalid"),
        ("wasi", wasi, "ForbiddenImports"),
        ("text", b"#!/bin/sh".to_vec(), "ComponentInvalid"),
        ("corrupted", corrupted, "ComponentInvalid"),
        ("half", component[..middle].to_vec(), "ComponentInvalid"),
        ("large", vec![0; 33 << 20], "ComponentTooLarge"),
    ] {
        let image = format!("plugins/hostile:{name}");
        let pushed = push(registry, &image, bytes).await?;
        demo.apply(&[manifest(&pushed, "")]).await?;
        let type_ = if name == "large" {
            "Resolved"
        } else {
            "Compatible"
        };
        plugin_is(demo, PLUGIN, type_, "False", reason)
            .await
            .context(name)?;
    }
    eventually("its users are told that it cannot serve", || async {
        let theirs = told(demo, THEIRS, NAME).await?.join("\n");
        ensure!(theirs.contains("PluginNotReady"), "{theirs}");
        Ok(())
    })
    .await?;
    ours_are_fine(demo).await?;
    // A component of another world.
    let pushed = push(registry, "plugins/hostile:1", component.to_vec()).await?;
    let mut other = manifest(&pushed, "");
    other["metadata"]["name"] = json!("hostile-chain");
    other["spec"]["stage"] = json!("chain-builder");
    demo.apply(&[other]).await?;
    plugin_is(demo, "hostile-chain", "Compatible", "False", "WrongWorld").await?;
    // One that never ends saying whether it likes its settings.
    demo.apply(&[manifest(&pushed, "loop at load")]).await?;
    plugin_is(
        demo,
        PLUGIN,
        "Compatible",
        "False",
        "PluginDeadlineExceeded",
    )
    .await?;
    let api: Api<DpuPlugin> = Api::all(demo.client().await?);
    for name in ["hostile-chain", PLUGIN] {
        api.delete(name, &DeleteParams::default()).await?;
    }
    theirs_recover(demo).await
}

async fn misbehaves(demo: &Demo, pushed: &Pushed, mode: &str, reason: &str) -> anyhow::Result<()> {
    install(demo, pushed, mode).await?;
    eventually(&format!("{mode} is told as {reason}"), || async {
        let fault = get_plugin(demo, PLUGIN)
            .await?
            .status
            .unwrap_or_default()
            .last_fault;
        let fault = fault.context("no fault")?;
        ensure!(fault.reason == reason, "{fault:?}");
        ensure!(fault.object == format!("{THEIRS}/{NAME}"), "{fault:?}");
        ensure!(fault.service.as_deref() == Some("producer"), "{fault:?}");
        let theirs = told(demo, THEIRS, NAME).await?.join("\n");
        ensure!(
            theirs.contains("DPUServicesReconciled=False") && theirs.contains("DPUPlugin hostile"),
            "{theirs}"
        );
        Ok(())
    })
    .await?;
    ours_are_fine(demo).await
}

/// Nothing is said about the deployment that does not use the plugin.
async fn ours_are_fine(demo: &Demo) -> anyhow::Result<()> {
    let ours = told(demo, NAMESPACE, NAME).await?;
    let wrong: Vec<&String> = ours.iter().filter(|line| !line.contains("=True")).collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort();
    rounds[rounds.len() / 2]
}

/// From a change of a configuration to a status that speaks of it, in each round.
async fn latencies(demo: &Demo) -> anyhow::Result<Vec<Duration>> {
    let client = demo.client().await?;
    let configurations: Api<DpuServiceConfiguration> = Api::namespaced(client.clone(), NAMESPACE);
    let deployments: Api<DpuDeployment> = Api::namespaced(client, NAMESPACE);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        // What changes is nothing that is rolled out.
        let patch = json!({"spec": {"upgradePolicy": {"applyNodeEffect": round % 2 == 0}}});
        let begin = Instant::now();
        let written = configurations
            .patch("producer", &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        let generation = written.metadata.generation;
        loop {
            let status = deployments.get(NAME).await?.status.unwrap_or_default();
            let observed = status.observed_dependencies.unwrap_or_default();
            let seen = observed.iter().any(|d| {
                d.kind == "DPUServiceConfiguration"
                    && d.name == "producer"
                    && d.generation == generation
            });
            if seen {
                break;
            }
            ensure!(
                begin.elapsed() < Duration::from_secs(60),
                "round {round} never ends"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        rounds.push(begin.elapsed());
    }
    Ok(rounds)
}

/// Has the other team's deployment looked at again and again, and the plugin installed anew each second: an installation closes
/// its circuit, so that the loop runs for most of the time and not only until it is left alone.
async fn poke(client: kube::Client, stop: tokio_util::sync::CancellationToken) {
    let plugins: Api<DpuPlugin> = Api::all(client.clone());
    let api: Api<DpuServiceConfiguration> = Api::namespaced(client, THEIRS);
    let mut round = 0_u32;
    while !stop.is_cancelled() {
        round += 1;
        let patch = json!({"spec": {"serviceConfiguration": {"serviceDaemonSet": {"annotations": {"round": round.to_string()}}}}});
        let _ = api
            .patch("producer", &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        if round.is_multiple_of(10) {
            let limits = json!({"deadlineMilliseconds": 500 + round / 10});
            let patch = json!({"spec": {"limits": limits}});
            let _ = plugins
                .patch(PLUGIN, &PatchParams::default(), &Patch::Merge(&patch))
                .await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kibibytes.context("no VmRSS")?.parse::<u64>()? << 10)
}

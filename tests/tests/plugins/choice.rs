//! Which plugin serves: by service, by labels of the template, by priority, by annotation, by namespace; and which serves when it
//! fails.

use super::shop::*;
use anyhow::{Context as _, ensure};
use dpf_api::plugin::DpuPlugin;
use dpf_api::svc::DpuServiceTemplate;
use dpf_plugin_oci::Pushed;
use dpf_tests::registry::Registry;
use dpf_tests::{Demo, eventually};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_choice_serves() {
    let registry = Registry::start().await.unwrap();
    let demo = rolled_out_demo().await.unwrap();
    if let Err(error) = choices(&demo, &registry).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

/// Pushes a version of the plugin and writes a DPUPlugin for it.
async fn version(
    registry: &Registry,
    name: &str,
    number: u8,
    component: &[u8],
) -> anyhow::Result<Value> {
    let image = format!("plugins/{name}:1");
    let pushed: Pushed = push(registry, &image, with_version(component, number)?).await?;
    let reference = pushed.reference.to_string();
    Ok(plugin(
        name,
        &reference,
        &pushed.component,
        "producer",
        "stamp",
    ))
}

async fn stamp_is(demo: &Demo, stamp: Option<u8>) -> anyhow::Result<()> {
    let stamp = stamp.map(|number| format!("made by version {number}"));
    eventually(&format!("the stamp is {stamp:?}"), || async {
        let values = values(demo, "producer").await?;
        let found = values.get("stamp").and_then(Value::as_str);
        ensure!(found == stamp.as_deref(), "{values}");
        Ok(())
    })
    .await
}

async fn delete(demo: &Demo, name: &str) -> anyhow::Result<()> {
    let api: Api<DpuPlugin> = Api::all(demo.client().await?);
    api.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

async fn annotate(demo: &Demo, name: Option<&str>) -> anyhow::Result<()> {
    let api: Api<DpuServiceTemplate> = Api::namespaced(demo.client().await?, NAMESPACE);
    let patch = json!({"metadata": {
        "annotations": {"plugin.dpu.nvidia.com/template-merge": name},
        "labels": {"vendor": "acme"},
    }});
    api.patch("producer", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// Waits until the deployment is told this.
async fn is_told(demo: &Demo, words: &[&str]) -> anyhow::Result<()> {
    eventually(&format!("the deployment is told {words:?}"), || async {
        let told = told(demo, NAMESPACE, NAME).await?.join("\n");
        ensure!(words.iter().all(|word| told.contains(word)), "{told}");
        Ok(())
    })
    .await
}

async fn choices(demo: &Demo, registry: &Registry) -> anyhow::Result<()> {
    let component = tokio::task::spawn_blocking(component).await??;
    change_in_place(demo).await?;
    annotate(demo, None).await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    let by_name = version(registry, "by-name", 1, &component).await?;
    demo.apply(&[by_name]).await?;
    stamp_is(demo, Some(1)).await?;

    // Labels of the template, and a higher priority.
    let mut by_label = version(registry, "by-label", 2, &component).await?;
    by_label["spec"]["selector"] = json!({"templates": {"matchLabels": {"vendor": "acme"}}});
    by_label["spec"]["priority"] = json!(10);
    demo.apply(&[by_label.clone()]).await?;
    stamp_is(demo, Some(2)).await?;

    // Both parts of a selector have to hold.
    by_label["spec"]["selector"]["services"] = json!(["consumer"]);
    demo.apply(&[by_label.clone()]).await?;
    stamp_is(demo, Some(1)).await?;
    by_label["spec"]["selector"]["services"] = json!(["consumer", "producer"]);
    demo.apply(&[by_label]).await?;
    stamp_is(demo, Some(2)).await?;

    named(demo, registry, &component).await?;
    annotate(demo, None).await?;
    stamp_is(demo, Some(2)).await?;
    delete(demo, "by-label").await?;
    stamp_is(demo, Some(1)).await?;
    stands_in(demo, registry, &component).await?;
    delete(demo, "by-name").await?;
    stamp_is(demo, None).await
}

/// What a template names wins over every selector, if its namespace may use it.
async fn named(demo: &Demo, registry: &Registry, component: &[u8]) -> anyhow::Result<()> {
    annotate(demo, Some("named")).await?;
    is_told(demo, &["names DPUPlugin named", "which does not exist"]).await?;
    let mut named = version(registry, "named", 3, component).await?;
    named["spec"]["selector"] = Value::Null;
    named["spec"]["namespaceSelector"] = json!({"matchLabels": {"team": "acme"}});
    demo.apply(&[named.clone()]).await?;
    is_told(demo, &["may not be used in namespace", NAMESPACE]).await?;
    stamp_is(demo, Some(2)).await?;
    // The administrator lets them.
    demo.apply(&[json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"team": "acme"}},
    })])
    .await?;
    stamp_is(demo, Some(3)).await?;
    Ok(())
}

/// A plugin that fails stops its service, unless the built-in one may stand in for it.
async fn stands_in(demo: &Demo, registry: &Registry, component: &[u8]) -> anyhow::Result<()> {
    let mut failing = version(registry, "failing", 4, component).await?;
    failing["spec"]["settings"] = json!({"mode": "panic"});
    failing["spec"]["priority"] = json!(100);
    demo.apply(&[failing.clone()]).await?;
    is_told(demo, &["DPUServicesReconciled=False", "DPUPlugin failing"]).await?;
    stamp_is(demo, Some(1)).await?;
    failing["spec"]["failurePolicy"] = json!("UseDefault");
    demo.apply(&[failing]).await?;
    // Not the next plugin in line: what the built-in one makes is what everybody knows.
    stamp_is(demo, None).await?;
    eventually("it is left alone, and says so", || async {
        let status = get_plugin(demo, "failing")
            .await?
            .status
            .unwrap_or_default();
        ensure!(status.circuit.as_deref() != Some("Closed"), "{status:?}");
        let fault = status.last_fault.context("no fault")?;
        ensure!(fault.reason == "PluginTrapped", "{fault:?}");
        ensure!(fault.message.contains("panicking, as asked"), "{fault:?}");
        Ok(())
    })
    .await?;
    is_told(demo, &["DPUServicesReconciled=True"]).await?;
    delete(demo, "failing").await?;
    stamp_is(demo, Some(1)).await
}

//! What the tests of this binary share: components, pushes, DPUPlugins, and a look at what was written.

use anyhow::{Context as _, ensure};
use dpf_api::plugin::DpuPlugin;
use dpf_api::provisioning::DpuSet;
use dpf_api::svc::{
    DpuDeployment, DpuService, DpuServiceChain, DpuServiceConfiguration, DpuServiceInterface,
};
use dpf_plugin_oci::{Client, Contents, Credentials, Digest, Pushed, Reference, Repository};
use dpf_tests::registry::Registry;
use dpf_tests::{Demo, eventually, root};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

pub const NAMESPACE: &str = "customer-namespace";
pub const NAME: &str = "producer-consumer";

/// A development cluster on which the example is applied and rolled out.
pub async fn rolled_out_demo() -> anyhow::Result<Demo> {
    let demo = Demo::start(&["examples/producer-consumer"]).await?;
    // The API answers before everything is applied.
    eventually("the example is applied", || async {
        let api: Api<DpuDeployment> = Api::namespaced(demo.client().await?, NAMESPACE);
        Ok(api.get(NAME).await?)
    })
    .await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    Ok(demo)
}

/// The example plugin that does what its settings say.
pub fn component() -> anyhow::Result<Vec<u8>> {
    let guest = dpf_plugin_build::Guest {
        crate_dir: root().join("plugins/examples/misbehaving"),
        target_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("plugins"),
    };
    let toolchain = dpf_plugin_build::Toolchain::find()?;
    Ok(dpf_plugin_build::build(&guest, &toolchain)?.component)
}

/// The same plugin, but its output says another version.
pub fn with_version(component: &[u8], version: u8) -> anyhow::Result<Vec<u8>> {
    with_last_byte(component, b'0' + version)
}

/// The same plugin, but what it stamps ends with this byte, which need not be text.
pub fn with_last_byte(component: &[u8], byte: u8) -> anyhow::Result<Vec<u8>> {
    let stamp = b"made by version 1";
    let at = component
        .windows(stamp.len())
        .position(|window| window == stamp)
        .context("the component has no stamp")?;
    let mut changed = component.to_vec();
    changed[at + stamp.len() - 1] = byte;
    Ok(changed)
}

/// The same plugin with another digest: a custom section more.
pub fn with_section(component: &[u8]) -> Vec<u8> {
    let mut changed = component.to_vec();
    changed.extend([0, 6, 4, b't', b'e', b's', b't', 1]);
    changed
}

pub fn repository(image: &str) -> anyhow::Result<Repository> {
    // Fails only when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let reference: Reference = image.parse()?;
    Ok(Client::new(reqwest::Client::new()).repository(&reference, Credentials::none()))
}

pub async fn push(registry: &Registry, image: &str, component: Vec<u8>) -> anyhow::Result<Pushed> {
    let repository = repository(&registry.image(image))?;
    Ok(repository.push(component, &Contents::default()).await?)
}

/// A DPUPlugin for one service, from the registry.
pub fn plugin(name: &str, image: &str, digest: &Digest, service: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "plugin.dpu.nvidia.com/v1alpha1", "kind": "DPUPlugin",
        "metadata": {"name": name},
        "spec": {
            "stage": "template-merge",
            "source": {"oci": {"image": image}},
            "digest": digest.to_string(),
            "selector": {"services": [service]},
            "settings": {"mode": mode},
        }
    })
}

pub async fn get_plugin(demo: &Demo, name: &str) -> anyhow::Result<DpuPlugin> {
    let api: Api<DpuPlugin> = Api::all(demo.client().await?);
    Ok(api.get(name).await?)
}

/// Status and reason of a condition, if it speaks of the present generation.
pub fn condition(plugin: &DpuPlugin, type_: &str) -> Option<(String, String)> {
    let status = plugin.status.as_ref()?;
    if status.observed_generation != plugin.metadata.generation {
        return None;
    }
    let conditions = status.conditions.as_deref()?;
    let found = conditions.iter().find(|c| c.type_ == type_)?;
    Some((found.status.clone(), found.reason.clone()))
}

/// Waits until a condition of a plugin has this status and reason.
pub async fn plugin_is(
    demo: &Demo,
    name: &str,
    type_: &str,
    status: &str,
    reason: &str,
) -> anyhow::Result<DpuPlugin> {
    eventually(&format!("{name} is {type_}={status}/{reason}"), || async {
        let plugin = get_plugin(demo, name).await?;
        let found = condition(&plugin, type_);
        ensure!(
            found == Some((status.to_owned(), reason.to_owned())),
            "{:?}",
            plugin.status
        );
        Ok(plugin)
    })
    .await
}

/// Generation of everything a deployment made, by kind and name: what a write of a spec changes.
pub async fn generations(demo: &Demo) -> anyhow::Result<BTreeMap<String, i64>> {
    let mut all = BTreeMap::new();
    add::<DpuService>(demo, &mut all).await?;
    add::<DpuServiceInterface>(demo, &mut all).await?;
    add::<DpuServiceChain>(demo, &mut all).await?;
    add::<DpuSet>(demo, &mut all).await?;
    Ok(all)
}

async fn add<K>(demo: &Demo, all: &mut BTreeMap<String, i64>) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(demo.client().await?, NAMESPACE);
    for object in api.list(&ListParams::default()).await? {
        let name = format!("{}/{}", K::kind(&()), object.name_any());
        all.insert(name, object.meta().generation.unwrap_or_default());
    }
    Ok(())
}

/// What differs between two looks, without the numbers.
pub fn changed(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name));
    differ.cloned().collect()
}

/// The one DPUService of a service.
pub async fn service(demo: &Demo, name: &str) -> anyhow::Result<DpuService> {
    let api: Api<DpuService> = Api::namespaced(demo.client().await?, NAMESPACE);
    let label = format!("svc.dpu.nvidia.com/dpudeployment-service={name}");
    let mut list = api.list(&ListParams::default().labels(&label)).await?.items;
    ensure!(list.len() == 1, "{} revisions of {name}", list.len());
    list.pop().context("none")
}

/// Values of the one DPUService of a service.
pub async fn values(demo: &Demo, name: &str) -> anyhow::Result<Value> {
    let values = service(demo, name).await?.spec.helm_chart.values;
    Ok(values.map(|v| v.0).unwrap_or_default())
}

/// Conditions of a deployment as `type=status: message`.
pub async fn told(demo: &Demo, namespace: &str, name: &str) -> anyhow::Result<Vec<String>> {
    let api: Api<DpuDeployment> = Api::namespaced(demo.client().await?, namespace);
    let deployment = api.get(name).await?;
    let status = deployment.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default().into_iter();
    Ok(conditions
        .map(|c| format!("{}={}: {}", c.type_, c.status, c.message))
        .collect())
}

/// The metrics of the host that runs, as it serves them.
pub async fn metrics(demo: &Demo) -> anyhow::Result<String> {
    let log = std::fs::read_to_string(demo.dir().join("host.log"))?;
    let address = log
        .lines()
        .rev()
        .find_map(|line| {
            line.split_once("metrics address=")?
                .1
                .split_whitespace()
                .next()
        })
        .context("the host does not say where its metrics are")?;
    let answer = reqwest::get(format!("http://{address}/metrics")).await?;
    Ok(answer.error_for_status()?.text().await?)
}

/// The value of a metric with these labels.
pub fn metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('{'))
            && labels.iter().all(|label| line.contains(label))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

/// How often a plugin has answered, by a call or by a kept result.
pub async fn answers(demo: &Demo, plugin: &str) -> anyhow::Result<f64> {
    let text = metrics(demo).await?;
    let label = format!("plugin=\"{plugin}\"");
    let calls = metric(&text, "dpf_plugin_calls_total", &[&label, "outcome=\"ok\""]);
    let kept = metric(&text, "dpf_plugin_cache_hits_total", &[&label]);
    Ok(calls.unwrap_or_default() + kept.unwrap_or_default())
}

/// Waits until a plugin has answered more often than this: the host has looked at its deployments since.
pub async fn answered(demo: &Demo, plugin: &str, before: f64) -> anyhow::Result<()> {
    eventually(&format!("{plugin} answers"), || async {
        let now = answers(demo, plugin).await?;
        ensure!(now > before, "{now} answers");
        Ok(())
    })
    .await
}

/// Changes of the producer and of the chain are made in place.
pub async fn change_in_place(demo: &Demo) -> anyhow::Result<()> {
    let deployments: Api<DpuDeployment> = Api::namespaced(demo.client().await?, NAMESPACE);
    let patch = json!({"spec": {"serviceChains": {"upgradePolicy": {"applyNodeEffect": false}}}});
    deployments
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    let api: Api<DpuServiceConfiguration> = Api::namespaced(demo.client().await?, NAMESPACE);
    let patch = json!({"spec": {"upgradePolicy": {"applyNodeEffect": false}}});
    api.patch("producer", &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

//! One plugin for one of two services, from installation to removal, and exactly which objects change at each step.

use super::shop::*;
use anyhow::{Context as _, ensure};
use dpf_api::plugin::DpuPlugin;
use dpf_plugin_oci::{Pushed, SigningKey};
use dpf_tests::registry::Registry;
use dpf_tests::{Demo, eventually};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PLUGIN: &str = "acme-merge";

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_comes_changes_breaks_and_goes() {
    let registry = Registry::start().await.unwrap();
    let demo = rolled_out_demo().await.unwrap();
    if let Err(error) = lifecycle(&demo, registry).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

struct Shop<'a> {
    demo: &'a Demo,
    registry: Registry,
    component: Vec<u8>,
}

impl Shop<'_> {
    async fn push(&self, tag: &str, component: Vec<u8>) -> anyhow::Result<Pushed> {
        push(&self.registry, &format!("plugins/acme:{tag}"), component).await
    }

    /// Applies the plugin with this image and waits until it serves.
    async fn install(&self, tag: &str, pushed: &Pushed, mode: &str) -> anyhow::Result<DpuPlugin> {
        let before = answers(self.demo, PLUGIN).await?;
        self.demo.apply(&[self.manifest(tag, pushed, mode)]).await?;
        let plugin = plugin_is(self.demo, PLUGIN, "Ready", "True", "Success").await?;
        let status = plugin.status.clone().unwrap_or_default();
        ensure!(
            status.digest == Some(pushed.component.to_string()),
            "{status:?}"
        );
        // The deployment was woken, and only what its pass changed may differ.
        answered(self.demo, PLUGIN, before).await?;
        Ok(plugin)
    }

    fn manifest(&self, tag: &str, pushed: &Pushed, mode: &str) -> Value {
        let image = self.registry.image(&format!("plugins/acme:{tag}"));
        plugin(PLUGIN, &image, &pushed.component, "producer", mode)
    }

    /// Waits until the host has looked at the deployment after what was done before.
    async fn looked_again(&self) -> anyhow::Result<BTreeMap<String, i64>> {
        self.demo.rolled_out(NAME, NAMESPACE).await?;
        generations(self.demo).await
    }

    async fn stamp_is(&self, stamp: Option<&str>) -> anyhow::Result<()> {
        eventually(&format!("the stamp is {stamp:?}"), || async {
            let values = values(self.demo, "producer").await?;
            ensure!(
                values.get("stamp").and_then(Value::as_str) == stamp,
                "{values}"
            );
            Ok(())
        })
        .await
    }
}

async fn lifecycle(demo: &Demo, registry: Registry) -> anyhow::Result<()> {
    change_in_place(demo).await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    let mut shop = Shop {
        demo,
        registry,
        component: tokio::task::spawn_blocking(component).await??,
    };
    let original = values(demo, "producer").await?;
    let start = generations(demo).await?;

    // Installed, and nothing changes: its output is that of the built-in plugin.
    let first = shop.push("1", shop.component.clone()).await?;
    let installed = shop.install("1", &first, "keep").await?;
    let status = installed.status.unwrap_or_default();
    let descriptor = status.descriptor.context("no descriptor")?;
    ensure!(descriptor.name == "misbehaving", "{descriptor:?}");
    eventually("it serves one service", || async {
        let status = get_plugin(demo, PLUGIN).await?.status.unwrap_or_default();
        ensure!(status.services == Some(1), "{status:?}");
        Ok(())
    })
    .await?;
    let quiet = shop.looked_again().await?;
    ensure!(
        changed(&start, &quiet).is_empty(),
        "{:?}",
        changed(&start, &quiet)
    );

    // Other output: one revision of that service, in place as its policy says, and nothing else.
    let producer = of_the_producer(&quiet);
    shop.install("1", &first, "stamp").await?;
    shop.stamp_is(Some("made by version 1")).await?;
    let stamped = shop.looked_again().await?;
    ensure!(
        changed(&quiet, &stamped) == producer,
        "{:?}",
        changed(&quiet, &stamped)
    );

    replaced(&shop, &stamped, &producer).await?;
    broken(&shop, &producer).await?;
    restarted_without_registry(&mut shop, &original, &producer).await
}

/// Another digest with the same output writes nothing; one with other output one object.
async fn replaced(
    shop: &Shop<'_>,
    before: &BTreeMap<String, i64>,
    producer: &[String],
) -> anyhow::Result<()> {
    let same = shop.push("1.0.1", with_section(&shop.component)).await?;
    shop.install("1.0.1", &same, "stamp").await?;
    let after = shop.looked_again().await?;
    ensure!(
        changed(before, &after).is_empty(),
        "{:?}",
        changed(before, &after)
    );
    let second = shop.push("2", with_version(&shop.component, 2)?).await?;
    shop.install("2", &second, "stamp").await?;
    shop.stamp_is(Some("made by version 2")).await?;
    let last = shop.looked_again().await?;
    ensure!(
        changed(&after, &last) == producer,
        "{:?}",
        changed(&after, &last)
    );
    Ok(())
}

/// What cannot be admitted changes nothing but conditions; going back is as quick as installing.
async fn broken(shop: &Shop<'_>, producer: &[String]) -> anyhow::Result<()> {
    let demo = shop.demo;
    let before = generations(demo).await?;
    let serving = get_plugin(demo, PLUGIN)
        .await?
        .status
        .unwrap_or_default()
        .digest;
    let half = shop.component[..shop.component.len() / 2].to_vec();
    let pushed = shop.push("broken", half).await?;
    demo.apply(&[shop.manifest("broken", &pushed, "stamp")])
        .await?;
    let plugin = plugin_is(demo, PLUGIN, "Compatible", "False", "ComponentInvalid").await?;
    ensure!(
        plugin.status.unwrap_or_default().digest == serving,
        "the last good one serves"
    );
    // A tag that holds something else than the digest says.
    let mut wrong = shop.manifest("1", &pushed, "stamp");
    wrong["spec"]["digest"] = json!(pushed.manifest.to_string());
    demo.apply(&[wrong]).await?;
    plugin_is(demo, PLUGIN, "Resolved", "False", "DigestMismatch").await?;
    // Settings the plugin does not want.
    let second = shop.push("2", with_version(&shop.component, 2)?).await?;
    demo.apply(&[shop.manifest("2", &second, "refuse")]).await?;
    plugin_is(demo, PLUGIN, "Compatible", "False", "SettingsInvalid").await?;
    let mut unknown = shop.manifest("2", &second, "stamp");
    unknown["spec"]["settings"] = json!({"other": 1});
    demo.apply(&[unknown]).await?;
    plugin_is(demo, PLUGIN, "Compatible", "False", "SettingsInvalid").await?;
    let after = shop.looked_again().await?;
    ensure!(
        changed(&before, &after).is_empty(),
        "{:?}",
        changed(&before, &after)
    );

    signed(shop).await?;

    let first = shop.push("1", shop.component.clone()).await?;
    shop.install("1", &first, "stamp").await?;
    shop.stamp_is(Some("made by version 1")).await?;
    let back = shop.looked_again().await?;
    ensure!(
        changed(&after, &back) == producer,
        "{:?}",
        changed(&after, &back)
    );
    Ok(())
}

/// Unsigned, signed by somebody else, signed.
async fn signed(shop: &Shop<'_>) -> anyhow::Result<()> {
    let demo = shop.demo;
    let (ours, theirs) = (rcgen::KeyPair::generate()?, rcgen::KeyPair::generate()?);
    let third = shop
        .push("3", with_section(&with_version(&shop.component, 2)?))
        .await?;
    let mut manifest = shop.manifest("3", &third, "stamp");
    manifest["spec"]["signature"] = json!({"publicKeys": [ours.public_key_pem()]});
    demo.apply(&[manifest.clone()]).await?;
    plugin_is(demo, PLUGIN, "Verified", "False", "SignatureInvalid").await?;
    let repository = repository(&shop.registry.image("plugins/acme:3"))?;
    let theirs = SigningKey::from_pem(&theirs.serialize_pem())?;
    repository.sign(&third.manifest, &theirs).await?;
    // A change of the spec has it looked at again at once.
    manifest["spec"]["priority"] = json!(1);
    demo.apply(&[manifest.clone()]).await?;
    let refused = plugin_is(demo, PLUGIN, "Verified", "False", "SignatureInvalid").await?;
    let text = serde_json::to_string(&refused.status)?;
    ensure!(text.contains("none of the 1 signatures"), "{text}");
    let ours = SigningKey::from_pem(&ours.serialize_pem())?;
    repository.sign(&third.manifest, &ours).await?;
    manifest["spec"]["priority"] = json!(2);
    demo.apply(&[manifest]).await?;
    let plugin = plugin_is(demo, PLUGIN, "Ready", "True", "Success").await?;
    let status = plugin.status.unwrap_or_default();
    ensure!(status.signed_by.is_some(), "{status:?}");
    ensure!(
        status.digest == Some(third.component.to_string()),
        "{status:?}"
    );
    Ok(())
}

/// A restart while the registry is away serves from disk; removal brings the built-in plugin back.
async fn restarted_without_registry(
    shop: &mut Shop<'_>,
    original: &Value,
    producer: &[String],
) -> anyhow::Result<()> {
    let demo = shop.demo;
    let before = generations(demo).await?;
    shop.registry.stop().await?;
    let pid = demo.host_pid().context("no host")?;
    ensure!(
        std::process::Command::new("kill")
            .arg("-9")
            .arg(pid.to_string())
            .status()?
            .success(),
        "the host could not be killed"
    );
    eventually("another host runs", || async {
        ensure!(demo.host_pid().is_some_and(|now| now != pid), "not yet");
        Ok(())
    })
    .await?;
    answered(demo, PLUGIN, 0.0).await?;
    let api: Api<DpuPlugin> = Api::all(demo.client().await?);
    let patch = json!({"spec": {"priority": 7}});
    api.patch(PLUGIN, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    plugin_is(demo, PLUGIN, "Ready", "True", "Success").await?;
    shop.stamp_is(Some("made by version 1")).await?;
    let after = shop.looked_again().await?;
    ensure!(
        changed(&before, &after).is_empty(),
        "{:?}",
        changed(&before, &after)
    );

    api.delete(PLUGIN, &DeleteParams::default()).await?;
    shop.stamp_is(None).await?;
    let end = shop.looked_again().await?;
    ensure!(
        changed(&after, &end) == producer,
        "{:?}",
        changed(&after, &end)
    );
    ensure!(
        values(demo, "producer").await? == *original,
        "the original values"
    );
    Ok(())
}

/// What a revision of the producer in place writes: its service, its interface, and the chain, which names the service by an ID of
/// the revision. Nothing of the consumer, and no set: no node is disturbed.
fn of_the_producer(all: &BTreeMap<String, i64>) -> Vec<String> {
    let kinds = [
        "DPUService/producer-",
        "DPUServiceChain/",
        "DPUServiceInterface/producer-",
    ];
    let of = |name: &&String| kinds.iter().any(|kind| name.starts_with(kind));
    all.keys().filter(of).cloned().collect()
}

//! Where a plugin may come from: a private registry that `dpfctl plugin push` filled, a mirror, a ConfigMap, a file. And what a
//! user is told when it is not there, or not allowed.

use super::shop::*;
use anyhow::{Context as _, ensure};
use dpf_plugin_oci::Digest;
use dpf_tests::registry::{PASSWORD, Registry, USER};
use dpf_tests::{Demo, binary, eventually};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

const PLUGIN: &str = "sourced";
const OPERATOR: &str = "dpf-operator-system";

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_comes_from_where_its_object_says() {
    let registry = Registry::start_private().await.unwrap();
    let files = tempfile::tempdir().unwrap();
    let directory = files.path().display().to_string();
    let demo = Demo::start_with(&["--plugin-file-dir", &directory], &[])
        .await
        .unwrap();
    if let Err(error) = sources(&demo, &registry, files.path()).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

/// Another component for each source: what was loaded once is kept, and found by its digest without asking anybody.
async fn sources(demo: &Demo, registry: &Registry, files: &Path) -> anyhow::Result<()> {
    let component = tokio::task::spawn_blocking(component).await??;
    from_a_file(demo, files, &component).await?;
    from_a_config_map(demo, &with_version(&component, 2)?).await?;
    let keys = Keys::new(files)?;
    let third = with_version(&component, 3)?;
    let pushed = from_a_registry(demo, registry, &keys, &third).await?;
    let fourth = with_version(&component, 4)?;
    from_a_mirror(demo, registry, &keys, pushed, &fourth).await
}

fn from(source: Value, component: &[u8]) -> Value {
    let digest = Digest::of(component);
    let mut manifest = plugin(PLUGIN, "", &digest, "nobody", "");
    manifest["spec"]["source"] = source;
    manifest
}

/// Applies it and waits for this reason, whose message has these words.
async fn refused(
    demo: &Demo,
    manifest: Value,
    type_: &str,
    reason: &str,
    words: &str,
) -> anyhow::Result<()> {
    demo.apply(&[manifest]).await?;
    let plugin = plugin_is(demo, PLUGIN, type_, "False", reason).await?;
    let status = plugin.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let found = conditions.iter().find(|c| c.type_ == type_);
    let message = &found.context("no condition")?.message;
    ensure!(message.contains(words), "{words:?} is not in {message:?}");
    ensure!(!message.contains(PASSWORD), "{message}");
    Ok(())
}

async fn serves(demo: &Demo, manifest: Value) -> anyhow::Result<()> {
    demo.apply(&[manifest]).await?;
    let plugin = plugin_is(demo, PLUGIN, "Ready", "True", "Success").await?;
    let digest = plugin.status.unwrap_or_default().digest;
    ensure!(digest == Some(plugin.spec.digest), "{digest:?} serves");
    removed(demo).await
}

/// So that what serves next is what was loaded next.
async fn removed(demo: &Demo) -> anyhow::Result<()> {
    let api: kube::Api<dpf_api::plugin::DpuPlugin> = kube::Api::all(demo.client().await?);
    api.delete(PLUGIN, &kube::api::DeleteParams::default())
        .await?;
    eventually("it is gone", || async {
        ensure!(api.get_opt(PLUGIN).await?.is_none(), "not yet");
        Ok(())
    })
    .await
}

async fn from_a_file(demo: &Demo, files: &Path, component: &[u8]) -> anyhow::Result<()> {
    let file = |path: &str| from(json!({"file": {"path": path}}), component);
    std::fs::write(files.join("plugin.wasm"), component)?;
    std::os::unix::fs::symlink("/etc/hostname", files.join("link.wasm"))?;
    for (path, reason, words) in [
        ("../plugin.wasm", "SourceNotAllowed", "a path below"),
        ("/etc/hostname", "SourceNotAllowed", "a path below"),
        ("link.wasm", "ReadFailed", "leads out of the directory"),
        ("missing.wasm", "ReadFailed", "missing.wasm"),
    ] {
        refused(demo, file(path), "Resolved", reason, words).await?;
    }
    // Nothing but the digest is run, wherever it comes from.
    let mut other = file("plugin.wasm");
    other["spec"]["digest"] = json!(Digest::of(b"other").to_string());
    refused(demo, other, "Resolved", "DigestMismatch", "spec.digest is").await?;
    std::fs::write(files.join("large.wasm"), vec![0; 33 << 20])?;
    let large = file("large.wasm");
    refused(demo, large, "Resolved", "ComponentTooLarge", "allowed").await?;
    serves(demo, file("plugin.wasm")).await
}

async fn from_a_config_map(demo: &Demo, component: &[u8]) -> anyhow::Result<()> {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(component);
    let map = |name: &str, data: Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": OPERATOR}, "binaryData": data,
        })
    };
    demo.apply(&[map("plugin", json!({"plugin.wasm": encoded}))])
        .await?;
    let named =
        |name: &str, key: &str| from(json!({"configMap": {"name": name, "key": key}}), component);
    for (name, key, words) in [
        (
            "lost",
            "plugin.wasm",
            "ConfigMap dpf-operator-system/lost does not exist",
        ),
        ("plugin", "other.wasm", "no key other.wasm in binaryData"),
    ] {
        refused(
            demo,
            named(name, key),
            "Resolved",
            "ReferenceNotFound",
            words,
        )
        .await?;
    }
    serves(demo, named("plugin", "plugin.wasm")).await
}

/// Keys to sign with.
struct Keys {
    directory: PathBuf,
    public: String,
}

impl Keys {
    fn new(directory: &Path) -> anyhow::Result<Self> {
        let pair = rcgen::KeyPair::generate()?;
        std::fs::write(directory.join("key.pem"), pair.serialize_pem())?;
        Ok(Self {
            directory: directory.to_owned(),
            public: pair.public_key_pem(),
        })
    }

    /// Pushes and signs with `dpfctl plugin push`; the DPUPlugin that it prints.
    async fn push(
        &self,
        registry: &Registry,
        image: &str,
        component: &[u8],
    ) -> anyhow::Result<Value> {
        let file = self.directory.join("pushed.wasm");
        std::fs::write(&file, component)?;
        let mut child = Command::new(binary("dpfctl")?)
            .args(["plugin", "push"])
            .arg(&file)
            .arg(registry.image(image))
            .args(["--username", USER, "--sign-key"])
            .arg(self.directory.join("key.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        stdin.write_all(format!("{PASSWORD}\n").as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let (text, said) = (
            String::from_utf8(output.stdout)?,
            String::from_utf8(output.stderr)?,
        );
        ensure!(output.status.success(), "{said}");
        ensure!(!format!("{text}{said}").contains(PASSWORD), "{said}");
        let mut printed: Value = serde_saphyr::from_str(&text).context(text)?;
        let digest = json!(Digest::of(component).to_string());
        ensure!(printed["spec"]["digest"] == digest, "{printed}");
        let image = printed["spec"]["source"]["oci"]["image"].as_str();
        ensure!(image.is_some_and(|i| i.contains("@sha256:")), "{printed}");
        printed["metadata"]["name"] = json!(PLUGIN);
        Ok(printed)
    }
}

/// Without credentials, with wrong ones, with those of a Secret. The DPUPlugin at last.
async fn from_a_registry(
    demo: &Demo,
    registry: &Registry,
    keys: &Keys,
    component: &[u8],
) -> anyhow::Result<Value> {
    let mut manifest = keys
        .push(registry, "vendors/sourced:1.0", component)
        .await?;
    let secret = |name: &str, config: String| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name, "namespace": OPERATOR}, "stringData": {".dockerconfigjson": config},
        })
    };
    let right = registry.docker_config();
    demo.apply(&[
        secret("wrong", right.replace(PASSWORD, "no-such-password")),
        secret("pull", right),
        // The public half, as an administrator would keep it.
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keys", "namespace": OPERATOR},
            "data": {"cosign.pub": keys.public},
        }),
    ])
    .await?;
    manifest["spec"]["signature"] = json!({"configMap": {"name": "keys"}});
    for (secrets, reason) in [
        (json!([]), "RegistryUnauthorized"),
        (json!([{"name": "wrong"}]), "RegistryUnauthorized"),
        (json!([{"name": "lost"}]), "ReferenceNotFound"),
    ] {
        manifest["spec"]["source"]["oci"]["pullSecrets"] = secrets;
        refused(demo, manifest.clone(), "Resolved", reason, "").await?;
    }
    manifest["spec"]["source"]["oci"]["pullSecrets"] = json!([{"name": "pull"}]);
    serves(demo, manifest.clone()).await?;
    Ok(manifest)
}

/// Its own registry is unreachable, and so is the first mirror. The second has component and signature.
async fn from_a_mirror(
    demo: &Demo,
    registry: &Registry,
    keys: &Keys,
    like: Value,
    component: &[u8],
) -> anyhow::Result<()> {
    let mut manifest = keys
        .push(registry, "vendors/mirrored:1.0", component)
        .await?;
    manifest["spec"]["source"]["oci"] = json!({
        "image": "plugins.invalid/vendors/mirrored:1.0",
        "pullSecrets": like["spec"]["source"]["oci"]["pullSecrets"],
    });
    refused(
        demo,
        manifest.clone(),
        "Resolved",
        "RegistryUnreachable",
        "plugins.invalid",
    )
    .await?;
    manifest["spec"]["source"]["oci"]["mirrors"] = json!(["127.0.0.1:1", registry.address()]);
    let other = rcgen::KeyPair::generate()?;
    manifest["spec"]["signature"] = json!({"publicKeys": [other.public_key_pem()]});
    // The mirror was asked; that nobody answers for the rest is not what the administrator has to know.
    refused(
        demo,
        manifest.clone(),
        "Verified",
        "SignatureInvalid",
        "none of the 1 signatures",
    )
    .await?;
    manifest["spec"]["signature"] = like["spec"]["signature"].clone();
    serves(demo, manifest).await
}

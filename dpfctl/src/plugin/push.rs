//! `dpfctl plugin push`: a component into a registry, signed when there is a key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dpf_engine::{Component, inspect};
use dpf_plugin_harness::HarnessOptions;
use dpf_plugin_oci::{Client, Contents, Credentials, Pushed, Reference, SigningKey};

use super::arguments::PushArgs;
use super::source::{self, Source};
use crate::{say, warn};

/// A registry that does not answer within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pushes.
///
/// # Errors
/// A host would not admit the component, the key is not usable, or the registry refuses.
pub async fn push(arguments: &PushArgs) -> anyhow::Result<ExitCode> {
    let (component, reference) = arguments.positions();
    let source = source::open_at(component, arguments.stage)?;
    let reference: Reference = reference.parse()?;
    let key = arguments.sign_key.as_deref().map(signing_key).transpose()?;
    let admitted = admitted(&source)?;
    let repository = client(arguments)?.repository(&reference, credentials(arguments, &reference)?);
    let pushed = repository
        .push(source.bytes.clone(), &contents(&source, &admitted)?)
        .await?;
    if let Some(key) = key {
        repository
            .sign(&pushed.manifest, &key)
            .await
            .context("the component is pushed, but its signature is not")?;
    } else {
        warn("not signed; use --sign-key to sign it");
    }
    say(&manifest(&pushed, &admitted))?;
    Ok(ExitCode::SUCCESS)
}

/// What hosts would refuse is not published.
fn admitted(source: &Source) -> anyhow::Result<Component> {
    let options = HarnessOptions {
        skip_fuel: true,
        cache_dir: source::user_cache(),
        ..HarnessOptions::default()
    };
    let harness = dpf_plugin_harness::Harness::new(options)?;
    harness
        .admit(&source.bytes, source.stage)
        .with_context(|| format!("{} is not pushed", source.name))
}

fn signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    let text =
        fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    SigningKey::from_pem(&text)
        .with_context(|| format!("{} is no key to sign with", path.display()))
}

fn client(arguments: &PushArgs) -> anyhow::Result<Client> {
    // Fails only when a provider is already there, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
    if let Some(path) = &arguments.ca_file {
        let pem = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .with_context(|| format!("{} has no certificates", path.display()))?;
        http = http.tls_certs_merge(certificates);
    }
    Ok(Client::new(http.build()?).with_plain_http(arguments.plain_http))
}

/// Those of the command line, else those `docker login` wrote.
fn credentials(arguments: &PushArgs, reference: &Reference) -> anyhow::Result<Credentials> {
    if let Some(username) = &arguments.username {
        let mut password = String::new();
        std::io::stdin()
            .read_line(&mut password)
            .context("failed to read the password from stdin")?;
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            bail!("there is no password on stdin");
        }
        return Ok(Credentials::basic(reference.registry(), username, password));
    }
    let Some(path) = docker_config().filter(|path| path.is_file()) else {
        return Ok(Credentials::none());
    };
    let document = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    Credentials::from_docker_config(&document)
        .with_context(|| format!("{} cannot be used", path.display()))
}

fn docker_config() -> Option<PathBuf> {
    let dir = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")))?;
    Some(dir.join("config.json"))
}

fn contents(source: &Source, component: &Component) -> anyhow::Result<Contents> {
    let inspection = inspect(&source.bytes)?;
    let who = component.descriptor();
    let annotation =
        |key: &str, value: &str| (format!("org.opencontainers.image.{key}"), value.to_owned());
    Ok(Contents {
        imports: inspection.imports,
        exports: inspection.exports,
        annotations: [
            annotation("title", &who.name),
            annotation("version", &who.version),
            annotation("vendor", &who.vendor),
            annotation("description", &who.description),
        ]
        .into(),
    })
}

/// The object that installs it.
fn manifest(pushed: &Pushed, component: &Component) -> String {
    format!(
        "apiVersion: plugin.dpu.nvidia.com/v1alpha1\nkind: DPUPlugin\nmetadata:\n  name: {}\nspec:\n  stage: {}\n  source:\n    \
         oci:\n      image: {}\n  digest: {}\n",
        component.descriptor().name,
        component.stage(),
        pushed.reference,
        pushed.component
    )
}

//! Gets a component from where a DPUPlugin says it is, and checks whose it is.

use super::store::Proof;
use crate::kit::{Context, explain};
use dpf_api::plugin::{
    ConfigMapSource, DpuPlugin, FileSource, KeyReference, OciSource, SignaturePolicy,
};
use dpf_core::dpuplugin::{Step, Stopped};
use dpf_plugin_oci::{
    Client, Credentials, Digest, Error as OciError, PublicKey, Reference, Repository, Resolved,
    verify,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::{ByteString, NamespaceResourceScope};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// Nobody answers there.
const UNREACHABLE: &str = "RegistryUnreachable";

/// Why there is no component, and whether that may change by itself.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) stopped: Stopped,
    /// Somebody else may mend it without touching the DPUPlugin.
    pub(super) transient: bool,
}

/// A component, and the key that signed it.
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) proof: Option<Proof>,
    pub(super) signed_by: Option<Digest>,
}

fn stop(step: Step, reason: &str, message: impl Into<String>) -> Missing {
    Missing {
        stopped: Stopped {
            step,
            reason: reason.to_owned(),
            message: message.into(),
        },
        transient: true,
    }
}

fn for_good(mut missing: Missing) -> Missing {
    missing.transient = false;
    missing
}

/// Gets the component of a plugin. Its digest and, where one is asked for, its signature hold.
pub(super) async fn fetch(
    context: &Context,
    plugin: &DpuPlugin,
    digest: &Digest,
    keys: Option<&[PublicKey]>,
    limit: usize,
) -> Result<Found, Missing> {
    let source = &plugin.spec.source;
    let bytes = match (&source.oci, &source.config_map, &source.file) {
        (Some(oci), None, None) => return from_registries(context, oci, digest, keys, limit).await,
        (None, Some(config_map), None) => from_config_map(context, config_map, limit).await?,
        (None, None, Some(file)) => from_file(context, file, limit).await?,
        _ => {
            let message = "exactly one of spec.source.oci, configMap and file has to be set";
            return Err(for_good(stop(Step::Resolve, "SourceInvalid", message)));
        }
    };
    let found = Digest::of(&bytes);
    if found != *digest {
        return Err(mismatch(&found, digest, "the component there"));
    }
    Ok(Found {
        bytes,
        proof: None,
        signed_by: None,
    })
}

fn mismatch(found: &Digest, wanted: &Digest, what: &str) -> Missing {
    let message = format!(
        "{what} has digest {found} and spec.digest is {wanted}: nothing but {wanted} is run; set spec.digest if the other one is meant"
    );
    stop(Step::Resolve, "DigestMismatch", message)
}

/// The mirrors first, then the registry itself. What counts is the first that has it; if none has, what the one said that got furthest.
async fn from_registries(
    context: &Context,
    oci: &OciSource,
    digest: &Digest,
    keys: Option<&[PublicKey]>,
    limit: usize,
) -> Result<Found, Missing> {
    let invalid =
        |error: OciError| for_good(stop(Step::Resolve, "SourceInvalid", error.to_string()));
    let reference: Reference = oci.image.parse().map_err(invalid)?;
    let mirrors = oci.mirrors.iter().flatten().map(String::as_str);
    let locations = reference.locations(mirrors).map_err(invalid)?;
    let credentials = credentials(context, oci).await?;
    let resolver = context.settings.mirrors.clone();
    let client =
        Client::new(context.http.clone()).with_rewrite(move |url| resolver.resolve_pinned(url));
    let mut furthest: Option<Missing> = None;
    for location in &locations {
        let repository = client.repository(location, credentials.clone());
        match from_registry(&repository, digest, keys, limit).await {
            Ok(found) => return Ok(found),
            Err(missing) => {
                tracing::debug!(image = %location, "{}", missing.stopped.message);
                if furthest
                    .as_ref()
                    .is_none_or(|best| how_far(&missing) >= how_far(best))
                {
                    furthest = Some(missing);
                }
            }
        }
    }
    Err(furthest.unwrap_or_else(|| stop(Step::Resolve, "SourceInvalid", "no registry to ask")))
}

/// How much a failure says: that something is unsigned matters more than that the next registry has nothing, and that more than
/// that one is away.
fn how_far(missing: &Missing) -> (Step, bool) {
    let stopped = &missing.stopped;
    (stopped.step, stopped.reason != UNREACHABLE)
}

async fn from_registry(
    repository: &Repository,
    digest: &Digest,
    keys: Option<&[PublicKey]>,
    limit: usize,
) -> Result<Found, Missing> {
    let resolved = repository
        .resolve()
        .await
        .map_err(|error| registry_error(Step::Resolve, &error))?;
    if resolved.component != *digest {
        return Err(mismatch(&resolved.component, digest, "the artifact there"));
    }
    let mut proof = None;
    let mut signed_by = None;
    // Before the component itself is fetched: what is not signed is not worth it.
    if let Some(keys) = keys {
        let signatures = repository
            .signatures(&resolved.manifest)
            .await
            .map_err(|error| registry_error(Step::Verify, &error))?;
        let key = verify(&signatures, keys, &resolved.manifest)
            .map_err(|error| stop(Step::Verify, "SignatureInvalid", error.to_string()))?;
        signed_by = Some(key.fingerprint());
        proof = Some(Proof {
            manifest: resolved.document.clone(),
            signatures,
        });
    }
    let bytes = repository
        .fetch(&resolved, limit)
        .await
        .map_err(|error| registry_error(Step::Resolve, &error))?;
    Ok(Found {
        bytes,
        proof,
        signed_by,
    })
}

fn registry_error(step: Step, error: &OciError) -> Missing {
    let reason = match error {
        OciError::Request { .. } => UNREACHABLE,
        OciError::Answer {
            status: 401 | 403, ..
        } => "RegistryUnauthorized",
        OciError::Answer { status: 404, .. } => "ArtifactNotFound",
        OciError::Answer { .. } => "RegistryError",
        OciError::TooLarge { .. } => "ComponentTooLarge",
        OciError::DigestMismatch { .. } => "DigestMismatch",
        _ => "ArtifactInvalid",
    };
    stop(step, reason, error.to_string())
}

/// Whether a proof from an earlier time still holds, without asking the registry; the key that signed it.
pub(super) fn recheck(proof: &Proof, keys: &[PublicKey], digest: &Digest) -> Option<Digest> {
    // Any reference will do: it only serves messages.
    let reference: Reference = "localhost/plugin".parse().ok()?;
    let resolved = Resolved::read(&reference, &proof.manifest).ok()?;
    if resolved.component != *digest {
        return None;
    }
    let key = verify(&proof.signatures, keys, &resolved.manifest).ok()?;
    Some(key.fingerprint())
}

async fn credentials(context: &Context, oci: &OciSource) -> Result<Credentials, Missing> {
    let mut all = Credentials::none();
    for secret in oci.pull_secrets.iter().flatten() {
        let namespace = namespace_of(context, secret.namespace.as_deref());
        let place = format!("Secret {namespace}/{}", secret.name);
        let object: Secret = get(context, namespace, &secret.name, Step::Resolve).await?;
        let document = object
            .data
            .as_ref()
            .and_then(|d| d.get(".dockerconfigjson"));
        let document = document.ok_or_else(|| {
            let message = format!(
                "{place} has no .dockerconfigjson: make it of type kubernetes.io/dockerconfigjson"
            );
            stop(Step::Resolve, "PullSecretInvalid", message)
        })?;
        let credentials = Credentials::from_docker_config(&document.0)
            .map_err(|e| stop(Step::Resolve, "PullSecretInvalid", format!("{place}: {e}")))?;
        all = all.and(credentials);
    }
    Ok(all)
}

fn namespace_of<'a>(context: &'a Context, given: Option<&'a str>) -> &'a str {
    given.unwrap_or(&context.settings.operator_namespace)
}

async fn get<K>(context: &Context, namespace: &str, name: &str, step: Step) -> Result<K, Missing>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let kind = K::kind(&());
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    match api.get_opt(name).await {
        Ok(Some(object)) => Ok(object),
        Ok(None) => {
            let message = format!(
                "{kind} {namespace}/{name} does not exist: create it, or correct the reference to it"
            );
            Err(stop(step, "ReferenceNotFound", message))
        }
        Err(error) => {
            let message = format!(
                "failed to read {kind} {namespace}/{name}: {}",
                explain(&error)
            );
            Err(stop(step, "ReadFailed", message))
        }
    }
}

async fn from_config_map(
    context: &Context,
    source: &ConfigMapSource,
    limit: usize,
) -> Result<Vec<u8>, Missing> {
    let namespace = namespace_of(context, source.namespace.as_deref());
    let object: ConfigMap = get(context, namespace, &source.name, Step::Resolve).await?;
    let data = object.binary_data.unwrap_or_default();
    let Some(ByteString(bytes)) = data.get(&source.key) else {
        let message = format!(
            "ConfigMap {namespace}/{} has no key {} in binaryData (kubectl create configmap --from-file puts a component there)",
            source.name, source.key
        );
        return Err(stop(Step::Resolve, "ReferenceNotFound", message));
    };
    within(bytes.clone(), limit)
}

fn within(bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, Missing> {
    if bytes.len() <= limit {
        return Ok(bytes);
    }
    let message = format!(
        "the component has {} bytes, more than the {limit} allowed",
        bytes.len()
    );
    Err(for_good(stop(Step::Resolve, "ComponentTooLarge", message)))
}

async fn from_file(
    context: &Context,
    source: &FileSource,
    limit: usize,
) -> Result<Vec<u8>, Missing> {
    let Some(dir) = &context.settings.plugins.file_dir else {
        let message =
            "spec.source.file is not allowed: the host was started without --plugin-file-dir";
        return Err(for_good(stop(Step::Resolve, "SourceNotAllowed", message)));
    };
    let relative = Path::new(&source.path);
    if !relative
        .components()
        .all(|c| matches!(c, Component::Normal(_)))
    {
        let message = format!(
            "spec.source.file.path {:?} has to be a path below {}",
            source.path,
            dir.display()
        );
        return Err(for_good(stop(Step::Resolve, "SourceNotAllowed", message)));
    }
    let (dir, path) = (dir.clone(), dir.join(relative));
    let read = tokio::task::spawn_blocking(move || read_below(&dir, &path, limit)).await;
    let bytes = match read {
        Ok(result) => result,
        Err(error) => Err(std::io::Error::other(error)),
    };
    let bytes = bytes.map_err(|error| {
        let message = format!("failed to read {}: {error}", source.path);
        stop(Step::Resolve, "ReadFailed", message)
    })?;
    within(bytes, limit)
}

/// A link out of the directory is not followed.
fn read_below(dir: &Path, path: &Path, limit: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let path = path.canonicalize()?;
    if !path.starts_with(dir.canonicalize()?) {
        return Err(std::io::Error::other("it leads out of the directory"));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let file = std::fs::File::open(path)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The keys of which one has to have signed.
pub(super) async fn keys(
    context: &Context,
    policy: &SignaturePolicy,
) -> Result<Vec<PublicKey>, Missing> {
    let mut texts: Vec<(String, String)> = Vec::new();
    for (index, key) in policy.public_keys.iter().flatten().enumerate() {
        texts.push((format!("spec.signature.publicKeys[{index}]"), key.clone()));
    }
    if let Some(reference) = &policy.secret {
        let (place, object) = reference_of::<Secret>(context, reference).await?;
        let data = object.data.unwrap_or_default().into_iter();
        let text = data.map(|(k, v)| (k, String::from_utf8_lossy(&v.0).into_owned()));
        texts.push(named(place, text.collect(), reference)?);
    }
    if let Some(reference) = &policy.config_map {
        let (place, object) = reference_of::<ConfigMap>(context, reference).await?;
        texts.push(named(place, object.data.unwrap_or_default(), reference)?);
    }
    let mut keys = Vec::new();
    for (place, text) in texts {
        let read = PublicKey::all_from_pem(&text)
            .map_err(|error| stop(Step::Verify, "KeyInvalid", format!("{place}: {error}")))?;
        keys.extend(read);
    }
    if keys.is_empty() {
        let message = "spec.signature names no public key";
        return Err(for_good(stop(Step::Verify, "KeyInvalid", message)));
    }
    Ok(keys)
}

async fn reference_of<K>(
    context: &Context,
    reference: &KeyReference,
) -> Result<(String, K), Missing>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let namespace = namespace_of(context, reference.namespace.as_deref());
    let object: K = get(context, namespace, &reference.name, Step::Verify).await?;
    Ok((
        format!("{} {namespace}/{}", K::kind(&()), reference.name),
        object,
    ))
}

fn named(
    place: String,
    mut data: BTreeMap<String, String>,
    reference: &KeyReference,
) -> Result<(String, String), Missing> {
    let key = reference.key.as_deref().unwrap_or("cosign.pub");
    match data.remove(key) {
        Some(text) => Ok((place, text)),
        None => Err(stop(
            Step::Verify,
            "ReferenceNotFound",
            format!("{place} has no key {key}"),
        )),
    }
}

//! Server-side apply of one manifest.

use super::manifests::Manifest;
use anyhow::{Context as _, anyhow};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::{Scope, pinned_kind};

/// Field manager of what people apply.
const MANAGER: &str = "dpfctl";
/// Namespace of an object that does not name one.
const DEFAULT_NAMESPACE: &str = "default";

/// Applies it; the line that says so.
///
/// # Errors
/// The file, the object and the words of the API server. If cancelled, the object may have been applied.
pub async fn apply(client: &Client, manifest: &Manifest) -> anyhow::Result<String> {
    let (group, version) = manifest
        .api_version
        .rsplit_once('/')
        .unwrap_or(("", &manifest.api_version));
    let gvk = GroupVersionKind::gvk(group, version, &manifest.kind);
    let place = format!(
        "{}: {} {}",
        manifest.file.display(),
        manifest.kind,
        full_name(manifest)
    );
    let (resource, capabilities) = pinned_kind(client, &gvk).await.with_context(|| {
        format!(
            "{place}: the cluster does not know kind {} of {}",
            manifest.kind, manifest.api_version
        )
    })?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = manifest.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    };
    let parameters = PatchParams::apply(MANAGER).force();
    match api
        .patch(&manifest.name, &parameters, &Patch::Apply(&manifest.object))
        .await
    {
        Ok(_) => Ok(format!("applied {} {}", manifest.kind, full_name(manifest))),
        Err(kube::Error::Api(status)) => Err(anyhow!("{place}: {}", status.message)),
        Err(error) => Err(error).context(place),
    }
}

fn full_name(manifest: &Manifest) -> String {
    match &manifest.namespace {
        Some(namespace) => format!("{namespace}/{}", manifest.name),
        None => manifest.name.clone(),
    }
}

//! Manifests of plugins.

use crate::digest::Digest;
use crate::error::Error;
use crate::reference::Reference;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Config type of a WebAssembly artifact.
pub const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
/// Type of the layer that is the component.
pub const LAYER_TYPE: &str = "application/wasm";
/// Older tools name the layer like this.
const OLD_LAYER_TYPE: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// Type of a manifest.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Type of a list of manifests.
pub(crate) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A reference to bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
}

/// A manifest, as far as plugins and signatures need it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A list of manifests.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Index {
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
}

/// What a reference stands for at the moment.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Digest of the manifest: what signatures cover.
    pub manifest: Digest,
    /// Digest of the component: what a DPUPlugin names.
    pub component: Digest,
    /// Size of the component in bytes, as the manifest says.
    pub size: u64,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// The manifest itself, to check it again without the registry ([`Resolved::read`]).
    pub document: Vec<u8>,
}

impl Resolved {
    /// Reads a manifest that was resolved before.
    ///
    /// # Errors
    /// It is not that of a plugin.
    pub fn read(reference: &Reference, document: &[u8]) -> Result<Self, Error> {
        resolve(reference, Digest::of(document), document)
    }
}

/// What a push made.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Where it lies, pinned by digest.
    pub reference: Reference,
    /// Digest of the manifest: what signatures cover.
    pub manifest: Digest,
    /// Digest of the component: what a DPUPlugin names.
    pub component: Digest,
}

/// What is pushed besides the component.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Interfaces the component imports, as other tools show them.
    pub imports: Vec<String>,
    /// Interfaces the component exports.
    pub exports: Vec<String>,
    /// Annotations of the manifest, for example `org.opencontainers.image.version`.
    pub annotations: BTreeMap<String, String>,
}

/// The component a manifest names.
pub(crate) fn resolve(
    reference: &Reference,
    digest: Digest,
    body: &[u8],
) -> Result<Resolved, Error> {
    let not = |problem: String| Error::NotAPlugin {
        reference: reference.to_string(),
        problem,
    };
    let value: Value = serde_json::from_slice(body).map_err(|error| not(error.to_string()))?;
    if value.get("manifests").is_some() {
        return Err(not(
            "it is a list of manifests; a plugin is the same on every platform".to_owned(),
        ));
    }
    let manifest: Manifest =
        serde_json::from_value(value).map_err(|error| not(error.to_string()))?;
    let mut components = manifest
        .layers
        .into_iter()
        .filter(|layer| layer.media_type == LAYER_TYPE || layer.media_type == OLD_LAYER_TYPE);
    match (components.next(), components.next()) {
        (Some(layer), None) => Ok(Resolved {
            manifest: digest,
            component: layer.digest,
            size: layer.size,
            annotations: manifest.annotations,
            document: body.to_vec(),
        }),
        (Some(_), Some(_)) => Err(not(format!("it has several layers of type {LAYER_TYPE}"))),
        (None, _) => Err(not(format!(
            "it has no layer of type {LAYER_TYPE} (dpfctl plugin push makes one)"
        ))),
    }
}

/// Config and manifest of a component. The same component and contents give the same bytes.
pub(crate) fn describe(component: &[u8], contents: &Contents) -> (Vec<u8>, Vec<u8>) {
    let layer = Digest::of(component);
    let config = json!({
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer.to_string()],
        "component": { "imports": contents.imports, "exports": contents.exports },
    })
    .to_string()
    .into_bytes();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.to_owned()),
        artifact_type: None,
        config: descriptor(CONFIG_TYPE, &config),
        layers: vec![descriptor(LAYER_TYPE, component)],
        subject: None,
        annotations: contents.annotations.clone(),
    };
    (config, encode(&manifest))
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes),
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        annotations: BTreeMap::new(),
        artifact_type: None,
    }
}

pub(crate) fn encode(manifest: &Manifest) -> Vec<u8> {
    serde_json::to_vec(manifest).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_resolves_to_the_component() {
        let reference: Reference = "r.example.com/a:1".parse().unwrap();
        let (_, manifest) = describe(b"\0asm", &Contents::default());
        let resolved = resolve(&reference, Digest::of(&manifest), &manifest).unwrap();
        assert_eq!(resolved.component, Digest::of(b"\0asm"));
        assert_eq!(resolved.size, 4);
        assert_eq!(describe(b"\0asm", &Contents::default()).1, manifest);
    }

    #[test]
    fn what_is_no_plugin_says_why() {
        let reference: Reference = "r.example.com/a:1".parse().unwrap();
        let digest = Digest::of(b"");
        let layer = |media_type: &str| json!({"mediaType": media_type, "digest": digest.to_string(), "size": 1});
        let config = layer("application/x");
        for (body, expected) in [
            (
                json!({"schemaVersion": 2, "manifests": []}),
                "list of manifests",
            ),
            (
                json!({"schemaVersion": 2, "config": config, "layers": [layer("application/tar")]}),
                "no layer",
            ),
            (
                json!({"schemaVersion": 2, "config": config, "layers": [layer(LAYER_TYPE), layer(LAYER_TYPE)]}),
                "several layers",
            ),
            (json!({"schemaVersion": 2}), "config"),
            (
                json!({"schemaVersion": 2, "config": {"mediaType": "x", "digest": "sha256:../x", "size": 1}}),
                "is not a digest",
            ),
        ] {
            let error =
                resolve(&reference, digest.clone(), body.to_string().as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}

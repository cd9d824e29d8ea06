//! Signatures in the two forms cosign writes.
//!
//! * *Simple signing*: the layer is a small JSON document that names the digest of the manifest; the signature of these bytes is
//!   an annotation of the layer.
//! * *Bundle* (cosign 3): the layer is a JSON document with an in-toto statement about the manifest in a DSSE envelope.
//!
//! Only public keys decide. Certificates and transparency logs are not asked, so nothing but the registry is needed.

use crate::artifact::{Descriptor, descriptor};
use crate::digest::Digest;
use crate::error::Error;
use crate::key::{PublicKey, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Type of the layer of a simple signature.
const SIMPLE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of that layer: the signature in base64.
const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// Artifact type of simple signatures that refer to a manifest.
const SIMPLE_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// Begin of the types of bundles; a version follows.
const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle";
/// What a simple signature says it is.
const SIMPLE_KIND: &str = "cosign container image signature";
/// Payload type of statements.
const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";
/// Predicate of a statement that is a signature and no attestation of something else.
const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// A signature that was found, not checked. It can be kept and checked again without the registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signature {
    form: Form,
    /// What was signed, byte for byte.
    message: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Form {
    Simple,
    Bundle { statement: Vec<u8> },
}

/// Why a manifest does not count as signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Nothing is there.
    #[error("{manifest} is not signed: sign it (cosign sign --key, or dpfctl plugin push --key)")]
    Unsigned {
        /// The manifest.
        manifest: String,
    },
    /// What is there is by somebody else, or about something else.
    #[error(
        "none of the {found} signatures of {manifest} is by the configured keys ({}){}",
        keys.join(", "),
        if *other { "; one is by them, but of something else" } else { "" }
    )]
    NoMatch {
        /// The manifest.
        manifest: String,
        /// How many there are.
        found: usize,
        /// Fingerprints of the configured keys.
        keys: Vec<String>,
        /// Whether one of the keys signed another manifest, as when a signature is copied.
        other: bool,
    },
}

/// The first of the keys that signed this manifest.
///
/// # Errors
/// None did.
pub fn verify<'k>(
    signatures: &[Signature],
    keys: &'k [PublicKey],
    manifest: &Digest,
) -> Result<&'k PublicKey, VerifyError> {
    if signatures.is_empty() {
        return Err(VerifyError::Unsigned {
            manifest: manifest.to_string(),
        });
    }
    let mut other = false;
    for signature in signatures {
        for key in keys {
            if key.verifies(&signature.message, &signature.signature) {
                if signature.is_about(manifest) {
                    return Ok(key);
                }
                other = true;
            }
        }
    }
    Err(VerifyError::NoMatch {
        manifest: manifest.to_string(),
        found: signatures.len(),
        keys: keys
            .iter()
            .map(|key| key.fingerprint().short().to_owned())
            .collect(),
        other,
    })
}

impl Signature {
    /// Whether what was signed speaks of this manifest. Only asked after the signature was checked.
    fn is_about(&self, manifest: &Digest) -> bool {
        match &self.form {
            Form::Simple => {
                let Ok(payload) = serde_json::from_slice::<Value>(&self.message) else {
                    return false;
                };
                let critical = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
                critical("/critical/type") == Some(SIMPLE_KIND)
                    && critical("/critical/image/docker-manifest-digest")
                        == Some(manifest.to_string().as_str())
            }
            Form::Bundle { statement } => {
                let Ok(statement) = serde_json::from_slice::<Statement>(statement) else {
                    return false;
                };
                statement.predicate_type == SIGN_PREDICATE
                    && statement
                        .subject
                        .iter()
                        .any(|s| s.digest.get("sha256").map(String::as_str) == Some(manifest.hex()))
            }
        }
    }
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "predicateType")]
    predicate_type: String,
    #[serde(default)]
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "dsseEnvelope")]
    envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    #[serde(default)]
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

/// Whether a referrer of this artifact type can be a signature.
pub(crate) fn is_artifact(artifact_type: &str) -> bool {
    artifact_type == SIMPLE_ARTIFACT || artifact_type.starts_with(BUNDLE_TYPE)
}

/// Whether a layer of this type is a signature.
pub(crate) fn is_signature(media_type: &str) -> bool {
    media_type == SIMPLE_TYPE || media_type.starts_with(BUNDLE_TYPE)
}

/// The signatures in a layer; none when it is malformed, which is as good as unsigned.
pub(crate) fn read(layer: &Descriptor, payload: Vec<u8>) -> Vec<Signature> {
    if layer.media_type == SIMPLE_TYPE {
        let signature = layer
            .annotations
            .get(SIGNATURE_ANNOTATION)
            .and_then(|text| STANDARD.decode(text.trim()).ok());
        return signature
            .map(|signature| Signature {
                form: Form::Simple,
                message: payload,
                signature,
            })
            .into_iter()
            .collect();
    }
    read_bundle(&payload).unwrap_or_default()
}

fn read_bundle(payload: &[u8]) -> Option<Vec<Signature>> {
    let bundle: Bundle = serde_json::from_slice(payload).ok()?;
    let envelope = bundle.envelope?;
    if envelope.payload_type != STATEMENT_TYPE {
        return None;
    }
    let statement = STANDARD.decode(&envelope.payload).ok()?;
    // DSSE's pre-authentication encoding: what is signed includes the type and both lengths.
    let mut message = format!(
        "DSSEv1 {} {STATEMENT_TYPE} {} ",
        STATEMENT_TYPE.len(),
        statement.len()
    )
    .into_bytes();
    message.extend_from_slice(&statement);
    let signatures = envelope.signatures.iter().take(8);
    Some(
        signatures
            .filter_map(|entry| STANDARD.decode(&entry.sig).ok())
            .map(|signature| Signature {
                form: Form::Bundle {
                    statement: statement.clone(),
                },
                message: message.clone(),
                signature,
            })
            .collect(),
    )
}

/// A simple signature: its layer and the payload the layer stands for.
pub(crate) fn make(
    place: &str,
    manifest: &Digest,
    key: &SigningKey,
) -> Result<(Descriptor, Vec<u8>), Error> {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": place },
            "image": { "docker-manifest-digest": manifest.to_string() },
            "type": SIMPLE_KIND,
        },
        "optional": null,
    })
    .to_string()
    .into_bytes();
    let mut layer = descriptor(SIMPLE_TYPE, &payload);
    layer.annotations.insert(
        SIGNATURE_ANNOTATION.to_owned(),
        STANDARD.encode(key.sign(&payload)?),
    );
    Ok((layer, payload))
}

/// The config of a manifest of signatures, which tools expect to look like that of an image.
pub(crate) fn config(layers: &[Descriptor]) -> Vec<u8> {
    let digests: Vec<String> = layers
        .iter()
        .map(|layer| layer.digest.to_string())
        .collect();
    json!({
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": digests },
        "history": digests.iter().map(|_| json!({})).collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests;

//! Pulls, pushes and looks for signatures in one repository.

use crate::artifact::{
    self, Contents, Descriptor, INDEX_TYPE, Index, MANIFEST_TYPE, Manifest, Pushed, Resolved,
    descriptor, encode,
};
use crate::client::{Message, Session, bare, body, checked};
use crate::digest::Digest;
use crate::error::Error;
use crate::key::SigningKey;
use crate::reference::Reference;
use crate::signature::{self, Signature};
use reqwest::{Method, StatusCode, header};

/// Largest manifest that is read; registries refuse manifests above 4 MiB.
const MANIFEST_SIZE_MAX: usize = 4 << 20;
/// Largest signature payload that is read; cosign's have less than a kilobyte, bundles with a log entry some.
const SIGNATURE_SIZE_MAX: usize = 256 << 10;
/// Signatures of an artifact that are looked at, so that a registry cannot keep us busy.
const SIGNATURES_MAX: usize = 32;

/// One repository of a registry, with what the registry needs to let us in.
pub struct Repository {
    pub(crate) session: Session,
    pub(crate) reference: Reference,
}

impl Repository {
    /// What the reference stands for now. The manifest is checked against the digest in the reference.
    ///
    /// # Errors
    /// The registry does not answer, refuses, or has something that is not a plugin.
    pub async fn resolve(&self) -> Result<Resolved, Error> {
        let (digest, body) = self.manifest(&self.reference.selector()).await?;
        artifact::resolve(&self.reference, digest, &body)
    }

    /// The component of a manifest; `limit` is its largest size in bytes.
    ///
    /// # Errors
    /// The registry does not answer or refuses; the component is too large or is not what the digest stands for.
    pub async fn fetch(&self, resolved: &Resolved, limit: usize) -> Result<Vec<u8>, Error> {
        if usize::try_from(resolved.size).map_or(true, |size| size > limit) {
            return Err(Error::TooLarge {
                url: self.reference.to_string(),
                limit,
            });
        }
        self.blob(&resolved.component, limit).await
    }

    /// All signatures of a manifest this repository has: of cosign's tag, of the referrers interface of OCI 1.1 and of the tag
    /// that stands for it in older registries. None is checked yet.
    ///
    /// # Errors
    /// The registry does not answer or sends something else. That there is none is not an error.
    pub async fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>, Error> {
        let mut found = Vec::new();
        if let Some((_, body)) = existing(self.manifest(&cosign_tag(manifest)).await)? {
            self.read_signatures(&body, &mut found).await?;
        }
        for referrer in self.referrers(manifest).await? {
            if found.len() >= SIGNATURES_MAX {
                break;
            }
            if let Some((_, body)) = existing(self.manifest(&referrer.digest.to_string()).await)? {
                self.read_signatures(&body, &mut found).await?;
            }
        }
        Ok(found)
    }

    async fn read_signatures(&self, body: &[u8], found: &mut Vec<Signature>) -> Result<(), Error> {
        let Ok(manifest) = serde_json::from_slice::<Manifest>(body) else {
            // Another artifact that refers to the plugin; nothing that concerns us.
            return Ok(());
        };
        for layer in manifest.layers {
            if found.len() >= SIGNATURES_MAX {
                break;
            }
            if !signature::is_signature(&layer.media_type) {
                continue;
            }
            let payload = self.blob(&layer.digest, SIGNATURE_SIZE_MAX).await?;
            found.extend(signature::read(&layer, payload));
        }
        Ok(())
    }

    /// Manifests that name this one as their subject.
    async fn referrers(&self, manifest: &Digest) -> Result<Vec<Descriptor>, Error> {
        let url = self.url(&format!("referrers/{manifest}"));
        let answer = self
            .session
            .send(Message::new(Method::GET, url.clone()).header(header::ACCEPT, INDEX_TYPE))
            .await?;
        let body = if answer.status().is_success() {
            body(&url, answer, MANIFEST_SIZE_MAX).await?
        } else {
            // A registry older than OCI 1.1 has a tag instead, kept by those who push.
            match existing(self.manifest(&referrers_tag(manifest)).await)? {
                Some((_, body)) => body,
                None => return Ok(Vec::new()),
            }
        };
        let index: Index = serde_json::from_slice(&body).map_err(|error| Error::Malformed {
            url,
            problem: format!("not a list of referrers: {error}"),
        })?;
        Ok(index
            .manifests
            .into_iter()
            .take(SIGNATURES_MAX)
            .filter(|entry| {
                entry
                    .artifact_type
                    .as_deref()
                    .is_none_or(signature::is_artifact)
            })
            .collect())
    }

    /// Stores a component and its manifest under the tag of the reference.
    ///
    /// # Errors
    /// The registry does not answer or refuses.
    pub async fn push(&self, component: Vec<u8>, contents: &Contents) -> Result<Pushed, Error> {
        let (config, manifest) = artifact::describe(&component, contents);
        let layer = Digest::of(&component);
        self.push_blob(component).await?;
        self.push_blob(config).await?;
        let digest = Digest::of(&manifest);
        let tag = match self.reference.digest() {
            Some(_) => digest.to_string(),
            None => self.reference.selector(),
        };
        self.push_manifest(&tag, manifest).await?;
        let pinned = format!(
            "{}/{}@{digest}",
            self.reference.registry(),
            self.reference.repository()
        );
        Ok(Pushed {
            reference: pinned.parse()?,
            manifest: digest,
            component: layer,
        })
    }

    /// Signs a manifest and stores the signature where cosign looks for it, beside those that are there.
    ///
    /// # Errors
    /// The key does not work; the registry does not answer or refuses.
    pub async fn sign(&self, manifest: &Digest, key: &SigningKey) -> Result<(), Error> {
        let place = format!(
            "{}/{}",
            self.reference.registry(),
            self.reference.repository()
        );
        let (layer, payload) = signature::make(&place, manifest, key)?;
        let tag = cosign_tag(manifest);
        let mut layers = match existing(self.manifest(&tag).await)? {
            Some((_, body)) => serde_json::from_slice::<Manifest>(&body)
                .map(|manifest| manifest.layers)
                .unwrap_or_default(),
            None => Vec::new(),
        };
        self.push_blob(payload).await?;
        layers.push(layer);
        let config = signature::config(&layers);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST_TYPE.to_owned()),
            artifact_type: None,
            config: descriptor("application/vnd.oci.image.config.v1+json", &config),
            layers,
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        self.push_blob(config).await?;
        self.push_manifest(&tag, encode(&manifest)).await
    }

    fn url(&self, rest: &str) -> String {
        format!(
            "{}://{}/v2/{}/{rest}",
            self.session.scheme(),
            self.reference.registry(),
            self.reference.repository()
        )
    }

    async fn manifest(&self, selector: &str) -> Result<(Digest, Vec<u8>), Error> {
        let url = self.url(&format!("manifests/{selector}"));
        let accept = format!("{MANIFEST_TYPE}, {INDEX_TYPE}");
        let message = Message::new(Method::GET, url.clone()).header(header::ACCEPT, &accept);
        let answer = checked(&url, self.session.send(message).await?)?;
        let body = body(&url, answer, MANIFEST_SIZE_MAX).await?;
        let digest = Digest::of(&body);
        if selector.contains(':') && selector != digest.to_string() {
            return Err(mismatch(&url, &digest, selector));
        }
        Ok((digest, body))
    }

    async fn blob(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>, Error> {
        let url = self.url(&format!("blobs/{digest}"));
        let message = Message::new(Method::GET, url.clone());
        let answer = checked(&url, self.session.send(message).await?)?;
        let body = body(&url, answer, limit).await?;
        let found = Digest::of(&body);
        if found == *digest {
            Ok(body)
        } else {
            Err(mismatch(&url, &found, &digest.to_string()))
        }
    }

    async fn push_blob(&self, blob: Vec<u8>) -> Result<(), Error> {
        let digest = Digest::of(&blob);
        let url = self.url(&format!("blobs/{digest}"));
        let there = self.session.send(Message::new(Method::HEAD, url)).await?;
        if there.status() == StatusCode::OK {
            return Ok(());
        }
        let url = self.url("blobs/uploads/");
        let start = Message::new(Method::POST, url.clone()).header(header::CONTENT_LENGTH, "0");
        let answer = checked(&url, self.session.send(start).await?)?;
        let place = answer
            .headers()
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|location| answer.url().join(location).ok())
            .filter(|place| place.origin() == answer.url().origin());
        let mut place = place.ok_or_else(|| Error::Malformed {
            url: bare(&url),
            problem: "the registry did not say where on it to upload".to_owned(),
        })?;
        place
            .query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let url = place.to_string();
        let upload = Message::new(Method::PUT, url.clone())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(blob);
        checked(&url, self.session.send(upload).await?)?;
        Ok(())
    }

    async fn push_manifest(&self, selector: &str, manifest: Vec<u8>) -> Result<(), Error> {
        let url = self.url(&format!("manifests/{selector}"));
        let message = Message::new(Method::PUT, url.clone())
            .header(header::CONTENT_TYPE, MANIFEST_TYPE)
            .body(manifest);
        checked(&url, self.session.send(message).await?)?;
        Ok(())
    }
}

fn mismatch(url: &str, found: &Digest, wanted: &str) -> Error {
    Error::DigestMismatch {
        url: bare(url),
        found: found.to_string(),
        wanted: wanted.to_owned(),
    }
}

/// That something is not there is an answer, too.
fn existing<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn cosign_tag(manifest: &Digest) -> String {
    format!("sha256-{}.sig", manifest.hex())
}

fn referrers_tag(manifest: &Digest) -> String {
    format!("sha256-{}", manifest.hex())
}

//! Plugins in OCI registries: references, pull, push, mirrors, credentials and signatures.
//!
//! What this crate is: the part of the registry protocol that plugins need, for the host, which does not trust a registry, and
//! for `dpfctl plugin push` and `pull`. Whatever a registry sends is bounded and checked by digest.
//!
//! What it is not: it does not read Kubernetes objects, keeps nothing on disk and compiles nothing.
//!
//! ```text
//!  Reference + Credentials ──> Repository ──resolve──> manifest (digest, layer) ──fetch──> component bytes
//!                                   │                        │
//!                                   │                  signatures ──verify(keys)──> the key that signed it
//!                                   └──push / sign
//! ```
//!
//! A plugin is a manifest with the config type [`CONFIG_TYPE`] and exactly one layer of type [`LAYER_TYPE`]: what the
//! WebAssembly community calls a Wasm OCI artifact, so other tools can push and pull it too. Its *digest* in this project is
//! that of the layer, the component itself: it is the same wherever the component lies. A signature covers the manifest.
//!
//! ```no_run
//! use dpf_plugin_oci::{Client, Credentials, Reference, SIZE_MAX, verify};
//! # async fn example(keys: Vec<dpf_plugin_oci::PublicKey>) -> Result<(), dpf_plugin_oci::Error> {
//! let reference: Reference = "registry.example.com/plugins/merge:1.2.0".parse()?;
//! let repository = Client::new(reqwest::Client::new()).repository(&reference, Credentials::none());
//! let resolved = repository.resolve().await?;
//! verify(&repository.signatures(&resolved.manifest).await?, &keys, &resolved.manifest)?;
//! let component = repository.fetch(&resolved, SIZE_MAX).await?;
//! # Ok(()) }
//! ```

mod artifact;
mod client;
mod credentials;
mod digest;
mod error;
mod key;
mod reference;
mod repository;
mod signature;

pub use artifact::{CONFIG_TYPE, Contents, LAYER_TYPE, Pushed, Resolved};
pub use client::Client;
pub use credentials::{Credentials, CredentialsError};
pub use digest::Digest;
pub use error::Error;
pub use key::{KeyError, PublicKey, SigningKey};
pub use reference::Reference;
pub use repository::Repository;
pub use signature::{Signature, VerifyError, verify};

/// Largest component that is fetched unless told otherwise: plugins in Python have about 20 MB.
pub const SIZE_MAX: usize = 32 << 20;

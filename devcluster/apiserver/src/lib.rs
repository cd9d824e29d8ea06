//! An embedded Kubernetes API server for development and tests.
//!
//! It speaks the Kubernetes API well enough for kube-rs and for an unmodified `kubectl`: discovery, watches, patches
//! and server-side apply, CRDs at run time, tables, finalizers and garbage collection. Objects are
//! in memory, and kept in a file when asked for.
//! It is not a store for production, with a file ([`ApiServer::open`]) or without.
//!
//! ```text
//!   kube::Client ──tower──┐
//!                         ├── ApiService ── Store::handle(request, now) ── Reply
//!   kubectl ──HTTPS── Listening                     │
//!                                             events, jobs
//! ```
//!
//! The store is plain code without a clock, randomness or sockets; the service and the listener are two shells
//! around the same path.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use dpf_apiserver::{ApiServer, Options};
//! use k8s_openapi::api::core::v1::Namespace;
//!
//! let server = ApiServer::new(Options::default());
//! let client = kube::Client::new(server.service(), "default");
//! let namespaces: kube::Api<Namespace> = kube::Api::all(client);
//! assert!(namespaces.get("default").await.is_ok());
//! # });
//! ```

mod accept;
mod audit;
mod auth;
mod body;
mod builtin;
mod crd;
mod decode;
mod discovery;
mod error;
mod fields;
#[doc(hidden)]
pub mod fuzz;
mod health;
mod ids;
mod jsonpath;
mod listen;
mod names;
mod object;
mod openapi;
mod options;
mod patch;
mod persist;
mod protobuf;
mod registry;
mod request;
mod response;
mod router;
mod schema;
mod selector;
mod server;
mod store;
mod swagger;
mod table;

pub use audit::{Audit, AuditRecord};
pub use listen::{ListenError, Listening, Tls};
pub use options::{Clock, Options, Token};
pub use persist::PersistError;
pub use server::{ApiServer, ApiService, Body, BoxError};

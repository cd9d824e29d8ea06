//! Hosts plugins: wasmtime embedding and plugin registry.
//!
//! A plugin is a WebAssembly component that serves one [`Stage`] of a reconcile. This crate admits components
//! ([`Engine::load`]), runs them ([`Plugin::merge`], [`Plugin::check`], [`Plugin::build_chain`]) and keeps the user's
//! mistakes ([`Failure`]) apart from the plugin's ([`Fault`]). It is the only crate that names wasmtime, and it knows
//! nothing of Kubernetes.
//!
//! ```text
//!  bytes -> size -> parse -> imports -> world -> compile -> describe -> validate-settings -> Plugin
//!                                                                                              |
//!  request -> result cache -> slot -> fresh Store -> call under memory cap and deadline -> size cap -> response
//! ```
//!
//! Calls block; in async code run them inside `spawn_blocking`.
//!
//! ```no_run
//! use dpf_engine::{Engine, EngineOptions, MergeRequest, Stage};
//! let engine = Engine::new(EngineOptions::default())?;
//! let plugin = engine.default_plugin(Stage::TemplateMerge);
//! let response = plugin.merge(&MergeRequest::default())?;
//! assert_eq!(response.values, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admit;
mod bindings;
mod breaker;
mod component;
mod convert;
mod defaults;
mod engine;
mod error;
mod exact;
mod guard;
mod inspect;
mod limits;
mod log;
mod plugin;
mod results;
mod runtime;
mod sandbox;
mod schema;
mod slots;
mod stage;
mod statistics;
mod usage;

pub use breaker::Circuit;
pub use component::Component;
pub use defaults::default_component;
pub use engine::Engine;
pub use error::{CallError, EngineError, Fault, FaultKind, LoadError};
pub use guard::{GuardOptions, Guarded};
pub use inspect::{Inspection, inspect};
pub use limits::{EngineOptions, Limits};
pub use plugin::{Answer, Plugin};
pub use schema::check_settings;
pub use stage::*;
pub use statistics::{DURATION_BUCKETS, Outcome, Statistics};
pub use usage::{Observer, Usage};

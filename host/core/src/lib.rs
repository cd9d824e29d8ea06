//! Decisions of the controllers as pure functions.
//!
//! What this crate is: for each kind a `validate` and a `plan` that turn observed objects into plain data (actions, a
//! report of what we wait for, a time to look again), and a `status` that turns the report into conditions.
//!
//! What it is not: nothing here talks to a cluster, reads a clock, draws a random number or looks at the environment.
//! Time and ids are arguments, so that every decision can be repeated and tested as a table.
//!
//! ```text
//!   observed objects ──> validate ──> plan(now) ──> actions ──> (host applies them)
//!                                        └────────> report  ──> conditions
//! ```
//!
//! ```
//! use dpf_core::names::derived_name;
//! // The same input names the same object, on every try and after every crash.
//! assert_eq!(derived_name("producer", "uid-1", "digest-1", 0), derived_name("producer", "uid-1", "digest-1", 0));
//! assert_ne!(derived_name("producer", "uid-1", "digest-1", 0), derived_name("producer", "uid-1", "digest-1", 1));
//! ```

pub mod conditions;
pub mod drift;
pub mod fanout;
pub mod names;
pub mod selectors;

pub mod dpudeployment;
pub mod incluster;

pub mod bfb;
pub mod dpu;
pub mod dpucluster;
pub mod dpuflavor;
pub mod dpunodemaintenance;
pub mod dpuset;

pub mod dpuplugin;

pub mod dpuready;
pub mod dpuservice;
pub mod dpuservicechain;
pub mod dpuserviceinterface;
pub mod dpuservicetemplate;
pub mod sets;

//! The controller manager: watches, rolls out and provisions.
//!
//! What this crate is: the effects of each controller. A directory per kind holds what reads and writes; what decides is
//! in the directory of the same name in `dpf-core`.
//!
//! What it is not: no decision is taken here that a table test in `dpf-core` could not repeat.
//!
//! ```text
//!   observe (reads) -> validate -> consult plugins -> plan -> apply (writes) -> status
//! ```

pub mod cli;
pub mod kit;
pub mod manager;
pub mod metrics;

pub mod dpudeployment;
pub mod dpuservicetemplate;
pub mod incluster;
pub mod plugins;

pub mod bfb;
pub mod dpu;
pub mod dpucluster;
pub mod dpudevice;
pub mod dpunode;
pub mod dpunodemaintenance;
pub mod dpuset;
pub mod registry;

mod fanout;

pub mod dpuready;
pub mod dpuservice;
pub mod dpuservicechain;
pub mod dpuserviceinterface;
pub mod sets;

pub mod notsupported;

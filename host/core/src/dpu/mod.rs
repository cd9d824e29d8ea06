//! The life of a DPU: from a card to a node of a DPU cluster, and back.
//!
//! ```text
//!  Initializing ──> Pending ──> Node Effect ──> Initialize Interface ──> Config FW Parameters ──> Prepare BFB
//!       │                         │  ▲                                                           │     ▲
//!       │ card is skipped         │  │ labels changed,                                           ▼     │ files are gone
//!       │            after a      │  │ with effect                                             OS Installing
//!       │            change of    │  │                                                           │
//!       │            labels       │  │                                                           ▼
//!       └──────────> Ready ───────┼──┘                                                        Rebooting
//!                    ▲   │        ▼                                                              │
//!                    │   └──> DPU Cluster Config <───────────────────────────────────────────────┘
//!                    │ labels     │   ▲
//!                    │ changed,   ▼   │ labels changed
//!                    └────── Node Effect Removal
//!
//!  every phase ── step failed, deadline passed ──> Error ── retry ──> where it failed
//!  every phase ── object is being deleted ──────> Deleting
//! ```
//!
//! | Phase | Condition | Waits for | Deadline |
//! |---|---|---|---|
//! | Initializing | Initialized | node, device and cluster | none: somebody has to make them |
//! | Pending | BFBReady, Pending | image and slot | none: it is a queue |
//! | Node Effect | NodeEffectReady | the host | none: drains and people take their time |
//! | Initialize Interface | InterfaceInitialized | the BMC | 10 min |
//! | Config FW Parameters | FWConfigured | the BMC | 10 min |
//! | Prepare BFB | BFBPrepared | flavor and DPU cluster | 10 min |
//! | OS Installing | OSInstalled | the BMC | `osInstallTimeout`, 45 min |
//! | Rebooting | Rebooted | the BMC, or a person | 15 min, none for a person |
//! | DPU Cluster Config | DPUClusterReady | the node | 30 min |
//! | Node Effect Removal | NodeEffectRemoved | the other requestors | `nodeEffectRemovalTimeout`, none |
//! | Ready | Ready | nothing | none |
//! | Error | Error | a person, or a retry | none |
//! | Deleting | Deleting | the DPU cluster | none |
//!
//! The phase alone says what to do next: every long operation is resumed from it, the status and the BMC.

mod join;
mod labels;
mod limits;
mod phases;
mod reboot;
mod status;

pub use join::{bootstrap_token_id, configuration_path, image_path, image_token, store_file};
pub use labels::{NodeLabelChange, desired_node_labels, node_label_change};
pub use limits::{Limits, is_installing, may_install, parse_duration};
pub use phases::{Change, Event, Outcome, Position, Said, condition_of, step};
pub use reboot::{RebootMove, RebootView, WAITING_FOR_REBOOT, reboot_move};
pub use status::{enter, overdue_after, remaining};

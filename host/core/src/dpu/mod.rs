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
//! A phase says what it found as an [`Event`], and [`step`] what that means. What is not in this table changes nothing but
//! conditions; a test goes through every phase with every event. `Error after` names the phase that failed; several phases
//! or events with the same row are separated by semicolons.
//!
//! | Phase | Event | Next |
//! |---|---|---|
//! | any | deleted | Deleting |
//! | any | failed; overdue | Error |
//! | Ready; Error; Deleting | failed; overdue | where it is |
//! | Initializing | done | Pending |
//! | Initializing | skipped | Ready |
//! | Pending | done | Node Effect |
//! | Node Effect | done | Initialize Interface |
//! | Node Effect, labels only | done | DPU Cluster Config |
//! | Initialize Interface | done | Config FW Parameters |
//! | Config FW Parameters | done | Prepare BFB |
//! | Prepare BFB | done | OS Installing |
//! | OS Installing | done | Rebooting |
//! | OS Installing | lost | Prepare BFB |
//! | Rebooting | done | DPU Cluster Config |
//! | DPU Cluster Config | done | Node Effect Removal |
//! | Node Effect Removal | done | Ready |
//! | Node Effect Removal | labels changed; labels changed, with effect | DPU Cluster Config |
//! | Ready | labels changed | DPU Cluster Config |
//! | Ready | labels changed, with effect | Node Effect, labels only |
//! | Error; Error after Initializing; Error after Error; Error after Deleting | retry | Initializing |
//! | Error after Pending; Error after Node Effect; Error after Initialize Interface | retry | Pending |
//! | Error after Config FW Parameters; Error after Prepare BFB; Error after OS Installing | retry | Pending |
//! | Error after Rebooting | retry | Rebooting |
//! | Error after DPU Cluster Config; Error after Node Effect Removal; Error after Ready | retry | DPU Cluster Config |
//!
//! Phases that other releases and the agent on a host write are left at once, and tried again from the queue:
//!
//! | Phase | Event | Next |
//! |---|---|---|
//! | Checking Host Reboot Required; Host Network Configuration; Update Firmware | done | DPU Cluster Config |
//! | DPU Config; Service Readiness; Perform ARM Force Restart | done | DPU Cluster Config |
//! | Error after Checking Host Reboot Required; Error after Host Network Configuration | retry | Pending |
//! | Error after Update Firmware; Error after DPU Config | retry | Pending |
//! | Error after Service Readiness; Error after Perform ARM Force Restart | retry | Pending |
//!
//! The phase alone says what to do next: every long operation is resumed from it, the status and the BMC.

mod join;
mod labels;
mod limits;
mod phases;
mod reboot;
mod status;
#[cfg(test)]
mod table;

pub use join::{bootstrap_token_id, configuration_path, image_path, image_token, store_file};
pub use labels::{NodeLabelChange, desired_node_labels, node_label_change};
pub use limits::{Limits, is_installing, may_install, parse_duration};
pub use phases::{Change, Event, Outcome, Position, Said, condition_of, step};
pub use reboot::{RebootMove, RebootView, WAITING_FOR_REBOOT, reboot_move};
pub use status::{enter, judge, overdue_after, remaining, retry_after};

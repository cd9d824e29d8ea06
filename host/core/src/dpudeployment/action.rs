//! A plan as plain data: what to write, in which order, and what we wait for.

use dpf_api::provisioning::DpuSet;
use dpf_api::svc::{DpuService, DpuServiceChain, DpuServiceInterface};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of objects that a deployment refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum DependencyKind {
    /// BFB.
    Bfb,
    /// DPUFlavor.
    Flavor,
    /// DPUServiceTemplate.
    Template,
    /// DPUServiceConfiguration.
    Configuration,
}

/// Kinds of objects that a deployment owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ChildKind {
    /// DPUService.
    Service,
    /// DPUServiceInterface.
    Interface,
    /// DPUServiceChain.
    Chain,
    /// DPUSet.
    Set,
}

/// One write. The order of a plan's actions is the order in which they are carried out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Action {
    /// Put finalizer and label on an object the deployment refers to.
    Mark {
        /// Its kind.
        kind: DependencyKind,
        /// Its name.
        name: String,
    },
    /// Take label, and with the last label the finalizer, from an object.
    Unmark {
        /// Its kind.
        kind: DependencyKind,
        /// Its name.
        name: String,
    },
    /// Stop the controller of an older revision from changing anything.
    Pause {
        /// Name of the DPUService.
        service: String,
    },
    /// Let the controller of a DPUService go on.
    Unpause {
        /// Name of the DPUService.
        service: String,
    },
    /// Create or change a DPUService.
    ApplyService(Box<DpuService>),
    /// Create or change a DPUServiceInterface.
    ApplyInterface {
        /// The interface.
        interface: Box<DpuServiceInterface>,
        /// The DPUService that owns it besides the deployment.
        service: String,
    },
    /// Create or change the DPUServiceChain.
    ApplyChain(Box<DpuServiceChain>),
    /// Create or change a DPUSet.
    ApplySet(Box<DpuSet>),
    /// Delete a child.
    Delete {
        /// Its kind.
        kind: ChildKind,
        /// Its name.
        name: String,
    },
    /// Let the deployment go.
    RemoveFinalizer,
}

/// What the deployment waits for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Services that are not created yet, each with the dependencies it waits for.
    pub waiting_services: BTreeMap<String, Vec<String>>,
    /// Services that stand still because their plugin is at fault, each with what conditions say.
    pub faulted_services: BTreeMap<String, String>,
    /// Older revisions that stay until their replacement is ready, each with what holds them.
    pub held_revisions: BTreeMap<String, String>,
    /// Names of the children that make up the desired state.
    pub desired: BTreeMap<ChildKind, BTreeSet<String>>,
    /// While deleting: how many children of a kind are left.
    pub remaining: Option<BTreeMap<ChildKind, usize>>,
    /// While deleting: what the children that are left wait for, for example a DPU cluster that does not answer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub remaining_wait_for: BTreeMap<ChildKind, Vec<String>>,
    /// Warnings of plugins.
    pub warnings: Vec<String>,
}

/// What to do and what we wait for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The writes, in order.
    pub actions: Vec<Action>,
    /// What we wait for.
    pub report: Report,
    /// Look again after so many seconds even if nothing happens.
    pub requeue_seconds: Option<u64>,
}

impl Plan {
    /// Whether children are created or changed. What is deleted is not needed any more, and marks change nothing that runs.
    #[must_use]
    pub fn writes_children(&self) -> bool {
        self.actions.iter().any(|action| match action {
            Action::Pause { .. }
            | Action::Unpause { .. }
            | Action::ApplyService(_)
            | Action::ApplyInterface { .. }
            | Action::ApplyChain(_)
            | Action::ApplySet(_) => true,
            Action::Mark { .. }
            | Action::Unmark { .. }
            | Action::Delete { .. }
            | Action::RemoveFinalizer => false,
        })
    }
}

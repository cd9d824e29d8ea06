//! What a deployment is given: for each service and stage the built-in plugin, a vendor's, or a reason why neither.

use dpf_api::plugin::FailurePolicy;
use dpf_core::dpuplugin::{Choice, Selection};
use dpf_engine::Guarded;
use std::collections::{BTreeMap, BTreeSet};

/// The plugins of one deployment at one moment. They stay what they are until the pass ends, whatever is installed meanwhile.
pub(crate) struct Given {
    /// Who merges, by service.
    pub(crate) merge: BTreeMap<String, Assigned>,
    /// Who checks besides the built-in plugin, and which services it is shown.
    pub(crate) checks: Vec<(Assigned, BTreeSet<String>)>,
    /// Who builds the chain.
    pub(crate) chain: Assigned,
}

/// Who serves.
pub(crate) enum Assigned {
    /// The built-in plugin.
    Default,
    /// Nobody: what the user wrote cannot be followed.
    Refused(String),
    /// A vendor's plugin, if it can.
    Offer(Offer),
}

/// A vendor's plugin.
pub(crate) enum Offer {
    /// It serves.
    Serving(Served),
    /// It is being loaded for the first time since the start.
    Loading,
    /// It was never loaded.
    Unavailable {
        /// Name of the DPUPlugin.
        name: String,
        /// What to do then.
        policy: FailurePolicy,
        /// Why.
        problem: String,
    },
}

/// A plugin that serves.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// Name of the DPUPlugin.
    pub(crate) name: String,
    /// The plugin.
    pub(crate) plugin: Guarded,
    /// What happens when it fails.
    pub(crate) policy: FailurePolicy,
}

impl Given {
    /// What a selection comes to.
    pub(crate) fn new(selection: &Selection, offer: impl Fn(&str) -> Offer) -> Self {
        let assign = |choice: &Choice| match choice {
            Choice::Default => Assigned::Default,
            Choice::Refused(message) => Assigned::Refused(message.clone()),
            Choice::Plugin(name) => Assigned::Offer(offer(name)),
        };
        Self {
            merge: selection
                .merge
                .iter()
                .map(|(service, choice)| (service.clone(), assign(choice)))
                .collect(),
            checks: selection
                .checks
                .iter()
                .map(|(choice, services)| (assign(choice), services.clone()))
                .collect(),
            chain: assign(&selection.chain),
        }
    }
}

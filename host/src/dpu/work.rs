//! What a phase found out, and when to look again.

use super::redfish::RedfishError;
use crate::kit::Classified;
use crate::kit::in_one_line;
use dpf_api::provisioning::DpuStatus;
use dpf_core::dpu::{Event, Said};
use std::time::Duration;

/// Fields of the status that a phase sets besides the conditions.
type Change = Box<dyn FnOnce(&mut DpuStatus) + Send>;

/// How often a BMC is asked while it works.
pub(super) const BMC_POLL: Duration = Duration::from_secs(2);
/// How often one is asked that cannot be used now.
pub(super) const BMC_RETRY: Duration = Duration::from_secs(5);

/// What a phase found out, and when to look again.
pub(super) struct Work {
    pub(super) event: Event,
    pub(super) change: Option<Change>,
    pub(super) by_person: bool,
    pub(super) poll: Option<Duration>,
}

impl From<Event> for Work {
    fn from(event: Event) -> Self {
        Self {
            event,
            change: None,
            by_person: false,
            poll: None,
        }
    }
}

impl Work {
    /// The phase is over.
    pub(super) fn done() -> Self {
        Self::from(Event::done())
    }

    /// Not yet; an event of another object tells when to look again.
    pub(super) fn waiting(said: Said) -> Self {
        Self::from(Event::Waiting(said))
    }

    /// Not any more.
    pub(super) fn failed(said: Said) -> Self {
        Self::from(Event::Failed(said))
    }

    /// A BMC that cannot be used now: waited for until the deadline of the phase.
    pub(super) fn bmc(error: &RedfishError) -> Self {
        Self::waiting(Said::new(error.reason(), in_one_line(error))).polled(BMC_RETRY)
    }

    /// Look again after this time.
    pub(super) fn polled(self, poll: Duration) -> Self {
        Self {
            poll: Some(poll),
            ..self
        }
    }

    /// A person is waited for: no deadline.
    pub(super) fn by_person(self) -> Self {
        Self {
            by_person: true,
            ..self
        }
    }

    /// Set these fields of the status as well.
    pub(super) fn with(self, change: impl FnOnce(&mut DpuStatus) + Send + 'static) -> Self {
        Self {
            change: Some(Box::new(change)),
            ..self
        }
    }
}

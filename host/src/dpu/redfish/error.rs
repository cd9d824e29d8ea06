//! What can go wrong between host and BMC.

use crate::kit::{Classified, Retry};

/// A request that a BMC did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum RedfishError {
    /// The device has no usable address.
    #[error("DPUDevice {device} has no BMC address: set spec.bmcIp")]
    NoAddress {
        /// Name of the device.
        device: String,
    },
    /// No answer.
    #[error("failed to {action} at the BMC {bmc}")]
    Unreachable {
        /// What was asked.
        action: &'static str,
        /// Address of the BMC.
        bmc: String,
        /// Cause.
        source: reqwest::Error,
    },
    /// Wrong password.
    #[error(
        "failed to {action} at the BMC {bmc}: it refuses the password of Secret bmc-shared-password"
    )]
    Unauthorized {
        /// What was asked.
        action: &'static str,
        /// Address of the BMC.
        bmc: String,
    },
    /// Later.
    #[error("failed to {action} at the BMC {bmc}: it is busy ({status})")]
    Busy {
        /// What was asked.
        action: &'static str,
        /// Address of the BMC.
        bmc: String,
        /// HTTP status.
        status: u16,
    },
    /// It has no such thing.
    #[error("failed to {action} at the BMC {bmc}: it does not know how")]
    NotFound {
        /// What was asked.
        action: &'static str,
        /// Address of the BMC.
        bmc: String,
    },
    /// Another update runs.
    #[error("failed to {action} at the BMC {bmc}: another update is in progress")]
    InProgress {
        /// What was asked.
        action: &'static str,
        /// Address of the BMC.
        bmc: String,
    },
    /// No.
    #[error("failed to {action} at the BMC {bmc}: it answered {status}: {message}")]
    Refused {
        /// What was asked.
        action: &'static str,
        /// Address of the BMC.
        bmc: String,
        /// HTTP status.
        status: u16,
        /// Beginning of the body.
        message: String,
    },
    /// Something that is not Redfish.
    #[error("failed to {action} at the BMC {bmc}: the answer cannot be read")]
    Malformed {
        /// What was asked.
        action: &'static str,
        /// Address of the BMC.
        bmc: String,
        /// Cause.
        source: serde_json::Error,
    },
}

impl RedfishError {
    /// Whether the BMC said no for good, so that asking again the same is of no use.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status < 500,
            Self::NotFound { .. } => true,
            Self::NoAddress { .. }
            | Self::Unreachable { .. }
            | Self::Unauthorized { .. }
            | Self::Busy { .. }
            | Self::InProgress { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

impl Classified for RedfishError {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::NoAddress { .. } => "BMCIPNotValid",
            Self::Unreachable { .. } => "BMCUnreachable",
            Self::Unauthorized { .. } => "BMCUnauthorized",
            Self::Busy { .. } => "BMCBusy",
            Self::NotFound { .. } => "BMCNotFound",
            Self::InProgress { .. } => "BMCUpdateInProgress",
            Self::Refused { .. } => "BMCRefused",
            Self::Malformed { .. } => "BMCMalformedAnswer",
        }
    }
}

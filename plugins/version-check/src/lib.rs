//! The default version-check plugin.
//!
//! It answers whether the services of a DPUDeployment fit its DPUs: the versions their charts ask for ([`versions`]) and the
//! resources they need ([`resources`]). All that is missing is reported at once, in an order that depends on the request
//! alone. This crate is the logic; it knows nothing of WebAssembly.

pub mod constraint;
pub mod resources;
pub mod versions;

use dpf_plugin_sdk::check::Request;
use dpf_plugin_sdk::{Descriptor, Failure, Finding, NoSettings, Plugin, VersionCheck, descriptor};

/// The exported plugin.
pub struct DefaultVersionCheck;

impl Plugin for DefaultVersionCheck {
    type Settings = NoSettings;

    fn describe() -> Descriptor {
        descriptor!(
            "dpf",
            "Checks version constraints of charts and the resources of a DPU."
        )
    }
}

impl VersionCheck for DefaultVersionCheck {
    fn check(request: Request, _: NoSettings) -> Result<Vec<Finding>, Failure> {
        let mut findings = versions::check(&request.services, &request.provided);
        if let Some(resources) = &request.resources {
            findings.extend(resources::check(&request.services, resources));
        }
        Ok(findings)
    }
}

dpf_plugin_sdk::version_check!(DefaultVersionCheck);

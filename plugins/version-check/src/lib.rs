//! The default version-check plugin.
//!
//! It answers whether the services of a DPUDeployment fit its DPUs: the versions their charts ask for ([`versions`]) and the
//! resources they need ([`resources`]). All that is missing is reported at once, in an order that depends on the request
//! alone. This crate is the logic; it knows nothing of WebAssembly.

pub mod constraint;
pub mod resources;
pub mod versions;

use dpf_plugin_sdk::check::Request;
use dpf_plugin_sdk::{Descriptor, Failure, Finding, Plugin, VersionCheck};

/// The exported plugin.
pub struct DefaultVersionCheck;

impl Plugin for DefaultVersionCheck {
    fn describe() -> Descriptor {
        Descriptor {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vendor: "dpf".to_owned(),
            description: "Checks version constraints of charts and the resources of a DPU."
                .to_owned(),
            annotations: Vec::new(),
        }
    }
}

impl VersionCheck for DefaultVersionCheck {
    fn check(request: Request) -> Result<Vec<Finding>, Failure> {
        let mut findings = versions::check(&request.services, &request.provided);
        if let Some(resources) = &request.resources {
            findings.extend(resources::check(&request.services, resources));
        }
        Ok(findings)
    }
}

dpf_plugin_sdk::version_check!(DefaultVersionCheck);

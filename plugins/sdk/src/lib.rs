//! What a plugin author needs: guest bindings of the dpf:plugin worlds.
//!
//! A plugin is a type without fields that implements [`Plugin`] and the trait of one stage ([`TemplateMerge`],
//! [`VersionCheck`] or [`ChainBuilder`]), and one macro call that exports it. Everything is plain Rust: tests run natively,
//! the exports exist only on `wasm32`. The built component is tested with `dpfctl plugin test`, or from `cargo test` with the
//! crate `dpf-plugin-harness`.
//!
//! ```text
//!   request.settings --parse--> Settings --+
//!   request ------------------------------+--> your function --> response, findings or Failure
//! ```
//!
//! ```
//! # #[cfg(feature = "json")] {
//! use dpf_plugin_sdk::{check, Descriptor, Failure, Finding, Findings, Plugin, VersionCheck};
//!
//! /// The settings a cluster administrator may give.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     /// How many services a deployment may have.
//!     limit: usize,
//! }
//!
//! dpf_plugin_sdk::settings!(Settings);
//!
//! struct Few;
//!
//! impl Plugin for Few {
//!     type Settings = Settings;
//!
//!     fn describe() -> Descriptor {
//!         dpf_plugin_sdk::descriptor!("example.com", "Bounds the number of services of a deployment.")
//!     }
//! }
//!
//! impl VersionCheck for Few {
//!     fn check(request: check::Request, settings: Settings) -> Result<Vec<Finding>, Failure> {
//!         let mut findings = Findings::default();
//!         if request.services.len() > settings.limit {
//!             let object = format!("DPUDeployment/{}", request.deployment.name);
//!             findings.error(object, "spec.services", format!("more than {} services", settings.limit));
//!         }
//!         Ok(findings.into())
//!     }
//! }
//!
//! dpf_plugin_sdk::version_check!(Few);
//!
//! // Natively, settings and all:
//! let request = check::Request { settings: r#"{"limit": 2}"#.into(), ..Default::default() };
//! assert_eq!(dpf_plugin_sdk::call::check::<Few>(request), Ok(vec![]));
//! # }
//! ```
//!
//! A panic ends the call as a fault of the plugin; its message reaches the host's log first. What the *user* did wrong is a
//! [`Failure`] or a [`Finding`], never a panic.

#[doc(hidden)]
pub mod bindings;
pub mod call;
mod export;
mod findings;
#[cfg(feature = "json")]
mod json;
mod log;
mod samples;
mod settings;

pub use bindings::base::dpf::plugin::log::Level;
pub use bindings::base::dpf::plugin::types::{Deployment, Failure, Finding, Severity};
pub use bindings::base::exports::dpf::plugin::plugin::Descriptor;
/// Requests and responses of the stage chain-builder.
pub use bindings::chain::exports::dpf::plugin::chain;
/// Requests of the stage version-check.
pub use bindings::check::exports::dpf::plugin::check;
/// Requests and responses of the stage template-merge.
pub use bindings::values::exports::dpf::plugin::values;
#[doc(hidden)]
pub use export::enter;
pub use findings::{Findings, error, failure, warning};
#[cfg(feature = "json")]
pub use json::{document, parse_settings, schema};
pub use log::log;
pub use settings::{NoSettings, Settings};

/// What every plugin says of itself.
pub trait Plugin {
    /// What an administrator can configure; [`NoSettings`] when there is nothing.
    type Settings: Settings;

    /// Who the plugin is. Must be the same every time. [`descriptor!`] takes name and version from Cargo.toml.
    fn describe() -> Descriptor;

    /// What is wrong with settings beyond their types; they are refused when this says anything. `field` of a finding is a
    /// path in the settings. By default nothing is.
    fn check_settings(settings: &Self::Settings) -> Vec<Finding> {
        let _ = settings;
        Vec::new()
    }
}

/// A plugin that merges and renders helm values.
pub trait TemplateMerge: Plugin {
    /// Renders and merges.
    ///
    /// # Errors
    /// The user's input is wrong; there is no result.
    fn merge(
        request: values::Request,
        settings: Self::Settings,
    ) -> Result<values::Response, Failure>;
}

/// A plugin that checks versions and resources.
pub trait VersionCheck: Plugin {
    /// Says all that is wrong, in an order that depends on the request alone.
    ///
    /// # Errors
    /// The user's input cannot be checked at all.
    fn check(request: check::Request, settings: Self::Settings) -> Result<Vec<Finding>, Failure>;
}

/// A plugin that builds service chains.
pub trait ChainBuilder: Plugin {
    /// Resolves every port.
    ///
    /// # Errors
    /// A port names something that does not exist.
    fn build(request: chain::Request, settings: Self::Settings)
    -> Result<chain::Response, Failure>;
}

//! What a plugin author needs: guest bindings of the dpf:plugin worlds.
//!
//! A plugin is a type without fields that implements [`Plugin`] and the trait of one stage ([`TemplateMerge`],
//! [`VersionCheck`] or [`ChainBuilder`]), and one macro call that exports it. Everything is plain Rust: tests run natively,
//! the exports exist only on `wasm32`.
//!
//! ```
//! use dpf_plugin_sdk::{check, version_check, Descriptor, Failure, Finding, Plugin, VersionCheck};
//!
//! struct Nothing;
//!
//! impl Plugin for Nothing {
//!     fn describe() -> Descriptor {
//!         Descriptor {
//!             name: "nothing".into(),
//!             version: "1.0.0".into(),
//!             vendor: "example.com".into(),
//!             description: "Finds nothing wrong.".into(),
//!             annotations: Vec::new(),
//!         }
//!     }
//! }
//!
//! impl VersionCheck for Nothing {
//!     fn check(_: check::Request) -> Result<Vec<Finding>, Failure> {
//!         Ok(Vec::new())
//!     }
//! }
//!
//! version_check!(Nothing);
//! ```
//!
//! A panic ends the call as a fault of the plugin; its message reaches the host's log first. What the *user* did wrong is a
//! [`Failure`] or a [`Finding`], never a panic.

use std::sync::Once;

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
pub mod bindings {
    // One world per export, so that the interface `plugin` is generated once. wit-component unites those a plugin exports
    // to its world.
    pub mod base {
        wit_bindgen::generate!({
            path: "../../wit",
            inline: "package dpf:guest@1.0.0; world base { import dpf:plugin/log@1.0.0; export dpf:plugin/plugin@1.0.0; }",
            world: "dpf:guest/base@1.0.0",
            pub_export_macro: true,
            export_macro_name: "export_base",
            default_bindings_module: "dpf_plugin_sdk::bindings::base",
            additional_derives: [PartialEq, Eq],
            generate_all,
        });
    }
    pub mod values {
        wit_bindgen::generate!({
            path: "../../wit",
            inline: "package dpf:guest-values@1.0.0; world values { export dpf:plugin/values@1.0.0; }",
            world: "dpf:guest-values/values@1.0.0",
            pub_export_macro: true,
            export_macro_name: "export_values",
            default_bindings_module: "dpf_plugin_sdk::bindings::values",
            additional_derives: [PartialEq, Eq],
            with: { "dpf:plugin/types@1.0.0": crate::bindings::base::dpf::plugin::types },
        });
    }
    pub mod check {
        wit_bindgen::generate!({
            path: "../../wit",
            inline: "package dpf:guest-check@1.0.0; world check { export dpf:plugin/check@1.0.0; }",
            world: "dpf:guest-check/check@1.0.0",
            pub_export_macro: true,
            export_macro_name: "export_check",
            default_bindings_module: "dpf_plugin_sdk::bindings::check",
            additional_derives: [PartialEq, Eq],
            with: { "dpf:plugin/types@1.0.0": crate::bindings::base::dpf::plugin::types },
        });
    }
    pub mod chain {
        wit_bindgen::generate!({
            path: "../../wit",
            inline: "package dpf:guest-chain@1.0.0; world chain { export dpf:plugin/chain@1.0.0; }",
            world: "dpf:guest-chain/chain@1.0.0",
            pub_export_macro: true,
            export_macro_name: "export_chain",
            default_bindings_module: "dpf_plugin_sdk::bindings::chain",
            additional_derives: [PartialEq, Eq],
            with: { "dpf:plugin/types@1.0.0": crate::bindings::base::dpf::plugin::types },
        });
    }
}

/// What every plugin says of itself.
pub trait Plugin {
    /// Who the plugin is. Must be the same every time.
    fn describe() -> Descriptor;

    /// The JSON Schema of its settings. By default there are none.
    fn settings_schema() -> String {
        r#"{"type":"object","additionalProperties":false}"#.to_owned()
    }

    /// Checks settings before they are used. By default only the empty object passes.
    ///
    /// # Errors
    /// What is wrong; `field` of a finding is a path in the settings.
    fn validate_settings(settings: &str) -> Result<(), Vec<Finding>> {
        let bare: String = settings
            .chars()
            .filter(|c| !c.is_ascii_whitespace())
            .collect();
        if bare == "{}" {
            return Ok(());
        }
        Err(vec![Finding {
            severity: Severity::Error,
            object: format!("DPUPlugin settings of {}", Self::describe().name),
            field: "settings".to_owned(),
            message: "this plugin has no settings; leave them out".to_owned(),
        }])
    }
}

/// A plugin that merges and renders helm values.
pub trait TemplateMerge: Plugin {
    /// Renders and merges.
    ///
    /// # Errors
    /// The user's input is wrong; there is no result.
    fn merge(request: values::Request) -> Result<values::Response, Failure>;
}

/// A plugin that checks versions and resources.
pub trait VersionCheck: Plugin {
    /// Says all that is wrong, in an order that depends on the request alone.
    ///
    /// # Errors
    /// The user's input cannot be checked at all.
    fn check(request: check::Request) -> Result<Vec<Finding>, Failure>;
}

/// A plugin that builds service chains.
pub trait ChainBuilder: Plugin {
    /// Resolves every port.
    ///
    /// # Errors
    /// A port names something that does not exist.
    fn build(request: chain::Request) -> Result<chain::Response, Failure>;
}

/// Writes a line to the host's log. Outside a host it goes nowhere.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    bindings::base::dpf::plugin::log::write(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (level, message);
}

/// An error of the user's input, in the field of an object.
pub fn error(
    object: impl Into<String>,
    field: impl Into<String>,
    message: impl Into<String>,
) -> Finding {
    Finding {
        severity: Severity::Error,
        object: object.into(),
        field: field.into(),
        message: message.into(),
    }
}

/// A failure with its findings. Its message is theirs, in the way Kubernetes joins several errors.
pub fn failure(code: &str, findings: Vec<Finding>) -> Failure {
    let message = match findings.as_slice() {
        [one] => one.message.clone(),
        many => {
            let all: Vec<&str> = many
                .iter()
                .map(|finding| finding.message.as_str())
                .collect();
            format!("[{}]", all.join(", "))
        }
    };
    Failure {
        code: code.to_owned(),
        message,
        findings,
    }
}

/// Runs before every exported call: a panic is otherwise a trap without words.
#[doc(hidden)]
pub fn enter() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|info| log(Level::Error, &info.to_string()))));
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin {
    ($export:ident, $plugin:ty) => {
        impl $crate::bindings::base::exports::dpf::plugin::plugin::Guest for $export {
            fn describe() -> $crate::Descriptor {
                $crate::enter();
                <$plugin as $crate::Plugin>::describe()
            }
            fn settings_schema() -> String {
                $crate::enter();
                <$plugin as $crate::Plugin>::settings_schema()
            }
            fn validate_settings(settings: String) -> Result<(), Vec<$crate::Finding>> {
                $crate::enter();
                <$plugin as $crate::Plugin>::validate_settings(&settings)
            }
        }
        $crate::bindings::base::export_base!($export with_types_in $crate::bindings::base);
    };
}

/// Exports a type that implements [`TemplateMerge`] as a component of the world template-merge.
// rustfmt does not understand the macro call inside.
#[rustfmt::skip]
#[macro_export]
macro_rules! template_merge {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Export;
            $crate::__export_plugin!(Export, $plugin);
            impl $crate::values::Guest for Export {
                fn merge(
                    request: $crate::values::Request,
                ) -> Result<$crate::values::Response, $crate::Failure> {
                    $crate::enter();
                    <$plugin as $crate::TemplateMerge>::merge(request)
                }
            }
            $crate::bindings::values::export_values!(Export with_types_in $crate::bindings::values);
        };
    };
}

/// Exports a type that implements [`VersionCheck`] as a component of the world version-check.
#[rustfmt::skip]
#[macro_export]
macro_rules! version_check {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Export;
            $crate::__export_plugin!(Export, $plugin);
            impl $crate::check::Guest for Export {
                fn check(
                    request: $crate::check::Request,
                ) -> Result<Vec<$crate::Finding>, $crate::Failure> {
                    $crate::enter();
                    <$plugin as $crate::VersionCheck>::check(request)
                }
            }
            $crate::bindings::check::export_check!(Export with_types_in $crate::bindings::check);
        };
    };
}

/// Exports a type that implements [`ChainBuilder`] as a component of the world chain-builder.
#[rustfmt::skip]
#[macro_export]
macro_rules! chain_builder {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Export;
            $crate::__export_plugin!(Export, $plugin);
            impl $crate::chain::Guest for Export {
                fn build(
                    request: $crate::chain::Request,
                ) -> Result<$crate::chain::Response, $crate::Failure> {
                    $crate::enter();
                    <$plugin as $crate::ChainBuilder>::build(request)
                }
            }
            $crate::bindings::chain::export_chain!(Export with_types_in $crate::bindings::chain);
        };
    };
}

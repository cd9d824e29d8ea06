//! The macros that make a component of a plugin.

use std::sync::Once;

use crate::{Level, log};

/// Runs before every exported call: a panic is otherwise a trap without words.
pub fn enter() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|info| log(Level::Error, &info.to_string()))));
}

/// Who a plugin is, with name and version of the crate: `descriptor!("vendor", "One sentence.")`.
#[macro_export]
macro_rules! descriptor {
    ($vendor:expr, $description:expr) => {
        $crate::Descriptor {
            name: ::std::env!("CARGO_PKG_NAME").into(),
            version: ::std::env!("CARGO_PKG_VERSION").into(),
            vendor: $vendor.into(),
            description: $description.into(),
            annotations: ::std::vec::Vec::new(),
        }
    };
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
                <<$plugin as $crate::Plugin>::Settings as $crate::Settings>::schema()
            }
            fn validate_settings(settings: String) -> Result<(), Vec<$crate::Finding>> {
                $crate::enter();
                $crate::call::validate_settings::<$plugin>(&settings).map(|_| ())
            }
        }
        $crate::bindings::base::export_base!($export with_types_in $crate::bindings::base);
    };
}

/// Exports a type that implements [`TemplateMerge`](crate::TemplateMerge) as a component of the world template-merge.
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
                    $crate::call::merge::<$plugin>(request)
                }
            }
            $crate::bindings::values::export_values!(Export with_types_in $crate::bindings::values);
        };
    };
}

/// Exports a type that implements [`VersionCheck`](crate::VersionCheck) as a component of the world version-check.
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
                    $crate::call::check::<$plugin>(request)
                }
            }
            $crate::bindings::check::export_check!(Export with_types_in $crate::bindings::check);
        };
    };
}

/// Exports a type that implements [`ChainBuilder`](crate::ChainBuilder) as a component of the world chain-builder.
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
                    $crate::call::build::<$plugin>(request)
                }
            }
            $crate::bindings::chain::export_chain!(Export with_types_in $crate::bindings::chain);
        };
    };
}

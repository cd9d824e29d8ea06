//! The generated bindings. Authors use what the crate's root exports of them.
//!
//! One world per export, so that the interface `plugin` is generated once. wit-component unites those a plugin exports to
//! its world.

#![allow(
    missing_docs,
    unsafe_code,
    clippy::all,
    clippy::restriction,
    reason = "generated; its documentation is in wit/"
)]

pub mod base {
    wit_bindgen::generate!({
        path: "wit",
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
        path: "wit",
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
        path: "wit",
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
        path: "wit",
        inline: "package dpf:guest-chain@1.0.0; world chain { export dpf:plugin/chain@1.0.0; }",
        world: "dpf:guest-chain/chain@1.0.0",
        pub_export_macro: true,
        export_macro_name: "export_chain",
        default_bindings_module: "dpf_plugin_sdk::bindings::chain",
        additional_derives: [PartialEq, Eq],
        with: { "dpf:plugin/types@1.0.0": crate::bindings::base::dpf::plugin::types },
    });
}

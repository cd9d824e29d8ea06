//! Host bindings of the dpf:plugin worlds.
//!
//! One module per exported interface, so that the interface `plugin`, which all worlds export, has one set of types. A plugin
//! of a world fits [`base`] and the module of its stage.

/// What every plugin imports and exports.
pub(crate) mod base {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package dpf:host-base@1.0.0; world base { import dpf:plugin/log@1.0.0; export dpf:plugin/plugin@1.0.0; }",
        world: "dpf:host-base/base@1.0.0",
    });
}

/// Stage template-merge.
pub(crate) mod values {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package dpf:host-values@1.0.0; world values { export dpf:plugin/values@1.0.0; }",
        world: "dpf:host-values/values@1.0.0",
        with: { "dpf:plugin/types@1.0.0": super::base::dpf::plugin::types },
    });
}

/// Stage version-check.
pub(crate) mod check {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package dpf:host-check@1.0.0; world check { export dpf:plugin/check@1.0.0; }",
        world: "dpf:host-check/check@1.0.0",
        with: { "dpf:plugin/types@1.0.0": super::base::dpf::plugin::types },
    });
}

/// Stage chain-builder.
pub(crate) mod chain {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package dpf:host-chain@1.0.0; world chain { export dpf:plugin/chain@1.0.0; }",
        world: "dpf:host-chain/chain@1.0.0",
        with: { "dpf:plugin/types@1.0.0": super::base::dpf::plugin::types },
    });
}

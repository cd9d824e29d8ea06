//! The plugins that are compiled into the binary.

use crate::stage::Stage;

/// The component that serves a stage when no other does. The build script makes it from `plugins/`.
pub fn default_component(stage: Stage) -> &'static [u8] {
    match stage {
        Stage::TemplateMerge => include_bytes!(concat!(env!("OUT_DIR"), "/template-merge.wasm")),
        Stage::VersionCheck => include_bytes!(concat!(env!("OUT_DIR"), "/version-check.wasm")),
        Stage::ChainBuilder => include_bytes!(concat!(env!("OUT_DIR"), "/chain-builder.wasm")),
    }
}

//! Between the API's word for a stage and the engine's.

use dpf_api::plugin::PluginStage;
use dpf_stage::Stage;

/// The stage that a DPUPlugin names.
#[must_use]
pub fn stage(stage: PluginStage) -> Stage {
    match stage {
        PluginStage::TemplateMerge => Stage::TemplateMerge,
        PluginStage::VersionCheck => Stage::VersionCheck,
        PluginStage::ChainBuilder => Stage::ChainBuilder,
    }
}

//! Runs the plugins behind [`Stages`] and makes the plan, on a thread that may block.

use super::error::Error;
use crate::kit::Context;
use dpf_core::dpudeployment::validate::Service;
use dpf_core::dpudeployment::{
    Invalid, Observed, Plan, Refusal, Rejection, Stages, consult, plan, validate,
};
use dpf_engine::{CallError, Engine, Plugin, Stage};
use dpf_stage::{ChainRequest, ChainResponse, CheckRequest, Finding, MergeRequest, MergeResponse};
use std::sync::Arc;

/// What a pass decided.
pub(super) enum Decision {
    /// The user's input is wrong.
    Invalid(Invalid),
    /// A stage said no, or failed.
    Rejected(Rejection),
    /// What to write.
    Planned(Plan),
}

/// Validates, consults the plugins and plans.
pub(super) async fn decide(context: &Context, observed: Arc<Observed>) -> Result<Decision, Error> {
    let stages = Plugins {
        engine: context.engine.clone(),
    };
    tokio::task::spawn_blocking(move || {
        let validated = match validate(&observed) {
            Ok(validated) => validated,
            Err(invalid) => return Decision::Invalid(invalid),
        };
        match consult(&validated, &stages) {
            Ok(advice) => Decision::Planned(plan(&validated, &advice)),
            Err(rejection) => Decision::Rejected(rejection),
        }
    })
    .await
    .map_err(|source| Error::RunPlugins { source })
}

/// The plugins of this host.
struct Plugins {
    engine: Engine,
}

impl Plugins {
    fn refuse(plugin: &Plugin, error: CallError) -> Refusal {
        match error {
            CallError::Failure(failure) => Refusal::Input(failure),
            CallError::Fault(fault) => Refusal::Fault {
                reason: fault.reason().to_owned(),
                message: format!(
                    "plugin {} of stage {} failed: {fault}",
                    plugin.descriptor().name,
                    plugin.stage()
                ),
            },
        }
    }
}

impl Stages for Plugins {
    fn merge(
        &self,
        _service: &Service<'_>,
        request: &MergeRequest,
    ) -> Result<MergeResponse, Refusal> {
        let plugin = self.engine.default_plugin(Stage::TemplateMerge);
        plugin
            .merge(request)
            .map_err(|error| Self::refuse(&plugin, error))
    }

    fn check(&self, request: &CheckRequest) -> Result<Vec<Finding>, Refusal> {
        let plugin = self.engine.default_plugin(Stage::VersionCheck);
        plugin
            .check(request)
            .map_err(|error| Self::refuse(&plugin, error))
    }

    fn build_chain(&self, request: &ChainRequest) -> Result<ChainResponse, Refusal> {
        let plugin = self.engine.default_plugin(Stage::ChainBuilder);
        plugin
            .build_chain(request)
            .map_err(|error| Self::refuse(&plugin, error))
    }
}

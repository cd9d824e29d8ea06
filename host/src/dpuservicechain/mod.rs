//! Controller of DPUServiceChains.

use crate::fanout::{self, FanOutError};
use crate::kit::{Context, Next, Shutdown};
use dpf_api::operator::DpfOperatorConfig;
use dpf_api::svc::DpuServiceChain;
use dpf_core::dpuservicechain::mtu_gate;
use kube::Api;
use kube::api::ListParams;
use std::sync::Arc;

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    fanout::run(context, shutdown, reconcile).await;
}

async fn reconcile(
    chain: Arc<DpuServiceChain>,
    context: Arc<Context>,
) -> Result<Next, FanOutError> {
    let gate = mtu_gate(&chain, high_speed_mtu(&context).await?);
    fanout::reconcile(chain, context, gate).await
}

/// What the fabric carries, if the operator said so.
async fn high_speed_mtu(context: &Context) -> Result<Option<i64>, FanOutError> {
    let api: Api<DpfOperatorConfig> =
        Api::namespaced(context.client.clone(), &context.settings.operator_namespace);
    match api.list(&ListParams::default()).await {
        Ok(configs) => Ok(configs
            .items
            .first()
            .and_then(|config| config.spec.networking.as_ref()?.high_speed_mtu)
            .map(i64::from)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(source) => Err(FanOutError::ReadPrerequisite {
            what: "DPFOperatorConfig",
            source: Box::new(source),
        }),
    }
}

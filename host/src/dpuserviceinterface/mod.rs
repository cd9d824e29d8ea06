//! Controller of DPUServiceInterfaces.

use crate::fanout::{self, FanOutError};
use crate::kit::{Context, Next, Shutdown};
use dpf_api::svc::DpuServiceInterface;
use dpf_core::dpuserviceinterface::prerequisites;
use std::sync::Arc;

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    fanout::run(context, shutdown, reconcile).await;
}

async fn reconcile(
    interface: Arc<DpuServiceInterface>,
    context: Arc<Context>,
) -> Result<Next, FanOutError> {
    let gate = prerequisites(&interface);
    fanout::reconcile(interface, context, gate).await
}

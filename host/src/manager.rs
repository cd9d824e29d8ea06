//! Starts the controllers and waits for them.

use crate::kit::{Context, Shutdown};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Runs all controllers until `shutdown`, or until one of them ends, which ends the others.
///
/// # Errors
/// The message of a controller that panicked.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) -> Result<(), String> {
    let mut controllers = JoinSet::new();
    macro_rules! start {
        ($($controller:ident),* $(,)?) => {
            $(controllers.spawn(crate::$controller::run(context.clone(), shutdown.clone()));)*
        };
    }
    start!(
        plugins,
        dpudeployment,
        incluster,
        dpuservicetemplate,
        bfb,
        dpucluster,
        dpudevice,
        dpunode,
        dpunodemaintenance,
        dpuset,
        dpu,
        dpuready,
        dpuservice,
        dpuserviceinterface,
        dpuservicechain,
        sets,
        notsupported,
    );
    let mut outcome = Ok(());
    while let Some(ended) = controllers.join_next().await {
        shutdown.cancel();
        if let Err(error) = ended {
            outcome = Err(format!("a controller stopped: {error}"));
        }
    }
    outcome
}

//! Controller of this kind.

use crate::kit::{Context, Shutdown};
use std::sync::Arc;

/// Runs until shutdown.
pub async fn run(_context: Arc<Context>, shutdown: Shutdown) {
    shutdown.cancelled().await;
}

//! Writes the status, only what differs from what was written last, and mere progress once a second.

use super::error::Error;
use crate::kit::{Context, write_status};
use dpf_api::conditions::READY;
use dpf_api::keys::managers;
use dpf_api::svc::{DpuDeployment, DpuDeploymentStatus, ObservedDependency};
use dpf_core::conditions::is_true;
use dpf_core::dpudeployment::dependencies::observed_dependencies;
use dpf_core::dpudeployment::status::{Outcome, Readiness, is_progress};
use dpf_core::dpudeployment::{Observed, conditions};
use kube::ResourceExt;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Children become ready in bursts, and every write wakes everybody who watches the deployment.
const PACE: Duration = Duration::from_secs(1);

/// When the statuses of deployments that are not Ready were written. Bounded by their number.
#[derive(Clone, Default)]
pub(super) struct Pace(Arc<Mutex<BTreeMap<(String, String), Instant>>>);

impl Pace {
    /// How long progress has to wait.
    fn left(&self, key: &(String, String)) -> Option<Duration> {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = written.get(key)?.elapsed();
        PACE.checked_sub(since).filter(|left| !left.is_zero())
    }

    fn wrote(&self, key: (String, String), ready: bool) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ready {
            written.remove(&key);
        } else {
            written.insert(key, Instant::now());
        }
    }

    /// The deployment is gone.
    pub(super) fn forget(&self, key: &(String, String)) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

/// The status of a deployment during one pass.
pub(super) struct Status<'a> {
    context: &'a Context,
    pace: &'a Pace,
    /// With the status as it was written last.
    deployment: DpuDeployment,
    dependencies: Vec<ObservedDependency>,
}

impl<'a> Status<'a> {
    pub(super) fn new(context: &'a Context, pace: &'a Pace, observed: &Observed) -> Self {
        Self {
            context,
            pace,
            deployment: observed.deployment.clone(),
            dependencies: observed_dependencies(observed),
        }
    }

    /// Writes what came of the pass so far. Progress that has to wait is not written; returns how long.
    pub(super) async fn write(
        &mut self,
        outcome: &Outcome<'_>,
        children: &Readiness,
    ) -> Result<Option<Duration>, Error> {
        let conditions = conditions(&self.deployment, outcome, children, self.context.now());
        let key = (
            self.deployment.namespace().unwrap_or_default(),
            self.deployment.name_any(),
        );
        let observed = self.deployment.status.as_ref();
        let observed = observed.and_then(|status| status.conditions.as_deref());
        let waits = self.is_current()
            && observed != Some(conditions.as_slice())
            && is_progress(observed, &conditions);
        if let Some(left) = self.pace.left(&key).filter(|_| waits) {
            return Ok(Some(left));
        }
        let ready = is_true(Some(&conditions), READY);
        let status = DpuDeploymentStatus {
            conditions: Some(conditions),
            observed_generation: self.deployment.metadata.generation,
            observed_dependencies: Some(self.dependencies.clone()),
        };
        let (client, manager) = (&self.context.client, managers::DPUDEPLOYMENT);
        if write_status(client, manager, &self.deployment, json!(status)).await? {
            self.pace.wrote(key, ready);
        }
        self.deployment.status = Some(status);
        Ok(None)
    }

    /// Takes `Ready` back before anything is changed, if it is True: it was said of another state.
    ///
    /// A pass takes a while, and it may die before its end. `Ready` must not be True meanwhile.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        let status = self.deployment.status.as_ref();
        if is_true(status.and_then(|s| s.conditions.as_deref()), READY) {
            self.write(&Outcome::Begun, &Readiness::new()).await?;
        }
        Ok(())
    }

    /// Whether the status speaks of the present state of the deployment and of what it refers to.
    pub(super) fn is_current(&self) -> bool {
        let status = self.deployment.status.as_ref();
        status.is_some_and(|status| {
            status.observed_generation == self.deployment.metadata.generation
                && status.observed_dependencies.as_ref() == Some(&self.dependencies)
        })
    }
}

//! What to do with the Applications of a service.

use super::argo::Application;
use crate::drift::metadata_drifted;
use crate::fanout::ClusterKey;
use dpf_api::keys::annotations::ARGO_SKIP_RECONCILE;
use dpf_api::keys::{finalizers, labels, managers};
use dpf_api::svc::DpuService;
use kube::ResourceExt;

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write the Application.
    Apply(Box<Application>),
    /// Tell Argo CD to leave it alone.
    Pause(Box<Application>),
    /// Tell Argo CD to go on.
    Resume(Box<Application>),
    /// Remove Argo CD's finalizer: its cluster is gone, so there is nothing left to delete there.
    Orphan(Box<Application>),
    /// Delete the Application, and with it what it deployed.
    Delete(Box<Application>),
}

/// Compares the Applications of a service with what they should be.
///
/// `desired` is what is to run, `known` are all DPUClusters. Deletion wins over a pause.
#[must_use]
pub fn plan(
    service: &DpuService,
    desired: &[Application],
    observed: &[Application],
    known: &[ClusterKey],
) -> Vec<Action> {
    let mut actions = Vec::new();
    if service.metadata.deletion_timestamp.is_some() {
        for application in observed {
            remove(application, known, &mut actions);
        }
        return actions;
    }
    if service.spec.paused == Some(true) {
        actions.extend(
            observed
                .iter()
                .filter(|application| !skipped(application))
                .map(|application| Action::Pause(Box::new(application.clone()))),
        );
        return actions;
    }
    for application in observed {
        if !desired
            .iter()
            .any(|d| d.name_any() == application.name_any())
        {
            remove(application, known, &mut actions);
        }
    }
    for application in desired {
        let current = observed
            .iter()
            .find(|o| o.name_any() == application.name_any());
        match current {
            // It comes back when it is gone.
            Some(current) if current.metadata.deletion_timestamp.is_some() => {
                remove(current, known, &mut actions);
            }
            Some(current) => {
                if differs(application, current) {
                    actions.push(Action::Apply(Box::new(application.clone())));
                }
                if skipped(current) {
                    actions.push(Action::Resume(Box::new(current.clone())));
                }
            }
            None => actions.push(Action::Apply(Box::new(application.clone()))),
        }
    }
    actions
}

fn remove(application: &Application, known: &[ClusterKey], actions: &mut Vec<Action>) {
    let boxed = || Box::new(application.clone());
    if skipped(application) {
        actions.push(Action::Resume(boxed()));
    }
    if application.metadata.deletion_timestamp.is_none() {
        actions.push(Action::Delete(boxed()));
    }
    let held = application
        .finalizers()
        .iter()
        .any(|f| f == finalizers::ARGO_RESOURCES);
    if held && cluster_is_gone(application, known) {
        actions.push(Action::Orphan(boxed()));
    }
}

/// Whether the Application is for a DPU cluster that no longer exists. One for the management cluster never is.
fn cluster_is_gone(application: &Application, known: &[ClusterKey]) -> bool {
    let labels = application.labels();
    match (
        labels.get(labels::CLUSTER),
        labels.get(labels::CLUSTER_NAMESPACE),
    ) {
        (Some(name), Some(namespace)) => !known
            .iter()
            .any(|key| &key.name == name && &key.namespace == namespace),
        _ => false,
    }
}

fn skipped(application: &Application) -> bool {
    application
        .annotations()
        .get(ARGO_SKIP_RECONCILE)
        .is_some_and(|value| value == "true")
}

fn differs(desired: &Application, observed: &Application) -> bool {
    desired.spec != observed.spec
        || metadata_drifted(managers::DPUSERVICE, &desired.metadata, &observed.metadata)
        || desired
            .finalizers()
            .iter()
            .any(|finalizer| !observed.finalizers().contains(finalizer))
}

//! Carries out a plan: the only writer of this controller.

use super::child::{Child, note, readiness};
use crate::kit::{
    Context, Kind, WriteError, apply as apply_object, delete, patch_metadata, remove_finalizer,
};
use dpf_api::keys::{finalizers, managers};
use dpf_api::provisioning::{Bfb, DpuFlavor, DpuSet};
use dpf_api::svc::{
    DpuService, DpuServiceChain, DpuServiceConfiguration, DpuServiceInterface, DpuServiceTemplate,
};
use dpf_core::dpudeployment::build::service_owner;
use dpf_core::dpudeployment::marks::{mark_label, mark_patch};
use dpf_core::dpudeployment::status::Readiness;
use dpf_core::dpudeployment::{Action, ChildKind, DependencyKind, Observed};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Field manager of `spec.paused`, so that an apply without the field does not take it away from an older revision.
const PAUSE_MANAGER: &str = "dpudeploymentcontroller-pause";

/// What came of a plan.
pub(super) struct Applied {
    /// Errors by the kind of child they concern.
    pub(super) errors: Vec<(Option<ChildKind>, String)>,
    /// Readiness of the children after the writes.
    pub(super) readiness: Readiness,
}

/// Carries out the actions in order. An error does not stop the others, with one exception: once anything failed,
/// nothing is deleted in this pass.
pub(super) async fn apply(context: &Context, observed: &Observed, actions: Vec<Action>) -> Applied {
    let mut errors = Vec::new();
    let services = observed.services.iter();
    let mut writer = Writer {
        context,
        observed,
        uids: services
            .filter_map(|s| Some((s.name_any(), s.uid()?)))
            .collect(),
        readiness: readiness(observed),
    };
    for action in actions {
        let destructive = matches!(action, Action::Delete { .. } | Action::RemoveFinalizer);
        if destructive && !errors.is_empty() {
            continue;
        }
        let kind = kind_of(&action);
        if let Err(error) = writer.carry_out(action).await {
            errors.push((kind, error.message()));
        }
    }
    Applied {
        errors,
        readiness: writer.readiness,
    }
}

fn kind_of(action: &Action) -> Option<ChildKind> {
    match action {
        Action::Mark { .. } | Action::Unmark { .. } | Action::RemoveFinalizer => None,
        Action::Pause { .. } | Action::Unpause { .. } | Action::ApplyService(_) => {
            Some(ChildKind::Service)
        }
        Action::ApplyInterface { .. } => Some(ChildKind::Interface),
        Action::ApplyChain(_) => Some(ChildKind::Chain),
        Action::ApplySet(_) => Some(ChildKind::Set),
        Action::Delete { kind, .. } => Some(*kind),
    }
}

/// What one pass writes with, and what it learns while it writes.
struct Writer<'a> {
    context: &'a Context,
    observed: &'a Observed,
    /// Uids of the services, to make them owners of their interfaces.
    uids: BTreeMap<String, String>,
    readiness: Readiness,
}

impl Writer<'_> {
    async fn carry_out(&mut self, action: Action) -> Result<(), WriteError> {
        let client = &self.context.client;
        let (manager, finalizer) = (managers::DPUDEPLOYMENT, finalizers::DPUDEPLOYMENT);
        let deployment = &self.observed.deployment;
        match action {
            Action::RemoveFinalizer => {
                remove_finalizer(client, manager, deployment, finalizer).await
            }
            Action::Mark { kind, name } => {
                mark_any(self.context, self.observed, kind, &name, true).await
            }
            Action::Unmark { kind, name } => {
                mark_any(self.context, self.observed, kind, &name, false).await
            }
            Action::Pause { service } => pause(self.context, self.observed, &service, true).await,
            Action::Unpause { service } => {
                pause(self.context, self.observed, &service, false).await
            }
            Action::ApplyService(service) => {
                let service = self.write(service.as_ref()).await?;
                self.uids
                    .extend(service.uid().map(|uid| (service.name_any(), uid)));
                Ok(())
            }
            Action::ApplyInterface {
                mut interface,
                service,
            } => {
                let owners = interface.metadata.owner_references.get_or_insert_default();
                if let Some(uid) = self.uids.get(&service)
                    && !owners.iter().any(|owner| owner.uid == *uid)
                {
                    owners.push(service_owner(&service, uid));
                }
                self.write(interface.as_ref()).await.map(|_| ())
            }
            Action::ApplyChain(chain) => self.write(chain.as_ref()).await.map(|_| ()),
            Action::ApplySet(set) => self.write(set.as_ref()).await.map(|_| ()),
            Action::Delete { kind, name } => match kind {
                ChildKind::Service => self.delete::<DpuService>(&name).await,
                ChildKind::Interface => self.delete::<DpuServiceInterface>(&name).await,
                ChildKind::Chain => self.delete::<DpuServiceChain>(&name).await,
                ChildKind::Set => self.delete::<DpuSet>(&name).await,
            },
        }
    }

    /// Writes a child and notes how it is.
    async fn write<K: Child>(&mut self, child: &K) -> Result<K, WriteError> {
        let written = apply_object(&self.context.client, managers::DPUDEPLOYMENT, child).await?;
        note(&mut self.readiness, &written);
        Ok(written)
    }

    async fn delete<K: Child>(&self, name: &str) -> Result<(), WriteError> {
        let mut children = K::observed(self.observed).iter();
        match children.find(|child| child.meta().name.as_deref() == Some(name)) {
            Some(child) => delete(&self.context.client, child).await,
            None => Ok(()),
        }
    }
}

/// Sets or clears `spec.paused`; a service that is gone needs neither.
async fn pause(
    context: &Context,
    observed: &Observed,
    service: &str,
    paused: bool,
) -> Result<(), WriteError> {
    let namespace = observed.deployment.namespace().unwrap_or_default();
    let api: Api<DpuService> = Api::namespaced(context.client.clone(), &namespace);
    let params = PatchParams {
        field_manager: Some(PAUSE_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let body = json!({ "spec": { "paused": if paused { json!(true) } else { Value::Null } } });
    match api.patch(service, &params, &Patch::Merge(&body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(WriteError::Refused {
            verb: if paused { "pause" } else { "unpause" },
            kind: "DPUService".to_owned(),
            name: format!("{namespace}/{service}"),
            source: Box::new(source),
        }),
    }
}

async fn mark_any(
    context: &Context,
    observed: &Observed,
    kind: DependencyKind,
    name: &str,
    wanted: bool,
) -> Result<(), WriteError> {
    match kind {
        DependencyKind::Bfb => mark::<Bfb>(context, observed, name, wanted).await,
        DependencyKind::Flavor => mark::<DpuFlavor>(context, observed, name, wanted).await,
        DependencyKind::Template => {
            mark::<DpuServiceTemplate>(context, observed, name, wanted).await
        }
        DependencyKind::Configuration => {
            mark::<DpuServiceConfiguration>(context, observed, name, wanted).await
        }
    }
}

/// Puts or takes the mark of this deployment. The finalizer goes with the last mark of any deployment.
async fn mark<K: Kind>(
    context: &Context,
    observed: &Observed,
    name: &str,
    wanted: bool,
) -> Result<(), WriteError> {
    let namespace = observed.deployment.namespace().unwrap_or_default();
    let label = mark_label(&namespace, &observed.deployment.name_any());
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    let object = api
        .get_opt(name)
        .await
        .map_err(|source| WriteError::Refused {
            verb: "read",
            kind: K::kind(&()).into_owned(),
            name: format!("{namespace}/{name}"),
            source: Box::new(source),
        })?;
    let Some(object) = object else { return Ok(()) };
    let metadata = mark_patch(object.meta(), &label, wanted);
    patch_metadata(&context.client, managers::DPUDEPLOYMENT, &object, metadata)
        .await
        .map(|_| ())
}

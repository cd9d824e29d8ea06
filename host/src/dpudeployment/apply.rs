//! Carries out a plan: the only writer of this controller.

use super::observe::{note, readiness};
use crate::kit::{Context, WriteError, apply as write, delete, patch_metadata, remove_finalizer};
use dpf_api::keys::{finalizers, labels, managers};
use dpf_api::provisioning::{Bfb, DpuFlavor, DpuSet};
use dpf_api::svc::{DpuService, DpuServiceChain, DpuServiceConfiguration, DpuServiceTemplate};
use dpf_core::dpudeployment::build::service_owner;
use dpf_core::dpudeployment::marks::mark_label;
use dpf_core::dpudeployment::status::Readiness;
use dpf_core::dpudeployment::{Action, ChildKind, DependencyKind, Observed};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;

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
    let mut applied = Applied {
        errors: Vec::new(),
        readiness: readiness(observed),
    };
    let mut uids: BTreeMap<String, String> = observed
        .services
        .iter()
        .filter_map(|s| Some((s.name_any(), s.uid()?)))
        .collect();
    for action in actions {
        let destructive = matches!(action, Action::Delete { .. } | Action::RemoveFinalizer);
        if destructive && !applied.errors.is_empty() {
            continue;
        }
        let kind = kind_of(&action);
        if let Err(error) =
            apply_one(context, observed, action, &mut uids, &mut applied.readiness).await
        {
            applied.errors.push((kind, error.message()));
        }
    }
    applied
}

fn kind_of(action: &Action) -> Option<ChildKind> {
    match action {
        Action::AddFinalizer
        | Action::Mark { .. }
        | Action::Unmark { .. }
        | Action::RemoveFinalizer => None,
        Action::Pause { .. } | Action::Unpause { .. } | Action::ApplyService(_) => {
            Some(ChildKind::Service)
        }
        Action::ApplyInterface { .. } => Some(ChildKind::Interface),
        Action::ApplyChain(_) => Some(ChildKind::Chain),
        Action::ApplySet(_) => Some(ChildKind::Set),
        Action::Delete { kind, .. } => Some(*kind),
    }
}

async fn apply_one(
    context: &Context,
    observed: &Observed,
    action: Action,
    uids: &mut BTreeMap<String, String>,
    readiness: &mut Readiness,
) -> Result<(), WriteError> {
    let client = &context.client;
    match action {
        Action::AddFinalizer => {
            crate::kit::add_finalizer(
                client,
                managers::DPUDEPLOYMENT,
                &observed.deployment,
                finalizers::DPUDEPLOYMENT,
            )
            .await?;
        }
        Action::RemoveFinalizer => {
            remove_finalizer(
                client,
                managers::DPUDEPLOYMENT,
                &observed.deployment,
                finalizers::DPUDEPLOYMENT,
            )
            .await?;
        }
        Action::Mark { kind, name } => mark_any(context, observed, kind, &name, true).await?,
        Action::Unmark { kind, name } => mark_any(context, observed, kind, &name, false).await?,
        Action::Pause { service } => pause(context, observed, &service, true).await?,
        Action::Unpause { service } => pause(context, observed, &service, false).await?,
        Action::ApplyService(service) => {
            let service = write(client, managers::DPUDEPLOYMENT, service.as_ref()).await?;
            uids.extend(service.uid().map(|uid| (service.name_any(), uid)));
            note(
                readiness,
                ChildKind::Service,
                &service,
                service
                    .status
                    .as_ref()
                    .and_then(|s| s.conditions.as_deref()),
            );
        }
        Action::ApplyInterface {
            mut interface,
            service,
        } => {
            let owners = interface.metadata.owner_references.get_or_insert_default();
            if let Some(uid) = uids.get(&service)
                && !owners.iter().any(|owner| owner.uid == *uid)
            {
                owners.push(service_owner(&service, uid));
            }
            let interface = write(client, managers::DPUDEPLOYMENT, interface.as_ref()).await?;
            let conditions = interface
                .status
                .as_ref()
                .and_then(|s| s.conditions.as_deref());
            note(readiness, ChildKind::Interface, &interface, conditions);
        }
        Action::ApplyChain(chain) => {
            let chain = write(client, managers::DPUDEPLOYMENT, chain.as_ref()).await?;
            note(
                readiness,
                ChildKind::Chain,
                &chain,
                chain.status.as_ref().and_then(|s| s.conditions.as_deref()),
            );
        }
        Action::ApplySet(set) => {
            let set = write(client, managers::DPUDEPLOYMENT, set.as_ref()).await?;
            note(
                readiness,
                ChildKind::Set,
                &set,
                set.status.as_ref().and_then(|s| s.conditions.as_deref()),
            );
        }
        Action::Delete { kind, name } => match kind {
            ChildKind::Service => delete_named(context, &observed.services, &name).await?,
            ChildKind::Interface => delete_named(context, &observed.interfaces, &name).await?,
            ChildKind::Chain => {
                delete_named::<DpuServiceChain>(context, &observed.chains, &name).await?
            }
            ChildKind::Set => delete_named::<DpuSet>(context, &observed.sets, &name).await?,
        },
    }
    Ok(())
}

fn find<'a, K: Resource>(objects: &'a [K], name: &str) -> Option<&'a K> {
    objects
        .iter()
        .find(|object| object.meta().name.as_deref() == Some(name))
}

async fn delete_named<K>(context: &Context, objects: &[K], name: &str) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    match find(objects, name) {
        Some(object) => delete(&context.client, object).await,
        None => Ok(()),
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
async fn mark<K>(
    context: &Context,
    observed: &Observed,
    name: &str,
    wanted: bool,
) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
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
    let marks = object
        .labels()
        .keys()
        .filter(|key| key.starts_with(labels::CONSUMED_BY_DPUDEPLOYMENT_PREFIX));
    let others = marks.filter(|key| **key != label).count();
    let mut finalizers: Vec<String> = object
        .finalizers()
        .iter()
        .filter(|f| *f != finalizers::DPUDEPLOYMENT)
        .cloned()
        .collect();
    if wanted || others > 0 {
        finalizers.push(finalizers::DPUDEPLOYMENT.to_owned());
    }
    let value = if wanted { json!("") } else { Value::Null };
    let metadata = json!({ "finalizers": finalizers, "labels": { label: value } });
    patch_metadata(&context.client, managers::DPUDEPLOYMENT, &object, metadata)
        .await
        .map(|_| ())
}

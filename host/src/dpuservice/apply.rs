//! Writes of Applications and marks on interfaces.

use super::observe::Observed;
use crate::kit::{
    Context, WriteError, apply as server_side_apply, delete, get, patch_metadata, remove_finalizer,
};
use dpf_api::keys::annotations::{ARGO_SKIP_RECONCILE, CONSUMED_BY};
use dpf_api::keys::{finalizers, labels, managers};
use dpf_api::svc::{DpuService, DpuServiceInterface};
use dpf_core::dpuservice::Action;
use dpf_core::dpuservice::argo::Application;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// How often a mark is tried while others write the interface.
const MARK_ATTEMPTS: u32 = 5;

/// Does what was planned. Returns the Applications as they are then, and what failed.
///
/// An Application for a cluster in `unusable` is not created: Argo CD would give up on a cluster that is not prepared.
pub(super) async fn apply(
    context: &Context,
    actions: Vec<Action>,
    observed: &[Application],
    unusable: &BTreeSet<String>,
) -> (Vec<Application>, Vec<String>) {
    let mut current: BTreeMap<String, Application> = observed
        .iter()
        .map(|application| (application.name_any(), application.clone()))
        .collect();
    let mut problems = Vec::new();
    for action in actions {
        let (Action::Apply(subject)
        | Action::Pause(subject)
        | Action::Resume(subject)
        | Action::Orphan(subject)
        | Action::Delete(subject)) = &action;
        let name = subject.name_any();
        let cluster = subject
            .labels()
            .get(labels::CLUSTER)
            .cloned()
            .unwrap_or_default();
        if matches!(action, Action::Apply(_))
            && !current.contains_key(&name)
            && unusable.contains(&cluster)
        {
            continue;
        }
        match write(&context.client, action).await {
            Ok(Some(application)) => {
                current.insert(name, application);
            }
            Ok(None) => {
                current.remove(&name);
            }
            Err(error) => problems.push(error.message()),
        }
    }
    (current.into_values().collect(), problems)
}

async fn write(client: &Client, action: Action) -> Result<Option<Application>, WriteError> {
    let manager = managers::DPUSERVICE;
    match action {
        Action::Apply(application) => server_side_apply(client, manager, application.as_ref())
            .await
            .map(Some),
        Action::Pause(application) => skip(client, &application, Some("true")).await,
        Action::Resume(application) => skip(client, &application, None).await,
        Action::Delete(application) => {
            delete(client, application.as_ref()).await?;
            reread(client, &application).await
        }
        Action::Orphan(application) => {
            if let Some(current) = reread(client, &application).await? {
                remove_finalizer(client, manager, &current, finalizers::ARGO_RESOURCES).await?;
            }
            reread(client, &application).await
        }
    }
}

async fn skip(
    client: &Client,
    application: &Application,
    value: Option<&str>,
) -> Result<Option<Application>, WriteError> {
    let Some(current) = reread(client, application).await? else {
        return Ok(None);
    };
    let annotations = json!({"annotations": {ARGO_SKIP_RECONCILE: value}});
    patch_metadata(client, managers::DPUSERVICE, &current, annotations)
        .await
        .map(Some)
}

/// The Application as it is now: an earlier write of the same reconcile may have changed it.
async fn reread(
    client: &Client,
    application: &Application,
) -> Result<Option<Application>, WriteError> {
    let namespace = application.namespace().unwrap_or_default();
    let name = application.name_any();
    let api: Api<Application> = Api::namespaced(client.clone(), &namespace);
    let current = api
        .get_opt(&name)
        .await
        .map_err(|source| WriteError::Refused {
            verb: "read",
            kind: Application::kind(&()).into_owned(),
            name: format!("{namespace}/{name}"),
            source: Box::new(source),
        })?;
    Ok(current.filter(|current| current.uid() == application.uid() || application.uid().is_none()))
}

/// Says on interfaces that this service uses them; returns what failed.
pub(super) async fn mark(
    context: &Context,
    service: &DpuService,
    names: &[String],
    observed: &Observed,
) -> Vec<String> {
    let mut problems = Vec::new();
    for interface in names
        .iter()
        .filter_map(|name| observed.interfaces.get(name))
    {
        problems.extend(consumed_by(context, interface, Some(&service.name_any())).await);
    }
    problems
}

/// Removes the marks of this service; returns what failed.
pub(super) async fn unmark(
    context: &Context,
    service: &DpuService,
    observed: &Observed,
) -> Vec<String> {
    let name = service.name_any();
    let mut problems = Vec::new();
    let marked = observed
        .interfaces
        .values()
        .filter(|interface| interface.annotations().get(CONSUMED_BY) == Some(&name));
    for interface in marked {
        problems.extend(consumed_by(context, interface, None).await);
    }
    problems
}

/// Writes or removes a mark. Who else writes the interface in the same moment is no problem of the service: the mark is
/// tried again as long as it is as it was.
async fn consumed_by(
    context: &Context,
    interface: &DpuServiceInterface,
    name: Option<&str>,
) -> Option<String> {
    let mark = |interface: &DpuServiceInterface| interface.annotations().get(CONSUMED_BY).cloned();
    let mut current = interface.clone();
    let mut attempt = 0;
    loop {
        let annotations = json!({"annotations": {CONSUMED_BY: name}});
        let (client, manager) = (&context.client, managers::DPUSERVICE);
        let error = match patch_metadata(client, manager, &current, annotations).await {
            Err(error) if error.code() != Some(404) => error,
            _ => return None,
        };
        attempt += 1;
        if error.code() != Some(409) || attempt >= MARK_ATTEMPTS {
            return Some(error.message());
        }
        let namespace = interface.namespace().unwrap_or_default();
        match get::<DpuServiceInterface>(client, &namespace, &interface.name_any()).await {
            Ok(None) => return None,
            Ok(Some(latest))
                if latest.uid() == interface.uid() && mark(&latest) == mark(interface) =>
            {
                current = latest;
            }
            _ => return Some(error.message()),
        }
    }
}

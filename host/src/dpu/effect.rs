//! The effect on the host: asked for, waited for, given back.
//!
//! The DPUNodeMaintenance lives beside the DPUNode, so that DPUs of several namespaces share the effect on one host.

use super::inventory;
use super::work::Work;
use crate::kit::{self, Context, Failure, WriteError};
use dpf_api::conditions::dpunodemaintenance as types;
use dpf_api::keys::managers;
use dpf_api::provisioning::{Dpu, DpuNode, DpuNodeMaintenance};
use dpf_core::conditions::is_true;
use dpf_core::dpu::{Event, Said};
use dpf_core::dpunodemaintenance::{
    Joining, effective, join, leave as without, name, sync_requestors, withdraw as withdrawn,
};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::time::Duration;

/// How often an object that is being deleted is looked at.
const GONE: Duration = Duration::from_secs(2);

/// Waits until the host may be disturbed.
pub(super) async fn wait_until_applied(context: &Context, dpu: &Dpu) -> Result<Work, Failure> {
    let node = match inventory::node(context, dpu).await? {
        Ok(node) => node,
        Err(said) => return Ok(Work::waiting(said)),
    };
    let existing = find(context, dpu, &node).await?;
    match join(dpu, &node, existing.as_ref()) {
        // `drain: false` and the like: there is no effect.
        None => Ok(Work::done()),
        Some(Joining::Create(object)) => {
            create(context, &object).await?;
            let message = format!("DPUNodeMaintenance {} was created", object.name_any());
            Ok(Work::waiting(Said::new(
                "CreatedDPUNodeMaintenance",
                message,
            )))
        }
        Some(Joining::Patch(patch)) => {
            if let Some(existing) = &existing {
                change(context, existing, patch).await?;
            }
            Ok(in_progress(existing.as_ref()))
        }
        Some(Joining::WaitUntilGone) => {
            let message = "the effect for an earlier change is being removed first";
            Ok(Work::waiting(Said::new("DPUNodeMaintenanceDeleting", message)).polled(GONE))
        }
        Some(Joining::Joined) => {
            let conditions = existing
                .as_ref()
                .and_then(|e| e.status.as_ref())
                .and_then(|s| s.conditions.as_deref());
            if is_true(conditions, types::APPLIED) {
                return Ok(Work::from(Event::Done {
                    reason: Some("NodeEffectCompleted"),
                    message: String::new(),
                }));
            }
            Ok(in_progress(existing.as_ref()))
        }
    }
}

fn in_progress(existing: Option<&DpuNodeMaintenance>) -> Work {
    let message = existing
        .and_then(|e| e.status.as_ref())
        .and_then(|s| s.conditions.as_ref())
        .and_then(|c| c.iter().find(|c| c.type_ == types::APPLIED))
        .map(|c| c.message.clone())
        .unwrap_or_default();
    let name = existing.map(ResourceExt::name_any).unwrap_or_default();
    Work::waiting(Said::new(
        "NodeEffectInProgress",
        format!("DPUNodeMaintenance {name}: {message}"),
    ))
}

async fn find(
    context: &Context,
    dpu: &Dpu,
    node: &DpuNode,
) -> Result<Option<DpuNodeMaintenance>, Failure> {
    let effect = effective(dpu.spec.node_effect.as_ref());
    let Some(name) = name(&node.name_any(), &effect) else {
        return Ok(None);
    };
    let namespace = node.namespace().unwrap_or_default();
    Ok(kit::get(&context.client, &namespace, &name).await?)
}

/// All effects on the host of a DPU that name it among their requestors.
async fn asked_for(context: &Context, dpu: &Dpu) -> Result<Vec<DpuNodeMaintenance>, Failure> {
    let own = dpu.name_any();
    let mut effects = on_host(context, dpu).await?;
    effects.retain(|m| m.spec.requestor.iter().flatten().any(|r| *r == own));
    Ok(effects)
}

/// All effects on the host of a DPU.
async fn on_host(context: &Context, dpu: &Dpu) -> Result<Vec<DpuNodeMaintenance>, Failure> {
    let mut found: Vec<DpuNodeMaintenance> = Vec::new();
    let namespace = dpu.namespace().unwrap_or_default();
    let inventory = context.settings.inventory_namespace.clone();
    let mut namespaces = vec![namespace];
    if !namespaces.contains(&inventory) {
        namespaces.push(inventory);
    }
    for namespace in namespaces {
        let all: Vec<DpuNodeMaintenance> = kit::list(&context.client, Some(&namespace)).await?;
        let here = |m: &DpuNodeMaintenance| m.spec.dpu_node_name == dpu.spec.dpu_node_name;
        found.extend(all.into_iter().filter(here));
    }
    Ok(found)
}

/// Gives up the effect; it ends when nobody else asks for it. Repeatable at any time.
pub(super) async fn leave(context: &Context, dpu: &Dpu) -> Result<(), Failure> {
    for object in asked_for(context, dpu).await? {
        if let Some(patch) = without(&dpu.name_any(), &object) {
            change(context, &object, patch).await?;
        }
    }
    Ok(())
}

/// Gives up the effect because the DPU goes or failed: what it brought along goes, too. Repeatable at any time.
pub(super) async fn withdraw(context: &Context, dpu: &Dpu) -> Result<(), Failure> {
    for object in on_host(context, dpu).await? {
        if let Some(patch) = withdrawn(&dpu.name_any(), &object) {
            change(context, &object, patch).await?;
        }
    }
    Ok(())
}

/// Carries a change of the additional requestors over to effects in force.
pub(super) async fn sync(context: &Context, dpu: &Dpu) -> Result<(), Failure> {
    let has_extras = dpu
        .spec
        .node_effect
        .as_ref()
        .is_some_and(|e| e.node_maintenance_additional_requestors.is_some());
    if !has_extras {
        return Ok(());
    }
    for object in asked_for(context, dpu).await? {
        if let Some(patch) = sync_requestors(dpu, &object) {
            change(context, &object, patch).await?;
        }
    }
    Ok(())
}

/// Whether the host was given back: nothing when it was, else who still asks for the effect.
pub(super) async fn still_held(context: &Context, dpu: &Dpu) -> Result<Option<Said>, Failure> {
    leave(context, dpu).await?;
    let node = match inventory::node(context, dpu).await? {
        Ok(node) => node,
        // Without a host there is nothing to give back.
        Err(_) => return Ok(None),
    };
    let Some(object) = find(context, dpu, &node).await? else {
        return Ok(None);
    };
    let holders: Vec<&str> = object
        .spec
        .requestor
        .iter()
        .flatten()
        .map(String::as_str)
        .filter(|r| *r != dpu.name_any())
        .collect();
    let message = if holders.is_empty() {
        format!("DPUNodeMaintenance {} is being removed", object.name_any())
    } else {
        format!(
            "DPUNodeMaintenance {} is still held by: {}",
            object.name_any(),
            holders.join(", ")
        )
    };
    Ok(Some(Said::new("NodeEffectRemovalInProgress", message)))
}

async fn create(context: &Context, object: &DpuNodeMaintenance) -> Result<(), Failure> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<DpuNodeMaintenance> = Api::namespaced(context.client.clone(), &namespace);
    let params = PostParams {
        field_manager: Some(managers::DPU.to_owned()),
        ..PostParams::default()
    };
    match api.create(&params, object).await {
        Ok(_) => Ok(()),
        // Another DPU of the host was faster: it is joined next time.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(refused("create", object, source)),
    }
}

/// Fails when somebody else changed the requestors meanwhile.
async fn change(
    context: &Context,
    object: &DpuNodeMaintenance,
    mut patch: Value,
) -> Result<(), Failure> {
    if let Some(fields) = patch.as_object_mut() {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            let version = json!(object.metadata.resource_version);
            metadata.insert("resourceVersion".to_owned(), version);
        }
    }
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<DpuNodeMaintenance> = Api::namespaced(context.client.clone(), &namespace);
    let params = PatchParams {
        field_manager: Some(managers::DPU.to_owned()),
        ..PatchParams::default()
    };
    match api
        .patch(&object.name_any(), &params, &Patch::Merge(&patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(refused("patch", object, source)),
    }
}

fn refused(verb: &'static str, object: &DpuNodeMaintenance, source: kube::Error) -> Failure {
    Failure::Write(WriteError::Refused {
        verb,
        kind: "DPUNodeMaintenance".to_owned(),
        name: object.name_any(),
        source: Box::new(source),
    })
}

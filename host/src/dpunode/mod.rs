//! Controller of DPUNode: a host with DPUs, whether it is a node of the management cluster or not.

use crate::kit::write_whole_status;
use crate::kit::{
    self, Context, Failure, Next, Shutdown, add_finalizer, delete, patch_metadata,
    remove_finalizer, run as run_controller,
};
use dpf_api::conditions::{READY, dpunode as types, reasons};
use dpf_api::keys::{annotations, finalizers, labels, managers};
use dpf_api::provisioning::{Dpu, DpuDevice, DpuNode, DpuNodeMaintenance};
use dpf_core::conditions::{Conditions, Verdict, is_true};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How often a host that waits for others to go is looked at.
const RECHECK: Duration = Duration::from_secs(5);

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = context.client.clone();
    let config = watcher::Config::default();
    let controller = Controller::new(Api::<DpuNode>::all(client.clone()), config.clone());
    let store = controller.store();
    let controller = controller
        .watches(
            Api::<Node>::all(client.clone()),
            config.clone(),
            move |node| {
                let name = node.name_any();
                store
                    .state()
                    .into_iter()
                    .filter(|n| kube_node(n).is_some_and(|of| of == name))
                    .map(|n| ObjectRef::from_obj(n.as_ref()))
                    .collect::<Vec<_>>()
            },
        )
        .watches(
            Api::<DpuNodeMaintenance>::all(client),
            config,
            |maintenance| {
                Some(
                    ObjectRef::new(&maintenance.spec.dpu_node_name)
                        .within(maintenance.namespace().as_deref()?),
                )
            },
        );
    run_controller(controller, context, shutdown, reconcile).await;
}

/// Name of the node of the management cluster that this host is.
fn kube_node(node: &DpuNode) -> Option<String> {
    let owner = node
        .owner_references()
        .iter()
        .find(|o| o.kind == "Node" && o.api_version == "v1")
        .map(|o| o.name.clone());
    owner.or_else(|| node.status.as_ref()?.kube_node_ref.clone())
}

async fn reconcile(node: Arc<DpuNode>, context: Arc<Context>) -> Result<Next, Failure> {
    let client = &context.client;
    // Conditions are also written by the controller of effects: start from what is there now.
    let namespace = node.namespace().unwrap_or_default();
    let now: Option<DpuNode> = kit::get(client, &namespace, &node.name_any()).await?;
    let Some(node) = now.filter(|now| now.uid() == node.uid()) else {
        return Ok(Next::OnEvent);
    };
    let node = &node;
    if node.metadata.deletion_timestamp.is_some() {
        return remove(&context, node).await;
    }
    if add_finalizer(client, managers::DPUNODE, node, finalizers::DPUNODE).await? {
        return Ok(Next::OnEvent);
    }
    let mut status = node.status.clone().unwrap_or_default();
    if let Some(name) = kube_node(node) {
        let api: Api<Node> = Api::all(client.clone());
        let found = api
            .get_opt(&name)
            .await
            .map_err(|source| kit::ReadError::Get {
                kind: "Node".to_owned(),
                name: name.clone(),
                source: Box::new(source),
            })?;
        match found {
            Some(found) => {
                if copy_metadata(&context, node, &found).await? {
                    return Ok(Next::OnEvent);
                }
                status.kube_node_ref = Some(name);
            }
            None if node.owner_references().iter().any(|o| o.kind == "Node") => {
                delete(client, node).await?;
                return Ok(Next::OnEvent);
            }
            None => {}
        }
    }
    let limits = crate::dpu::limits(&context).await?;
    if status.dpu_install_interface.is_none() {
        status.dpu_install_interface = Some(limits.interface);
    }
    let maintenances: Vec<DpuNodeMaintenance> = kit::list(client, Some(&namespace)).await?;
    let disturbed = maintenances
        .iter()
        .any(|m| m.spec.dpu_node_name == node.name_any());
    let rebooting = node
        .annotations()
        .contains_key(annotations::EXTERNAL_REBOOT_REQUIRED);
    status.reboot_in_progress = Some(rebooting);
    let generation = node.metadata.generation.unwrap_or_default();
    let observed = status.conditions.as_deref();
    let in_effect = disturbed && is_true(observed, types::NODE_EFFECT_IN_PROGRESS);
    let mut conditions = Conditions::new(observed, &[], generation, context.now());
    if !disturbed && conditions.get(types::NODE_EFFECT_IN_PROGRESS).is_some() {
        conditions.put(types::NODE_EFFECT_IN_PROGRESS, "False", "NoNodeEffect", "");
    }
    if rebooting {
        conditions.put(
            types::REBOOT_IN_PROGRESS,
            "True",
            types::REBOOT_IN_PROGRESS,
            "restart the host, then remove the annotation that asks for it",
        );
    } else if conditions.get(types::REBOOT_IN_PROGRESS).is_some() {
        conditions.put(types::REBOOT_IN_PROGRESS, "False", "NoReboot", "");
    }
    conditions.set(
        READY,
        &if in_effect {
            Verdict::no(
                "NodeEffectInProgress",
                "an effect on the host is in force for its DPUs",
            )
        } else if rebooting {
            Verdict::no("RebootInProgress", "the host has to be restarted")
        } else {
            Verdict::True
        },
    );
    status.conditions = Some(conditions.into_list());
    write_whole_status(&context, managers::DPUNODE, node, &status, &[]).await?;
    Ok(Next::OnEvent)
}

/// Copies labels and annotations of the node that are missing or differ; nothing is ever removed.
async fn copy_metadata(context: &Context, node: &DpuNode, from: &Node) -> Result<bool, Failure> {
    let differing = |from: &std::collections::BTreeMap<String, String>,
                     to: &std::collections::BTreeMap<String, String>| {
        from.iter()
            .filter(|(key, value)| to.get(*key) != Some(value))
            .filter(|(key, _)| {
                // Heartbeats of other programs would make every node event a write; our own are not copied back.
                !key.starts_with("kubectl.kubernetes.io/")
                    && *key != annotations::NODE_EFFECT_RECORD
            })
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
    };
    let changed_labels = differing(from.labels(), node.labels());
    let changed_annotations = differing(from.annotations(), node.annotations());
    if changed_labels.is_empty() && changed_annotations.is_empty() {
        return Ok(false);
    }
    let patch = json!({"labels": changed_labels, "annotations": changed_annotations});
    patch_metadata(&context.client, managers::DPUNODE, node, patch).await?;
    Ok(true)
}

/// DPUs and devices of the host go first.
async fn remove(context: &Context, node: &DpuNode) -> Result<Next, Failure> {
    let client = &context.client;
    let name = node.name_any();
    let dpus: Vec<Dpu> = kit::list(client, None).await?;
    let devices: Vec<DpuDevice> = kit::list(client, node.namespace().as_deref()).await?;
    let devices: Vec<_> = devices
        .into_iter()
        .filter(|d| d.labels().get(labels::DPUNODE_NAME) == Some(&name))
        .collect();
    let dpus: Vec<_> = dpus
        .into_iter()
        .filter(|dpu| {
            dpu.spec.dpu_node_name == name
                && devices
                    .iter()
                    .any(|d| d.name_any() == dpu.spec.dpu_device_name)
        })
        .collect();
    for dpu in &dpus {
        delete(client, dpu).await?;
    }
    if dpus.is_empty() {
        for device in &devices {
            delete(client, device).await?;
        }
    }
    if dpus.is_empty() && devices.is_empty() {
        remove_finalizer(client, managers::DPUNODE, node, finalizers::DPUNODE).await?;
        return Ok(Next::OnEvent);
    }
    let mut status = node.status.clone().unwrap_or_default();
    let generation = node.metadata.generation.unwrap_or_default();
    let mut conditions =
        Conditions::new(status.conditions.as_deref(), &[], generation, context.now());
    let message = format!(
        "{} DPU(s) and {} DPUDevice(s) are deleted first",
        dpus.len(),
        devices.len()
    );
    conditions.set(READY, &Verdict::no(reasons::AWAITING_DELETION, message));
    status.conditions = Some(conditions.into_list());
    write_whole_status(context, managers::DPUNODE, node, &status, &[]).await?;
    Ok(Next::After(RECHECK))
}

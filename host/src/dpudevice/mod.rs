//! Controller of DPUDevice: which host has the card, and whether its BMC is that of the card.

use crate::dpu::redfish::{Bmc, RedfishError};
use crate::kit::{
    self, Classified, Context, Failure, Next, Shutdown, patch_metadata, remove_finalizer,
    run as run_controller,
};
use crate::kit::{in_one_line, write_whole_status};
use dpf_api::conditions::{READY, dpudevice as types};
use dpf_api::keys::{finalizers, labels, managers};
use dpf_api::provisioning::{Dpu, DpuDevice, DpuDeviceStatus, DpuNode};
use dpf_core::conditions::Conditions;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How often a BMC that does not answer is asked again.
const UNREACHABLE: Duration = Duration::from_secs(10);

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = context.client.clone();
    let controller = Controller::new(
        Api::<DpuDevice>::all(client.clone()),
        watcher::Config::default(),
    );
    let store = controller.store();
    let controller = controller.watches(
        Api::<DpuNode>::all(client),
        watcher::Config::default(),
        move |node| {
            store
                .state()
                .into_iter()
                .filter(|device| {
                    device.namespace() == node.namespace()
                        && (has(&node, &device.name_any())
                            || device.labels().get(labels::DPUNODE_NAME)
                                == node.metadata.name.as_ref())
                })
                .map(|device| ObjectRef::from_obj(device.as_ref()))
                .collect::<Vec<_>>()
        },
    );
    run_controller(controller, context, shutdown, reconcile).await;
}

/// Whether a host names this device; case does not matter.
fn has(node: &DpuNode, device: &str) -> bool {
    node.spec
        .dpus
        .iter()
        .flatten()
        .any(|reference| reference.name.eq_ignore_ascii_case(device))
}

async fn reconcile(device: Arc<DpuDevice>, context: Arc<Context>) -> Result<Next, Failure> {
    let device = device.as_ref();
    let client = &context.client;
    if device.metadata.deletion_timestamp.is_some() {
        return release(&context, device).await;
    }
    let nodes: Vec<DpuNode> = kit::list(client, device.namespace().as_deref()).await?;
    let mut owners: Vec<&DpuNode> = nodes
        .iter()
        .filter(|n| has(n, &device.name_any()))
        .collect();
    owners.sort_by_key(|node| node.name_any());
    let mut status = device.status.clone().unwrap_or_default();
    let generation = device.metadata.generation.unwrap_or_default();
    let mut conditions =
        Conditions::new(status.conditions.as_deref(), &[], generation, context.now());
    let labelled = device.labels().get(labels::DPUNODE_NAME).cloned();
    let next = match (owners.as_slice(), labelled) {
        ([owner], _) => {
            if label(&context, device, &owner.name_any()).await? {
                return Ok(Next::OnEvent);
            }
            conditions.put(types::NODE_ATTACHED, "True", types::NODE_ATTACHED, "");
            discover(&context, device, &mut status, &mut conditions).await?
        }
        // A fleet may label the device itself instead of naming it in the host.
        ([], Some(name)) if nodes.iter().any(|n| n.name_any() == name) => {
            conditions.put(types::NODE_ATTACHED, "True", types::NODE_ATTACHED, "");
            discover(&context, device, &mut status, &mut conditions).await?
        }
        ([], _) => {
            let message = "no DPUNode in this namespace names the device in spec.dpus";
            conditions.put(types::NODE_ATTACHED, "False", "DPUNodeNotFound", message);
            conditions.put(READY, "False", "DPUNodeNotFound", message);
            Next::OnEvent
        }
        (several, _) => {
            let names: Vec<String> = several.iter().map(|n| n.name_any()).collect();
            let message = format!(
                "DPUNodes {} all name the device in spec.dpus: keep one",
                names.join(", ")
            );
            conditions.put(types::NODE_ATTACHED, "False", "InvalidDPUDetails", &message);
            conditions.put(READY, "False", "InvalidDPUDetails", &message);
            Next::OnEvent
        }
    };
    status.conditions = Some(conditions.into_list());
    write_whole_status(&context, managers::DPUDEVICE, device, &status, &[]).await?;
    Ok(next)
}

/// Labels by which DPUSets select; returns whether they changed.
async fn label(context: &Context, device: &DpuDevice, node: &str) -> Result<bool, Failure> {
    let status = device.status.as_ref();
    let wanted = [
        (labels::DPUNODE_NAME, Some(node.to_owned())),
        (
            labels::DPUDEVICE_PCI_ADDRESS,
            status
                .and_then(|s| s.pci_address.as_deref())
                .map(dpf_core::selectors::canonical_pci),
        ),
    ];
    let mut changes = serde_json::Map::new();
    for (key, value) in wanted {
        if let Some(value) = value
            && device.labels().get(key) != Some(&value)
        {
            changes.insert(key.to_owned(), json!(value));
        }
    }
    if changes.is_empty() {
        return Ok(false);
    }
    patch_metadata(
        &context.client,
        managers::DPUDEVICE,
        device,
        json!({ "labels": changes }),
    )
    .await?;
    Ok(true)
}

/// Asks the BMC whether it is that of the card. A card without BMC address is ready once it is attached.
async fn discover(
    context: &Context,
    device: &DpuDevice,
    status: &mut DpuDeviceStatus,
    conditions: &mut Conditions,
) -> Result<Next, Failure> {
    let known = conditions
        .get(types::DISCOVERED)
        .is_some_and(|c| c.status == "True" && c.observed_generation == device.metadata.generation);
    if known || device.spec.bmc_ip.is_none() {
        conditions.put(READY, "True", READY, "");
        return Ok(Next::OnEvent);
    }
    let namespace = device.namespace().unwrap_or_default();
    let found = match Bmc::of(context, device, &namespace).await? {
        Ok(bmc) => bmc.card().await,
        Err(error) => Err(error),
    };
    let problem = match found {
        Ok(card) => {
            let other = card
                .serial_number
                .as_deref()
                .filter(|serial| !serial.eq_ignore_ascii_case(&device.spec.serial_number));
            match other {
                Some(other) => Some((
                    "SerialNumberMismatch",
                    format!(
                        "the BMC at {} is that of card {other}, not {}: correct spec.bmcIp",
                        device.spec.bmc_ip.as_deref().unwrap_or_default(),
                        device.spec.serial_number
                    ),
                )),
                None => {
                    status.serial_number = Some(device.spec.serial_number.clone());
                    status.bmc_ip.clone_from(&device.spec.bmc_ip);
                    status.bmc_port = device.spec.bmc_port;
                    status.opn = card.part_number.or_else(|| status.opn.take());
                    None
                }
            }
        }
        // A BMC that knows nothing of its card is believed.
        Err(RedfishError::NotFound { .. }) => None,
        Err(error) => Some((error.reason(), in_one_line(&error))),
    };
    Ok(match problem {
        None => {
            conditions.put(types::DISCOVERED, "True", types::DISCOVERED, "");
            conditions.put(READY, "True", READY, "");
            Next::OnEvent
        }
        Some((reason, message)) => {
            conditions.put(types::DISCOVERED, "False", reason, &message);
            conditions.put(READY, "False", reason, &message);
            Next::After(UNREACHABLE)
        }
    })
}

/// Drops the finalizer that other releases put, once no DPU stands for the card.
async fn release(context: &Context, device: &DpuDevice) -> Result<Next, Failure> {
    let dpus: Vec<Dpu> = kit::list(&context.client, None).await?;
    if dpus
        .iter()
        .any(|dpu| dpu.spec.dpu_device_name == device.name_any())
    {
        return Ok(Next::After(UNREACHABLE));
    }
    remove_finalizer(
        &context.client,
        managers::DPUDEVICE,
        device,
        finalizers::DPUDEVICE,
    )
    .await?;
    Ok(Next::OnEvent)
}

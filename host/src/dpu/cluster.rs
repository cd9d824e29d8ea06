//! Phases `DPU Cluster Config`, `Node Effect Removal` and `Ready`: the node that the DPU has become.

use super::install::bmc;
use super::work::Work;
use super::{effect, inventory, prepare};
use crate::kit::in_one_line;
use crate::kit::{Classified, Context, Failure, explain};
use dpf_api::keys::managers;
use dpf_api::provisioning::{Address, Bfb, Dpu};
use dpf_core::dpu::{Event, Said, node_label_change};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use std::time::Duration;

/// How often a node that is expected is looked for.
const NODE: Duration = Duration::from_secs(1);
/// How often a cluster that does not answer is tried.
pub(super) const UNREACHABLE: Duration = Duration::from_secs(5);
/// How often the node of a DPU that runs is looked at.
const HEALTH: Duration = Duration::from_secs(30);
/// A cluster that takes longer is unreachable.
const ANSWER: Duration = Duration::from_secs(10);

/// The node of a DPU and the client of its cluster.
enum Found {
    Node(Box<Node>, Client),
    Missing(Client),
    Unreachable(Said),
}

async fn find(context: &Context, dpu: &Dpu) -> Result<Found, Failure> {
    let cluster = match inventory::cluster(context, dpu).await? {
        Ok(cluster) => cluster,
        Err(said) => return Ok(Found::Unreachable(said)),
    };
    let client = match prepare::connection(context, &cluster).await {
        Ok(connection) => connection.client,
        Err(error) => {
            return Ok(Found::Unreachable(Said::new(
                "DPUClusterClientGetError",
                in_one_line(&error),
            )));
        }
    };
    let nodes: Api<Node> = Api::all(client.clone());
    let unreachable = |cause: String| {
        let message = format!("DPUCluster {} does not answer: {cause}", cluster.name_any());
        Found::Unreachable(Said::new("GetNodeError", message))
    };
    Ok(
        match tokio::time::timeout(ANSWER, nodes.get_opt(&dpu.name_any())).await {
            Err(_) => unreachable(format!("nothing within {} s", ANSWER.as_secs())),
            Ok(Err(error)) => unreachable(explain(&error)),
            Ok(Ok(None)) => Found::Missing(client),
            Ok(Ok(Some(node))) => Found::Node(Box::new(node), client),
        },
    )
}

fn is_ready(node: &Node) -> bool {
    node.status
        .as_ref()
        .and_then(|s| s.conditions.as_ref())
        .is_some_and(|c| c.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

fn addresses(node: &Node) -> Vec<Address> {
    let listed = node.status.as_ref().and_then(|s| s.addresses.as_ref());
    listed
        .into_iter()
        .flatten()
        .map(|a| Address {
            address: a.address.clone(),
            type_: a.type_.clone(),
        })
        .collect()
}

fn missing(dpu: &Dpu) -> Said {
    let message = format!("Node {} is not in the DPU cluster yet", dpu.name_any());
    Said::new("NodeNotFound", message)
}

fn not_ready(dpu: &Dpu) -> Said {
    let message = format!("Node {} of the DPU cluster is not Ready", dpu.name_any());
    Said::new("NodeNotReady", message)
}

/// Waits for the node, checks what was installed, and labels the node.
pub(super) async fn configure(context: &Context, dpu: &Dpu) -> Result<Work, Failure> {
    let (node, client) = match find(context, dpu).await? {
        Found::Node(node, client) => (node, client),
        Found::Missing(_) => return Ok(Work::waiting(missing(dpu)).polled(NODE)),
        Found::Unreachable(said) => return Ok(Work::waiting(said).polled(UNREACHABLE)),
    };
    if !is_ready(&node) {
        return Ok(Work::waiting(not_ready(dpu)).polled(NODE));
    }
    if let Some(work) = other_firmware(context, dpu).await? {
        return Ok(work);
    }
    if let Some(change) = node_label_change(dpu, &node) {
        let nodes: Api<Node> = Api::all(client.clone());
        let params = PatchParams {
            field_manager: Some(managers::DPU.to_owned()),
            ..PatchParams::default()
        };
        if let Err(error) = nodes
            .patch(&node.name_any(), &params, &Patch::Merge(&change.patch))
            .await
        {
            let said = Said::new("AddLabelsToObjectError", explain(&error));
            return Ok(Work::waiting(said).polled(UNREACHABLE));
        }
    }
    prepare::revoke_token(&client, dpu).await?;
    prepare::remove_configuration(context, dpu).await?;
    let addresses = addresses(&node);
    Ok(Work::from(Event::Done {
        reason: None,
        message: "cluster configured".to_owned(),
    })
    .with(move |status| status.addresses = Some(addresses)))
}

/// Compares what the BMC reports with what the image holds. What either side does not tell is not compared.
async fn other_firmware(context: &Context, dpu: &Dpu) -> Result<Option<Work>, Failure> {
    let just_installed = dpu
        .status
        .as_ref()
        .and_then(|s| s.previous_phase)
        .is_some_and(|phase| phase == dpf_api::provisioning::DpuPhase::Rebooting);
    if !just_installed {
        return Ok(None);
    }
    let namespace = dpu.namespace().unwrap_or_default();
    let name = dpu.spec.bfb.clone().unwrap_or_default();
    let bfb: Option<Bfb> = crate::kit::get(&context.client, &namespace, &name).await?;
    let Some(versions) = bfb.and_then(|b| b.status).and_then(|s| s.versions) else {
        return Ok(None);
    };
    let (bmc, _) = match bmc(context, dpu).await? {
        Ok(found) => found,
        Err(work) => return Ok(Some(work)),
    };
    for (part, expected) in [("DPU_UEFI", versions.uefi), ("DPU_BSP", versions.bsp)] {
        let Some(expected) = expected else { continue };
        match bmc.firmware(part).await {
            Ok(Some(found)) if found != expected => {
                let message = format!("{part} of the DPU is {found}, the image holds {expected}");
                let said = Said::new("CheckFwVersionError", message);
                return Ok(Some(Work::waiting(said).polled(UNREACHABLE)));
            }
            Ok(_) => {}
            Err(error) => {
                let said = Said::new(error.reason(), in_one_line(&error));
                return Ok(Some(Work::waiting(said).polled(UNREACHABLE)));
            }
        }
    }
    Ok(None)
}

/// Waits until nobody needs the effect on the host any more.
pub(super) async fn give_back(context: &Context, dpu: &Dpu) -> Result<Work, Failure> {
    let is_mock = dpu.status.as_ref().is_some_and(super::is_mock);
    if !is_mock
        && let Found::Node(node, _) = find(context, dpu).await?
        && node_label_change(dpu, &node).is_some()
    {
        // A bad rollout can be taken back although its services never became ready.
        return Ok(Work::from(Event::LabelsChanged { with_effect: false }));
    }
    Ok(match effect::still_held(context, dpu).await? {
        None => Work::done(),
        Some(said) => Work::waiting(said),
    })
}

/// Looks after a DPU that runs.
pub(super) async fn watch_over(context: &Context, dpu: &Dpu) -> Result<Work, Failure> {
    let skipped = dpu
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_ref())
        .is_some_and(|c| {
            c.iter()
                .any(|c| c.type_ == "Initialized" && c.reason == "Skipped")
        });
    if skipped {
        return Ok(Work::from(Event::Done {
            reason: Some("Skipped"),
            message: String::new(),
        }));
    }
    let (node, _) = match find(context, dpu).await? {
        Found::Node(node, client) => (node, client),
        Found::Missing(_) => return Ok(Work::waiting(missing(dpu)).polled(UNREACHABLE)),
        Found::Unreachable(said) => return Ok(Work::waiting(said).polled(UNREACHABLE)),
    };
    if node_label_change(dpu, &node).is_some() {
        let with_effect = dpu
            .spec
            .node_effect
            .as_ref()
            .and_then(|e| e.apply_on_label_change)
            == Some(true);
        return Ok(Work::from(Event::LabelsChanged { with_effect }));
    }
    if !is_ready(&node) {
        return Ok(Work::waiting(not_ready(dpu)).polled(UNREACHABLE));
    }
    let addresses = addresses(&node);
    Ok(Work::from(Event::Done {
        reason: Some("DPUReady"),
        message: String::new(),
    })
    .with(move |status| status.addresses = Some(addresses))
    .polled(HEALTH))
}

/// Removes node and token of a DPU that is being deleted; says what is in the way.
///
/// Without its DPUCluster there is nowhere to remove anything from.
pub(super) async fn remove_node(context: &Context, dpu: &Dpu) -> Result<Option<Said>, Failure> {
    let client = match find(context, dpu).await? {
        Found::Node(node, client) => {
            let nodes: Api<Node> = Api::all(client.clone());
            match nodes
                .delete(&node.name_any(), &DeleteParams::default())
                .await
            {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    return Ok(Some(Said::new("DeleteNodeError", explain(&error))));
                }
            }
            client
        }
        Found::Missing(client) => client,
        Found::Unreachable(said)
            if matches!(said.reason, "DPUClusterNotAllocated" | "DPUClusterNotFound") =>
        {
            return Ok(None);
        }
        Found::Unreachable(said) => return Ok(Some(said)),
    };
    match prepare::revoke_token(&client, dpu).await {
        Ok(()) => Ok(None),
        Err(error) => Ok(Some(Said::new("RevokeTokenError", in_one_line(&error)))),
    }
}

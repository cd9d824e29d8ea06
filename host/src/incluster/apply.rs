//! Labels of nodes, then requestors of maintenances: a label that was not written holds its requestor.

use super::InClusterError;
use crate::kit::WriteError;
use dpf_api::keys::managers;
use dpf_api::provisioning::DpuNodeMaintenance;
use dpf_core::incluster::Release;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(managers::DPUDEPLOYMENT_NODE.to_owned()),
        ..PatchParams::default()
    }
}

/// Sets and removes labels; fails when the node changed since it was read. A vanished node needs none.
pub(super) async fn label(
    client: &Client,
    node: &Node,
    labels: &BTreeMap<String, Option<String>>,
) -> Result<(), InClusterError> {
    if labels.is_empty() {
        return Ok(());
    }
    let name = node.name_any();
    let api: Api<Node> = Api::all(client.clone());
    let patch = json!({"metadata": {
        "uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version, "labels": labels,
    }});
    match api.patch(&name, &params(), &Patch::Merge(&patch)).await {
        Ok(_) => {
            tracing::info!(node = name, ?labels, "in-cluster services");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(refused("Node", name, source)),
    }
}

/// Removes requestors; fails when the object changed since it was read, because others edit the list, too.
pub(super) async fn release(
    client: &Client,
    maintenances: &[Arc<DpuNodeMaintenance>],
    release: &Release,
) -> Result<(), InClusterError> {
    let Release {
        namespace,
        name,
        requestors,
    } = release;
    let of_it = |object: &&Arc<DpuNodeMaintenance>| {
        object.namespace().as_ref() == Some(namespace) && object.name_any() == *name
    };
    let Some(maintenance) = maintenances.iter().find(of_it) else {
        return Ok(());
    };
    let all = maintenance.spec.requestor.iter().flatten();
    let left: Vec<&String> = all.filter(|r| !requestors.contains(r)).collect();
    let patch = json!({
        "metadata": {
            "uid": maintenance.metadata.uid,
            "resourceVersion": maintenance.metadata.resource_version,
        },
        "spec": {"requestor": left},
    });
    let api: Api<DpuNodeMaintenance> = Api::namespaced(client.clone(), namespace);
    match api.patch(name, &params(), &Patch::Merge(&patch)).await {
        Ok(_) => {
            tracing::info!(
                maintenance = name,
                ?requestors,
                "in-cluster services are placed"
            );
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(refused(
            "DPUNodeMaintenance",
            format!("{namespace}/{name}"),
            source,
        )),
    }
}

fn refused(kind: &str, name: String, source: kube::Error) -> InClusterError {
    InClusterError::Write(WriteError::Refused {
        verb: "patch",
        kind: kind.to_owned(),
        name,
        source: Box::new(source),
    })
}

//! Releases requestors. The only write of this controller.

use super::ReadyError;
use crate::kit::{Context, explain};
use dpf_api::keys::managers;
use dpf_api::provisioning::DpuNodeMaintenance;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

/// Removes these requestors; fails when the object changed since it was read, because others edit the list, too.
pub(super) async fn release(
    context: &Context,
    maintenance: &DpuNodeMaintenance,
    released: &[String],
) -> Result<(), ReadyError> {
    if released.is_empty() {
        return Ok(());
    }
    let left: Vec<&String> = maintenance
        .spec
        .requestor
        .iter()
        .flatten()
        .filter(|requestor| !released.contains(requestor))
        .collect();
    let namespace = maintenance.namespace().unwrap_or_default();
    let name = maintenance.name_any();
    let api: Api<DpuNodeMaintenance> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({
        "metadata": {
            "uid": maintenance.metadata.uid,
            "resourceVersion": maintenance.metadata.resource_version,
        },
        "spec": {"requestor": left},
    });
    let params = PatchParams {
        field_manager: Some(managers::DPUREADY.to_owned()),
        ..PatchParams::default()
    };
    match api.patch(&name, &params, &Patch::Merge(&patch)).await {
        Ok(_) => {
            tracing::info!(
                maintenance = name,
                ?released,
                "services and chains are ready"
            );
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(ReadyError::Release {
            name: format!("{namespace}/{name}"),
            message: explain(&error),
            conflict: matches!(&error, kube::Error::Api(status) if status.code == 409),
        }),
    }
}

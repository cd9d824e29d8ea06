//! Host, card and cluster of a DPU.

use crate::kit::{self, Context, Failure};
use dpf_api::provisioning::{Dpu, DpuCluster, DpuDevice, DpuNode};
use dpf_core::dpu::Said;
use kube::ResourceExt;

/// Finds an object in the namespace of the DPU, else in the inventory.
async fn find<K: kit::Kind>(
    context: &Context,
    dpu: &Dpu,
    name: &str,
) -> Result<Option<K>, Failure> {
    let namespace = dpu.namespace().unwrap_or_default();
    if let Some(found) = kit::get(&context.client, &namespace, name).await? {
        return Ok(Some(found));
    }
    let inventory = &context.settings.inventory_namespace;
    if *inventory == namespace {
        return Ok(None);
    }
    Ok(kit::get(&context.client, inventory, name).await?)
}

fn places(context: &Context, dpu: &Dpu) -> String {
    let namespace = dpu.namespace().unwrap_or_default();
    let inventory = &context.settings.inventory_namespace;
    if *inventory == namespace {
        format!("namespace {namespace}")
    } else {
        format!("namespaces {namespace} and {inventory}")
    }
}

/// The host, or why there is none.
pub(super) async fn node(context: &Context, dpu: &Dpu) -> Result<Result<DpuNode, Said>, Failure> {
    let name = &dpu.spec.dpu_node_name;
    Ok(find(context, dpu, name).await?.ok_or_else(|| {
        let places = places(context, dpu);
        Said::new(
            "DPUNodeNotFound",
            format!("DPUNode {name} is not in {places}"),
        )
    }))
}

/// The card, or why there is none.
pub(super) async fn device(
    context: &Context,
    dpu: &Dpu,
) -> Result<Result<DpuDevice, Said>, Failure> {
    let name = &dpu.spec.dpu_device_name;
    Ok(find(context, dpu, name).await?.ok_or_else(|| {
        let places = places(context, dpu);
        Said::new(
            "DPUDeviceNotFound",
            format!("DPUDevice {name} is not in {places}"),
        )
    }))
}

/// The cluster that the DPU is assigned to, or why there is none.
pub(super) async fn cluster(
    context: &Context,
    dpu: &Dpu,
) -> Result<Result<DpuCluster, Said>, Failure> {
    let assigned = dpu.spec.cluster.as_ref();
    let named = assigned.and_then(|c| Some((c.namespace.as_deref()?, c.name.as_deref()?)));
    let Some((namespace, name)) = named else {
        return Ok(Err(Said::new(
            "DPUClusterNotAllocated",
            "the DPU is not assigned to a DPUCluster",
        )));
    };
    let found: Option<DpuCluster> = kit::get(&context.client, namespace, name).await?;
    Ok(found.ok_or_else(|| {
        Said::new(
            "DPUClusterNotFound",
            format!("DPUCluster {namespace}/{name} does not exist any more"),
        )
    }))
}

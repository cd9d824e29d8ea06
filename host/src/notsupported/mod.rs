//! Kinds that are served, so that manifests of others apply as a whole, and that nothing here acts on.
//!
//! Silence would be read as success, or waited for until a deadline: the condition `Ready` says that nothing happens, and
//! what to do instead. A kind that gets a controller of its own leaves this list.

use crate::kit::{Context, Failure, Kind, Next, Shutdown, run as run_controller, write_status};
use dpf_api::conditions::{READY, reasons};
use dpf_api::keys::managers;
use dpf_api::provisioning::{BlueFieldSoftware, DpuDiscovery, DpuFlavorTemplate};
use dpf_api::svc::{DpuServiceCredentialRequest, DpuServiceIpam, DpuServiceNad};
use dpf_core::conditions::{Conditions, Verdict};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::runtime::controller::Controller;
use kube::runtime::watcher;
use serde_json::json;
use std::sync::Arc;

/// A kind that nothing here acts on.
trait NotSupported: Kind {
    /// What does not happen, and what to do.
    const MESSAGE: &'static str;
    /// Conditions of the object.
    fn conditions(&self) -> Option<&[Condition]>;
}

macro_rules! not_supported {
    ($($kind:ident: $message:literal),* $(,)?) => {
        $(impl NotSupported for $kind {
            const MESSAGE: &'static str = $message;
            fn conditions(&self) -> Option<&[Condition]> {
                self.status.as_ref()?.conditions.as_deref()
            }
        })*

        /// Runs until shutdown.
        pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
            tokio::join!($(watch::<$kind>(context.clone(), shutdown.clone())),*);
        }
    };
}

not_supported! {
    DpuDiscovery: "This version does not look for BMCs: create a DPUDevice for each DPU, with bmcIp and serialNumber, and a \
                   DPUNode for each host that names its devices",
    BlueFieldSoftware: "This version provisions from a BFB: use a BFB, and refer to it as bfb",
    DpuFlavorTemplate: "This version makes no flavors from templates: write a DPUFlavor, and refer to it as flavor",
    DpuServiceIpam: "This version makes no address pools in DPU clusters: create the IPPool or CIDRPool of nv-ipam there",
    DpuServiceNad: "This version makes no NetworkAttachmentDefinition from this object: create it in the DPU clusters, under \
                    the same name. resourceType counts when device resources of services are computed",
    DpuServiceCredentialRequest: "This version issues no credentials: create the Secret with a kubeconfig or token for the \
                                  service account yourself",
}

async fn watch<K: NotSupported + Send + Sync + 'static>(context: Arc<Context>, shutdown: Shutdown) {
    let api: Api<K> = Api::all(context.client.clone());
    let controller = Controller::new(api, watcher::Config::default());
    run_controller(controller, context, shutdown, reconcile::<K>).await;
}

/// If cancelled, the condition is as it was; the next one writes it.
async fn reconcile<K: NotSupported>(
    object: Arc<K>,
    context: Arc<Context>,
) -> Result<Next, Failure> {
    if object.meta().deletion_timestamp.is_some() {
        return Ok(Next::OnEvent);
    }
    let generation = object.meta().generation.unwrap_or_default();
    let mut conditions = Conditions::new(object.conditions(), &[], generation, context.now());
    conditions.set(READY, &Verdict::no(reasons::NOT_SUPPORTED, K::MESSAGE));
    let status = json!({"conditions": conditions.into_list()});
    write_status(
        &context.client,
        managers::NOT_SUPPORTED,
        object.as_ref(),
        status,
    )
    .await?;
    Ok(Next::OnEvent)
}

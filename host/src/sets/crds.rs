//! The kinds that DPU clusters need.

use crate::kit::remote::Remote;
use crate::kit::{Shutdown, explain};
use dpf_api::keys::managers;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use std::time::Duration;

/// The kinds by plural.
const KINDS: [&str; 4] = [
    "servicechains",
    "servicechainsets",
    "serviceinterfaces",
    "serviceinterfacesets",
];
/// Pause before a cluster that refused is asked again.
const PAUSE: Duration = Duration::from_secs(10);

/// Installs the kinds; tries until it works or `stop`.
pub(super) async fn install(remote: &Remote, stop: &Shutdown) {
    loop {
        match install_once(&remote.client).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(cluster = %remote.key, "failed to install CustomResourceDefinitions: {}", explain(&error));
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// A definition that somebody else installed is left alone: it may be a later one.
async fn install_once(client: &Client) -> Result<(), kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mine = |crd: &CustomResourceDefinition| {
        crd.managed_fields()
            .iter()
            .any(|entry| entry.manager.as_deref() == Some(managers::SETS_INSTALL))
    };
    for crd in dpf_api::all_crds() {
        if crd.spec.group != dpf_api::svc::GROUP || !KINDS.contains(&crd.spec.names.plural.as_str())
        {
            continue;
        }
        let name = crd.name_any();
        if let Some(existing) = api.get_opt(&name).await?
            && !mine(&existing)
        {
            continue;
        }
        let params = PatchParams::apply(managers::SETS_INSTALL).force();
        api.patch(&name, &params, &Patch::Apply(&crd)).await?;
    }
    Ok(())
}

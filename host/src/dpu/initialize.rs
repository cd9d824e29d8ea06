//! Phases `Initializing` and `Pending`: everything the DPU needs is there, and it has a slot.

use super::work::Work;
use super::{Shared, inventory};
use crate::kit::{self, Context, Failure, WriteError};
use dpf_api::conditions::dpu as types;
use dpf_api::keys::{labels, managers};
use dpf_api::provisioning::{
    Bfb, BfbPhase, Dpu, DpuCluster, DpuDevice, DpuFlavor, InstallInterface,
};
use dpf_core::conditions::bulleted;
use dpf_core::dpu::{Event, Limits, Said, may_install};
use dpf_core::dpucluster::allocate;
use dpf_core::dpuflavor::validate;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How often it is looked for a free slot: other DPUs that leave theirs wake nobody.
const SLOT: Duration = Duration::from_secs(3);

/// Host, card, way of installation and cluster.
pub(super) async fn initialize(
    shared: &Shared,
    dpu: &Dpu,
    limits: &Limits,
) -> Result<Work, Failure> {
    let context = &shared.context;
    let node = match inventory::node(context, dpu).await? {
        Ok(node) => node,
        Err(said) => return Ok(Work::waiting(said)),
    };
    let device = match inventory::device(context, dpu).await? {
        Ok(device) => device,
        Err(said) => return Ok(Work::waiting(said)),
    };
    let version = context.settings.version.clone();
    if device.labels().contains_key(labels::SKIP_PROVISIONING) {
        return Ok(Work::from(Event::Skipped));
    }
    let interface = match node.status.as_ref().and_then(|s| s.dpu_install_interface) {
        Some(InstallInterface::Redfish) if limits.interface == InstallInterface::Redfish => {
            InstallInterface::Redfish
        }
        Some(InstallInterface::Mock) => InstallInterface::Mock,
        Some(_) => {
            return Ok(Work::waiting(Said::new(
                "InvalidDPUInstallInterface",
                format!(
                    "DPUNode {} is to be installed through an agent on the host, which this controller does not do: set installInterface.installViaRedfish in the DPFOperatorConfig",
                    node.name_any()
                ),
            )));
        }
        None => {
            return Ok(Work::waiting(Said::new(
                "DPUInstallInterfaceNotProvided",
                format!(
                    "DPUNode {} has no status.dpuInstallInterface yet",
                    node.name_any()
                ),
            )));
        }
    };
    if interface == InstallInterface::Redfish
        && let Some(said) = without_address(&device)
    {
        return Ok(Work::waiting(said));
    }
    if let Some(said) = assign(shared, dpu).await? {
        return Ok(Work::waiting(said));
    }
    Ok(Work::done().with(move |status| {
        // Which version provisions it never changes.
        status.dpf_version.get_or_insert(version);
        status.dpu_install_interface = Some(interface);
        status.dpu_type = device.status.and_then(|s| s.dpu_type);
    }))
}

fn without_address(device: &DpuDevice) -> Option<Said> {
    let address = device
        .spec
        .bmc_ip
        .as_deref()
        .or_else(|| device.status.as_ref()?.bmc_ip.as_deref());
    let valid = address.is_some_and(|text| text.parse::<Ipv4Addr>().is_ok());
    (!valid).then(|| {
        Said::new(
            "BMCIPNotValid",
            format!("DPUDevice {} has no valid spec.bmcIp", device.name_any()),
        )
    })
}

/// Assigns the DPU to a cluster, unless it is. One at a time: the last place is given once.
async fn assign(shared: &Shared, dpu: &Dpu) -> Result<Option<Said>, Failure> {
    let context = &shared.context;
    let assigned = dpu.spec.cluster.as_ref().and_then(|c| c.name.as_ref());
    if assigned.is_some() {
        let cluster = match inventory::cluster(context, dpu).await? {
            Ok(cluster) => cluster,
            Err(said) => return Ok(Some(said)),
        };
        let deleting = cluster.metadata.deletion_timestamp.is_some();
        return Ok(deleting.then(|| {
            Said::new(
                "DPUClusterDeleting",
                format!("DPUCluster {} is being deleted", cluster.name_any()),
            )
        }));
    }
    let _turn = shared.turns.lock().await;
    let clusters: Vec<DpuCluster> = kit::list(&context.client, None).await?;
    let dpus: Vec<Dpu> = kit::list(&context.client, None).await?;
    let selector = dpu.spec.cluster.as_ref().and_then(|c| c.selector.as_ref());
    match allocate(&clusters, &dpus, selector) {
        Err(error) => Ok(Some(Said::new("DPUClusterNotAllocated", error.to_string()))),
        Ok((namespace, name)) => {
            let api: Api<Dpu> =
                Api::namespaced(context.client.clone(), &dpu.namespace().unwrap_or_default());
            let patch = json!({
                "metadata": {"resourceVersion": dpu.metadata.resource_version},
                "spec": {"cluster": {"namespace": namespace, "name": name}},
            });
            let params = PatchParams {
                field_manager: Some(managers::DPU.to_owned()),
                ..PatchParams::default()
            };
            api.patch(&dpu.name_any(), &params, &Patch::Merge(&patch))
                .await
                .map_err(|source| WriteError::Refused {
                    verb: "assign a cluster to",
                    kind: "DPU".to_owned(),
                    name: dpu.name_any(),
                    source: Box::new(source),
                })?;
            Ok(None)
        }
    }
}

/// Image, flavor and slot. The caller holds the turn until the status is written.
pub(super) async fn pending(
    context: &Context,
    dpu: &Dpu,
    limits: &Limits,
) -> Result<Work, Failure> {
    let namespace = dpu.namespace().unwrap_or_default();
    let by_image = |reason, message| Work::waiting(Said::new(reason, message).by(types::BFB_READY));
    let name = dpu.spec.bfb.clone().unwrap_or_default();
    let bfb: Option<Bfb> = kit::get(&context.client, &namespace, &name).await?;
    let Some(bfb) = bfb else {
        return Ok(by_image(
            "BFBNotFound",
            format!("BFB {namespace}/{name} does not exist"),
        ));
    };
    let status = bfb.status.clone().unwrap_or_default();
    if status.phase != BfbPhase::Ready {
        let why = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "Downloaded" && c.status != "True")
            .map(|c| c.message.clone())
            .unwrap_or_default();
        return Ok(by_image(
            "BFBIsNotReady",
            format!("BFB {name} is {}: {why}", status.phase),
        ));
    }
    if let Some(said) = unusable_flavor(context, dpu, &namespace).await? {
        return Ok(Work::waiting(said).polled(SLOT));
    }
    let all: Vec<Dpu> = kit::list(&context.client, None).await?;
    if !may_install(&all, limits) {
        let message = format!(
            "{} DPUs are being installed, which is the most that may be at a time (maxDPUParallelInstallations)",
            limits.parallel
        );
        return Ok(Work::waiting(Said::new("CannotProceed", message)).polled(SLOT));
    }
    let file = status
        .file_name
        .unwrap_or_else(|| dpf_core::bfb::file_name(&bfb));
    let version = status.versions.and_then(|v| v.bsp);
    Ok(Work::done().with(move |status| {
        status.bfb_file = Some(format!("/bfb/{file}"));
        status.bfb_version = version;
    }))
}

/// Nothing is flashed with a flavor that is known to be wrong.
async fn unusable_flavor(
    context: &Context,
    dpu: &Dpu,
    namespace: &str,
) -> Result<Option<Said>, Failure> {
    let name = dpu.spec.dpu_flavor.clone().unwrap_or_default();
    let flavor: Option<DpuFlavor> = kit::get(&context.client, namespace, &name).await?;
    let Some(flavor) = flavor else {
        let message = format!("DPUFlavor {namespace}/{name} does not exist");
        return Ok(Some(Said::new("DPUFlavorNotFound", message)));
    };
    let findings = validate(&flavor.spec);
    if findings.is_empty() {
        return Ok(None);
    }
    let header =
        format!("DPUFlavor {name} cannot be used; create a corrected one and refer to that");
    let lines = findings
        .iter()
        .map(|f| format!("spec.{}: {}", f.field, f.message));
    Ok(Some(Said::new(
        "DPUFlavorInvalid",
        bulleted(&header, lines),
    )))
}

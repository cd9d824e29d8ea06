//! Phases `Initialize Interface`, `Config FW Parameters` and `OS Installing`: everything that the BMC does.

use super::inventory;
use super::redfish::{Bmc, RedfishError, Task, TaskOutcome};
use super::work::{BMC_POLL, BMC_RETRY, Work};
use crate::kit::in_one_line;
use crate::kit::{Classified, Context, Failure};
use dpf_api::conditions::{READY, dpu as types};
use dpf_api::provisioning::{Dpu, DpuDevice, DpuStatus};
use dpf_core::conditions::is_true;
use dpf_core::dpu::{Event, Limits, Said, image_path, image_token, store_file};
use kube::ResourceExt;

/// Progress is written in steps of this many percent: every write wakes everybody who watches DPUs.
const PERCENT_STEP: i32 = 10;

/// The BMC of a DPU, or what is to be waited for.
pub(super) async fn bmc(
    context: &Context,
    dpu: &Dpu,
) -> Result<Result<(Bmc, DpuDevice), Work>, Failure> {
    let device = match inventory::device(context, dpu).await? {
        Ok(device) => device,
        Err(said) => return Ok(Err(Work::waiting(said))),
    };
    let namespace = dpu.namespace().unwrap_or_default();
    Ok(match Bmc::of(context, &device, &namespace).await? {
        Ok(bmc) => Ok((bmc, device)),
        Err(error) => Err(Work::bmc(&error)),
    })
}

/// The card is the right one and its BMC answers.
pub(super) async fn initialize_interface(context: &Context, dpu: &Dpu) -> Result<Work, Failure> {
    let (bmc, device) = match bmc(context, dpu).await? {
        Ok(found) => found,
        Err(work) => return Ok(work),
    };
    let conditions = device.status.as_ref().and_then(|s| s.conditions.as_deref());
    if !is_true(conditions, READY) {
        let why = conditions
            .unwrap_or_default()
            .iter()
            .find(|c| c.type_ == READY)
            .map(|c| c.message.clone())
            .unwrap_or_default();
        let message = format!("DPUDevice {} is not ready: {why}", device.name_any());
        return Ok(Work::waiting(Said::new("DPUDeviceNotReady", message)).polled(BMC_RETRY));
    }
    Ok(match bmc.system().await {
        Ok(_) => Work::done(),
        Err(error) => Work::bmc(&error),
    })
}

/// The path for images is open.
pub(super) async fn configure_firmware(context: &Context, dpu: &Dpu) -> Result<Work, Failure> {
    let (bmc, _) = match bmc(context, dpu).await? {
        Ok(found) => found,
        Err(work) => return Ok(work),
    };
    Ok(match bmc.open_rshim().await {
        Ok(true) => Work::done(),
        Ok(false) => {
            let message = "RShim of the BMC is being enabled";
            Work::waiting(Said::new("WaitingForBMCRShim", message)).polled(BMC_POLL)
        }
        Err(error) => Work::bmc(&error),
    })
}

/// Installs the image, once: the task of the BMC is recorded, and looked for when the record is missing.
pub(super) async fn install(
    context: &Context,
    dpu: &Dpu,
    limits: &Limits,
) -> Result<Work, Failure> {
    let status = dpu.status.clone().unwrap_or_default();
    let (bmc, _) = match bmc(context, dpu).await? {
        Ok(found) => found,
        Err(work) => return Ok(work),
    };
    if let Some(id) = &status.redfish_task_id {
        return Ok(match bmc.task(id).await {
            Ok(Some(task)) => follow(&bmc, &status, task).await,
            Ok(None) => forgotten(&bmc, id).await,
            Err(error) => Work::bmc(&error),
        });
    }
    if let Some(lost) = lost_file(context, &status).await {
        return Ok(Work::from(Event::Lost(Said::new(
            "FailedToPushBFCFG",
            lost,
        ))));
    }
    let registry = limits
        .registry
        .as_deref()
        .map_or_else(|| context.settings.registry_url.clone(), with_scheme);
    let path = image_path(
        &dpu.namespace().unwrap_or_default(),
        &dpu.name_any(),
        &image_token(&dpu.uid().unwrap_or_default(), &status),
    );
    let image = format!("{}{path}", registry.trim_end_matches('/'));
    Ok(match start(&bmc, &image, &path).await {
        Ok(task) => {
            let id = task.id.clone();
            Work::waiting(progress(&task))
                .with(move |status| {
                    status.redfish_task_id = Some(id);
                    status.install_percent = Some(0);
                })
                .polled(BMC_POLL)
        }
        // Somebody else's update, perhaps that of a DPU deleted meanwhile: it ends.
        Err(RedfishError::InProgress { .. }) => {
            let message = "the BMC is busy with another update; this one starts after it";
            Work::waiting(Said::new("BMCUpdateInProgress", message)).polled(BMC_RETRY)
        }
        Err(error) if error.is_refusal() => {
            Work::failed(Said::new("FailToInstall", in_one_line(&error)))
        }
        Err(error) => {
            Work::waiting(Said::new(error.reason(), in_one_line(&error))).polled(BMC_RETRY)
        }
    })
}

/// An address in the settings may come without scheme.
fn with_scheme(address: &str) -> String {
    if address.contains("://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    }
}

/// The task that installs this image: the one that is there already, else a new one.
///
/// It is recognised by the path: the address of the registry may have changed since.
async fn start(bmc: &Bmc, image: &str, path: &str) -> Result<Task, RedfishError> {
    if let Some(task) = bmc.find_task(path, false).await? {
        return Ok(task);
    }
    match bmc.install(image).await {
        Err(error @ RedfishError::InProgress { .. }) => {
            // The answer to an earlier request may have been lost.
            bmc.find_task(path, true).await?.ok_or(error)
        }
        other => other,
    }
}

fn progress(task: &Task) -> Said {
    let percent = task.percent_complete.unwrap_or(0) / PERCENT_STEP * PERCENT_STEP;
    Said::new("TaskProgress", format!("install task {percent}% complete"))
}

async fn follow(bmc: &Bmc, status: &DpuStatus, task: Task) -> Work {
    match task.outcome() {
        TaskOutcome::Running => {
            let percent =
                task.percent_complete.unwrap_or(0).clamp(0, 100) / PERCENT_STEP * PERCENT_STEP;
            let shown = status.install_percent.unwrap_or(0).max(percent);
            Work::waiting(progress(&task))
                .with(move |status| status.install_percent = Some(shown))
                .polled(BMC_POLL)
        }
        TaskOutcome::Failed { message } => failed(message),
        TaskOutcome::Completed => started(bmc).await,
    }
}

/// It is tried again a few times: what fails once may be a restart of this process, which serves the image. Each time
/// has an address of its own, so that tasks are not taken for each other.
fn failed(message: String) -> Work {
    Work::from(Event::Lost(
        Said::new("InstallationFailed", message).by(types::OS_INSTALLED),
    ))
}

/// The image is written; the DPU starts it by itself.
async fn started(bmc: &Bmc) -> Work {
    match bmc.system().await {
        Ok(system) if system.is_running() => {
            Work::done().with(|status| status.install_percent = Some(100))
        }
        Ok(system) => {
            let message = format!(
                "the image is written, the DPU starts it: {}",
                system.state()
            );
            Work::waiting(Said::new("OemLastState", message))
                .with(|status| status.install_percent = Some(100))
                .polled(BMC_POLL)
        }
        Err(error) => Work::bmc(&error),
    }
}

/// A BMC that restarted has forgotten its tasks. Whether the image runs is all that matters.
async fn forgotten(bmc: &Bmc, id: &str) -> Work {
    match bmc.system().await {
        Ok(system) if system.is_running() => Work::done(),
        Ok(system) => {
            let message = format!(
                "the BMC has forgotten task {id}; waiting whether the image starts: {}",
                system.state()
            );
            Work::waiting(Said::new("FailToCheckProgress", message)).polled(BMC_RETRY)
        }
        Err(error) => Work::bmc(&error),
    }
}

/// A file that the registry would have to serve and that is gone, for example because the host moved.
async fn lost_file(context: &Context, status: &DpuStatus) -> Option<String> {
    for published in [&status.bfb_file, &status.bf_cfg_file] {
        let Some(relative) = published.as_deref().and_then(store_file) else {
            return Some("image or configuration were not prepared".to_owned());
        };
        let path = context.settings.bfb_dir.join(relative);
        if tokio::fs::metadata(&path).await.is_err() {
            return Some(format!("{} is gone", path.display()));
        }
    }
    None
}

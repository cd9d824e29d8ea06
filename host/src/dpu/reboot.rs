//! Phase `Rebooting`: the host, or only the DPU, is restarted.

use super::install::bmc;
use super::inventory;
use super::redfish::Bmc;
use super::work::{BMC_POLL, Work};
use crate::kit::{self, Context, Failure, patch_metadata};
use dpf_api::keys::{annotations, managers};
use dpf_api::provisioning::{Dpu, DpuNode};
use dpf_core::dpu::{RebootMove, RebootView, Said, WAITING_FOR_REBOOT, reboot_move};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{ConfigMap, EnvVar, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::json;
use std::time::Duration;

/// How often siblings and jobs are looked at.
const SLOW: Duration = Duration::from_secs(5);
/// How long a job of a script stays after its end, in seconds.
const JOB_KEPT_SECONDS: i32 = 60;
/// What stands for the last reset of a BMC that does not tell.
const UNTOLD: &str = "untold";

/// Does the next move.
pub(super) async fn reboot(context: &Context, dpu: &Dpu) -> Result<Work, Failure> {
    let node = match inventory::node(context, dpu).await? {
        Ok(node) => node,
        Err(said) => return Ok(Work::waiting(said)),
    };
    let all: Vec<Dpu> = kit::list(&context.client, None).await?;
    let siblings: Vec<Dpu> = all
        .into_iter()
        .filter(|other| other.spec.dpu_node_name == dpu.spec.dpu_node_name)
        .collect();
    let view = RebootView {
        dpu,
        node: &node,
        siblings: &siblings,
    };
    match reboot_move(view) {
        RebootMove::Done => Ok(Work::done()),
        RebootMove::WaitForSibling { name } => {
            let message = format!(
                "DPU {name} of the same host is still being installed; one restart serves both"
            );
            Ok(Work::waiting(Said::new("WaitingForSiblingDPU", message))
                .by_person()
                .polled(SLOW))
        }
        RebootMove::ResetArm => reset_arm(context, dpu).await,
        RebootMove::AskForReboot => {
            let patch = json!({"annotations": {annotations::EXTERNAL_REBOOT_REQUIRED: "true"}});
            patch_metadata(&context.client, managers::DPU, &node, patch).await?;
            Ok(waiting_for_person(&node))
        }
        RebootMove::WaitForReboot => Ok(waiting_for_person(&node)),
        RebootMove::RunScript { config_map } => run_script(context, &node, &config_map).await,
    }
}

fn waiting_for_person(node: &DpuNode) -> Work {
    let message = format!(
        "power cycle or restart the host of DPUNode {}, then remove its annotation {}",
        node.name_any(),
        annotations::EXTERNAL_REBOOT_REQUIRED
    );
    Work::waiting(Said::new(WAITING_FOR_REBOOT, message)).by_person()
}

/// Restarts the ARM cores once: what the BMC gave as its last reset is recorded before, and differs after it.
async fn reset_arm(context: &Context, dpu: &Dpu) -> Result<Work, Failure> {
    let (bmc, _) = match bmc(context, dpu).await? {
        Ok(found) => found,
        Err(work) => return Ok(work),
    };
    let before = dpu.status.as_ref().and_then(|s| s.arm_reset_before.clone());
    Ok(match before {
        None => remember(&bmc).await,
        Some(before) => restart(&bmc, &before).await,
    })
}

async fn remember(bmc: &Bmc) -> Work {
    match bmc.system().await {
        Ok(system) => {
            let last = system.last_reset_time.unwrap_or_else(|| UNTOLD.to_owned());
            Work::waiting(Said::new(
                "RestartingDPU",
                "the DPU is about to be restarted",
            ))
            .with(move |status| status.arm_reset_before = Some(last))
            .polled(Duration::ZERO)
        }
        Err(error) => Work::bmc(&error),
    }
}

async fn restart(bmc: &Bmc, before: &str) -> Work {
    let system = match bmc.system().await {
        Ok(system) => system,
        Err(error) => return Work::bmc(&error),
    };
    let waiting =
        |message: String| Work::waiting(Said::new("RestartingDPU", message)).polled(BMC_POLL);
    match system.last_reset_time.as_deref() {
        Some(last) if last != before => {
            if system.is_running() {
                Work::done()
            } else {
                waiting(format!(
                    "the DPU was restarted and starts: {}",
                    system.state()
                ))
            }
        }
        Some(_) => match bmc.reset().await {
            Ok(()) => waiting("the DPU was asked to restart".to_owned()),
            Err(error) => Work::bmc(&error),
        },
        // A BMC that does not tell: ask once, then trust it. The node tells whether the system is back.
        None => match bmc.reset().await {
            Ok(()) => Work::done(),
            Err(error) => Work::bmc(&error),
        },
    }
}

/// Runs the job of the host; one job serves all DPUs that wait at that time.
async fn run_script(context: &Context, node: &DpuNode, config_map: &str) -> Result<Work, Failure> {
    let namespace = node.namespace().unwrap_or_default();
    let name = format!("{}-script-job", node.name_any());
    if let Some(job) = kit::get::<Job>(&context.client, &namespace, &name).await? {
        return Ok(script_progress(&job));
    }
    let Some(map) = kit::get::<ConfigMap>(&context.client, &namespace, config_map).await? else {
        let message =
            format!("ConfigMap {namespace}/{config_map} with the reboot script does not exist");
        return Ok(Work::waiting(Said::new("RebootScriptNotFound", message)).polled(SLOW));
    };
    let text = map
        .data
        .unwrap_or_default()
        .remove("pod-template")
        .unwrap_or_default();
    let mut template: PodTemplateSpec = match serde_saphyr::from_str(&text) {
        Ok(template) => template,
        Err(error) => {
            let message = format!(
                "key pod-template of ConfigMap {namespace}/{config_map} is no pod template: {error}"
            );
            return Ok(Work::waiting(Said::new("RebootScriptInvalid", message)).polled(SLOW));
        }
    };
    if let Some(spec) = template.spec.as_mut() {
        spec.restart_policy
            .get_or_insert_with(|| "Never".to_owned());
        for container in &mut spec.containers {
            container.env.get_or_insert_default().push(EnvVar {
                name: "DPUNODE_NAME".to_owned(),
                value: Some(node.name_any()),
                value_from: None,
            });
        }
    }
    let job = Job {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            ttl_seconds_after_finished: Some(JOB_KEPT_SECONDS),
            template,
            ..JobSpec::default()
        }),
        status: None,
    };
    kit::apply(&context.client, managers::DPU, &job).await?;
    Ok(Work::waiting(Said::new(
        "RebootScriptRunning",
        "the reboot script was started",
    ))
    .polled(SLOW))
}

fn script_progress(job: &Job) -> Work {
    let has = |type_: &str| {
        job.status
            .as_ref()
            .and_then(|s| s.conditions.as_ref())
            .is_some_and(|c| c.iter().any(|c| c.type_ == type_ && c.status == "True"))
    };
    if has("Complete") {
        Work::done()
    } else if has("Failed") {
        let message = format!("Job {} failed: look at its pod", job.name_any());
        Work::failed(Said::new("RebootFailed", message))
    } else {
        let message = format!("Job {} is running", job.name_any());
        Work::waiting(Said::new("RebootScriptRunning", message)).polled(SLOW)
    }
}

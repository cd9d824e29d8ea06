//! `dpfctl retry`: starts the failed phase of DPUs again.
//!
//! It only writes the annotation that asks for it; the controller decides where the DPU goes on.

use crate::cli::RetryArgs;
use anyhow::{Context as _, bail};
use dpf_api::conditions::dpu as types;
use dpf_api::keys::annotations;
use dpf_api::provisioning::{Dpu, DpuPhase};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::fmt;
use std::process::ExitCode;
use std::str::FromStr;

/// Field manager of the annotation.
const MANAGER: &str = "dpfctl";

/// What can be tried again: `dpu/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of the DPU.
    pub name: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const KINDS: [&str; 3] = ["dpu", "dpus", "dpus.provisioning.dpu.nvidia.com"];
        match text.split_once('/') {
            Some((kind, name))
                if KINDS.contains(&kind.to_ascii_lowercase().as_str())
                    && !name.is_empty()
                    && !name.contains('/') =>
            {
                Ok(Self {
                    name: name.to_owned(),
                })
            }
            _ => Err("write dpu/NAME; no other kind can be tried again".to_owned()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "dpu/{}", self.name)
    }
}

/// Asks for another try of each DPU, and says what failed.
///
/// # Errors
/// When a DPU does not exist or has not failed, or the cluster does not answer. Those before it were asked for.
pub async fn retry(arguments: RetryArgs) -> anyhow::Result<ExitCode> {
    let client = crate::client::connect(arguments.kubeconfig.as_deref()).await?;
    let namespace = arguments
        .namespace
        .unwrap_or_else(|| client.default_namespace().to_owned());
    let dpus: Api<Dpu> = Api::namespaced(client, &namespace);
    for target in arguments.targets {
        let name = &target.name;
        let dpu = dpus.get_opt(name).await.with_context(|| {
            format!("failed to read {target} in namespace {namespace}; check that the server of the kubeconfig is running")
        })?;
        let Some(dpu) = dpu else {
            bail!(
                "there is no DPU {name} in namespace {namespace}; list them with: kubectl get dpus -A"
            );
        };
        let was = failed(&dpu).with_context(|| format!("{target} is not tried again"))?;
        let ask = json!({"metadata": {
            "resourceVersion": dpu.metadata.resource_version,
            "annotations": {annotations::RETRY: "true"},
        }});
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        dpus.patch(name, &params, &Patch::Merge(&ask))
            .await
            .with_context(|| format!("failed to annotate {target} in namespace {namespace}"))?;
        crate::say(&format!("{target} is tried again; it had failed: {was}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a DPU failed.
///
/// # Errors
/// It did not.
fn failed(dpu: &Dpu) -> anyhow::Result<String> {
    let status = dpu.status.as_ref();
    let phase = status.map(|s| s.phase).unwrap_or_default();
    if phase != DpuPhase::Error {
        bail!(
            "it is in phase {phase}; only a DPU in phase {} can be",
            DpuPhase::Error
        );
    }
    let conditions = status.and_then(|s| s.conditions.as_ref());
    let error = conditions
        .into_iter()
        .flatten()
        .find(|c| c.type_ == types::ERROR);
    let message = error.map(|c| c.message.as_str()).unwrap_or_default();
    // The rest says how to try again, which is what is being done.
    let cause = message.split(". To try again").next().unwrap_or_default();
    Ok(cause.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_kind_and_name() {
        for text in [
            "dpu/a",
            "dpus/a",
            "DPU/a",
            "dpus.provisioning.dpu.nvidia.com/a",
        ] {
            assert_eq!(text.parse::<Target>().map(|t| t.name), Ok("a".to_owned()));
        }
        for text in ["a", "dpu/", "dpuset/a", "dpu/a/b"] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains("dpu/NAME"), "{text}: {error}");
        }
    }

    #[test]
    fn only_what_failed_is_tried_again() {
        let dpu = |phase: &str| -> Dpu {
            serde_json::from_value(json!({
                "apiVersion": "provisioning.dpu.nvidia.com/v1alpha1", "kind": "DPU", "metadata": {"name": "a"},
                "spec": {"dpuNodeName": "n", "dpuDeviceName": "d", "serialNumber": "MT1", "bfb": "b"},
                "status": {"phase": phase, "conditions": [{
                    "type": "Error", "status": "True", "reason": "FailToInstall", "lastTransitionTime": "2026-01-01T00:00:00Z",
                    "message": "no space. To try again, annotate the DPU with x=true, or delete the DPU"
                }]}
            }))
            .unwrap()
        };
        assert_eq!(failed(&dpu("Error")).unwrap(), "no space");
        let error = failed(&dpu("Ready")).unwrap_err().to_string();
        assert!(error.contains("phase Ready"), "{error}");
    }
}

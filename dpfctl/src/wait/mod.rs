//! `dpfctl wait`: returns when everything applied before the call is rolled out.
//!
//! ```text
//!   watch the DPUDeployment ──> each state: read what it refers to ──> rollout::open ──> nothing open: done
//!                                                                            └── else say it once, go on
//! ```
//!
//! `kubectl wait --for=condition=Ready` looks at one object. Right after a change of a template or a configuration that
//! object still says Ready, because the controller has not seen the change. This command compares what the conditions
//! speak about with what the cluster holds now.

mod rollout;

use crate::cli::WaitArgs;
use anyhow::{Context as _, bail};
use dpf_api::{provisioning, svc};
use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, ApiResource};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use rollout::{Live, Present};
use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// While something is open, the cluster is read again this often: what is waited for may be another object than the
/// watched one, such as a template that somebody deletes.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What can be waited for: `dpudeployment/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of the DPUDeployment.
    pub name: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const KINDS: [&str; 3] = [
            "dpudeployment",
            "dpudeployments",
            "dpudeployments.svc.dpu.nvidia.com",
        ];
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
            _ => Err("write dpudeployment/NAME; no other kind can be waited for".to_owned()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "dpudeployment/{}", self.name)
    }
}

/// Waits, and says for what.
///
/// # Errors
/// When the cluster does not answer, or the deployment does not exist or is deleted.
pub async fn wait(arguments: WaitArgs) -> anyhow::Result<ExitCode> {
    let client = crate::client::connect(arguments.kubeconfig.as_deref()).await?;
    let namespace = arguments
        .namespace
        .unwrap_or_else(|| client.default_namespace().to_owned());
    let target = arguments.target;
    let mut last = Vec::new();
    let rolled_out = until_rolled_out(&client, &namespace, &target.name, &mut last);
    match tokio::time::timeout(arguments.timeout, rolled_out).await {
        Ok(result) => {
            result?;
            writeln!(
                std::io::stdout(),
                "{target} in namespace {namespace} is rolled out"
            )
            .context("failed to write to stdout")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(_) if last.is_empty() => bail!(
            "the cluster did not answer within {} s; check that the server of the kubeconfig is running",
            arguments.timeout.as_secs()
        ),
        Err(_) => bail!(
            "{target} in namespace {namespace} is not rolled out after {} s:\n  {}",
            arguments.timeout.as_secs(),
            last.join("\n  ")
        ),
    }
}

/// Returns when nothing is open; `last` holds what was open when it was last looked at. Cancelling it changes nothing.
async fn until_rolled_out(
    client: &Client,
    namespace: &str,
    name: &str,
    last: &mut Vec<String>,
) -> anyhow::Result<()> {
    let api = api_of(client, svc::GROUP, "DPUDeployment", namespace);
    // A typo is an error at once, not after the timeout.
    if read(&api, name).await?.is_none() {
        bail!(
            "there is no DPUDeployment {name} in namespace {namespace}; list them with: kubectl get dpudeployments -A"
        );
    }
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher(api.clone(), only).default_backoff().boxed();
    loop {
        let Some(deployment) = read(&api, name).await? else {
            bail!("the DPUDeployment {name} in namespace {namespace} was deleted");
        };
        let live = observe(client, namespace, &deployment).await?;
        let open = rollout::open(&deployment, &live);
        if open.is_empty() {
            return Ok(());
        }
        for line in open.iter().filter(|line| !last.contains(line)) {
            // The result is on stdout; a closed stderr is nobody's concern.
            let _ = writeln!(std::io::stderr(), "waiting: {line}");
        }
        *last = open;
        // Only a reason to look: a watch that fails is started again, and a cluster that does not answer fails the reads.
        let _ = tokio::time::timeout(LOOK_AGAIN, events.next()).await;
    }
}

/// Everything the deployment refers to, as the cluster holds it now.
async fn observe(
    client: &Client,
    namespace: &str,
    deployment: &DynamicObject,
) -> anyhow::Result<Live> {
    let mut live = Live::new();
    for dependency in rollout::dependencies(deployment) {
        let group = match dependency.kind {
            "BFB" | "DPUFlavor" => provisioning::GROUP,
            _ => svc::GROUP,
        };
        let api = api_of(client, group, dependency.kind, namespace);
        let object = read(&api, &dependency.name).await?;
        let present = object.map(|object| Present::of(dependency.kind, &object.metadata));
        live.insert(dependency, present);
    }
    Ok(live)
}

fn api_of(client: &Client, group: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(group, "v1alpha1", kind);
    let plural = format!("{}s", kind.to_ascii_lowercase());
    let resource = ApiResource::from_gvk_with_plural(&gvk, &plural);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

async fn read(api: &Api<DynamicObject>, name: &str) -> anyhow::Result<Option<DynamicObject>> {
    api.get_opt(name).await.with_context(|| {
        format!(
            "failed to read {}/{name}; check that the server of the kubeconfig is running",
            api.resource_url()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_kind_and_name() {
        for text in [
            "dpudeployment/pc",
            "dpudeployments/pc",
            "DPUDeployment/pc",
            "dpudeployments.svc.dpu.nvidia.com/pc",
        ] {
            assert_eq!(
                text.parse::<Target>().map(|t| t.name),
                Ok("pc".to_owned()),
                "{text}"
            );
        }
        for text in ["pc", "dpudeployment/", "dpuset/pc", "dpudeployment/a/b"] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains("dpudeployment/NAME"), "{text}: {error}");
        }
    }
}

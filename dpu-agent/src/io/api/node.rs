//! What the agent says about its node: a heartbeat, the versions it found, and whether the switch works.
//!
//! The heartbeat is a Lease, as that of a kubelet is; who wants to know whether the agent of a DPU lives looks there. The
//! condition `OVSHealthy` of the Node is a problem as the node problem detector reports them: `False` means healthy.

use super::{CALL, PAUSES};
use crate::io::driver::Report;
use dpf_api::keys::managers;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How often the Lease is renewed.
const RENEW: Duration = Duration::from_secs(10);
/// After how long without a renewal the agent counts as gone: four renewals, as with kubelets.
const LEASE_SECONDS: i32 = 40;
/// How often a condition that stays the same is written again.
const REPEAT: Duration = Duration::from_secs(300);
/// The condition of the Node.
const CONDITION: &str = "OVSHealthy";
/// On the Lease: version of this program.
const AGENT_VERSION: &str = "dpu.nvidia.com/agent-version";
/// On the Lease: version of Open vSwitch.
const OVS_VERSION: &str = "dpu.nvidia.com/ovs-version";

/// What is said of the switch.
#[derive(Clone, PartialEq)]
struct Health {
    healthy: bool,
    reason: &'static str,
    message: String,
}

/// Reports until `stop`. Without an API server nothing is reported, and nothing else happens.
pub async fn report(
    client: Client,
    node: &str,
    namespace: &str,
    mut report: watch::Receiver<Arc<Report>>,
    stop: CancellationToken,
) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let nodes: Api<Node> = Api::all(client);
    let mut next_lease = Instant::now();
    let mut said: Option<(Health, Instant)> = None;
    let mut last_change = Timestamp::now();
    let mut told = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(next_lease) => {}
            changed = report.changed() => if changed.is_err() { return },
        }
        let found = report.borrow_and_update().clone();
        let mut result = Ok(());
        if Instant::now() >= next_lease {
            result = renew(&leases, node, &found).await;
            next_lease = Instant::now() + if result.is_ok() { RENEW } else { PAUSES.0 * 4 };
        }
        let health = health(&found);
        let same = said.as_ref().filter(|(before, _)| *before == health);
        if same.is_none_or(|(_, at)| at.elapsed() > REPEAT) {
            if said
                .as_ref()
                .is_none_or(|(before, _)| before.healthy != health.healthy)
            {
                last_change = Timestamp::now();
            }
            match say(&nodes, node, &health, last_change).await {
                Ok(()) => said = Some((health, Instant::now())),
                Err(why) => result = Err(why),
            }
        }
        if let Err(why) = &result
            && !told
        {
            tracing::warn!("failed to report on node {node}: {why}; trying again");
        }
        told = result.is_err();
    }
}

fn health(report: &Report) -> Health {
    let version = report.version.as_deref().unwrap_or("of unknown version");
    match &report.unhealthy {
        None => Health {
            healthy: true,
            reason: "OVSIsHealthy",
            message: format!("Open vSwitch {version} answers"),
        },
        Some(why) => Health {
            healthy: false,
            reason: "OVSUnavailable",
            message: why.clone(),
        },
    }
}

async fn renew(leases: &Api<Lease>, node: &str, report: &Report) -> Result<(), String> {
    let name = format!("dpu-agent-{node}");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "annotations": {
            AGENT_VERSION: env!("CARGO_PKG_VERSION"), OVS_VERSION: report.version
        }},
        "spec": {
            "holderIdentity": node, "leaseDurationSeconds": LEASE_SECONDS,
            // Six digits: that is what MicroTime has.
            "renewTime": format!("{:.6}", Timestamp::now())
        }
    });
    let params = PatchParams::apply(managers::DPU_AGENT).force();
    answer(timeout(CALL, leases.patch(&name, &params, &Patch::Apply(lease))).await)
}

async fn say(
    nodes: &Api<Node>,
    node: &str,
    health: &Health,
    since: Timestamp,
) -> Result<(), String> {
    let condition = json!({
        "type": CONDITION, "status": if health.healthy { "False" } else { "True" },
        "reason": health.reason, "message": health.message,
        "lastTransitionTime": format!("{since:.0}"), "lastHeartbeatTime": format!("{:.0}", Timestamp::now())
    });
    let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    let params = PatchParams {
        field_manager: Some(managers::DPU_AGENT.to_owned()),
        ..PatchParams::default()
    };
    answer(timeout(CALL, nodes.patch_status(node, &params, &patch)).await)
}

fn answer<K>(
    result: Result<Result<K, kube::Error>, tokio::time::error::Elapsed>,
) -> Result<(), String> {
    match result {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the API server does not answer".to_owned()),
    }
}

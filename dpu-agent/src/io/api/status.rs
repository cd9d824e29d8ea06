//! Writes what became of objects: finalizers and status. The switch never waits for it.

use super::objects::Objects;
use super::{CALL, PAUSES};
use crate::core::names::Key;
use crate::core::status::conditions;
use crate::io::driver::{Outcome, Report};
use dpf_api::conditions::per_node;
use dpf_api::keys::{finalizers, managers};
use dpf_api::svc::{ServiceChain, ServiceInterface};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A write that the API server did not take.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// It refused, or could not be reached.
    #[error("failed to write {what}: {source}")]
    Refused {
        what: String,
        source: Box<kube::Error>,
    },
    /// It does not answer.
    #[error("failed to write {what}: the API server does not answer")]
    Silent { what: String },
}

/// A kind whose objects belong to one node.
trait PerNode:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
    const FINALIZER: &'static str;
    const STEP: &'static str;
    fn conditions(&self) -> &[Condition];
    fn observed(&self) -> Option<i64>;
}

impl PerNode for ServiceChain {
    const FINALIZER: &'static str = finalizers::SERVICECHAIN;
    const STEP: &'static str = per_node::SERVICECHAIN_RECONCILED;
    fn conditions(&self) -> &[Condition] {
        let status = self.status.as_ref();
        status
            .and_then(|s| s.conditions.as_deref())
            .unwrap_or_default()
    }
    fn observed(&self) -> Option<i64> {
        self.status.as_ref().and_then(|s| s.observed_generation)
    }
}

impl PerNode for ServiceInterface {
    const FINALIZER: &'static str = finalizers::SERVICEINTERFACE;
    const STEP: &'static str = per_node::SERVICEINTERFACE_RECONCILED;
    fn conditions(&self) -> &[Condition] {
        let status = self.status.as_ref();
        status
            .and_then(|s| s.conditions.as_deref())
            .unwrap_or_default()
    }
    fn observed(&self) -> Option<i64> {
        self.status.as_ref().and_then(|s| s.observed_generation)
    }
}

/// Writes until `stop`. Cancelled, a write may or may not have happened; the next run looks again.
pub async fn write(
    client: Client,
    objects: Arc<Objects>,
    mut report: watch::Receiver<Arc<Report>>,
    stop: CancellationToken,
) {
    let mut pause = None::<Duration>;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = report.changed() => if changed.is_err() { return },
            () = objects.touched.notified() => {}
            () = sleep(pause.unwrap_or(Duration::MAX)), if pause.is_some() => {}
        }
        let Some(now) = objects.now() else {
            continue;
        };
        let outcome = report.borrow_and_update().clone();
        let written = async {
            let mut first = None;
            for (key, interface) in &now.interfaces {
                let gone = outcome.gone_interfaces.contains(key);
                let result = one(&client, key, interface, &outcome.interfaces, gone).await;
                first = first.or(result.err());
            }
            for (key, chain) in &now.chains {
                let gone = outcome.gone_chains.contains(key);
                let result = one(&client, key, chain, &outcome.chains, gone).await;
                first = first.or(result.err());
            }
            first
        };
        let failed = tokio::select! {
            () = stop.cancelled() => return,
            failed = written => failed,
        };
        pause = match failed {
            Some(error) => {
                tracing::warn!("{error}; trying again");
                Some(pause.map_or(PAUSES.0, |pause| (pause * 2).min(PAUSES.1)))
            }
            None => None,
        };
    }
}

async fn one<K: PerNode>(
    client: &Client,
    key: &Key,
    object: &K,
    outcomes: &BTreeMap<Key, Outcome>,
    gone: bool,
) -> Result<(), WriteError> {
    let held = object.finalizers().iter().any(|f| f == K::FINALIZER);
    if object.meta().deletion_timestamp.is_some() {
        if held && gone {
            let rest: Vec<_> = object
                .finalizers()
                .iter()
                .filter(|f| *f != K::FINALIZER)
                .collect();
            return finalize(client, key, object, json!(rest)).await;
        }
        return Ok(());
    }
    // No outcome: it belongs to a virtual network, which others wire.
    let Some(outcome) = outcomes.get(key) else {
        return Ok(());
    };
    if !held {
        let mut all = object.finalizers().to_vec();
        all.push(K::FINALIZER.to_owned());
        finalize(client, key, object, json!(all)).await?;
    }
    let generation = object.meta().generation;
    if outcome.generation != generation {
        return Ok(());
    }
    let before = object.conditions();
    let after = conditions(
        K::STEP,
        &outcome.wrong,
        generation,
        before,
        Timestamp::now(),
    );
    if before == after && object.observed() == generation {
        return Ok(());
    }
    let status = json!({
        "metadata": {"uid": object.meta().uid},
        "status": {"conditions": after, "observedGeneration": generation}
    });
    let api: Api<K> = Api::namespaced(client.clone(), &key.namespace);
    let what = format!("status of {} {key}", K::kind(&()));
    let (params, patch) = (params(), Patch::Merge(status));
    done(
        what,
        timeout(CALL, api.patch_status(&key.name, &params, &patch)).await,
    )
}

async fn finalize<K: PerNode>(
    client: &Client,
    key: &Key,
    object: &K,
    finalizers: Value,
) -> Result<(), WriteError> {
    let api: Api<K> = Api::namespaced(client.clone(), &key.namespace);
    // Somebody else's finalizer that came meanwhile must not be lost.
    let patch = Patch::Merge(json!({"metadata": {
        "finalizers": finalizers, "uid": object.meta().uid, "resourceVersion": object.resource_version()
    }}));
    let what = format!("finalizers of {} {key}", K::kind(&()));
    done(
        what,
        timeout(CALL, api.patch(&key.name, &params(), &patch)).await,
    )
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(managers::DPU_AGENT.to_owned()),
        ..PatchParams::default()
    }
}

/// An object that is gone, or that changed meanwhile, is not an error: its event comes.
fn done<K>(
    what: String,
    result: Result<Result<K, kube::Error>, tokio::time::error::Elapsed>,
) -> Result<(), WriteError> {
    match result {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(()),
        Ok(Err(source)) => Err(WriteError::Refused {
            what,
            source: Box::new(source),
        }),
        Err(_) => Err(WriteError::Silent { what }),
    }
}

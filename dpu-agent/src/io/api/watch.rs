//! Watches of this node's objects, and of nothing else where the API server can select them.

use super::objects::Objects;
use super::{CALL, PAUSES};
use dpf_api::keys::labels;
use dpf_api::svc::{ServiceChain, ServiceInterface};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Keeps `objects` up to date until `stop`. While the API server is away, what was known last stays.
pub async fn watch(client: Client, node: &str, objects: Arc<Objects>, stop: CancellationToken) {
    let chains = follow::<ServiceChain>(client.clone(), node, |event| objects.chain(event, node));
    let interfaces =
        follow::<ServiceInterface>(client.clone(), node, |event| objects.interface(event, node));
    let pods = async {
        let config = Config::default()
            .fields(&format!("spec.nodeName={node}"))
            .labels(labels::SERVICE);
        let events =
            kube::runtime::watcher(Api::<PartialObjectMeta<Pod>>::all(client.clone()), config)
                .default_backoff();
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => objects.pod(event),
                Err(error) => tell("pods", &error),
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        ((), (), ()) = async { tokio::join!(chains, interfaces, pods) } => {}
    }
}

fn tell(what: &str, error: &watcher::Error) {
    tracing::warn!("failed to watch {what}: {error}; the switch stays as it is, trying again");
}

async fn follow<K>(client: Client, node: &str, take: impl Fn(Event<K>))
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let kind = K::kind(&());
    let api: Api<K> = Api::all(client);
    let field = format!("spec.node={node}");
    let config = if selects(&api, &field).await {
        Config::default().fields(&field)
    } else {
        tracing::warn!(
            "the API server cannot select {kind} objects by spec.node, so all are read; the definitions of this release can"
        );
        Config::default()
    };
    let mut events = pin!(kube::runtime::watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(event),
            Err(error) => tell(&kind, &error),
        }
    }
}

/// Whether the API server can select by this field. Definitions that another release installed may not say so.
async fn selects<K>(api: &Api<K>, field: &str) -> bool
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let one = ListParams::default().fields(field).limit(1);
    let mut pause = PAUSES.0;
    loop {
        match timeout(CALL, api.list_metadata(&one)).await {
            Ok(Ok(_)) => return true,
            Ok(Err(kube::Error::Api(status))) if status.code == 400 => return false,
            Ok(Err(error)) => {
                tracing::warn!("failed to list {}: {error}; trying again", K::kind(&()));
            }
            Err(_) => tracing::warn!("the API server does not answer; trying again"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

//! What every DPU cluster holds of one object.

use super::FanOutError;
use crate::kit::remote::{CALL_TIMEOUT, key_of};
use crate::kit::{Context, Kind, explain};
use dpf_api::provisioning::DpuCluster;
use dpf_core::fanout::{FanOut, Observed};
use dpf_core::selectors::matches;
use futures::future::join_all;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};

/// A cluster that was asked, and its client if there is one.
pub(super) struct Asked<C> {
    pub(super) client: Option<Client>,
    pub(super) observed: Observed<C>,
}

/// All DPUClusters that are not being deleted, by namespace and name.
pub(crate) async fn list_clusters(context: &Context) -> Result<Vec<DpuCluster>, FanOutError> {
    let api: Api<DpuCluster> = Api::all(context.client.clone());
    let list =
        api.list(&ListParams::default())
            .await
            .map_err(|source| FanOutError::ListClusters {
                source: Box::new(source),
            })?;
    let mut clusters = list.items;
    clusters.retain(|cluster| cluster.metadata.deletion_timestamp.is_none());
    clusters.sort_by_key(key_of);
    Ok(clusters)
}

/// Asks all clusters at the same time; one that does not answer costs [`CALL_TIMEOUT`] at most.
pub(super) async fn observe<P>(
    context: &Context,
    parent: &P,
    clusters: &[DpuCluster],
) -> Vec<Asked<P::Child>>
where
    P: FanOut + Kind,
    P::Child: Kind,
{
    join_all(clusters.iter().map(|cluster| ask(context, parent, cluster))).await
}

async fn ask<P>(context: &Context, parent: &P, cluster: &DpuCluster) -> Asked<P::Child>
where
    P: FanOut + Kind,
    P::Child: Kind,
{
    let key = key_of(cluster);
    let secret = cluster.spec.kubeconfig.as_deref();
    let connected = context
        .dpu_clusters
        .client(&key.namespace, &key.name, secret)
        .await;
    let (client, child) = match connected {
        Err(error) => (None, Err(error.to_string())),
        Ok(client) => {
            let namespace = parent.namespace().unwrap_or_default();
            let api: Api<P::Child> = Api::namespaced(client.clone(), &namespace);
            let name = parent.name_any();
            let child = match tokio::time::timeout(CALL_TIMEOUT, api.get_opt(&name)).await {
                Ok(Ok(child)) => Ok(child),
                Ok(Err(error)) => Err(format!(
                    "failed to read {}: {}",
                    P::Child::kind(&()),
                    explain(&error)
                )),
                Err(_) => Err(format!(
                    "no answer within {} seconds",
                    CALL_TIMEOUT.as_secs()
                )),
            };
            (Some(client), child)
        }
    };
    let selected = matches(parent.cluster_selector(), cluster.metadata.labels.as_ref());
    Asked {
        client,
        observed: Observed {
            cluster: key,
            selected,
            child,
        },
    }
}

//! Writes in DPU clusters. The only place of a fan-out that does.

use super::observe::Asked;
use crate::kit::remote::CALL_TIMEOUT;
use crate::kit::{Kind, WriteError, apply as server_side_apply, delete};
use dpf_core::fanout::{Action, Child, ClusterKey, Observed};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

/// Does what was planned, in all clusters at the same time, and says what they hold then.
pub(super) async fn apply<C: Child + Kind>(
    manager: &str,
    asked: Vec<Asked<C>>,
    actions: Vec<Action<C>>,
) -> Vec<Observed<C>> {
    join_all(asked.into_iter().map(|asked| {
        let action = actions
            .iter()
            .find(|a| cluster_of(a) == &asked.observed.cluster)
            .cloned();
        async move {
            let mut observed = asked.observed;
            if let (Some(client), Some(action)) = (asked.client, action) {
                observed.child =
                    match tokio::time::timeout(CALL_TIMEOUT, write(manager, &client, action)).await
                    {
                        Ok(Ok(child)) => Ok(child),
                        Ok(Err(error)) => Err(error.message()),
                        Err(_) => Err(format!(
                            "no answer within {} seconds",
                            CALL_TIMEOUT.as_secs()
                        )),
                    };
            }
            observed
        }
    }))
    .await
}

fn cluster_of<C>(action: &Action<C>) -> &ClusterKey {
    match action {
        Action::Apply { cluster, .. } | Action::Delete { cluster, .. } => cluster,
    }
}

async fn write<C: Child + Kind>(
    manager: &str,
    client: &Client,
    action: Action<C>,
) -> Result<Option<C>, WriteError> {
    match action {
        Action::Apply {
            cluster: _,
            child,
            new,
        } => {
            let namespace = child.namespace().unwrap_or_default();
            if new {
                ensure_namespace(client, &namespace).await?;
            }
            server_side_apply(client, manager, &child).await.map(Some)
        }
        Action::Delete { cluster: _, child } => {
            delete(client, &child).await?;
            let namespace = child.namespace().unwrap_or_default();
            let api: Api<C> = Api::namespaced(client.clone(), &namespace);
            api.get_opt(&child.name_any())
                .await
                .map_err(|source| WriteError::Refused {
                    verb: "read",
                    kind: C::kind(&()).into_owned(),
                    name: format!("{namespace}/{}", child.name_any()),
                    source: Box::new(source),
                })
        }
    }
}

/// Creates a namespace that does not exist. One that exists is left as it is.
pub(crate) async fn ensure_namespace(client: &Client, name: &str) -> Result<(), WriteError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let refused = |verb: &'static str| {
        move |source| WriteError::Refused {
            verb,
            kind: "Namespace".to_owned(),
            name: name.to_owned(),
            source: Box::new(source),
        }
    };
    if api.get_opt(name).await.map_err(refused("read"))?.is_some() {
        return Ok(());
    }
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    match api.create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(refused("create")(source)),
    }
}

//! Writes of children. The only place of a set's reconcile that does.

use crate::kit::{Kind, WriteError, apply as server_side_apply, delete, remove_finalizer};
use dpf_core::sets::Action;
use futures::{StreamExt, stream};
use kube::{Api, Client, ResourceExt};

/// Children written at the same time.
const CONCURRENCY: usize = 8;

/// Does what was planned; returns what the API server said to each write that failed.
pub(super) async fn apply<C: Kind>(
    client: &Client,
    manager: &str,
    finalizer: &str,
    actions: Vec<Action<C>>,
) -> Vec<String> {
    // Deletions go first: what replaces an object must not meet it.
    let (writes, removals): (Vec<_>, Vec<_>) = actions
        .into_iter()
        .partition(|action| matches!(action, Action::Apply(_)));
    let mut failures = Vec::new();
    for action in removals {
        if let Err(error) = write(client, manager, finalizer, &action).await {
            failures.push(error.message());
        }
    }
    let written: Vec<_> = stream::iter(writes)
        .map(|action| async move { write(client, manager, finalizer, &action).await })
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    failures.extend(written.into_iter().filter_map(|r| Some(r.err()?.message())));
    failures
}

async fn write<C: Kind>(
    client: &Client,
    manager: &str,
    finalizer: &str,
    action: &Action<C>,
) -> Result<(), WriteError> {
    match action {
        Action::Apply(child) => server_side_apply(client, manager, child).await.map(|_| ()),
        Action::Delete(child) => delete(client, child).await,
        Action::Release(child) => release(client, manager, finalizer, child).await,
    }
}

/// Removes the finalizer from the object as it is now: the deletion before has changed it.
async fn release<C: Kind>(
    client: &Client,
    manager: &str,
    finalizer: &str,
    child: &C,
) -> Result<(), WriteError> {
    let namespace = child.namespace().unwrap_or_default();
    let name = child.name_any();
    let api: Api<C> = Api::namespaced(client.clone(), &namespace);
    let current = api
        .get_opt(&name)
        .await
        .map_err(|source| WriteError::Refused {
            verb: "read",
            kind: C::kind(&()).into_owned(),
            name: format!("{namespace}/{name}"),
            source: Box::new(source),
        })?;
    match current {
        Some(current)
            if current.uid() == child.uid() && current.meta().deletion_timestamp.is_some() =>
        {
            remove_finalizer(client, manager, &current, finalizer).await
        }
        _ => Ok(()),
    }
}

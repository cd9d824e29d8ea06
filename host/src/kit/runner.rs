//! The loop around a reconcile: back-off per object, one log line per failure, graceful end.

use super::context::Context;
use super::failure::{CONFLICT, Classified, Retry, in_one_line};
use futures::StreamExt;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// First pause after an error; it doubles with every further error of the same object.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Longest pause after an error.
const BACKOFF_MAX: Duration = Duration::from_secs(120);
/// Events that arrive within this time become one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// Objects of one kind that are reconciled at the same time.
const CONCURRENCY: u16 = 8;

/// Reconciles that run when the process should end have this long; Kubernetes kills after 30 seconds.
const GRACE: Duration = Duration::from_secs(20);

/// When to look at an object again although nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Only after an event.
    OnEvent,
    /// After this time at the latest.
    After(Duration),
}

/// Resolves when the process should end; every controller gets a clone.
pub type Shutdown = tokio_util::sync::CancellationToken;

/// Runs a controller until shutdown; in-flight reconciles are finished first.
pub async fn run<K, F, E>(
    controller: Controller<K>,
    context: Arc<Context>,
    shutdown: Shutdown,
    reconcile: impl Fn(Arc<K>, Arc<Context>) -> F + Clone + Send + Sync + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
    F: Future<Output = Result<Next, E>> + Send + 'static,
    E: Classified + Send + Sync + 'static,
{
    let backoff = Arc::new(Backoff::default());
    let on_success = backoff.clone();
    let on_failure = backoff;
    let store = controller.store();
    let ended = shutdown.clone();
    let work = controller
        .with_config(Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY))
        .graceful_shutdown_on(async move { shutdown.cancelled().await })
        .run(
            move |object: Arc<K>, context| {
                let reconcile = reconcile.clone();
                let backoff = on_success.clone();
                let key = ObjectRef::from_obj(object.as_ref()).to_string();
                async move {
                    let next = reconcile(object, context).await?;
                    backoff.forget(&key);
                    Ok(match next {
                        Next::OnEvent => Action::await_change(),
                        Next::After(pause) => Action::requeue(pause),
                    })
                }
            },
            move |object: Arc<K>, error: &E, _| {
                let key = ObjectRef::from_obj(object.as_ref()).to_string();
                let cause = in_one_line(error);
                let kind = K::kind(&());
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                let reason = error.reason();
                if reason == CONFLICT {
                    // Somebody else wrote first: normal, and mended by looking again.
                    tracing::debug!(kind = %kind, namespace, name, reason, "{cause}");
                } else {
                    tracing::warn!(kind = %kind, namespace, name, reason, "{cause}");
                }
                match error.retry() {
                    Retry::Backoff => Action::requeue(on_failure.next(key)),
                    Retry::After(pause) => Action::requeue(pause),
                    Retry::OnChange => Action::await_change(),
                }
            },
            context,
        )
        .for_each(|result| async move {
            if let Err(error @ kube::runtime::controller::Error::QueueError(_)) = result {
                tracing::warn!(kind = %K::kind(&()), "watch failed and is restarted: {}", in_one_line(&error));
            }
        });
    tokio::select! {
        () = work => {}
        () = overdue(&store, &ended) => {}
    }
}

/// Resolves after shutdown when there is no reconcile to wait for any more.
///
/// A controller whose first list never came has none, and would wait for that list for ever.
async fn overdue<K>(store: &Store<K>, shutdown: &Shutdown)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    shutdown.cancelled().await;
    let listed = tokio::time::timeout(Duration::ZERO, store.wait_until_ready()).await;
    if matches!(listed, Ok(Ok(()))) {
        tokio::time::sleep(GRACE).await;
        tracing::warn!(kind = %K::kind(&()), "a reconcile did not end within {GRACE:?} and is cancelled");
    }
}

/// Consecutive failures per object. Bounded by the number of objects that fail.
#[derive(Default)]
struct Backoff(Mutex<BTreeMap<String, u32>>);

impl Backoff {
    fn next(&self, key: String) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key).or_default();
        let pause = BACKOFF_FIRST
            .saturating_mul(1 << (*count).min(16))
            .min(BACKOFF_MAX);
        *count = count.saturating_add(1);
        pause
    }

    fn forget(&self, key: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_bounded() {
        let backoff = Backoff::default();
        let pauses: Vec<_> = (0..20).map(|_| backoff.next("a".to_owned())).collect();
        assert_eq!(pauses[0], BACKOFF_FIRST);
        assert_eq!(pauses[1], BACKOFF_FIRST * 2);
        assert_eq!(*pauses.last().unwrap(), BACKOFF_MAX);
        backoff.forget("a");
        assert_eq!(backoff.next("a".to_owned()), BACKOFF_FIRST);
    }
}

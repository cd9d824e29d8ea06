//! What every simulator needs: an error that says what was being done, a controller loop, derived names.

use futures::StreamExt;
use kube::Resource;
use kube::runtime::controller::{Action, Config, Controller};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause after a failed attempt: the servers are in this process, so a failure is a conflict and passes quickly.
const RETRY: Duration = Duration::from_millis(200);
/// Events that arrive within this time become one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// Objects of one kind that are looked at together.
const CONCURRENCY: u16 = 16;
/// Alphabet of generated names: no vowels, nothing that is mistaken for a digit.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A simulator could not read or write the cluster.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action}")]
pub struct Failed {
    /// What was being done.
    pub action: String,
    /// Cause.
    pub source: Box<kube::Error>,
}

/// Says what was being done when a request failed.
pub trait While<T> {
    /// Adds what was being done.
    ///
    /// # Errors
    /// The error itself, with `action`.
    fn during(self, action: impl FnOnce() -> String) -> Result<T, Failed>;
}

impl<T> While<T> for Result<T, kube::Error> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T, Failed> {
        self.map_err(|source| Failed {
            action: action(),
            source: Box::new(source),
        })
    }
}

/// Nothing to read is not an error where absence is an answer.
///
/// # Errors
/// Every other error.
pub fn optional<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs a controller until `stop`. A failed reconcile is logged and repeated.
pub async fn run<K, C, F>(
    controller: Controller<K>,
    context: Arc<C>,
    stop: CancellationToken,
    reconcile: impl Fn(Arc<K>, Arc<C>) -> F + Send + Sync + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
    C: Send + Sync + 'static,
    F: Future<Output = Result<(), Failed>> + Send + 'static,
{
    controller
        .with_config(
            Config::default()
                .debounce(DEBOUNCE)
                .concurrency(CONCURRENCY),
        )
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(
            move |object, context| {
                let attempt = reconcile(object, context);
                async move { attempt.await.map(|()| Action::await_change()) }
            },
            |_, error, _| {
                tracing::debug!(kind = %K::kind(&()), "{error}: {}", error.source);
                Action::requeue(RETRY)
            },
            context,
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Characters derived from `parts` that fit at the end of a name.
#[must_use]
pub fn suffix(parts: &[&str], length: usize) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize();
    let letters = digest.iter().cycle().take(length);
    letters
        .filter_map(|byte| NAME_ALPHABET.get(usize::from(*byte) % NAME_ALPHABET.len()))
        .map(|letter| char::from(*letter))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_depend_on_every_part() {
        assert_eq!(suffix(&["a", "b"], 5), suffix(&["a", "b"], 5));
        assert_ne!(suffix(&["a", "b"], 5), suffix(&["ab", ""], 5));
        assert_eq!(suffix(&["a"], 10).len(), 10);
    }
}

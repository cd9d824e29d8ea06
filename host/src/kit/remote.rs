//! Watches of objects that live in DPU clusters.
//!
//! ```text
//!   DPUCluster appears ──> Remote (client) ──> work(remote, stop) ──┐
//!   its Secret changes ──> stop, start with the new client          │ one task per cluster
//!   DPUCluster goes    ──> stop                                     ┘
//!
//!   Feed: list + watch in one DPU cluster ──> store, then ObjectRefs ──> Controller::reconcile_on
//! ```
//!
//! What it is not: nothing here decides; a change in a DPU cluster only says which local object to look at.

use super::clusters::Connection;
use super::context::Context;
use super::runner::Shutdown;
use dpf_api::provisioning::DpuCluster;
use dpf_core::fanout::ClusterKey;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use kube::runtime::reflector::{self, Store, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};

/// The API server of a DPU cluster ends every watch after this time; a silent longer one is cut.
pub const WATCH_TIMEOUT: Duration = Duration::from_secs(60);
/// How often Secrets are looked at again: a rotated kubeconfig, or one that came later, has no event of its own here.
const RECHECK: Duration = Duration::from_secs(10);
/// How often somebody who waits for a first list looks again.
const FILLED_PAUSE: Duration = Duration::from_millis(100);
/// References that wait for a controller; beyond that the watch itself waits.
const QUEUE: usize = 256;
/// One call to a DPU cluster takes at most this long.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A DPU cluster in use.
#[derive(Clone)]
pub struct Remote {
    /// Which one.
    pub key: ClusterKey,
    /// Its client.
    pub client: Client,
}

/// Name of a DPUCluster.
#[must_use]
pub fn key_of(cluster: &DpuCluster) -> ClusterKey {
    ClusterKey {
        namespace: cluster.namespace().unwrap_or_default(),
        name: cluster.name_any(),
    }
}

/// Runs `work` once per usable DPU cluster until it goes, its credentials change, or `shutdown`.
///
/// `work` must end soon after its token is cancelled. Work that ended by itself is started again.
pub async fn for_each_cluster<F>(
    context: Arc<Context>,
    shutdown: Shutdown,
    work: impl Fn(Remote, Shutdown) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (clusters, writer) = reflector::store::<DpuCluster>();
    let api: Api<DpuCluster> = Api::all(context.client.clone());
    let stream = watch(api, watcher::Config::default()).default_backoff();
    let mut events = pin!(reflector::reflector(writer, stream));
    let mut recheck = tokio::time::interval(RECHECK);
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<ClusterKey, Running> = BTreeMap::new();
    loop {
        tokio::select! {
            // First, so that work which ends because of it is not started again.
            biased;
            () = shutdown.cancelled() => break,
            event = events.next() => match event {
                Some(Ok(Event::Init | Event::InitApply(_))) => continue,
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!("watch of DPUClusters failed and is restarted: {error}");
                    continue;
                }
                None => break,
            },
            _ = recheck.tick() => {}
            Some(ended) = tasks.join_next() => if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!("a controller of a DPU cluster stopped and is restarted: {error}");
            },
        }
        let desired = connections(&context, &clusters).await;
        running.retain(|key, task| {
            let keep = !task.handle.is_finished()
                && desired
                    .get(key)
                    .is_some_and(|connection| connection.revision == task.revision);
            if !keep {
                task.stop.cancel();
            }
            keep
        });
        for (key, connection) in desired {
            running.entry(key.clone()).or_insert_with(|| {
                let stop = shutdown.child_token();
                let remote = Remote {
                    key,
                    client: connection.client,
                };
                Running {
                    revision: connection.revision,
                    handle: tasks.spawn(work(remote, stop.clone())),
                    stop,
                }
            });
        }
    }
    for task in running.values() {
        task.stop.cancel();
    }
    while tasks.join_next().await.is_some() {}
}

struct Running {
    revision: Option<String>,
    stop: Shutdown,
    handle: AbortHandle,
}

/// Connections of the clusters that have a usable kubeconfig now.
async fn connections(
    context: &Context,
    clusters: &Store<DpuCluster>,
) -> BTreeMap<ClusterKey, Connection> {
    let mut usable = BTreeMap::new();
    for cluster in clusters.state() {
        let key = key_of(&cluster);
        let secret = cluster.spec.kubeconfig.as_deref();
        if secret.is_none_or(str::is_empty) {
            continue;
        }
        match context
            .dpu_clusters
            .connection(&key.namespace, &key.name, secret)
            .await
        {
            Ok(connection) => {
                usable.insert(key, connection);
            }
            Err(error) => tracing::debug!(cluster = %key, "not watched yet: {error}"),
        }
    }
    usable
}

/// A bounded queue of references to local objects; the other end is for `Controller::reconcile_on`, or, when the
/// references are `()`, for `Controller::reconcile_all_on`.
#[must_use]
pub fn queue<R>() -> (mpsc::Sender<R>, mpsc::Receiver<R>) {
    mpsc::channel(QUEUE)
}

/// A watch of one kind in one DPU cluster.
pub struct Feed<K: Resource<DynamicType = ()> + Clone + 'static> {
    api: Api<K>,
    config: watcher::Config,
    fingerprint: fn(&K) -> Option<u64>,
    writer: Option<Writer<K>>,
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Watches all objects of the kind.
    #[must_use]
    pub fn new(api: Api<K>) -> Self {
        let seconds = u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or(u32::MAX);
        Self {
            api,
            config: watcher::Config::default().timeout(seconds),
            fingerprint: |object| object.meta().resource_version.as_ref().map(hash_of),
            writer: None,
        }
    }

    /// Watches only objects with these labels.
    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        self.config = self.config.labels(selector);
        self
    }

    /// Reports a change only when labels change, as heartbeats of nodes do not.
    #[must_use]
    pub fn only_label_changes(mut self) -> Self {
        self.fingerprint = |object| object.meta().labels.as_ref().map(hash_of);
        self
    }

    /// Reports a change only when this changes.
    #[must_use]
    pub fn only_changes_of(mut self, fingerprint: fn(&K) -> Option<u64>) -> Self {
        self.fingerprint = fingerprint;
        self
    }

    /// Keeps the objects; a reference is sent after the store has the change.
    #[must_use]
    pub fn stored(mut self) -> (Self, Store<K>) {
        let (store, writer) = reflector::store();
        self.writer = Some(writer);
        (self, store)
    }

    /// Watches until stopped. A cut connection is taken up again; what vanished meanwhile is reported.
    pub async fn run<R: Clone + Eq + Hash>(
        mut self,
        stop: Shutdown,
        mut senders: Vec<mpsc::Sender<R>>,
        affected: impl Fn(&K) -> Vec<R>,
    ) {
        let mut events = pin!(watch(self.api, self.config).default_backoff());
        let mut memory = Memory::new(self.fingerprint);
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    if let Some(writer) = self.writer.as_mut() {
                        writer.apply_watcher_event(&event);
                    }
                    for reference in memory.digest(event, &affected) {
                        for sender in &mut senders {
                            if sender.send(reference.clone()).await.is_err() {
                                return;
                            }
                        }
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(kind = %K::kind(&()), "watch failed and is restarted: {error}");
                }
                None => return,
            }
        }
    }
}

/// Waits until the store has its first list; false when its watch ended before that.
///
/// Any number may wait. Of several that wait with `Store::wait_until_ready` alone only the last one is woken, and the
/// reconciles of the others would never end.
pub async fn is_filled<K: Resource<DynamicType = ()> + Clone + 'static>(store: &Store<K>) -> bool {
    loop {
        match tokio::time::timeout(FILLED_PAUSE, store.wait_until_ready()).await {
            Ok(outcome) => return outcome.is_ok(),
            Err(_) => tracing::trace!(kind = %K::kind(&()), "not listed yet"),
        }
    }
}

/// A number that differs when the value does.
pub fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

type Key = (Option<String>, Option<String>);

/// What was last seen of each object, to tell what changed between two lists.
struct Memory<K, R> {
    fingerprint: fn(&K) -> Option<u64>,
    seen: BTreeMap<Key, (Option<u64>, Vec<R>)>,
    listed: BTreeSet<Key>,
    pending: Vec<R>,
}

impl<K: Resource<DynamicType = ()>, R: Clone + Eq + Hash> Memory<K, R> {
    fn new(fingerprint: fn(&K) -> Option<u64>) -> Self {
        Self {
            fingerprint,
            seen: BTreeMap::new(),
            listed: BTreeSet::new(),
            pending: Vec::new(),
        }
    }

    /// References of local objects to look at because of this event.
    fn digest(&mut self, event: Event<K>, affected: &impl Fn(&K) -> Vec<R>) -> HashSet<R> {
        match event {
            Event::Init => {
                self.listed.clear();
                self.pending.clear();
                HashSet::new()
            }
            Event::InitApply(object) => {
                self.listed.insert(key(&object));
                let changed = self.note(&object, affected);
                self.pending.extend(changed);
                HashSet::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let mut references: HashSet<_> = self.pending.drain(..).collect();
                self.seen.retain(|key, (_, before)| {
                    let exists = listed.contains(key);
                    if !exists {
                        references.extend(before.drain(..));
                    }
                    exists
                });
                references
            }
            Event::Apply(object) => self.note(&object, affected).into_iter().collect(),
            Event::Delete(object) => {
                let before = self.seen.remove(&key(&object)).map(|(_, refs)| refs);
                let now = affected(&object);
                before.into_iter().flatten().chain(now).collect()
            }
        }
    }

    /// References before and after, unless nothing that counts changed.
    fn note(&mut self, object: &K, affected: &impl Fn(&K) -> Vec<R>) -> Vec<R> {
        let fingerprint = (self.fingerprint)(object);
        let now = affected(object);
        match self.seen.insert(key(object), (fingerprint, now.clone())) {
            Some((before, references)) if before == fingerprint && references == now => Vec::new(),
            Some((_, before)) => before.into_iter().chain(now).collect(),
            None => now,
        }
    }
}

fn key<K: Resource>(object: &K) -> Key {
    let meta = object.meta();
    (meta.namespace.clone(), meta.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMap, Node};
    use kube::runtime::reflector::ObjectRef;

    fn node(name: &str, version: &str, label: &str) -> Node {
        let mut node = Node::default();
        node.metadata.name = Some(name.to_owned());
        node.metadata.resource_version = Some(version.to_owned());
        node.metadata.labels = Some([("l".to_owned(), label.to_owned())].into());
        node
    }

    fn by_label(node: &Node) -> Vec<ObjectRef<ConfigMap>> {
        node.labels().values().map(|l| ObjectRef::new(l)).collect()
    }

    fn names(references: HashSet<ObjectRef<ConfigMap>>) -> BTreeSet<String> {
        references.into_iter().map(|r| r.name).collect()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn a_list_after_a_cut_reports_changes_and_what_vanished() {
        let mut memory = Memory::new(|n: &Node| n.metadata.resource_version.as_ref().map(hash_of));
        let list = |memory: &mut Memory<Node, ObjectRef<ConfigMap>>, nodes: Vec<Node>| {
            memory.digest(Event::Init, &by_label);
            for node in nodes {
                assert!(memory.digest(Event::InitApply(node), &by_label).is_empty());
            }
            names(memory.digest(Event::InitDone, &by_label))
        };
        assert_eq!(
            list(&mut memory, vec![node("a", "1", "x"), node("b", "1", "y")]),
            set(&["x", "y"])
        );
        assert_eq!(
            list(&mut memory, vec![node("a", "1", "x"), node("b", "1", "y")]),
            set(&[])
        );
        assert_eq!(
            list(&mut memory, vec![node("a", "2", "x")]),
            set(&["x", "y"])
        );
    }

    #[tokio::test]
    async fn all_who_wait_for_the_first_list_go_on() {
        let (store, mut writer) = reflector::store::<Node>();
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { is_filled(&store).await })
            })
            .collect();
        // All of them wait before the list comes.
        tokio::time::sleep(Duration::from_millis(20)).await;
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        for task in waiting {
            let filled = tokio::time::timeout(Duration::from_secs(10), task).await;
            assert!(filled.expect("one was not woken").unwrap());
        }
        let (unfilled, writer) = reflector::store::<Node>();
        drop(writer);
        assert!(!is_filled(&unfilled).await);
    }

    #[test]
    fn both_sides_of_a_move_are_reported() {
        let mut memory = Memory::new(|n: &Node| n.metadata.resource_version.as_ref().map(hash_of));
        memory.digest(Event::Apply(node("a", "1", "x")), &by_label);
        let moved = memory.digest(Event::Apply(node("a", "2", "y")), &by_label);
        assert_eq!(names(moved), set(&["x", "y"]));
        let gone = memory.digest(Event::Delete(node("a", "3", "y")), &by_label);
        assert_eq!(names(gone), set(&["y"]));
    }

    #[test]
    fn heartbeats_are_not_reported() {
        let mut memory = Memory::new(|n: &Node| n.metadata.labels.as_ref().map(hash_of));
        assert_eq!(
            names(memory.digest(Event::Apply(node("a", "1", "x")), &by_label)),
            set(&["x"])
        );
        assert_eq!(
            names(memory.digest(Event::Apply(node("a", "2", "x")), &by_label)),
            set(&[])
        );
    }
}

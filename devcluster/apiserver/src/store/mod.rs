//! The store: every object, its history, and what a request does to them. No clock, no sockets, no randomness.

mod access;
mod create;
mod delete;
mod dispatch;
mod gc;
mod list;
mod lookup;
mod metadata;
mod patch;
mod scale;
mod stored;
mod update;
pub mod watch;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::auth::bootstrap;
use crate::auth::policy::Policy;
use crate::auth::token::Signer;
use crate::ids::Ids;
use crate::object;
use crate::options::Token;
use crate::registry::{Registry, StorageKey};
use crate::request::ApiRequest;
use crate::response::Response;
pub use stored::Stored;
use watch::{Event, EventKind, WatchPlan};

/// Where an object is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The resource.
    pub storage: StorageKey,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object, by group, plural, namespace and name.
    pub fn new(group: String, plural: String, namespace: String, name: String) -> Self {
        Self {
            storage: StorageKey(group, plural),
            namespace,
            name,
        }
    }
}

/// What a store left behind.
#[derive(Debug)]
pub struct Saved {
    /// The objects.
    pub objects: Vec<(ObjectKey, Value)>,
    /// The revision of the latest change.
    pub revision: u64,
    /// The seed of its ids and secrets.
    pub seed: u64,
}

/// What the store needs to know beside requests.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Events remembered per resource for watches.
    pub history_limit: usize,
    /// Bytes of objects remembered per resource for watches.
    pub history_bytes: usize,
    /// Pods vanish when deleted, as if a kubelet had stopped them at once.
    pub immediate_pod_deletion: bool,
    /// Known tokens.
    pub tokens: Vec<Token>,
    /// Whether requests without credentials are fulfilled.
    pub anonymous: bool,
    /// Whether roles count.
    pub rbac: bool,
}

/// The answer to a request.
#[derive(Debug)]
pub enum Reply {
    /// A complete response.
    Response(Response),
    /// A watch: what to send first and how to go on.
    Watch(Box<WatchPlan>),
}

/// The objects of one resource.
#[derive(Debug, Default)]
struct Bucket {
    objects: BTreeMap<(String, String), Arc<Stored>>,
    history: VecDeque<Arc<Event>>,
    /// Size of the objects of the history.
    history_bytes: usize,
    /// Events up to this revision are no longer remembered.
    forgotten: u64,
}

/// Everything the server knows.
#[derive(Debug)]
pub struct Store {
    registry: Registry,
    buckets: BTreeMap<StorageKey, Bucket>,
    revision: u64,
    /// What happened up to this revision is not remembered for any resource.
    oldest: u64,
    ids: Ids,
    config: StoreConfig,
    /// Objects by uid.
    by_uid: BTreeMap<String, Arc<ObjectKey>>,
    /// Dependents by the uid of their owner.
    dependents: BTreeMap<String, BTreeSet<ObjectKey>>,
    /// Work for the background jobs.
    jobs: VecDeque<gc::Job>,
    /// Roles and bindings; None after they changed.
    policy: Option<Arc<Policy>>,
    /// Signs the tokens of ServiceAccounts.
    signer: Signer,
    /// What happened since the caller was last told.
    news: Vec<Arc<Event>>,
}

/// Formats a time as Kubernetes does, in whole seconds.
pub fn format_time(now: Timestamp) -> String {
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
    seconds.to_string()
}

impl Store {
    /// A store with nothing in it.
    fn empty(config: StoreConfig, seed: u64) -> Self {
        let ids = Ids::new(seed);
        Self {
            policy: None,
            signer: Signer::new(&ids.secret()),
            registry: Registry::builtin(),
            buckets: BTreeMap::new(),
            revision: 1,
            oldest: 0,
            ids,
            config,
            by_uid: BTreeMap::new(),
            dependents: BTreeMap::new(),
            jobs: VecDeque::new(),
            news: Vec::new(),
        }
    }

    /// A store with the namespaces every cluster has.
    pub fn new(config: StoreConfig, seed: u64, now: Timestamp) -> Self {
        let mut store = Self::empty(config, seed);
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let uid = store.ids.uid();
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "uid": uid, "creationTimestamp": format_time(now),
                    "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
            let key = ObjectKey {
                storage: namespaces(),
                namespace: String::new(),
                name: name.into(),
            };
            store.put(&key, namespace);
        }
        store.add_roles(now);
        store.settle(now);
        store
    }

    /// A store that goes on where another one ended: same objects, revisions and tokens, but no history.
    pub fn restore(config: StoreConfig, saved: Saved, now: Timestamp) -> Self {
        let mut store = Self::empty(config, saved.seed);
        store.ids = Ids::resumed(saved.seed, saved.revision);
        (store.revision, store.oldest) = (saved.revision, saved.revision);
        for (key, object) in saved.objects {
            let stored = Arc::new(Stored::new(&object));
            let key = Arc::new(key);
            store.link(&key, stored.head());
            store.notice(&key, &object);
            let bucket = store.buckets.entry(key.storage.clone()).or_default();
            let slot = (key.namespace.clone(), key.name.clone());
            bucket.objects.insert(slot, stored);
        }
        store.settle(now);
        store
    }

    /// What happened while the store was made.
    pub fn first_events(&mut self) -> Vec<Arc<Event>> {
        let histories = self.buckets.values().flat_map(|b| b.history.iter());
        let mut events: Vec<Arc<Event>> = histories.cloned().collect();
        events.sort_by_key(|e| e.revision);
        events
    }

    fn add_roles(&mut self, now: Timestamp) {
        let roles = bootstrap::cluster_roles().into_iter();
        let bindings = bootstrap::cluster_role_bindings().into_iter();
        let all = roles
            .map(|r| ("clusterroles", r))
            .chain(bindings.map(|b| ("clusterrolebindings", b)));
        for (plural, mut object) in all {
            let uid = self.ids.uid();
            object::set_meta(&mut object, "uid", uid);
            object::set_meta(&mut object, "creationTimestamp", format_time(now));
            let key = ObjectKey {
                storage: StorageKey(access::RBAC.into(), plural.into()),
                namespace: String::new(),
                name: object::name(&object).to_owned(),
            };
            self.put(&key, object);
        }
    }

    /// Answers one request, and says what it changed.
    pub fn handle(&mut self, request: &ApiRequest, now: Timestamp) -> (Reply, Vec<Arc<Event>>) {
        let reply = match self.dispatch(request, now) {
            Ok(reply) => reply,
            Err(error) => Reply::Response(Response::error(&error)),
        };
        (reply, std::mem::take(&mut self.news))
    }

    /// The revision of the latest change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn bucket(&self, storage: &StorageKey) -> Option<&Bucket> {
        self.buckets.get(storage)
    }

    /// Events of a resource up to this revision are not remembered.
    fn forgotten(&self, storage: &StorageKey) -> u64 {
        let own = self.bucket(storage).map_or(0, |b| b.forgotten);
        own.max(self.oldest)
    }

    /// The object at a key.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Stored>> {
        let bucket = self.bucket(&key.storage)?;
        bucket
            .objects
            .get(&(key.namespace.clone(), key.name.clone()))
    }

    /// Stores an object under the next revision, remembers the event, and tells the background jobs. Returns the
    /// object as it is stored.
    fn put(&mut self, key: &ObjectKey, mut object: Value) -> Value {
        self.revision += 1;
        object::set_meta(&mut object, "resourceVersion", self.revision.to_string());
        let stored = Arc::new(Stored::new(&object));
        let key = Arc::new(key.clone());
        let bucket = self.buckets.entry(key.storage.clone()).or_default();
        let slot = (key.namespace.clone(), key.name.clone());
        let previous = bucket.objects.insert(slot, Arc::clone(&stored));
        let kind = if previous.is_some() {
            EventKind::Modified
        } else {
            EventKind::Added
        };
        self.unlink(&key, previous.as_deref());
        self.link(&key, stored.head());
        self.remember(Event {
            revision: self.revision,
            kind,
            key: Arc::clone(&key),
            object: stored,
            previous,
        });
        self.notice(&key, &object);
        object
    }

    /// Removes an object; `last` is its final state as watchers see it.
    fn remove(&mut self, key: &ObjectKey, mut last: Value) -> Value {
        self.revision += 1;
        object::set_meta(&mut last, "resourceVersion", self.revision.to_string());
        let stored = Arc::new(Stored::new(&last));
        let bucket = self.buckets.entry(key.storage.clone()).or_default();
        let previous = bucket
            .objects
            .remove(&(key.namespace.clone(), key.name.clone()));
        self.unlink(key, previous.as_deref());
        self.remember(Event {
            revision: self.revision,
            kind: EventKind::Deleted,
            key: Arc::new(key.clone()),
            object: stored,
            previous,
        });
        self.notice_removal(key, &last);
        last
    }

    fn remember(&mut self, event: Event) {
        let (limit, bytes) = (self.config.history_limit.max(1), self.config.history_bytes);
        let event = Arc::new(event);
        if event.key.storage.0 == access::RBAC {
            self.policy = None;
        }
        self.news.push(Arc::clone(&event));
        let Some(bucket) = self.buckets.get_mut(&event.key.storage) else {
            return;
        };
        bucket.history_bytes += event.object.text().len();
        bucket.history.push_back(event);
        while bucket.history.len() > limit
            || (bucket.history_bytes > bytes && bucket.history.len() > 1)
        {
            if let Some(old) = bucket.history.pop_front() {
                bucket.forgotten = old.revision;
                bucket.history_bytes -= old.object.text().len();
            }
        }
    }

    fn link(&mut self, key: &Arc<ObjectKey>, object: &Value) {
        let uid = object::uid(object);
        if !uid.is_empty() {
            self.by_uid.insert(uid.to_owned(), Arc::clone(key));
        }
        for owner in object::owner_references(object) {
            let owner = object::text_at(owner, &["uid"]).to_owned();
            self.dependents
                .entry(owner)
                .or_default()
                .insert((**key).clone());
        }
    }

    fn unlink(&mut self, key: &ObjectKey, object: Option<&Stored>) {
        let Some(object) = object.map(Stored::head) else {
            return;
        };
        self.by_uid.remove(object::uid(object));
        for owner in object::owner_references(object) {
            let owner = object::text_at(owner, &["uid"]);
            if let Some(set) = self.dependents.get_mut(owner) {
                set.remove(key);
                if set.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    /// Objects that name the owner with this uid.
    fn dependents_of(&self, uid: &str) -> Vec<ObjectKey> {
        self.dependents
            .get(uid)
            .map(|set| set.iter().cloned().collect())
            .unwrap_or_default()
    }
}

/// Where namespaces are stored.
pub fn namespaces() -> StorageKey {
    StorageKey(String::new(), "namespaces".into())
}

/// Where CRDs are stored.
pub fn definitions() -> StorageKey {
    StorageKey(
        "apiextensions.k8s.io".into(),
        "customresourcedefinitions".into(),
    )
}

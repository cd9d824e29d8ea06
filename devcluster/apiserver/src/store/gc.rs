//! Background jobs: garbage collection, namespace removal, CRD acceptance and removal.
//!
//! Changes leave jobs behind; [`Store::settle`] works them off. Nothing polls.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::access::cluster_roles;
use super::delete::{DeleteOptions, FOREGROUND, ORPHAN, Propagation};
use super::watch::Event;
use super::{ObjectKey, Store, definitions, format_time, namespaces};
use crate::object::{self, is_deleting, owner_references, text_at};
use crate::registry::{Resource, StorageKey};

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    /// An object that has owners, or is an owner on its way out.
    Owned(ObjectKey),
    /// A namespace on its way out.
    Namespace(String),
    /// A CRD that is new, changed or on its way out.
    Definition(ObjectKey),
    /// Cluster roles, some of which may be made of others.
    Roles,
}

/// What an owner reference leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Alive (or of a kind nobody knows).
    Solid,
    /// Waiting for its dependents to go.
    Waiting,
    /// Not there.
    Absent,
}

impl Store {
    fn push_job(&mut self, job: Job) {
        if self.jobs.back() != Some(&job) {
            self.jobs.push_back(job);
        }
    }

    /// Leaves jobs behind for a stored object.
    pub(super) fn notice(&mut self, key: &ObjectKey, object: &Value) {
        if key.storage == definitions() {
            self.push_job(Job::Definition(key.clone()));
        }
        if key.storage == cluster_roles() {
            self.push_job(Job::Roles);
        }
        if key.storage == namespaces() && is_deleting(object) {
            self.push_job(Job::Namespace(key.name.clone()));
        }
        let collects = object::finalizers(object)
            .iter()
            .any(|f| *f == ORPHAN || *f == FOREGROUND);
        if !owner_references(object).is_empty() || (is_deleting(object) && collects) {
            self.push_job(Job::Owned(key.clone()));
        }
    }

    /// Leaves jobs behind for a removed object.
    pub(super) fn notice_removal(&mut self, key: &ObjectKey, object: &Value) {
        for dependent in self.dependents_of(object::uid(object)) {
            self.push_job(Job::Owned(dependent));
        }
        for owner in owner_references(object) {
            if let Some(owner) = self.by_uid.get(text_at(owner, &["uid"])).cloned() {
                self.push_job(Job::Owned((*owner).clone()));
            }
        }
        if !key.namespace.is_empty() {
            self.push_job(Job::Namespace(key.namespace.clone()));
        }
        if key.storage == cluster_roles() {
            self.push_job(Job::Roles);
        }
        if key.storage == definitions() {
            let group = text_at(object, &["spec", "group"]).to_owned();
            let plural = text_at(object, &["spec", "names", "plural"]).to_owned();
            self.registry.set_custom(&group, &plural, Vec::new());
            self.buckets.remove(&StorageKey(group, plural));
        } else {
            let StorageKey(group, plural) = &key.storage;
            let name = format!("{plural}.{group}");
            let key = ObjectKey {
                storage: definitions(),
                namespace: String::new(),
                name,
            };
            if self.get(&key).is_some_and(|d| is_deleting(d.head())) {
                self.push_job(Job::Definition(key));
            }
        }
    }

    /// Works off all background jobs, and says what they changed. Each job only makes progress towards removal, so
    /// this ends.
    pub fn settle(&mut self, now: Timestamp) -> Vec<Arc<Event>> {
        let now = format_time(now);
        while let Some(job) = self.jobs.pop_front() {
            match job {
                Job::Owned(key) => self.collect(&key, &now),
                Job::Namespace(name) => self.finish_namespace(&name, &now),
                Job::Definition(key) => self.settle_definition(&key, &now),
                Job::Roles => self.aggregate_roles(),
            }
        }
        std::mem::take(&mut self.news)
    }

    fn resource_of(&self, key: &ObjectKey) -> Option<Arc<Resource>> {
        self.registry.by_storage(&key.storage).cloned()
    }

    fn collect(&mut self, key: &ObjectKey, now: &str) {
        let Some(stored) = self.get(key).cloned() else {
            return;
        };
        let object = stored.head();
        if is_deleting(object) {
            let finalizers = object::finalizers(object);
            if finalizers.contains(&ORPHAN) {
                self.orphan_dependents(key, object);
            } else if finalizers.contains(&FOREGROUND) {
                self.delete_dependents(key, object, now);
            }
            return;
        }
        let owners: Vec<(String, Owner)> = owner_references(object)
            .iter()
            .map(|r| {
                (
                    text_at(r, &["uid"]).to_owned(),
                    self.owner_state(&key.namespace, r),
                )
            })
            .collect();
        let gone: Vec<&String> = owners
            .iter()
            .filter(|(_, s)| *s != Owner::Solid)
            .map(|(uid, _)| uid)
            .collect();
        if gone.is_empty() {
            return;
        }
        if owners.iter().any(|(_, state)| *state == Owner::Solid) {
            let mut kept = stored.value();
            remove_owners(&mut kept, |uid| gone.iter().any(|g| *g == uid));
            self.put(key, kept);
            return;
        }
        let waiting = owners.iter().any(|(_, state)| *state == Owner::Waiting);
        let has_dependents = !self.dependents_of(object::uid(object)).is_empty();
        let mut options = DeleteOptions::background(now);
        if object::finalizers(object).contains(&ORPHAN) {
            options.propagation = Some(Propagation::Orphan);
        } else if object::finalizers(object).contains(&FOREGROUND) || (waiting && has_dependents) {
            options.propagation = Some(Propagation::Foreground);
        }
        self.delete_quietly(key, &options);
    }

    fn delete_quietly(&mut self, key: &ObjectKey, options: &DeleteOptions) {
        let Some(resource) = self.resource_of(key) else {
            // A kind that is no longer served: nobody can hold or see the object.
            if let Some(object) = self.get(key).cloned() {
                self.remove(key, object.value());
            }
            return;
        };
        if let Err(error) = self.delete(&resource, key, options) {
            tracing::debug!(
                name = key.name,
                error = error.message,
                "an object was not collected"
            );
        }
    }

    fn owner_state(&self, namespace: &str, reference: &Value) -> Owner {
        let (version, kind) = (
            text_at(reference, &["apiVersion"]),
            text_at(reference, &["kind"]),
        );
        let Some(resource) = self.registry.by_kind(version, kind) else {
            return Owner::Solid;
        };
        let Some(key) = self.by_uid.get(text_at(reference, &["uid"])) else {
            return Owner::Absent;
        };
        let reachable = key.namespace.is_empty() || key.namespace == namespace;
        if key.storage != resource.storage()
            || key.name != text_at(reference, &["name"])
            || !reachable
        {
            return Owner::Absent;
        }
        match self.get(key) {
            None => Owner::Absent,
            Some(owner)
                if is_deleting(owner.head())
                    && object::finalizers(owner.head()).contains(&FOREGROUND) =>
            {
                Owner::Waiting
            }
            Some(_) => Owner::Solid,
        }
    }

    fn orphan_dependents(&mut self, key: &ObjectKey, owner: &Value) {
        let uid = object::uid(owner);
        for dependent in self.dependents_of(uid) {
            if let Some(object) = self.get(&dependent).cloned() {
                let mut kept = object.value();
                remove_owners(&mut kept, |other| other == uid);
                self.put(&dependent, kept);
            }
        }
        self.drop_finalizer(key, ORPHAN);
    }

    fn delete_dependents(&mut self, key: &ObjectKey, owner: &Value, now: &str) {
        let uid = object::uid(owner);
        for dependent in self.dependents_of(uid) {
            if self.get(&dependent).is_some_and(|d| !is_deleting(d.head())) {
                self.collect(&dependent, now);
            }
        }
        let blocks = |store: &Self, dependent: &ObjectKey| {
            let object = store.get(dependent);
            object.is_some_and(|o| {
                owner_references(o.head()).iter().any(|r| {
                    text_at(r, &["uid"]) == uid
                        && r.get("blockOwnerDeletion") == Some(&Value::Bool(true))
                })
            })
        };
        if !self.dependents_of(uid).iter().any(|d| blocks(self, d)) {
            self.drop_finalizer(key, FOREGROUND);
        }
    }

    /// Takes a finalizer off an object that is being deleted; the last one gone, so is the object.
    fn drop_finalizer(&mut self, key: &ObjectKey, finalizer: &str) {
        let Some(object) = self.get(key).cloned() else {
            return;
        };
        let mut object = object.value();
        let left = object::finalizers(&object)
            .into_iter()
            .filter(|f| *f != finalizer)
            .map(str::to_owned)
            .collect();
        object::set_finalizers(&mut object, left);
        let done = match self.resource_of(key) {
            Some(resource) => super::update::may_vanish(&resource, &object),
            None => object::finalizers(&object).is_empty(),
        };
        if done {
            self.remove(key, object);
        } else {
            self.put(key, object);
        }
    }

    fn finish_namespace(&mut self, name: &str, now: &str) {
        let key = ObjectKey {
            storage: namespaces(),
            namespace: String::new(),
            name: name.to_owned(),
        };
        let Some(namespace) = self.get(&key).cloned().filter(|n| is_deleting(n.head())) else {
            return;
        };
        let content: Vec<ObjectKey> = self.content_of(name);
        for object in &content {
            if self.get(object).is_some_and(|o| !is_deleting(o.head())) {
                self.delete_quietly(object, &DeleteOptions::background(now));
            }
        }
        if !self.content_of(name).is_empty() {
            return;
        }
        let mut namespace = namespace.value();
        object::set_at(&mut namespace, &["spec"], serde_json::json!({}));
        if object::finalizers(&namespace).is_empty() {
            self.remove(&key, namespace);
        } else if object::at(&namespace, &["spec", "finalizers"]).is_some() {
            self.put(&key, namespace);
        }
    }

    fn content_of(&self, namespace: &str) -> Vec<ObjectKey> {
        let mut out = Vec::new();
        for (storage, bucket) in &self.buckets {
            let from = (namespace.to_owned(), String::new());
            let here = bucket
                .objects
                .range(from..)
                .take_while(|((at, _), _)| at == namespace);
            out.extend(here.map(|((namespace, name), _)| ObjectKey {
                storage: storage.clone(),
                namespace: namespace.clone(),
                name: name.clone(),
            }));
        }
        out
    }

    fn settle_definition(&mut self, key: &ObjectKey, now: &str) {
        let Some(definition) = self.get(key).map(|d| d.value()) else {
            return;
        };
        let storage = StorageKey(
            text_at(&definition, &["spec", "group"]).to_owned(),
            text_at(&definition, &["spec", "names", "plural"]).to_owned(),
        );
        if is_deleting(&definition) {
            return self.remove_instances(key, &storage, now);
        }
        if !crate::crd::is_established(&definition) {
            let mut accepted = definition.clone();
            crate::crd::accept(
                &mut accepted,
                self.name_conflict(&definition, &storage),
                now,
            );
            if accepted != definition {
                self.put(key, accepted);
            }
            return;
        }
        self.registry
            .set_custom(&storage.0, &storage.1, crate::crd::resources(&definition));
    }

    fn name_conflict(&self, definition: &Value, storage: &StorageKey) -> Option<String> {
        let kind = text_at(definition, &["spec", "names", "kind"]);
        let taken =
            |r: &&Arc<Resource>| r.group == storage.0 && r.plural != storage.1 && r.kind == kind;
        self.registry
            .all()
            .find(taken)
            .map(|_| format!("\"{kind}\" is already in use"))
    }

    fn remove_instances(&mut self, key: &ObjectKey, storage: &StorageKey, now: &str) {
        let instances: Vec<ObjectKey> = self
            .bucket(storage)
            .into_iter()
            .flat_map(|b| b.objects.keys())
            .map(|(namespace, name)| ObjectKey {
                storage: storage.clone(),
                namespace: namespace.clone(),
                name: name.clone(),
            })
            .collect();
        for instance in &instances {
            if self.get(instance).is_some_and(|o| !is_deleting(o.head())) {
                self.delete_quietly(instance, &DeleteOptions::background(now));
            }
        }
        if self.bucket(storage).is_none_or(|b| b.objects.is_empty()) {
            self.drop_finalizer(key, crate::crd::CLEANUP_FINALIZER);
        }
    }
}

fn remove_owners(object: &mut Value, gone: impl Fn(&str) -> bool) {
    let left: Vec<Value> = owner_references(object)
        .iter()
        .filter(|r| !gone(text_at(r, &["uid"])))
        .cloned()
        .collect();
    if left.is_empty() {
        object::remove_meta(object, "ownerReferences");
    } else {
        object::set_meta(object, "ownerReferences", left);
    }
}

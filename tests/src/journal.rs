//! What happened to the objects of a kind, event by event.
//!
//! A test that looks now and then misses what lasts a moment, such as two revisions side by side. A watch from a known
//! resourceVersion on misses nothing.

use anyhow::{Context, bail, ensure};
use futures::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, WatchParams};
use kube::core::{GroupVersionKind, WatchEvent};
use kube::{Client, ResourceExt};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// What an event tells.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The object was created.
    Added,
    /// The object was written.
    Modified,
    /// The object is gone.
    Deleted,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What happened.
    pub what: What,
    /// The object after it.
    pub object: DynamicObject,
}

impl Entry {
    /// Status of the condition Ready.
    #[must_use]
    pub fn ready(&self) -> &str {
        let conditions = self.object.data.pointer("/status/conditions");
        let conditions = conditions.and_then(|c| c.as_array()).into_iter().flatten();
        let ready = conditions
            .filter(|condition| condition.get("type").is_some_and(|t| t == "Ready"))
            .find_map(|condition| condition.get("status")?.as_str());
        ready.unwrap_or_default()
    }

    /// One line for messages of failed tests.
    #[must_use]
    pub fn line(&self) -> String {
        let metadata = &self.object.metadata;
        let conditions = self.object.data.pointer("/status/conditions");
        let conditions = conditions.and_then(|c| c.as_array()).into_iter().flatten();
        let open: Vec<String> = conditions
            .filter(|condition| condition.get("status").is_some_and(|s| s != "True"))
            .map(|c| {
                format!(
                    "{:?} {:?} {:?}",
                    c.get("type"),
                    c.get("reason"),
                    c.get("message")
                )
            })
            .collect();
        format!(
            "{:?} {} generation={} Ready={} going={} {}",
            self.what,
            self.object.name_any(),
            metadata.generation.unwrap_or_default(),
            self.ready(),
            metadata.deletion_timestamp.is_some(),
            open.join("; ")
        )
    }
}

/// Records all events of a kind until it is dropped.
pub struct Journal {
    title: String,
    entries: Arc<Mutex<Vec<Entry>>>,
    /// The objects when it began.
    pub before: Vec<DynamicObject>,
    task: JoinHandle<()>,
}

impl Journal {
    /// Starts to record, from the present state on; an empty namespace means all.
    ///
    /// # Errors
    /// When the kind cannot be listed or watched.
    pub async fn start(
        client: &Client,
        group: &str,
        kind: &str,
        namespace: &str,
    ) -> anyhow::Result<Self> {
        let gvk = GroupVersionKind::gvk(group, "v1alpha1", kind);
        let plural = format!("{}s", kind.to_ascii_lowercase());
        let resource = ApiResource::from_gvk_with_plural(&gvk, &plural);
        Self::of(client, &resource, namespace).await
    }

    /// Starts to record a kind, from the present state on; an empty namespace means all.
    ///
    /// # Errors
    /// When the kind cannot be listed or watched.
    pub async fn of(
        client: &Client,
        resource: &ApiResource,
        namespace: &str,
    ) -> anyhow::Result<Self> {
        let kind = &resource.kind;
        let api: Api<DynamicObject> = if namespace.is_empty() {
            Api::all_with(client.clone(), resource)
        } else {
            Api::namespaced_with(client.clone(), namespace, resource)
        };
        let list = api
            .list(&ListParams::default())
            .await
            .with_context(|| format!("list {kind}"))?;
        let from = list.metadata.resource_version.unwrap_or_default();
        let mut events = api
            .watch(&WatchParams::default().timeout(290), &from)
            .await?
            .boxed();
        let entries = Arc::new(Mutex::new(Vec::new()));
        let written = entries.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let (what, object) = match event {
                    Ok(WatchEvent::Added(object)) => (What::Added, object),
                    Ok(WatchEvent::Modified(object)) => (What::Modified, object),
                    Ok(WatchEvent::Deleted(object)) => (What::Deleted, object),
                    Ok(WatchEvent::Bookmark(_)) => continue,
                    Ok(WatchEvent::Error(_)) | Err(_) => break,
                };
                lock(&written).push(Entry { what, object });
            }
        });
        Ok(Self {
            title: format!("{kind} in {namespace:?}"),
            entries,
            before: list.items,
            task,
        })
    }

    /// What was recorded so far.
    ///
    /// # Errors
    /// When the watch ended, so that events may be missing.
    pub fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        if self.task.is_finished() {
            bail!("the watch of {} ended", self.title);
        }
        Ok(lock(&self.entries).clone())
    }

    /// Names of the objects that were created since.
    ///
    /// # Errors
    /// When the watch ended.
    pub fn names_added(&self) -> anyhow::Result<BTreeSet<String>> {
        let entries = self.entries()?.into_iter();
        let added = entries.filter(|entry| entry.what == What::Added);
        Ok(added.map(|entry| entry.object.name_any()).collect())
    }

    /// The revision `old` ran beside the unfinished `new`, and was taken away only after `new` had been ready.
    ///
    /// # Errors
    /// With the events, when it was otherwise.
    pub async fn replaced(&self, old: &str, new: &str) -> anyhow::Result<()> {
        let entries = crate::eventually("the old revision is gone", || async {
            let entries = self.entries()?;
            let gone = |e: &Entry| e.what == What::Deleted && e.object.name_any() == old;
            ensure!(entries.iter().any(gone), "no event says that {old} is gone");
            Ok(entries)
        })
        .await?;
        let story = || {
            let lines: Vec<String> = entries.iter().map(Entry::line).collect();
            lines.join("\n")
        };
        let of = |name: &str| {
            let name = name.to_owned();
            let all = entries.iter().enumerate();
            all.filter(move |(_, entry)| entry.object.name_any() == name)
        };
        let appeared = of(new).find(|(_, entry)| entry.what == What::Added);
        let (appeared, _) =
            appeared.with_context(|| format!("{new} did not appear:\n{}", story()))?;
        let going = of(old).find(|(_, entry)| {
            entry.what == What::Deleted || entry.object.metadata.deletion_timestamp.is_some()
        });
        let (going, _) = going.context("the old revision is gone without an event")?;
        // Not necessarily the last event: what it says of a pod that came meanwhile may be on its way.
        let mut before_it_went = of(new).filter(|(at, _)| (appeared..going).contains(at));
        ensure!(
            before_it_went.any(|(_, entry)| entry.ready() == "True"),
            "{old} went before {new} was ready:\n{}",
            story()
        );
        ensure!(
            of(new).any(|(at, entry)| at < going && entry.ready() != "True"),
            "{new} was ready from the start:\n{}",
            story()
        );
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(entries: &Mutex<Vec<Entry>>) -> MutexGuard<'_, Vec<Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

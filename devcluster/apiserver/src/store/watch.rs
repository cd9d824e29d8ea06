//! Watches: what happened after a revision, as one client sees it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::list::{selector_of, selects, version_param};
use super::lookup::shown;
use super::stored::type_prefix;
use super::{ObjectKey, Store, Stored};
use crate::accept::{Accepted, Shape};
use crate::error::{ApiError, FieldError, Subject};
use crate::object;
use crate::registry::Resource;
use crate::request::ApiRequest;
use crate::router::ObjectTarget;
use crate::selector::Selector;
use crate::table::{RowObject, partial, table};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It is new.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change of one object.
#[derive(Debug)]
pub struct Event {
    /// The revision of the change.
    pub revision: u64,
    /// What happened.
    pub kind: EventKind,
    /// Whose change it is.
    pub key: Arc<ObjectKey>,
    /// The object after the change (or its last state).
    pub object: Arc<Stored>,
    /// The object before the change.
    pub previous: Option<Arc<Stored>>,
}

/// A running watch: what it selects, how it shows it, and how far it has come.
#[derive(Debug)]
pub struct WatchPlan {
    resource: Arc<Resource>,
    namespace: Option<String>,
    selector: Selector,
    accepted: Accepted,
    include: RowObject,
    columns_sent: bool,
    cursor: u64,
    initial: VecDeque<Arc<Stored>>,
    /// What every plain object begins with.
    prefix: Bytes,
    announce_end: bool,
    /// Whether the client wants bookmarks.
    pub bookmarks: bool,
    /// How long the watch lasts, when the client says.
    pub timeout: Option<Duration>,
}

/// What a watch has to say now.
#[derive(Debug, PartialEq, Eq)]
pub enum WatchStep {
    /// Lines for the client; may be empty.
    Lines(Vec<u8>),
    /// A last line (or none), then the end.
    End(Option<Vec<u8>>),
}

/// Events looked at in one step, so that a long history does not hold the store for long.
const STEP_LIMIT: usize = 500;
/// Bytes after which a step ends: what a client has not read yet is not copied for it.
const STEP_BYTES: usize = 256 * 1024;

impl Store {
    /// Begins a watch.
    pub(super) fn begin_watch(
        &self,
        target: &ObjectTarget,
        request: &ApiRequest,
        accepted: Accepted,
    ) -> Result<WatchPlan, ApiError> {
        let selector = selector_of(target, request)?;
        let version = version_param(request)?;
        let send_initial = request.param("sendInitialEvents");
        let matching = request.param("resourceVersionMatch").unwrap_or_default();
        check_initial_options(send_initial, matching)?;
        if let Some(wanted) = version.filter(|v| *v > self.revision()) {
            return Err(ApiError::too_large_resource_version(
                wanted,
                self.revision(),
            ));
        }
        let namespace = target
            .namespace
            .clone()
            .filter(|_| target.resource.namespaced);
        let from_now = version.unwrap_or(0) == 0 && send_initial != Some("false");
        let with_initial = from_now || send_initial == Some("true");
        let initial = match with_initial {
            true => self.select(&target.resource, namespace.as_deref(), &selector),
            false => Vec::new(),
        };
        let cursor = match (with_initial, version) {
            (false, Some(version)) if version > 0 => version,
            _ => self.revision(),
        };
        let timeout = request
            .param("timeoutSeconds")
            .and_then(|t| t.parse().ok())
            .filter(|t| *t > 0);
        let resource = &target.resource;
        Ok(WatchPlan {
            prefix: type_prefix(&resource.api_version(), &resource.kind),
            resource: Arc::clone(&target.resource),
            namespace,
            selector,
            accepted,
            include: RowObject::parse(request.param("includeObject")),
            columns_sent: false,
            cursor,
            initial: initial.into_iter().map(|(_, object)| object).collect(),
            announce_end: send_initial == Some("true") && request.flag("allowWatchBookmarks"),
            bookmarks: request.flag("allowWatchBookmarks"),
            timeout: timeout.map(Duration::from_secs),
        })
    }

    /// What a watch has to say since it was last asked.
    pub fn watch_step(&self, plan: &mut WatchPlan, now: Timestamp) -> WatchStep {
        let mut lines = Vec::new();
        while let Some(object) = plan.initial.pop_front() {
            plan.stored_line("ADDED", &object, now, &mut lines);
            if lines.len() >= STEP_BYTES {
                return WatchStep::Lines(lines);
            }
        }
        if std::mem::take(&mut plan.announce_end) {
            lines.extend(plan.bookmark(true));
        }
        let resource = Arc::clone(&plan.resource);
        if resource.custom
            && self
                .registry
                .get(&resource.group, &resource.version, &resource.plural)
                .is_none()
        {
            return WatchStep::End(None);
        }
        let forgotten = self.forgotten(&resource.storage());
        if forgotten > plan.cursor {
            let message = format!("too old resource version: {} ({forgotten})", plan.cursor);
            return WatchStep::End(Some(line("ERROR", &ApiError::expired(message).to_status())));
        }
        let Some(bucket) = self.bucket(&resource.storage()) else {
            return WatchStep::Lines(lines);
        };
        let begin = bucket
            .history
            .partition_point(|e| e.revision <= plan.cursor);
        for event in bucket.history.iter().skip(begin).take(STEP_LIMIT) {
            plan.cursor = event.revision;
            plan.render(event, now, &mut lines);
            if lines.len() >= STEP_BYTES {
                break;
            }
        }
        if bucket
            .history
            .back()
            .is_none_or(|e| e.revision <= plan.cursor)
        {
            plan.cursor = self.revision();
        }
        WatchStep::Lines(lines)
    }

    /// True when a watch has more to say at once.
    pub fn has_more(&self, plan: &WatchPlan) -> bool {
        if !plan.initial.is_empty() {
            return true;
        }
        let bucket = self.bucket(&plan.resource.storage());
        bucket.is_some_and(|b| b.history.back().is_some_and(|e| e.revision > plan.cursor))
    }
}

fn check_initial_options(send_initial: Option<&str>, matching: &str) -> Result<(), ApiError> {
    let subject = Subject {
        group: "meta.k8s.io",
        kind: "ListOptions",
    };
    if send_initial.is_some() && matching != "NotOlderThan" {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        let fault = FieldError::forbidden("resourceVersionMatch", detail);
        return Err(ApiError::invalid(subject, "", &[fault]));
    }
    if send_initial.is_none() && !matching.is_empty() {
        let detail =
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        return Err(ApiError::invalid(
            subject,
            "",
            &[FieldError::forbidden("resourceVersionMatch", detail)],
        ));
    }
    Ok(())
}

fn line(kind: &str, object: &Value) -> Vec<u8> {
    let mut out = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
    if let Err(error) = serde_json::to_writer(&mut out, object) {
        tracing::error!(%error, "failed to write an event");
    }
    out.extend_from_slice(b"}\n");
    out
}

impl WatchPlan {
    /// A bookmark at the present position.
    pub fn bookmark(&self, end_of_initial: bool) -> Vec<u8> {
        let mut metadata = json!({"resourceVersion": self.cursor.to_string()});
        if end_of_initial {
            object::set_at(
                &mut metadata,
                &["annotations"],
                json!({"k8s.io/initial-events-end": "true"}),
            );
        }
        let body = match self.accepted.shape {
            Shape::Table => {
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "columnDefinitions": null, "rows": []})
            }
            Shape::Partial => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Shape::Plain => {
                let mut body = match self.resource.custom {
                    true => json!({}),
                    false => crate::builtin::zero::empty_object(&self.resource.kind),
                };
                object::set_at(&mut body, &["kind"], self.resource.kind.as_str().into());
                object::set_at(
                    &mut body,
                    &["apiVersion"],
                    self.resource.api_version().into(),
                );
                object::set_at(&mut body, &["metadata"], metadata);
                body
            }
        };
        line("BOOKMARK", &body)
    }

    fn line(&mut self, kind: &str, object: &Value, now: Timestamp) -> Vec<u8> {
        match self.accepted.shape {
            Shape::Plain => line(kind, object),
            Shape::Partial => line(kind, &partial(object)),
            Shape::Table => {
                let metadata =
                    json!({"resourceVersion": object::meta_str(object, "resourceVersion")});
                let first = !std::mem::replace(&mut self.columns_sent, true);
                let columns = &self.resource.columns;
                line(
                    kind,
                    &table(columns, &[object], metadata, self.include, first, now),
                )
            }
        }
    }

    /// A line about an object as it is stored: plain ones are copied from the stored text, not written again.
    fn stored_line(&mut self, kind: &str, object: &Stored, now: Timestamp, out: &mut Vec<u8>) {
        if self.accepted.shape != Shape::Plain || self.resource.is_new_event() {
            let value = shown(&self.resource, object);
            out.extend(self.line(kind, &value, now));
            return;
        }
        let head = format!("{{\"type\":\"{kind}\",\"object\":");
        for piece in [head.as_bytes(), &self.prefix, &object.rest(), b"}\n"] {
            out.extend_from_slice(piece);
        }
    }

    /// The event as this watch sees it: an object that leaves the selection is deleted for it.
    fn render(&mut self, event: &Event, now: Timestamp, out: &mut Vec<u8>) {
        if self
            .namespace
            .as_deref()
            .is_some_and(|n| n != event.key.namespace)
        {
            return;
        }
        let meets = |object: &Stored| selects(&self.selector, &self.resource, object);
        let selected_before = event.previous.as_deref().is_some_and(meets);
        let selected_now = event.kind != EventKind::Deleted && meets(&event.object);
        match (selected_before, selected_now) {
            (false, false) => {}
            (false, true) => self.stored_line("ADDED", &event.object, now, out),
            (true, true) => self.stored_line("MODIFIED", &event.object, now, out),
            (true, false) if event.kind == EventKind::Deleted => {
                self.stored_line("DELETED", &event.object, now, out);
            }
            (true, false) => {
                let Some(previous) = &event.previous else {
                    return;
                };
                let mut last = shown(&self.resource, previous);
                object::set_meta(&mut last, "resourceVersion", event.revision.to_string());
                out.extend(self.line("DELETED", &last, now));
            }
        }
    }
}

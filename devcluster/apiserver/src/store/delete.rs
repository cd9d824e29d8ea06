//! Deleting objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::lookup::in_version;
use super::update::may_vanish;
use super::write::{WriteOptions, options_of, read_body};
use super::{ObjectKey, Store};
use crate::error::{ApiError, FieldError};
use crate::object::{self, meta, meta_str, set_meta, text_at};
use crate::registry::Resource;
use crate::request::{ApiRequest, Method};

/// Finalizer of an owner whose dependents shall lose it.
pub(super) const ORPHAN: &str = "orphan";
/// Finalizer of an owner that waits for its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// What happens to dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Propagation {
    /// They stay and lose the owner reference.
    Orphan,
    /// They are collected afterwards.
    Background,
    /// They go first.
    Foreground,
}

/// The options of a deletion.
#[derive(Debug, Clone, Default)]
pub(super) struct DeleteOptions {
    pub propagation: Option<Propagation>,
    pub grace_seconds: Option<i64>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
    pub now: String,
}

impl DeleteOptions {
    /// Reads body and query.
    pub(super) fn read(request: &ApiRequest, options: &WriteOptions) -> Result<Self, ApiError> {
        let body = match request.body.is_empty() {
            true => json!({}),
            false => read_body(request)?,
        };
        let text = |key: &str| {
            let own = body
                .get(key)
                .and_then(Value::as_str)
                .or_else(|| request.param(key));
            own.filter(|t| !t.is_empty()).map(str::to_owned)
        };
        let orphans = body.get("orphanDependents").and_then(Value::as_bool);
        let orphans = orphans.or_else(|| request.param("orphanDependents").map(|v| v == "true"));
        let policy = text("propagationPolicy");
        if let (Some(policy), Some(_)) = (&policy, orphans) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            let fault = FieldError::invalid("propagationPolicy", &policy.as_str().into(), detail);
            return Err(ApiError::invalid(options_of(Method::Delete), "", &[fault]));
        }
        let propagation = match (policy.as_deref(), orphans) {
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            (Some(other), _) => {
                let all = ["\"Foreground\"", "\"Background\"", "\"Orphan\"", "\"nil\""];
                let fault = FieldError::not_supported(
                    "propagationPolicy",
                    &other.into(),
                    &all.map(str::to_owned),
                );
                return Err(ApiError::invalid(options_of(Method::Delete), "", &[fault]));
            }
            (None, None) => None,
        };
        let grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
        let grace = grace.or_else(|| request.param("gracePeriodSeconds")?.parse().ok());
        let precondition = |key: &str| {
            let value = text_at(&body, &["preconditions", key]);
            (!value.is_empty()).then(|| value.to_owned())
        };
        let dry = body
            .get("dryRun")
            .and_then(Value::as_array)
            .is_some_and(|d| !d.is_empty());
        Ok(Self {
            propagation,
            grace_seconds: grace,
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
            dry_run: dry || options.dry_run,
            now: options.now.clone(),
        })
    }

    /// What the garbage collector uses.
    pub(super) fn background(now: &str) -> Self {
        Self {
            propagation: Some(Propagation::Background),
            now: now.to_owned(),
            ..Self::default()
        }
    }
}

/// What a deletion left behind.
pub(super) enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Value),
    /// The object is still there, marked.
    Marked(Value),
}

impl Store {
    /// Deletes one object, or marks it when something holds it.
    pub(super) fn delete(
        &mut self,
        resource: &Arc<Resource>,
        key: &ObjectKey,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let stored = self.existing(resource, key)?;
        let before = stored.value();
        check_preconditions(resource, key, &before, options)?;
        let mut object = before.clone();
        let held = finalizers_after(resource, &object, options.propagation);
        let already = object::is_deleting(&object);
        object::set_finalizers(&mut object, held);
        let grace = self.grace_seconds(resource, &object, options);
        if resource.is("", "Namespace") {
            object::set_at(&mut object, &["status", "phase"], "Terminating".into());
        }
        let mark = |object: &mut Value| {
            if !already {
                set_meta(object, "deletionTimestamp", options.now.as_str());
                let generation = meta(object)
                    .get("generation")
                    .and_then(Value::as_i64)
                    .unwrap_or(0);
                if generation > 0 {
                    set_meta(object, "generation", generation + 1);
                }
            }
            let before = meta(object)
                .get("deletionGracePeriodSeconds")
                .and_then(Value::as_i64);
            let shorter = before.map_or(grace, |b| b.min(grace));
            set_meta(object, "deletionGracePeriodSeconds", shorter);
        };
        let mut marked = object.clone();
        mark(&mut marked);
        let shown = |object: &Value| in_version(resource, object).into_owned();
        if may_vanish(resource, &marked) && grace == 0 {
            if !options.dry_run {
                self.remove(key, object.clone());
            }
            return Ok(Deleted::Gone(shown(&object)));
        }
        if options.dry_run || marked == before {
            return Ok(Deleted::Marked(shown(&marked)));
        }
        let stored = self.put(key, marked);
        Ok(Deleted::Marked(shown(&stored)))
    }

    fn grace_seconds(&self, resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
        if !resource.is("", "Pod") || self.config.immediate_pod_deletion {
            return 0;
        }
        let bound = !text_at(object, &["spec", "nodeName"]).is_empty();
        let over = matches!(
            text_at(object, &["status", "phase"]),
            "Succeeded" | "Failed"
        );
        if !bound || over {
            return 0;
        }
        let own =
            object::at(object, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
        options.grace_seconds.or(own).unwrap_or(30).max(0)
    }
}

fn finalizers_after(
    resource: &Resource,
    object: &Value,
    propagation: Option<Propagation>,
) -> Vec<String> {
    let mut list: Vec<String> = object::finalizers(object)
        .into_iter()
        .map(str::to_owned)
        .collect();
    if let Some(propagation) = propagation {
        list.retain(|f| f != ORPHAN && f != FOREGROUND);
        match propagation {
            Propagation::Orphan => list.push(ORPHAN.to_owned()),
            Propagation::Foreground => list.push(FOREGROUND.to_owned()),
            Propagation::Background => {}
        }
    }
    let is_definition = resource.kind == "CustomResourceDefinition" && !resource.custom;
    if is_definition
        && !object::is_deleting(object)
        && !list.iter().any(|f| f == crate::crd::CLEANUP_FINALIZER)
    {
        list.push(crate::crd::CLEANUP_FINALIZER.to_owned());
    }
    list
}

fn check_preconditions(
    resource: &Resource,
    key: &ObjectKey,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let check = |wanted: &Option<String>, field: &str, name: &str, guess: &str| match wanted {
        Some(wanted) if wanted != meta_str(object, field) => {
            let is = meta_str(object, field);
            let why = format!(
                "the {name} in the precondition ({wanted}) does not match the {name} in record ({is}). The object \
                 might have been {guess}"
            );
            // The original names the kind here, not the resource.
            Err(ApiError::conflict(resource.kind_subject(), &key.name, why))
        }
        _ => Ok(()),
    };
    check(&options.uid, "uid", "UID", "deleted and then recreated")?;
    check(
        &options.resource_version,
        "resourceVersion",
        "ResourceVersion",
        "modified",
    )
}

/// The answer to a deletion.
pub(super) fn answer(resource: &Resource, deleted: Deleted) -> Value {
    let object = match deleted {
        Deleted::Marked(object) => return object,
        Deleted::Gone(object) => object,
    };
    let returns_object = !resource.custom
        && matches!(
            resource.kind.as_str(),
            "Pod"
                | "Service"
                | "ServiceAccount"
                | "PersistentVolume"
                | "PersistentVolumeClaim"
                | "PodTemplate"
                | "ResourceQuota"
        );
    if returns_object {
        return object;
    }
    let mut details = json!({"name": object::name(&object), "kind": resource.plural, "uid": object::uid(&object)});
    if !resource.group.is_empty() {
        object::set_at(&mut details, &["group"], resource.group.as_str().into());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

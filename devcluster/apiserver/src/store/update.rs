//! Changing objects: the part every PUT and PATCH goes through.

use std::sync::Arc;

use serde_json::Value;

use super::create::{Written, set_managed, set_namespace};
use super::lookup::{in_version, shown, to_stored};
use super::write::{Sent, WriteOptions, decode, validate_object};
use super::{ObjectKey, Store};
use crate::error::{ApiError, FieldError};
use crate::fields::managed::{Managed, Manager, same_but_times};
use crate::object::{self, copy_key, meta, meta_str, set_meta};
use crate::registry::Resource;
use crate::router::ObjectTarget;

/// A change that has passed every check but is not stored yet.
pub(super) struct Change<'a> {
    pub resource: &'a Arc<Resource>,
    pub key: ObjectKey,
    /// The present object, in the version of the request.
    pub old: Value,
    /// The wanted object.
    pub new: Value,
    pub subresource: &'a str,
    pub warnings: Vec<String>,
}

impl Store {
    /// PUT.
    pub(super) fn replace(
        &mut self,
        target: &ObjectTarget,
        sent: Sent,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let resource = &target.resource;
        let key = target.key()?;
        let subresource = target.subresource.as_deref().unwrap_or_default();
        let Sent { mut object, faults } = sent;
        let warnings = decode(resource, &mut object, &faults, options)?;
        set_namespace(resource, target.namespace.as_deref(), &mut object)?;
        let name = object::name(&object);
        if name.is_empty() {
            return Err(ApiError::bad_request(
                "the name of the object must be provided in metadata.name",
            ));
        }
        if name != key.name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                key.name
            )));
        }
        let missing = self.get(&key).is_none() && target.subresource.is_none();
        let bare =
            meta_str(&object, "resourceVersion").is_empty() && object::uid(&object).is_empty();
        if missing && bare && resource.allows_create_on_update() {
            let sent = Sent::from(object);
            return self.create(resource, target.namespace.as_deref(), sent, options);
        }
        let stored = self.existing(resource, &key)?;
        let old = shown(resource, &stored);
        check_uid(resource, &key, &old, &object)?;
        if meta_str(&object, "resourceVersion").is_empty() {
            if !resource.allows_unconditional_update() {
                let detail = "must be specified for an update";
                let fault = FieldError::invalid("metadata.resourceVersion", &0.into(), detail);
                return Err(ApiError::invalid(resource.subject(), &key.name, &[fault]));
            }
            set_meta(
                &mut object,
                "resourceVersion",
                meta_str(&old, "resourceVersion"),
            );
        }
        let change = Change {
            resource,
            key,
            old,
            new: object,
            subresource,
            warnings,
        };
        let manager = options.updater(resource, subresource);
        self.change(change, options, &manager)
    }

    /// Checks and stores a change, recording `manager` as the owner of what changed.
    pub(super) fn change(
        &mut self,
        mut change: Change<'_>,
        options: &WriteOptions,
        manager: &Manager,
    ) -> Result<Written, ApiError> {
        check_version(&change)?;
        prepare(&mut change);
        let subresource = !change.subresource.is_empty();
        let own = Managed::starting_point(&change.old, &change.new, subresource);
        let of = change.resource.schema.root();
        let own = own.update(&change.old, &change.new, manager, of, &options.now);
        set_managed(&mut change.new, &own);
        self.store_change(change, options)
    }

    /// Validates and stores a change whose ownership is already recorded.
    pub(super) fn store_change(
        &mut self,
        mut change: Change<'_>,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let resource = Arc::clone(change.resource);
        count_generation(&resource, &change.old, &mut change.new);
        validate_object(&resource, Some(&change.old), &change.new)?;
        set_meta(
            &mut change.new,
            "resourceVersion",
            meta_str(&change.old, "resourceVersion"),
        );
        let (old_fields, new_fields) = (
            meta(&change.old).get("managedFields"),
            meta(&change.new).get("managedFields"),
        );
        if same_but_times(old_fields, new_fields) {
            let fields = old_fields.cloned();
            if let (Some(fields), Some(meta)) = (fields, object::meta_mut(&mut change.new)) {
                meta.insert("managedFields".into(), fields);
            }
        }
        let Change {
            key,
            old,
            new,
            warnings,
            ..
        } = change;
        let done = object::is_deleting(&new) && may_vanish(&resource, &new);
        if options.dry_run || (new == old && !done) {
            return Ok(Written {
                object: new,
                created: false,
                warnings,
            });
        }
        let stored = to_stored(&resource, new);
        let stored = if done {
            self.remove(&key, stored)
        } else {
            self.put(&key, stored)
        };
        Ok(Written {
            object: in_version(&resource, &stored).into_owned(),
            created: false,
            warnings,
        })
    }
}

/// True when nothing holds an object that is being deleted any more.
pub(super) fn may_vanish(resource: &Resource, object: &Value) -> bool {
    let grace = meta(object)
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let namespace_held = resource.is("", "Namespace")
        && object::at(object, &["spec", "finalizers"])
            .and_then(Value::as_array)
            .is_some_and(|f| !f.is_empty());
    object::finalizers(object).is_empty() && grace == 0 && !namespace_held
}

fn check_uid(
    resource: &Resource,
    key: &ObjectKey,
    old: &Value,
    new: &Value,
) -> Result<(), ApiError> {
    let (is, wanted) = (object::uid(old), object::uid(new));
    if wanted.is_empty() || wanted == is {
        return Ok(());
    }
    let prefix = if resource.custom {
        format!("{}/", resource.group)
    } else {
        String::new()
    };
    let place = if key.namespace.is_empty() {
        String::new()
    } else {
        format!("{}/", key.namespace)
    };
    let path = format!("/registry/{prefix}{}/{place}{}", resource.plural, key.name);
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {path}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
         failed: UID in precondition: {wanted}, UID in object meta: {is}"
    );
    Err(ApiError::conflict(resource.subject(), &key.name, why))
}

pub(super) fn check_version(change: &Change<'_>) -> Result<(), ApiError> {
    let wanted = meta_str(&change.new, "resourceVersion");
    if !wanted.is_empty() && wanted != meta_str(&change.old, "resourceVersion") {
        return Err(ApiError::modified(
            change.resource.subject(),
            &change.key.name,
        ));
    }
    Ok(())
}

/// Puts back what this way of writing may not change, and what clients may leave out.
pub(super) fn prepare(change: &mut Change<'_>) {
    let Change {
        resource,
        old,
        new,
        subresource,
        ..
    } = change;
    match *subresource {
        "status" => {
            let mut kept = old.clone();
            copy_key(new, &mut kept, "status");
            if let Some(fields) = meta(new).get("managedFields").cloned() {
                set_meta(&mut kept, "managedFields", fields);
            }
            *new = kept;
        }
        "ephemeralcontainers" => {
            let mut kept = old.clone();
            if let Some(list) = object::at(new, &["spec", "ephemeralContainers"]) {
                object::set_at(&mut kept, &["spec", "ephemeralContainers"], list.clone());
            }
            *new = kept;
        }
        "finalize" => {
            let mut kept = old.clone();
            copy_key(new, &mut kept, "spec");
            *new = kept;
        }
        _ => {
            if resource.status {
                copy_key(old, new, "status");
            }
            if resource.is("", "Namespace") {
                copy_key(old, new, "spec");
            }
        }
    }
    let kept = [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "name",
        "namespace",
    ];
    for key in kept {
        if meta_str(new, key).is_empty()
            && !meta(new).get(key).is_some_and(Value::is_number)
            && let Some(value) = meta(old).get(key).cloned()
        {
            set_meta(new, key, value);
        }
    }
    match meta(old).get("generation").cloned() {
        Some(generation) => set_meta(new, "generation", generation),
        None => {
            object::remove_meta(new, "generation");
        }
    }
    if resource.is("", "Service") {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = object::at(old, &["spec", field]).cloned() {
                object::default_at(new, &["spec", field], value);
            }
        }
    }
}

/// The generation counts changes of everything but metadata and status.
fn count_generation(resource: &Resource, old: &Value, new: &mut Value) {
    if !resource.has_generation() {
        return;
    }
    let has_status = resource.status;
    let relevant = |object: &Value| {
        let map = object.as_object().cloned().unwrap_or_default();
        let counts =
            |k: &str| k != "metadata" && k != "apiVersion" && !(k == "status" && has_status);
        map.into_iter()
            .filter(|(k, _)| counts(k))
            .collect::<serde_json::Map<String, Value>>()
    };
    if relevant(old) != relevant(new) {
        let generation = meta(old)
            .get("generation")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        set_meta(new, "generation", generation + 1);
    }
}

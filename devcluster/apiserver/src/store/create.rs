//! Creating objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::lookup::{key_of, to_stored};
use super::write::{Sent, WriteOptions, decode, validate_object};
use super::{ObjectKey, Store};
use crate::error::ApiError;
use crate::fields::managed::{Managed, Manager};
use crate::object::{self, meta_str, remove_meta, set_meta};
use crate::registry::Resource;

/// A created or changed object in the version of the request, with warnings.
#[derive(Debug)]
pub struct Written {
    /// The object.
    pub object: Value,
    /// True when the object did not exist before.
    pub created: bool,
    /// Warnings for the client.
    pub warnings: Vec<String>,
}

impl Store {
    /// Creates an object from a request body.
    pub(super) fn create(
        &mut self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        sent: Sent,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let Sent { mut object, faults } = sent;
        let warnings = decode(resource, &mut object, &faults, options)?;
        set_namespace(resource, namespace, &mut object)?;
        if !meta_str(&object, "resourceVersion").is_empty() {
            return Err(ApiError::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let empty = crate::builtin::zero::empty_object(&resource.kind);
        let empty = if resource.custom {
            json!({"metadata": {}})
        } else {
            empty
        };
        self.prepare_new(resource, &mut object, options);
        let own = Managed::starting_point(&json!({}), &object, false);
        let manager = options.updater(resource, "");
        self.own_new_fields(resource, &empty, &mut object, own, &manager, options);
        self.store_new(resource, object, options, warnings)
    }

    /// Records who owns the fields of a new object. Status fields of kinds with a status subresource belong to
    /// nobody yet.
    fn own_new_fields(
        &self,
        resource: &Resource,
        empty: &Value,
        object: &mut Value,
        own: Managed,
        manager: &Manager,
        options: &WriteOptions,
    ) {
        let mut owned = object.clone();
        if resource.status
            && let Some(map) = owned.as_object_mut()
        {
            match empty.get("status") {
                Some(status) => map.insert("status".into(), status.clone()),
                None => map.remove("status"),
            };
        }
        if resource.is("", "Namespace") {
            object::set_at(&mut owned, &["spec"], json!({}));
        }
        let own = own.update(empty, &owned, manager, resource.schema.root(), &options.now);
        set_managed(object, &own);
    }

    /// Validates and stores a new object whose ownership is already recorded.
    pub(super) fn store_new(
        &mut self,
        resource: &Arc<Resource>,
        mut object: Value,
        options: &WriteOptions,
        warnings: Vec<String>,
    ) -> Result<Written, ApiError> {
        if !resource.custom {
            crate::builtin::defaults::admit(&resource.kind, &mut object);
        }
        let namespace = object::namespace(&object).to_owned();
        let name = object::name(&object).to_owned();
        if resource.namespaced {
            self.check_namespace(resource, &namespace, &name)?;
        }
        validate_object(resource, None, &object)?;
        let key: ObjectKey = key_of(resource, &namespace, &name);
        if self.get(&key).is_some() {
            return Err(ApiError::already_exists(resource.subject(), &name));
        }
        if options.dry_run {
            return Ok(Written {
                object,
                created: true,
                warnings,
            });
        }
        let stored = self.put(&key, to_stored(resource, object));
        let object = super::lookup::in_version(resource, &stored).into_owned();
        Ok(Written {
            object,
            created: true,
            warnings,
        })
    }

    /// Sets what the server decides about a new object.
    pub(super) fn prepare_new(
        &mut self,
        resource: &Resource,
        object: &mut Value,
        options: &WriteOptions,
    ) {
        for key in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "generation",
            "resourceVersion",
        ] {
            remove_meta(object, key);
        }
        let generate = meta_str(object, "generateName").to_owned();
        if meta_str(object, "name").is_empty() && !generate.is_empty() {
            let base: String = generate.chars().take(58).collect();
            let name = format!("{base}{}", self.ids.suffix());
            set_meta(object, "name", name);
        }
        let uid = self.ids.uid();
        set_meta(object, "uid", uid);
        set_meta(object, "creationTimestamp", options.now.as_str());
        if resource.has_generation() {
            set_meta(object, "generation", 1);
        }
        if resource.custom && resource.status {
            object.as_object_mut().map(|o| o.remove("status"));
        }
    }
}

/// The namespace of the path is the namespace of the object.
pub(super) fn set_namespace(
    resource: &Resource,
    namespace: Option<&str>,
    object: &mut Value,
) -> Result<(), ApiError> {
    if !resource.namespaced {
        remove_meta(object, "namespace");
        return Ok(());
    }
    let written = meta_str(object, "namespace");
    match namespace {
        None if written.is_empty() => Err(ApiError::bad_request(
            "an empty namespace may not be set during creation",
        )),
        None => Ok(()),
        Some(namespace) if written.is_empty() || written == namespace => {
            set_meta(object, "namespace", namespace);
            Ok(())
        }
        Some(_) => Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
    }
}

/// Writes the ownership into the object.
pub(super) fn set_managed(object: &mut Value, managed: &Managed) {
    match managed.encode() {
        Value::Array(list) if list.is_empty() => {
            remove_meta(object, "managedFields");
        }
        list => set_meta(object, "managedFields", list),
    }
}

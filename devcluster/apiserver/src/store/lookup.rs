//! From a target to stored objects and back to the form a client asked for.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::{ObjectKey, Store, Stored, namespaces};
use crate::error::{ApiError, Subject};
use crate::object;
use crate::registry::Resource;
use crate::router::ObjectTarget;

impl ObjectTarget {
    /// The name in the path.
    pub(super) fn required_name(&self) -> Result<&str, ApiError> {
        self.name
            .as_deref()
            .ok_or_else(|| ApiError::bad_request("name must be provided"))
    }

    /// The key of the named object.
    pub(super) fn key(&self) -> Result<ObjectKey, ApiError> {
        let name = self.required_name()?;
        Ok(key_of(
            &self.resource,
            self.namespace.as_deref().unwrap_or_default(),
            name,
        ))
    }
}

/// The key of an object of a resource.
pub(super) fn key_of(resource: &Resource, namespace: &str, name: &str) -> ObjectKey {
    let namespace = if resource.namespaced { namespace } else { "" };
    ObjectKey {
        storage: resource.storage(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// The stored object as a version of the API shows it.
pub fn in_version<'a>(resource: &Resource, stored: &'a Value) -> Cow<'a, Value> {
    if resource.is_new_event() {
        let mut event = stored.clone();
        crate::builtin::events::to_events(&mut event);
        return Cow::Owned(event);
    }
    if !resource.custom || resource.version == resource.storage_version {
        return Cow::Borrowed(stored);
    }
    let mut object = stored.clone();
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), resource.api_version().into());
    }
    Cow::Owned(object)
}

/// A stored object as a version of the API shows it.
pub(super) fn shown(resource: &Resource, stored: &Stored) -> Value {
    in_version(resource, &stored.value()).into_owned()
}

/// The object as it is stored.
pub(super) fn to_stored(resource: &Resource, mut object: Value) -> Value {
    if resource.is_new_event() {
        crate::builtin::events::to_core(&mut object);
    } else if resource.custom
        && resource.version != resource.storage_version
        && let Some(map) = object.as_object_mut()
    {
        let version = format!("{}/{}", resource.group, resource.storage_version);
        map.insert("apiVersion".into(), version.into());
    }
    object
}

impl Store {
    /// The stored object, or NotFound.
    pub(super) fn existing(
        &self,
        resource: &Resource,
        key: &ObjectKey,
    ) -> Result<Arc<Stored>, ApiError> {
        self.get(key)
            .cloned()
            .ok_or_else(|| ApiError::not_found(resource.subject(), &key.name))
    }

    /// A namespace must exist, and not be on its way out, before something is created in it.
    pub(super) fn check_namespace(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        let key = ObjectKey {
            storage: namespaces(),
            namespace: String::new(),
            name: namespace.to_owned(),
        };
        let Some(found) = self.get(&key) else {
            return Err(ApiError::not_found(
                Subject {
                    group: "",
                    kind: "namespaces",
                },
                namespace,
            ));
        };
        if object::is_deleting(found.head()) {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let message = format!("namespace {namespace} is being terminated");
            let cause = serde_json::json!({"reason": "NamespaceTerminating", "message": message,
                "field": "metadata.namespace"});
            return Err(ApiError::forbidden(
                resource.subject(),
                name,
                why,
                vec![cause],
            ));
        }
        Ok(())
    }
}

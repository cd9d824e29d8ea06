//! Writes: server-side apply, status, finalizers, deletion. Nothing that would not change is written.

use super::failure::{CONFLICT, Classified, Retry};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

/// A write that the API server refused or never answered.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object has no name or namespace: nothing can be written.
    #[error("failed to write {kind}: the object has no {missing}")]
    Unnamed {
        /// Kind of the object.
        kind: String,
        /// `name` or `namespace`.
        missing: &'static str,
    },
    /// The object cannot be expressed as JSON.
    #[error("failed to encode {kind} {name}")]
    Encode {
        /// Kind of the object.
        kind: String,
        /// `namespace/name`.
        name: String,
        /// Cause.
        source: serde_json::Error,
    },
    /// The API server refused.
    #[error("failed to {verb} {kind} {name}")]
    Refused {
        /// `apply`, `patch`, `update status of` or `delete`.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// `namespace/name`.
        name: String,
        /// Cause.
        source: Box<kube::Error>,
    },
}

impl WriteError {
    /// The status code of the API server, if it answered.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }

    /// The message of the API server if it answered, else the error itself: what a person needs to see.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => format!("{self}: {}", status.message),
                other => format!("{self}: {other}"),
            },
            other => other.to_string(),
        }
    }
}

impl Classified for WriteError {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
    fn reason(&self) -> &'static str {
        match self.code() {
            Some(409) => CONFLICT,
            Some(_) => "WriteRefused",
            None => "WriteFailed",
        }
    }
}

/// A kind of this project or of Kubernetes that lives in a namespace.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
{
}
impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

fn names<K: Kind>(object: &K) -> Result<(String, String), WriteError> {
    let unnamed = |missing| WriteError::Unnamed {
        kind: K::kind(&()).into_owned(),
        missing,
    };
    let name = object.meta().name.clone().ok_or_else(|| unnamed("name"))?;
    let namespace = object
        .meta()
        .namespace
        .clone()
        .ok_or_else(|| unnamed("namespace"))?;
    Ok((namespace, name))
}

fn refused<K: Kind>(
    verb: &'static str,
    namespace: &str,
    name: &str,
) -> impl FnOnce(kube::Error) -> WriteError {
    let kind = K::kind(&()).into_owned();
    let name = format!("{namespace}/{name}");
    move |source| WriteError::Refused {
        verb,
        kind,
        name,
        source: Box::new(source),
    }
}

/// Creates or changes an object by server-side apply with force; returns what the server then holds.
///
/// If cancelled, the write may or may not have happened; repeating it is harmless.
///
/// # Errors
/// [`WriteError`] when the object has no name or the server refuses it.
pub async fn apply<K: Kind>(client: &Client, manager: &str, object: &K) -> Result<K, WriteError> {
    let (namespace, name) = names(object)?;
    let encode = |source| WriteError::Encode {
        kind: K::kind(&()).into_owned(),
        name: format!("{namespace}/{name}"),
        source,
    };
    let mut body = serde_json::to_value(object).map_err(encode)?;
    if let Some(fields) = body.as_object_mut() {
        fields.insert("apiVersion".to_owned(), K::api_version(&()).into());
        fields.insert("kind".to_owned(), K::kind(&()).into());
        fields.remove("status");
    }
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    api.patch(
        &name,
        &PatchParams::apply(manager).force(),
        &Patch::Apply(&body),
    )
    .await
    .map_err(refused::<K>("apply", &namespace, &name))
}

/// Replaces fields of the status where they differ from what `observed` carries.
///
/// `desired` holds the top-level status fields to own; a field with the same value is left out, and if none is left
/// nothing is written. Returns whether a write happened.
///
/// # Errors
/// [`WriteError`] when the server refuses. A vanished object is not an error.
pub async fn write_status<K: Kind>(
    client: &Client,
    manager: &str,
    observed: &K,
    desired: Value,
) -> Result<bool, WriteError> {
    let (namespace, name) = names(observed)?;
    let current = serde_json::to_value(observed).unwrap_or(Value::Null);
    let current = current.get("status").cloned().unwrap_or(Value::Null);
    let Value::Object(mut fields) = desired else {
        return Ok(false);
    };
    fields.retain(|key, value| current.get(key).unwrap_or(&Value::Null) != value);
    if fields.is_empty() {
        return Ok(false);
    }
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    let body = json!({ "metadata": { "uid": observed.meta().uid }, "status": fields });
    match api.patch_status(&name, &params, &Patch::Merge(&body)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(source) => Err(refused::<K>("update status of", &namespace, &name)(source)),
    }
}

/// Changes labels, annotations or finalizers by a merge patch that fails when the object changed meanwhile.
///
/// # Errors
/// [`WriteError`] when the server refuses; a conflict (409) means: read again.
pub async fn patch_metadata<K: Kind>(
    client: &Client,
    manager: &str,
    observed: &K,
    mut metadata: Value,
) -> Result<K, WriteError> {
    let (namespace, name) = names(observed)?;
    if let Some(fields) = metadata.as_object_mut() {
        fields.insert(
            "resourceVersion".to_owned(),
            json!(observed.meta().resource_version),
        );
        fields.insert("uid".to_owned(), json!(observed.meta().uid));
    }
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    api.patch(
        &name,
        &params,
        &Patch::Merge(&json!({ "metadata": metadata })),
    )
    .await
    .map_err(refused::<K>("patch", &namespace, &name))
}

/// Adds a finalizer if it is missing; returns whether it was.
///
/// # Errors
/// [`WriteError`] when the server refuses.
pub async fn add_finalizer<K: Kind>(
    client: &Client,
    manager: &str,
    observed: &K,
    finalizer: &str,
) -> Result<bool, WriteError> {
    if observed.finalizers().iter().any(|f| f == finalizer) {
        return Ok(false);
    }
    let mut finalizers = observed.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    patch_metadata(
        client,
        manager,
        observed,
        json!({ "finalizers": finalizers }),
    )
    .await?;
    Ok(true)
}

/// Removes a finalizer if it is there. A vanished object is not an error.
///
/// # Errors
/// [`WriteError`] when the server refuses.
pub async fn remove_finalizer<K: Kind>(
    client: &Client,
    manager: &str,
    observed: &K,
    finalizer: &str,
) -> Result<(), WriteError> {
    if !observed.finalizers().iter().any(|f| f == finalizer) {
        return Ok(());
    }
    let finalizers: Vec<&String> = observed
        .finalizers()
        .iter()
        .filter(|f| *f != finalizer)
        .collect();
    match patch_metadata(
        client,
        manager,
        observed,
        json!({ "finalizers": finalizers }),
    )
    .await
    {
        Err(error) if error.code() == Some(404) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Deletes exactly this object (by uid). One that is gone already, or that is another one by now, is left alone.
///
/// # Errors
/// [`WriteError`] when the server refuses.
pub async fn delete<K: Kind>(client: &Client, observed: &K) -> Result<(), WriteError> {
    let (namespace, name) = names(observed)?;
    if observed.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let exactly = Preconditions {
        uid: observed.meta().uid.clone(),
        resource_version: None,
    };
    match api
        .delete(&name, &DeleteParams::default().preconditions(exactly))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(source) => Err(refused::<K>("delete", &namespace, &name)(source)),
    }
}

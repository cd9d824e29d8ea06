//! The scale subresource: one number of an object, in a form of its own.

use serde_json::{Value, json};

use super::Store;
use super::create::{Written, set_managed};
use super::lookup::shown;
use super::update::{Change, prepare};
use super::write::{WriteOptions, read_body, read_yaml};
use crate::error::{ApiError, FieldError};
use crate::fields::FieldSet;
use crate::fields::managed::Managed;
use crate::object::{at, meta, meta_str, set_at};
use crate::patch::{PatchKind, json as apply_json, merge};
use crate::registry::Resource;
use crate::request::{ApiRequest, Method};
use crate::router::ObjectTarget;

/// The Scale of an object.
pub(super) fn scale_of(resource: &Resource, object: &Value) -> Value {
    let paths = resource.scale.as_ref();
    let number = |path: Option<&String>| {
        let keys: Vec<&str> = path.map(|p| p.split('.').collect()).unwrap_or_default();
        at(object, &keys).and_then(Value::as_i64)
    };
    let spec = number(paths.map(|p| &p.spec)).map_or_else(|| json!({}), |n| json!({"replicas": n}));
    let mut status = json!({"replicas": number(paths.map(|p| &p.status)).unwrap_or(0)});
    if let Some(text) = selector_text(resource, object) {
        set_at(&mut status, &["selector"], text.into());
    }
    let meta = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ]
    .iter()
    .filter_map(|key| Some(((*key).to_owned(), meta(object).get(*key)?.clone())))
    .collect::<serde_json::Map<String, Value>>();
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status})
}

fn selector_text(resource: &Resource, object: &Value) -> Option<String> {
    if !resource.custom {
        let labels = at(object, &["spec", "selector", "matchLabels"])?.as_object()?;
        let pairs: Vec<String> = labels
            .iter()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect();
        return Some(pairs.join(","));
    }
    let path = resource.scale.as_ref()?.selector.as_ref()?;
    let keys: Vec<&str> = path.split('.').collect();
    at(object, &keys)?.as_str().map(str::to_owned)
}

impl Store {
    /// Changes the scale of an object.
    pub(super) fn write_scale(
        &mut self,
        target: &ObjectTarget,
        request: &ApiRequest,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let resource = &target.resource;
        let key = target.key()?;
        let stored = self.existing(resource, &key)?;
        let old = shown(resource, &stored);
        let scale = scale_of(resource, &old);
        let wanted = match request.method {
            Method::Patch => match PatchKind::of(&request.content_type, true)? {
                PatchKind::Json => apply_json(&scale, &request.body)?,
                _ => merge(&scale, &read_yaml(&request.body)?.object),
            },
            _ => read_body(request)?,
        };
        let version = meta_str(&wanted, "resourceVersion");
        if !version.is_empty() && version != meta_str(&old, "resourceVersion") {
            return Err(ApiError::modified(resource.subject(), &key.name));
        }
        let replicas = at(&wanted, &["spec", "replicas"])
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if replicas < 0 {
            let fault = FieldError::invalid(
                "spec.replicas",
                &replicas.into(),
                "should be a non-negative integer",
            );
            let subject = crate::error::Subject {
                group: "autoscaling",
                kind: "Scale",
            };
            return Err(ApiError::invalid(subject, &key.name, &[fault]));
        }
        let path = resource
            .scale
            .as_ref()
            .map(|s| s.spec.clone())
            .unwrap_or_default();
        let keys: Vec<&str> = path.split('.').collect();
        let changed = at(&old, &keys).and_then(Value::as_i64) != Some(replicas);
        let mut new = old.clone();
        set_at(&mut new, &keys, replicas.into());
        if changed {
            let manager = options.updater(resource, "scale");
            let own = Managed::starting_point(&old, &old, true);
            set_managed(
                &mut new,
                &own.take_field(&manager, FieldSet::of_keys(&[&keys])),
            );
        }
        let mut change = Change {
            resource,
            key,
            old,
            new,
            subresource: "",
            warnings: Vec::new(),
        };
        prepare(&mut change);
        let mut written = self.store_change(change, options)?;
        written.object = scale_of(resource, &written.object);
        Ok(written)
    }
}

//! PATCH in its four kinds.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Store;
use super::create::{Written, set_managed, set_namespace};
use super::lookup::shown;
use super::update::{Change, prepare};
use super::write::{FieldValidation, Sent, WriteOptions, check_config, decode, read_yaml};
use crate::error::{ApiError, FieldError, Subject};
use crate::fields::managed::Managed;
use crate::object::{self, meta, meta_str, set_meta};
use crate::patch::{PatchKind, json as apply_json, merge, strategic};
use crate::registry::Resource;
use crate::request::ApiRequest;
use crate::router::ObjectTarget;

impl Store {
    /// PATCH.
    pub(super) fn patch(
        &mut self,
        target: &ObjectTarget,
        request: &ApiRequest,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let resource = &target.resource;
        let kind = PatchKind::of(&request.content_type, resource.custom)?;
        if kind == PatchKind::Apply {
            return self.apply(target, request, options);
        }
        let key = target.key()?;
        let subresource = target.subresource.as_deref().unwrap_or_default();
        let stored = self.existing(resource, &key)?;
        let old = shown(resource, &stored);
        let mut new = patched(kind, resource, &old, &request.body)?;
        let warnings = decode(resource, &mut new, &[], options)?;
        set_namespace(resource, target.namespace.as_deref(), &mut new)?;
        let change = Change {
            resource,
            key,
            old,
            new,
            subresource,
            warnings,
        };
        let manager = options.updater(resource, subresource);
        self.change(change, options, &manager)
    }

    /// Server-side apply.
    fn apply(
        &mut self,
        target: &ObjectTarget,
        request: &ApiRequest,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let resource = &target.resource;
        let subresource = target.subresource.as_deref().unwrap_or_default();
        require_manager(request)?;
        let Sent {
            object: mut config,
            faults,
        } = read_yaml(&request.body)?;
        refuse_strictly(resource, &faults, options)?;
        if meta(&config)
            .get("managedFields")
            .is_some_and(|m| m.as_array().is_none_or(|l| !l.is_empty()))
        {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        let key = target.key()?;
        check_config(resource, &mut config)?;
        match meta_str(&config, "name") {
            "" => set_meta(&mut config, "name", key.name.as_str()),
            name if name != key.name => {
                return Err(ApiError::bad_request(format!(
                    "the name of the object ({name}) does not match the name on the URL ({})",
                    key.name
                )));
            }
            _ => {}
        }
        set_namespace(resource, target.namespace.as_deref(), &mut config)?;
        restrict(resource, subresource, &mut config);
        let Some(stored) = self.get(&key).cloned() else {
            if !subresource.is_empty() {
                return Err(ApiError::not_found(resource.subject(), &key.name));
            }
            return self.apply_new(resource, &config, options);
        };
        let old = shown(resource, &stored);
        let own = Managed::starting_point(&old, &json!({}), true);
        let manager = options.applier(resource, subresource);
        let of = resource.schema.root();
        let (new, own) = own.apply(&old, &config, &manager, of, options.force, &options.now)?;
        let mut new = new.unwrap_or_else(|| old.clone());
        let warnings = decode(resource, &mut new, &[], options)?;
        set_managed(&mut new, &own);
        let mut change = Change {
            resource,
            key,
            old,
            new,
            subresource,
            warnings,
        };
        super::update::check_version(&change)?;
        prepare(&mut change);
        set_managed(&mut change.new, &own);
        self.store_change(change, options)
    }

    fn apply_new(
        &mut self,
        resource: &Arc<Resource>,
        config: &Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        if !object::uid(config).is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                object::uid(config)
            );
            return Err(ApiError::conflict(
                resource.subject(),
                object::name(config),
                why,
            ));
        }
        let manager = options.applier(resource, "");
        let empty = json!({"metadata": {}});
        let (_, own) = Managed::default().apply(
            &empty,
            config,
            &manager,
            resource.schema.root(),
            true,
            &options.now,
        )?;
        let mut new = config.clone();
        let warnings = decode(resource, &mut new, &[], options)?;
        self.prepare_new(resource, &mut new, options);
        set_managed(&mut new, &own);
        self.store_new(resource, new, options, warnings)
    }
}

fn patched(
    kind: PatchKind,
    resource: &Resource,
    old: &Value,
    body: &[u8],
) -> Result<Value, ApiError> {
    if kind == PatchKind::Json {
        return apply_json(old, body);
    }
    let patch = read_yaml(body)?.object;
    Ok(match kind {
        PatchKind::Strategic => strategic::merge(old, &patch, resource.schema.root()),
        _ => merge(old, &patch),
    })
}

/// A configuration with keys written twice is refused when the client wants it strict.
fn refuse_strictly(
    resource: &Resource,
    faults: &[String],
    options: &WriteOptions,
) -> Result<(), ApiError> {
    if faults.is_empty() || options.validation != FieldValidation::Strict {
        return Ok(());
    }
    let (kind, version) = (&resource.kind, &resource.version);
    let faults = faults.join(", ");
    Err(ApiError::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {faults}"
    )))
}

fn require_manager(request: &ApiRequest) -> Result<(), ApiError> {
    if request.param("fieldManager").is_some_and(|m| !m.is_empty()) {
        return Ok(());
    }
    let fault = FieldError::required("fieldManager", "is required for apply patch");
    Err(ApiError::invalid(
        Subject {
            group: "meta.k8s.io",
            kind: "PatchOptions",
        },
        "",
        &[fault],
    ))
}

/// Drops the part of a configuration that this way of writing cannot change.
fn restrict(resource: &Resource, subresource: &str, config: &mut Value) {
    let Some(map) = config.as_object_mut() else {
        return;
    };
    if subresource == "status" {
        map.retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
        if let Some(meta) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.retain(|key, _| {
                matches!(
                    key.as_str(),
                    "name" | "namespace" | "uid" | "resourceVersion"
                )
            });
        }
    } else if resource.status {
        map.remove("status");
    }
}

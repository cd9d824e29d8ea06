//! Validation of object metadata.

use serde_json::{Map, Value, json};

use crate::error::FieldError;
use crate::names::{
    DNS_1035, LABEL, SUBDOMAIN, is_label, is_subdomain, label_value_fault, qualified_name_fault,
};
use crate::object::{finalizers, is_deleting, meta, meta_str, owner_references, text_at};
use crate::registry::Resource;

/// Bytes all annotations of an object may have together.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

fn name_fault(resource: &Resource, name: &str) -> Option<&'static str> {
    let valid = match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace" | "Service") if name.len() > 63 => {
            return Some("must be no more than 63 bytes");
        }
        ("", "Namespace") => return (!is_label(name)).then_some(LABEL),
        ("", "Service") => {
            let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
            return (!is_label(name) || !starts_well).then_some(DNS_1035);
        }
        ("rbac.authorization.k8s.io", _) => {
            !name.contains(['/', '%']) && !matches!(name, "." | "..")
        }
        _ if name.len() > 253 => return Some("must be no more than 253 bytes"),
        _ => is_subdomain(name),
    };
    if valid {
        return None;
    }
    Some(if resource.group == "rbac.authorization.k8s.io" {
        "may not contain '/' or '%'"
    } else {
        SUBDOMAIN
    })
}

/// Findings about the metadata of any object.
pub fn validate(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = meta_str(object, "name");
    let generate = meta_str(object, "generateName");
    if name.is_empty() && generate.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if let Some(fault) = name_fault(resource, name).filter(|_| !name.is_empty()) {
        errors.push(FieldError::invalid("metadata.name", &name.into(), fault));
    }
    let stem = generate.strip_suffix('-').unwrap_or(generate);
    // Names of events are nobody's business: `e.` is a common stem.
    let checked = !generate.is_empty() && resource.kind != "Event";
    if let Some(fault) = name_fault(resource, stem).filter(|_| checked) {
        let fault = FieldError::invalid("metadata.generateName", &generate.into(), fault);
        errors.insert(0, fault);
    }
    check_owners(object, &mut errors);
    for finalizer in finalizers(object) {
        if let Some(fault) = qualified_name_fault(finalizer) {
            errors.push(FieldError::invalid(
                "metadata.finalizers",
                &finalizer.into(),
                fault,
            ));
        }
    }
    for (key, value) in map_of(object, "labels") {
        if let Some(fault) = qualified_name_fault(key) {
            errors.push(FieldError::invalid(
                "metadata.labels",
                &key.as_str().into(),
                fault,
            ));
        }
        if let Some(fault) = label_value_fault(value.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid("metadata.labels", value, fault));
        }
    }
    let annotations = map_of(object, "annotations");
    let size: usize = annotations
        .iter()
        .map(|(k, v)| k.len() + v.as_str().map_or(0, str::len))
        .sum();
    if size > ANNOTATIONS_LIMIT {
        let limit = ANNOTATIONS_LIMIT as u64;
        errors.push(FieldError::too_long("metadata.annotations", limit));
    }
    for key in annotations.keys() {
        if let Some(fault) = qualified_name_fault(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                &key.as_str().into(),
                fault,
            ));
        }
    }
    errors
}

fn map_of<'a>(object: &'a Value, key: &str) -> &'a Map<String, Value> {
    meta(object)
        .get(key)
        .and_then(Value::as_object)
        .unwrap_or(crate::object::empty())
}

fn check_owners(object: &Value, errors: &mut Vec<FieldError>) {
    let owners = owner_references(object);
    for owner in owners {
        for key in ["apiVersion", "kind", "name", "uid"] {
            if text_at(owner, &[key]).is_empty() {
                let field = if key == "apiVersion" { "version" } else { key };
                let field = format!("metadata.ownerReferences.{field}");
                errors.push(FieldError::invalid(field, &"".into(), "must not be empty"));
            }
        }
    }
    let controllers = owners
        .iter()
        .filter(|o| o.get("controller") == Some(&Value::Bool(true)))
        .count();
    if controllers > 1 {
        let detail = "Only one reference can have Controller set to true";
        errors.push(FieldError::invalid_without_value(
            "metadata.ownerReferences",
            detail,
        ));
    }
}

/// Findings about a change of metadata.
pub fn validate_change(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for key in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let (was, is) = (meta(old).get(key), meta(new).get(key));
        if was != is {
            let detail = "field is immutable";
            errors.push(FieldError::invalid(
                format!("metadata.{key}"),
                &is.cloned().unwrap_or(json!(null)),
                detail,
            ));
        }
    }
    if is_deleting(old) {
        let before = finalizers(old);
        let added: Vec<&str> = finalizers(new)
            .into_iter()
            .filter(|f| !before.contains(f))
            .collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            errors.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
    errors
}

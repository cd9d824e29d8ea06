//! Validation of object metadata.

use serde_json::{Map, Value, json};

use crate::error::FieldError;
use crate::object::{finalizers, is_deleting, meta, meta_str, owner_references, text_at};
use crate::registry::Resource;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
     '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
     start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
     validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
     '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
     used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
     with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn is_word(text: &str, inner: fn(u8) -> bool, edge: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let edges = bytes
        .first()
        .zip(bytes.last())
        .is_some_and(|(a, b)| edge(*a) && edge(*b));
    edges && bytes.iter().all(|b| inner(*b) || edge(*b))
}

fn is_label(text: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    is_word(text, |b| b == b'-', lower)
}

fn is_subdomain(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(is_label)
}

fn is_qualified_part(text: &str) -> bool {
    is_word(
        text,
        |b| matches!(b, b'-' | b'_' | b'.'),
        |b| b.is_ascii_alphanumeric(),
    )
}

/// What is wrong with a qualified name like `example.com/key`; None when nothing is.
fn qualified_name_fault(text: &str) -> Option<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty".into()),
        Some(prefix) if !is_subdomain(prefix) => return Some(format!("prefix part {SUBDOMAIN}")),
        _ => {}
    }
    if name.is_empty() {
        return Some("name part must be non-empty".into());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".into());
    }
    (!is_qualified_part(name)).then(|| NAME_PART.to_owned())
}

fn name_fault(resource: &Resource, name: &str) -> Option<&'static str> {
    let valid = match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => return (!is_label(name) || name.len() > 63).then_some(LABEL),
        ("", "Service") => {
            let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
            return (!is_label(name) || !starts_well || name.len() > 63).then_some(DNS_1035);
        }
        ("rbac.authorization.k8s.io", _) => {
            !name.contains(['/', '%']) && !matches!(name, "." | "..")
        }
        _ => is_subdomain(name) && name.len() <= 253,
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
        let text = value.as_str().unwrap_or_default();
        if text.len() > 63 {
            errors.push(FieldError::invalid(
                "metadata.labels",
                value,
                "must be no more than 63 bytes",
            ));
        } else if !text.is_empty() && !is_qualified_part(text) {
            errors.push(FieldError::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    for key in map_of(object, "annotations").keys() {
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

/// Rules of built-in kinds that people run into.
pub fn validate_builtin(
    resource: &Resource,
    old: Option<&Value>,
    object: &Value,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let immutable = |field: &str, errors: &mut Vec<FieldError>| {
        let path: Vec<&str> = field.split('.').collect();
        let Some(old) = old else { return };
        let (was, is) = (
            crate::object::at(old, &path),
            crate::object::at(object, &path),
        );
        if was.is_some() && was != is {
            let shown = is.cloned().unwrap_or(Value::Null);
            errors.push(FieldError::invalid(field, &shown, "field is immutable"));
        }
    };
    match resource.kind.as_str() {
        "ConfigMap" | "Secret" => {
            let frozen = old.is_some_and(|o| o.get("immutable") == Some(&Value::Bool(true)));
            let changed = |key: &str| old.and_then(|o| o.get(key)) != object.get(key);
            if frozen && (changed("data") || changed("binaryData")) {
                errors.push(FieldError::forbidden(
                    "data",
                    "field is immutable when `immutable` is set",
                ));
            }
            if resource.kind == "Secret" {
                immutable("type", &mut errors);
            }
        }
        "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet" => {
            immutable("spec.selector", &mut errors);
            check_selector(object, &mut errors);
        }
        "Pod" => check_containers(object, "spec", &mut errors),
        "RoleBinding" | "ClusterRoleBinding"
            if old.is_some_and(|o| o.get("roleRef") != object.get("roleRef")) =>
        {
            let detail = "cannot change roleRef";
            errors.push(FieldError::invalid_without_value("roleRef", detail));
        }
        "CustomResourceDefinition" => errors.extend(crate::crd::validate(object)),
        _ => {}
    }
    errors
}

fn check_selector(object: &Value, errors: &mut Vec<FieldError>) {
    let wanted =
        crate::object::at(object, &["spec", "selector", "matchLabels"]).and_then(Value::as_object);
    let labels = crate::object::at(object, &["spec", "template", "metadata", "labels"]);
    let fits = wanted
        .into_iter()
        .flatten()
        .all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v));
    if crate::object::at(object, &["spec", "selector"]).is_none() {
        errors.push(FieldError::required("spec.selector", ""));
    } else if !fits {
        let detail = "`selector` does not match template `labels`";
        let shown = labels.cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            &shown,
            detail,
        ));
    }
    check_containers(object, "spec.template.spec", errors);
}

fn check_containers(object: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let parts: Vec<&str> = path.split('.').chain(["containers"]).collect();
    let containers = crate::object::at(object, &parts).and_then(Value::as_array);
    let field = format!("{path}.containers");
    match containers {
        None => errors.push(FieldError::required(field, "")),
        Some(list) if list.is_empty() => errors.push(FieldError::required(field, "")),
        Some(list) => {
            for (index, container) in list.iter().enumerate() {
                if text_at(container, &["name"]).is_empty() {
                    errors.push(FieldError::required(format!("{field}[{index}].name"), ""));
                }
                if text_at(container, &["image"]).is_empty() && path != "spec" {
                    errors.push(FieldError::required(format!("{field}[{index}].image"), ""));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(is_subdomain("a.b-c.d") && is_subdomain("0"));
        for bad in ["", "A", "a..b", "-a", "a_b", "a."] {
            assert!(!is_subdomain(bad), "{bad}");
        }
        assert_eq!(qualified_name_fault("example.com/Key_1"), None);
        for bad in ["/x", "a b", "X Y/z", "a/", "-x"] {
            assert!(qualified_name_fault(bad).is_some(), "{bad}");
        }
    }
}

//! What is wrong with a CustomResourceDefinition.

use serde_json::{Value, json};

use super::{is_established, version_schema, versions};
use crate::error::FieldError;
use crate::jsonpath::Path;
use crate::names::{DNS_1035, SUBDOMAIN, is_label, is_subdomain};
use crate::object::{at, meta, name, text_at};
use crate::schema::structural;

/// Groups nobody may extend without saying that it was agreed on.
const PROTECTED: [&str; 2] = ["k8s.io", "kubernetes.io"];
/// How that is said.
const APPROVAL: &str = "api-approved.kubernetes.io";

/// Findings about a definition.
pub fn validate(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let group = text_at(object, &["spec", "group"]);
    let plural = text_at(object, &["spec", "names", "plural"]);
    let expected = format!("{plural}.{group}");
    if name(object) != expected {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(
            "metadata.name",
            &name(object).into(),
            detail,
        ));
    }
    check_group(object, group, &mut errors);
    check_scope(object, &mut errors);
    let list = versions(object);
    check_versions(list, &mut errors);
    check_names(object, &mut errors);
    errors.extend(check_schemas(list));
    check_columns(list, &mut errors);
    check_subresources(list, &mut errors);
    if at(object, &["spec", "preserveUnknownFields"]) == Some(&Value::Bool(true)) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                      spec.versions[*].schema instead";
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            &true.into(),
            detail,
        ));
    }
    errors
}

fn check_group(object: &Value, group: &str, errors: &mut Vec<FieldError>) {
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if !is_subdomain(group) {
        errors.push(FieldError::invalid("spec.group", &group.into(), SUBDOMAIN));
    } else if !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        errors.push(FieldError::invalid("spec.group", &group.into(), detail));
    }
    let protected = PROTECTED
        .iter()
        .any(|p| group == *p || group.ends_with(&format!(".{p}")));
    let approval = meta(object)
        .get("annotations")
        .and_then(|a| a.get(APPROVAL));
    if protected && approval.is_none() {
        let detail = format!(
            "protected groups must have approval annotation \"{APPROVAL}\", see \
             https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.push(FieldError::required(
            format!("metadata.annotations[{APPROVAL}]"),
            &detail,
        ));
    }
}

fn check_scope(object: &Value, errors: &mut Vec<FieldError>) {
    match text_at(object, &["spec", "scope"]) {
        "Namespaced" | "Cluster" => {}
        "" => errors.push(FieldError::required("spec.scope", "")),
        scope => {
            let supported = ["\"Cluster\"", "\"Namespaced\""].map(str::to_owned);
            errors.push(FieldError::not_supported(
                "spec.scope",
                &scope.into(),
                &supported,
            ));
        }
    }
}

fn is_dns_1035(text: &str) -> bool {
    is_label(text) && text.len() <= 63 && text.starts_with(|c: char| c.is_ascii_lowercase())
}

fn check_names(object: &Value, errors: &mut Vec<FieldError>) {
    let text = |key: &str| text_at(object, &["spec", "names", key]);
    for key in ["plural", "singular", "kind", "listKind"] {
        let (field, value) = (format!("spec.names.{key}"), text(key));
        let mixed = matches!(key, "kind" | "listKind");
        if value.is_empty() {
            if key != "singular" {
                errors.push(FieldError::required(field, ""));
            }
        } else if mixed && !is_dns_1035(&value.to_lowercase()) {
            let detail = format!("may have mixed case, but should otherwise match: {DNS_1035}");
            errors.push(FieldError::invalid(field, &value.into(), detail));
        } else if !mixed && !is_dns_1035(value) {
            errors.push(FieldError::invalid(field, &value.into(), DNS_1035));
        }
    }
    for key in ["shortNames", "categories"] {
        let list = at(object, &["spec", "names", key]).and_then(Value::as_array);
        for (index, item) in list.into_iter().flatten().enumerate() {
            if !item.as_str().is_some_and(is_dns_1035) {
                let field = format!("spec.names.{key}[{index}]");
                errors.push(FieldError::invalid(field, item, DNS_1035));
            }
        }
    }
    if !text("kind").is_empty() && text("kind") == text("listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(
            "spec.names.listKind",
            &text("listKind").into(),
            detail,
        ));
    }
}

fn check_versions(list: &[Value], errors: &mut Vec<FieldError>) {
    if list.is_empty() {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &json!(list), detail));
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, version) in list.iter().enumerate() {
        let own = text_at(version, &["name"]);
        if !is_dns_1035(own) {
            let field = format!("spec.versions[{index}].name");
            errors.push(FieldError::invalid(field, &own.into(), DNS_1035));
        }
        if seen.contains(&own) {
            let detail = "must contain unique version names";
            errors.push(FieldError::invalid("spec.versions", &json!(list), detail));
        }
        seen.push(own);
    }
    let stored = list
        .iter()
        .filter(|v| v.get("storage") == Some(&Value::Bool(true)))
        .count();
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &json!(list), detail));
    }
}

/// What all versions say alike is reported at the place the original keeps it: beside the versions.
fn shared<'a>(list: &'a [Value], path: &[&str]) -> Option<&'a Value> {
    let first = list.first().and_then(|v| at(v, path))?;
    list.iter()
        .all(|v| at(v, path) == Some(first))
        .then_some(first)
}

fn check_schemas(list: &[Value]) -> Vec<FieldError> {
    if let Some(schema) = shared(list, &["schema", "openAPIV3Schema"]) {
        return structural::check(schema, "spec.validation.openAPIV3Schema");
    }
    let mut errors = Vec::new();
    for (index, version) in list.iter().enumerate() {
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        match version_schema(version) {
            Some(schema) => errors.extend(structural::check(schema, &path)),
            None => errors.push(FieldError::required(path, "schemas are required")),
        }
    }
    errors
}

/// Calls `check` for a part of the versions: once when it is shared, else for each.
fn each(list: &[Value], key: &str, mut check: impl FnMut(&Value, &str)) {
    if let Some(part) = shared(list, &[key]) {
        return check(part, &format!("spec.{key}"));
    }
    for (index, version) in list.iter().enumerate() {
        if let Some(part) = version.get(key) {
            check(part, &format!("spec.versions[{index}].{key}"));
        }
    }
}

fn check_columns(list: &[Value], errors: &mut Vec<FieldError>) {
    each(list, "additionalPrinterColumns", |columns, path| {
        for (index, column) in columns.as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}[{index}]");
            check_column(column, &path, errors);
        }
    });
}

fn check_column(column: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let text = |key: &str| text_at(column, &[key]);
    if text("name").is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let types = ["boolean", "date", "integer", "number", "string"];
    let shown = |list: &[&str]| list.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>();
    if text("type").is_empty() {
        let detail = format!("must be one of {}", types.join(","));
        errors.push(FieldError::required(format!("{path}.type"), &detail));
    } else if !types.contains(&text("type")) {
        errors.push(FieldError::not_supported(
            format!("{path}.type"),
            &text("type").into(),
            &shown(&types),
        ));
    }
    let formats = [
        "byte",
        "date",
        "date-time",
        "double",
        "float",
        "int32",
        "int64",
        "password",
    ];
    if !text("format").is_empty() && !formats.contains(&text("format")) {
        errors.push(FieldError::not_supported(
            format!("{path}.format"),
            &text("format").into(),
            &shown(&formats),
        ));
    }
    let own = text("jsonPath");
    if own.is_empty() {
        errors.push(FieldError::required(format!("{path}.JSONPath"), ""));
    } else if Path::parse(own).is_none() {
        let detail = format!("is an invalid JSON path: {own}");
        errors.push(FieldError::invalid(
            format!("{path}.JSONPath"),
            &own.into(),
            detail,
        ));
    }
}

fn check_subresources(list: &[Value], errors: &mut Vec<FieldError>) {
    each(list, "subresources", |subresources, path| {
        let Some(scale) = subresources.get("scale") else {
            return;
        };
        let paths = [
            (
                "specReplicasPath",
                ".spec.",
                "should be a json path under .spec",
            ),
            (
                "statusReplicasPath",
                ".status.",
                "should be a json path under .status",
            ),
        ];
        for (key, root, detail) in paths {
            let (field, value) = (format!("{path}.scale.{key}"), text_at(scale, &[key]));
            if value.is_empty() {
                errors.push(FieldError::required(field, ""));
            } else if !value.starts_with(root) {
                errors.push(FieldError::invalid(field, &value.into(), detail));
            }
        }
        let selector = text_at(scale, &["labelSelectorPath"]);
        if !selector.is_empty()
            && !selector.starts_with(".spec.")
            && !selector.starts_with(".status.")
        {
            let detail = "should be a json path under either .status or .spec";
            errors.push(FieldError::invalid(
                format!("{path}.scale.labelSelectorPath"),
                &selector.into(),
                detail,
            ));
        }
    });
}

/// Findings about a change of a definition.
pub fn validate_change(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let stored = at(old, &["status", "storedVersions"]).and_then(Value::as_array);
    for (index, version) in stored.into_iter().flatten().enumerate() {
        let kept = versions(new).iter().any(|v| v.get("name") == Some(version));
        if !kept {
            let own = version.as_str().unwrap_or_default();
            let detail = format!(
                "missing from spec.versions; {own} was previously a storage version, and must remain in spec.versions \
                 until a storage migration ensures no data remains persisted in {own} and removes {own} from \
                 status.storedVersions"
            );
            let field = format!("status.storedVersions[{index}]");
            errors.push(FieldError::invalid(field, version, detail));
        }
    }
    if !is_established(old) {
        return errors;
    }
    for path in [
        ["spec", "scope"].as_slice(),
        &["spec", "names", "kind"],
        &["spec", "group"],
        &["spec", "names", "plural"],
    ] {
        if at(old, path) != at(new, path) {
            let value = at(new, path).cloned().unwrap_or_default();
            errors.push(FieldError::invalid(
                path.join("."),
                &value,
                "field is immutable",
            ));
        }
    }
    errors
}

//! Rules of built-in kinds that people run into.

use serde_json::Value;

use crate::error::FieldError;
use crate::names::{LABEL, data_key_fault, is_label};
use crate::object::{at, namespace, text_at};
use crate::registry::Resource;

type Errors = Vec<FieldError>;

/// Findings about an object of a built-in kind.
pub fn check(resource: &Resource, old: Option<&Value>, object: &Value) -> Errors {
    let mut errors = Vec::new();
    match resource.kind.as_str() {
        "ConfigMap" | "Secret" => data(resource, old, object, &mut errors),
        "Service" => service(object, &mut errors),
        "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet" => {
            immutable(old, object, "spec.selector", &mut errors);
            not_negative(object, "spec.replicas", &mut errors);
            check_selector(object, &mut errors);
            only_restarts(object, &mut errors);
        }
        "Pod" => {
            let allowed = ["Always", "OnFailure", "Never"];
            one_of(object, "spec.restartPolicy", &allowed, &mut errors);
            check_containers(object, "spec", &mut errors);
        }
        "Job" => job(object, "spec", &mut errors),
        "CronJob" => {
            check_schedule(object, &mut errors);
            let allowed = ["Allow", "Forbid", "Replace"];
            one_of(object, "spec.concurrencyPolicy", &allowed, &mut errors);
            job(object, "spec.jobTemplate.spec", &mut errors);
        }
        "PersistentVolumeClaim" => claim(object, &mut errors),
        "PodDisruptionBudget" => budget(object, &mut errors),
        "Lease" => lease(object, &mut errors),
        "Event" if resource.group.is_empty() => event(object, &mut errors),
        "Role" | "ClusterRole" => role(resource, object, &mut errors),
        "RoleBinding" | "ClusterRoleBinding" => binding(resource, old, object, &mut errors),
        "CustomResourceDefinition" => {
            errors.extend(crate::crd::validate(object));
            if let Some(old) = old {
                errors.extend(crate::crd::validate_change(old, object));
            }
        }
        _ => {}
    }
    errors
}

fn path_of(field: &str) -> Vec<&str> {
    field.split('.').collect()
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    at(object, &path_of(field))
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn immutable(old: Option<&Value>, object: &Value, field: &str, errors: &mut Errors) {
    let Some(old) = old else { return };
    let path = path_of(field);
    let (was, is) = (at(old, &path), at(object, &path));
    if was.is_some() && was != is {
        let shown = is.cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(field, &shown, "field is immutable"));
    }
}

fn not_negative(object: &Value, field: &str, errors: &mut Errors) {
    if let Some(number) = at(object, &path_of(field)).filter(|n| n.as_i64().is_some_and(|n| n < 0))
    {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(field, number, detail));
    }
}

fn positive(object: &Value, field: &str, errors: &mut Errors) {
    if let Some(number) = at(object, &path_of(field)).filter(|n| n.as_i64().is_some_and(|n| n <= 0))
    {
        errors.push(FieldError::invalid(field, number, "must be greater than 0"));
    }
}

fn one_of(object: &Value, field: &str, allowed: &[&str], errors: &mut Errors) {
    if let Some(value) = at(object, &path_of(field)).filter(|v| v.is_string())
        && !allowed.iter().any(|a| value == a)
    {
        let mut allowed: Vec<String> = allowed.iter().map(|a| format!("{a:?}")).collect();
        allowed.sort();
        errors.push(FieldError::not_supported(field, value, &allowed));
    }
}

fn data(resource: &Resource, old: Option<&Value>, object: &Value, errors: &mut Errors) {
    let frozen = old.is_some_and(|o| o.get("immutable") == Some(&Value::Bool(true)));
    let changed = |key: &str| old.and_then(|o| o.get(key)) != object.get(key);
    if frozen && changed("immutable") {
        let detail = "field is immutable when `immutable` is set";
        errors.push(FieldError::forbidden("immutable", detail));
    }
    for field in ["data", "binaryData"] {
        if frozen && changed(field) {
            let detail = "field is immutable when `immutable` is set";
            errors.push(FieldError::forbidden(field, detail));
        }
        for key in object
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|m| m.keys())
        {
            if let Some(fault) = data_key_fault(key) {
                let field = format!("{field}[{key}]");
                errors.push(FieldError::invalid(field, &key.as_str().into(), fault));
            }
        }
    }
    if resource.kind != "Secret" {
        return;
    }
    immutable(old, object, "type", errors);
    let needed: &[&str] = match text_at(object, &["type"]) {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in needed {
        if at(object, &["data", key]).is_none() {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
}

fn service(object: &Value, errors: &mut Errors) {
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    one_of(object, "spec.type", &types, errors);
    let ports = list(object, "spec.ports");
    let kind = text_at(object, &["spec", "type"]);
    let headless = text_at(object, &["spec", "clusterIP"]) == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let mut names: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let own = text_at(port, &["name"]);
        if own.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        } else if !own.is_empty() && !is_label(own) {
            let field = format!("{field}.name");
            errors.push(FieldError::invalid(field, &own.into(), LABEL));
        } else if !own.is_empty() && names.contains(&own) {
            errors.push(FieldError::duplicate(format!("{field}.name"), &own.into()));
        }
        names.push(own);
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65535).contains(&number) {
            let detail = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(
                format!("{field}.port"),
                &number.into(),
                detail,
            ));
        }
        let protocol = text_at(port, &["protocol"]);
        if !matches!(protocol, "" | "TCP" | "UDP" | "SCTP") {
            let allowed = ["\"SCTP\"", "\"TCP\"", "\"UDP\""].map(str::to_owned);
            errors.push(FieldError::not_supported(
                format!("{field}.protocol"),
                &protocol.into(),
                &allowed,
            ));
        }
    }
}

/// Pods of long-running workloads are always restarted.
fn only_restarts(object: &Value, errors: &mut Errors) {
    one_of(
        object,
        "spec.template.spec.restartPolicy",
        &["Always"],
        errors,
    );
}

/// Pods of jobs are not.
fn job(object: &Value, place: &str, errors: &mut Errors) {
    for field in ["parallelism", "completions", "backoffLimit"] {
        not_negative(object, &format!("{place}.{field}"), errors);
    }
    let field = format!("{place}.template.spec.restartPolicy");
    let policy = text_at(object, &path_of(&field));
    if !matches!(policy, "OnFailure" | "Never") {
        let detail = "valid values: \"OnFailure\", \"Never\"";
        errors.push(FieldError::required(field, detail));
    }
    check_containers(object, &format!("{place}.template.spec"), errors);
}

fn check_schedule(object: &Value, errors: &mut Errors) {
    let schedule = text_at(object, &["spec", "schedule"]);
    if schedule.is_empty() {
        return errors.push(FieldError::required("spec.schedule", ""));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if !schedule.starts_with('@') && fields.len() != 5 {
        let detail = format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        );
        errors.push(FieldError::invalid(
            "spec.schedule",
            &schedule.into(),
            detail,
        ));
    }
}

fn claim(object: &Value, errors: &mut Errors) {
    if list(object, "spec.accessModes").is_empty() {
        let detail = "at least 1 access mode is required";
        errors.push(FieldError::required("spec.accessModes", detail));
    }
    if at(object, &["spec", "resources", "requests", "storage"]).is_none() {
        errors.push(FieldError::required("spec.resources[storage]", ""));
    }
}

fn budget(object: &Value, errors: &mut Errors) {
    let has = |key: &str| at(object, &["spec", key]).is_some();
    if has("minAvailable") && has("maxUnavailable") {
        let shown = object.get("spec").cloned().unwrap_or_default();
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", &shown, detail));
    }
}

fn lease(object: &Value, errors: &mut Errors) {
    positive(object, "spec.leaseDurationSeconds", errors);
    not_negative(object, "spec.leaseTransitions", errors);
}

/// An event lives where the object it is about lives.
fn event(object: &Value, errors: &mut Errors) {
    let about = text_at(object, &["involvedObject", "namespace"]);
    let fits = match about {
        "" => matches!(namespace(object), "" | "default" | "kube-system"),
        about => about == namespace(object),
    };
    if !fits {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid(
            "involvedObject.namespace",
            &about.into(),
            detail,
        ));
    }
}

fn role(resource: &Resource, object: &Value, errors: &mut Errors) {
    for (index, rule) in list(object, "rules").iter().enumerate() {
        let field = format!("rules[{index}]");
        if list(rule, "verbs").is_empty() {
            let detail = "verbs must contain at least one value";
            errors.push(FieldError::required(format!("{field}.verbs"), detail));
        }
        let paths = list(rule, "nonResourceURLs");
        if !paths.is_empty() {
            if resource.namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(
                    format!("{field}.nonResourceURLs"),
                    &paths.into(),
                    detail,
                ));
            }
            continue;
        }
        if list(rule, "apiGroups").is_empty() {
            let detail = "resource rules must supply at least one api group";
            errors.push(FieldError::required(format!("{field}.apiGroups"), detail));
        }
        if list(rule, "resources").is_empty() {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(format!("{field}.resources"), detail));
        }
    }
}

fn binding(resource: &Resource, old: Option<&Value>, object: &Value, errors: &mut Errors) {
    if let Some(old) = old
        && old.get("roleRef") != object.get("roleRef")
    {
        let shown = object.get("roleRef").cloned().unwrap_or_default();
        errors.push(FieldError::invalid(
            "roleRef",
            &shown,
            "cannot change roleRef",
        ));
    }
    let kinds: &[&str] = match resource.namespaced {
        true => &["Role", "ClusterRole"],
        false => &["ClusterRole"],
    };
    let group = text_at(object, &["roleRef", "apiGroup"]);
    if group != "rbac.authorization.k8s.io" {
        let allowed = ["\"rbac.authorization.k8s.io\"".to_owned()];
        errors.push(FieldError::not_supported(
            "roleRef.apiGroup",
            &group.into(),
            &allowed,
        ));
    }
    let kind = text_at(object, &["roleRef", "kind"]);
    if !kinds.contains(&kind) {
        let allowed: Vec<String> = kinds.iter().map(|k| format!("{k:?}")).collect();
        errors.push(FieldError::not_supported(
            "roleRef.kind",
            &kind.into(),
            &allowed,
        ));
    }
    if text_at(object, &["roleRef", "name"]).is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    }
    for (index, subject) in list(object, "subjects").iter().enumerate() {
        check_subject(resource, subject, &format!("subjects[{index}]"), errors);
    }
}

fn check_subject(resource: &Resource, subject: &Value, field: &str, errors: &mut Errors) {
    let text = |key: &str| text_at(subject, &[key]);
    if text("name").is_empty() {
        errors.push(FieldError::required(format!("{field}.name"), ""));
    }
    match text("kind") {
        "ServiceAccount" => {
            if text("namespace").is_empty() && !resource.namespaced {
                errors.push(FieldError::required(format!("{field}.namespace"), ""));
            }
            if !text("apiGroup").is_empty() {
                let allowed = ["\"\"".to_owned()];
                errors.push(FieldError::not_supported(
                    format!("{field}.apiGroup"),
                    &text("apiGroup").into(),
                    &allowed,
                ));
            }
        }
        "User" | "Group" => {}
        other => {
            let allowed = ["\"ServiceAccount\"", "\"User\"", "\"Group\""].map(str::to_owned);
            errors.push(FieldError::not_supported(
                format!("{field}.kind"),
                &other.into(),
                &allowed,
            ));
        }
    }
}

fn check_selector(object: &Value, errors: &mut Vec<FieldError>) {
    let wanted = at(object, &["spec", "selector", "matchLabels"]).and_then(Value::as_object);
    let labels = at(object, &["spec", "template", "metadata", "labels"]);
    let fits = wanted
        .into_iter()
        .flatten()
        .all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v));
    if at(object, &["spec", "selector"]).is_none() {
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
    let containers = at(object, &parts).and_then(Value::as_array);
    let field = format!("{path}.containers");
    match containers {
        None => errors.push(FieldError::required(field, "")),
        Some(list) if list.is_empty() => errors.push(FieldError::required(field, "")),
        Some(list) => {
            let mut names: Vec<&str> = Vec::new();
            for (index, container) in list.iter().enumerate() {
                let own = text_at(container, &["name"]);
                let place = format!("{field}[{index}].name");
                if own.is_empty() {
                    errors.push(FieldError::required(place, ""));
                } else if !is_label(own) {
                    errors.push(FieldError::invalid(place, &own.into(), LABEL));
                } else if names.contains(&own) {
                    errors.push(FieldError::duplicate(place, &own.into()));
                }
                names.push(own);
                if text_at(container, &["image"]).is_empty() && path != "spec" {
                    errors.push(FieldError::required(format!("{field}[{index}].image"), ""));
                }
            }
        }
    }
}

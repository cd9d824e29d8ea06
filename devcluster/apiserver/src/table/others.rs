//! Columns of kinds that are looked at less often.

use serde_json::Value;

use super::columns::Column;
use super::workloads::plain;
use crate::object::{at, text_at};

fn items<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn or_word(text: &str, word: &str) -> Value {
    if text.is_empty() { word } else { text }.into()
}

fn count_at(object: &Value, path: &[&str]) -> Value {
    items(object, path).len().into()
}

fn number_at(object: &Value, path: &[&str]) -> Value {
    at(object, path).and_then(Value::as_i64).unwrap_or(0).into()
}

fn text_column(name: &str, cell: super::columns::Cell) -> Column {
    Column::new(name, cell)
}

fn pairs(value: Option<&Value>) -> Value {
    let map = value.and_then(Value::as_object);
    let pairs: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", plain(v)))
        .collect();
    or_word(&pairs.join(","), "<none>")
}

/// Access modes in their short form.
fn access_modes(object: &Value) -> Value {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "",
    };
    let list: Vec<&str> = items(object, &["spec", "accessModes"])
        .iter()
        .map(short)
        .collect();
    list.join(",").into()
}

fn hosts(object: &Value) -> Value {
    let list: Vec<&str> = items(object, &["spec", "rules"])
        .iter()
        .map(|r| text_at(r, &["host"]))
        .filter(|h| !h.is_empty())
        .collect();
    let shown = list.iter().take(3).copied().collect::<Vec<_>>().join(",");
    match list.len() {
        0 => "*".into(),
        1..=3 => shown.into(),
        more => format!("{shown} + {} more...", more - 3).into(),
    }
}

fn addresses(object: &Value) -> Value {
    let list: Vec<&str> = items(object, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|i| match text_at(i, &["ip"]) {
            "" => text_at(i, &["hostname"]),
            ip => ip,
        })
        .collect();
    list.join(",").into()
}

/// Used and allowed amounts of a quota, requests or limits.
fn quota(object: &Value, limits: bool) -> Value {
    let hard = at(object, &["status", "hard"])
        .or_else(|| at(object, &["spec", "hard"]))
        .and_then(Value::as_object);
    let used = |key: &str| match at(object, &["status", "used", key]) {
        Some(value) => plain(value),
        None => "0".to_owned(),
    };
    let parts: Vec<String> = hard
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("limits") == limits)
        .map(|(key, value)| format!("{key}: {}/{}", used(key), plain(value)))
        .collect();
    parts.join(", ").into()
}

fn claim_of(object: &Value) -> Value {
    match at(object, &["spec", "claimRef"]) {
        Some(claim) => format!(
            "{}/{}",
            text_at(claim, &["namespace"]),
            text_at(claim, &["name"])
        )
        .into(),
        None => "".into(),
    }
}

fn kind_and_name(object: &Value, path: &[&str]) -> Value {
    match at(object, path) {
        Some(target) => {
            let kind = text_at(target, &["kind"]);
            format!("{kind}/{}", text_at(target, &["name"])).into()
        }
        None => "<none>".into(),
    }
}

/// Columns between name and age.
pub(super) fn before_age(group: &str, kind: &str) -> Vec<Column> {
    match (group, kind) {
        ("networking.k8s.io", "Ingress") => vec![
            text_column("Class", |o, _| {
                or_word(text_at(o, &["spec", "ingressClassName"]), "<none>")
            }),
            text_column("Hosts", |o, _| hosts(o)),
            text_column("Address", |o, _| addresses(o)),
            text_column("Ports", |o, _| {
                let tls = !items(o, &["spec", "tls"]).is_empty();
                if tls { "80, 443" } else { "80" }.into()
            }),
        ],
        ("networking.k8s.io", "IngressClass") => vec![
            text_column("Controller", |o, _| {
                text_at(o, &["spec", "controller"]).into()
            }),
            text_column("Parameters", |o, _| {
                kind_and_name(o, &["spec", "parameters"])
            }),
        ],
        ("networking.k8s.io", "NetworkPolicy") => vec![text_column("Pod-Selector", |o, _| {
            pairs(at(o, &["spec", "podSelector", "matchLabels"]))
        })],
        ("storage.k8s.io", "StorageClass") => vec![
            text_column("Provisioner", |o, _| text_at(o, &["provisioner"]).into()),
            text_column("ReclaimPolicy", |o, _| {
                or_word(text_at(o, &["reclaimPolicy"]), "Delete")
            }),
            text_column("VolumeBindingMode", |o, _| {
                or_word(text_at(o, &["volumeBindingMode"]), "<unset>")
            }),
            text_column("AllowVolumeExpansion", |o, _| {
                let allowed = o.get("allowVolumeExpansion") == Some(&Value::Bool(true));
                if allowed { "true" } else { "false" }.into()
            }),
        ],
        ("scheduling.k8s.io", _) => vec![
            text_column("Value", |o, _| number_at(o, &["value"])).of_type("integer"),
            text_column("Global-Default", |o, _| {
                (o.get("globalDefault") == Some(&Value::Bool(true))).into()
            })
            .of_type("boolean"),
        ],
        ("node.k8s.io", _) => {
            vec![text_column("Handler", |o, _| {
                text_at(o, &["handler"]).into()
            })]
        }
        ("autoscaling", _) => autoscaler(),
        ("admissionregistration.k8s.io", kind) => admission(kind),
        ("", "PersistentVolume") => volume(),
        ("", "ResourceQuota") => vec![
            text_column("Request", |o, _| quota(o, false)),
            text_column("Limit", |o, _| quota(o, true)),
        ],
        ("", "ReplicationController") => vec![
            text_column("Desired", |o, _| number_at(o, &["spec", "replicas"])).of_type("integer"),
            text_column("Current", |o, _| number_at(o, &["status", "replicas"])).of_type("integer"),
            text_column("Ready", |o, _| number_at(o, &["status", "readyReplicas"]))
                .of_type("integer"),
        ],
        _ => Vec::new(),
    }
}

fn autoscaler() -> Vec<Column> {
    vec![
        text_column("Reference", |o, _| {
            kind_and_name(o, &["spec", "scaleTargetRef"])
        }),
        text_column("Targets", |o, _| {
            let metrics = items(o, &["spec", "metrics"]);
            let shown: Vec<String> = metrics.iter().map(target).collect();
            or_word(&shown.join(", "), "<none>")
        }),
        text_column("MinPods", |o, _| match at(o, &["spec", "minReplicas"]) {
            Some(number) => number.to_string().into(),
            None => "<unset>".into(),
        }),
        text_column("MaxPods", |o, _| number_at(o, &["spec", "maxReplicas"])).of_type("integer"),
        text_column("Replicas", |o, _| {
            number_at(o, &["status", "currentReplicas"])
        })
        .of_type("integer"),
    ]
}

fn target(metric: &Value) -> String {
    let name = text_at(metric, &["resource", "name"]);
    match at(metric, &["resource", "target", "averageUtilization"]) {
        Some(percent) => format!("{name}: <unknown>/{percent}%"),
        None => {
            let average = at(metric, &["resource", "target", "averageValue"]);
            let average = average.map(plain).unwrap_or_default();
            format!("{name}: <unknown>/{average}")
        }
    }
}

fn admission(kind: &str) -> Vec<Column> {
    match kind {
        "ValidatingAdmissionPolicy" => vec![
            text_column("Validations", |o, _| count_at(o, &["spec", "validations"]))
                .of_type("integer"),
            text_column("ParamKind", |o, _| match at(o, &["spec", "paramKind"]) {
                Some(kind) => format!(
                    "{}/{}",
                    text_at(kind, &["apiVersion"]),
                    text_at(kind, &["kind"])
                )
                .into(),
                None => "<unset>".into(),
            }),
        ],
        "ValidatingAdmissionPolicyBinding" => vec![
            text_column("PolicyName", |o, _| {
                text_at(o, &["spec", "policyName"]).into()
            }),
            text_column("ParamRef", |o, _| match at(o, &["spec", "paramRef"]) {
                Some(of) => or_word(text_at(of, &["name"]), "<unset>"),
                None => "<unset>".into(),
            }),
        ],
        _ => {
            vec![text_column("Webhooks", |o, _| count_at(o, &["webhooks"])).of_type("integer")]
        }
    }
}

fn volume() -> Vec<Column> {
    vec![
        text_column("Capacity", |o, _| {
            at(o, &["spec", "capacity", "storage"])
                .map(plain)
                .unwrap_or_default()
                .into()
        }),
        text_column("Access Modes", |o, _| access_modes(o)),
        text_column("Reclaim Policy", |o, _| {
            text_at(o, &["spec", "persistentVolumeReclaimPolicy"]).into()
        }),
        text_column("Status", |o, _| text_at(o, &["status", "phase"]).into()),
        text_column("Claim", |o, _| claim_of(o)),
        text_column("StorageClass", |o, _| {
            text_at(o, &["spec", "storageClassName"]).into()
        }),
        text_column("VolumeAttributesClass", |o, _| {
            or_word(
                text_at(o, &["spec", "volumeAttributesClassName"]),
                "<unset>",
            )
        }),
        text_column("Reason", |o, _| text_at(o, &["status", "reason"]).into()),
    ]
}

/// Columns after age.
pub(super) fn after_age(group: &str, kind: &str) -> Vec<Column> {
    match (group, kind) {
        ("scheduling.k8s.io", _) => vec![text_column("PreemptionPolicy", |o, _| {
            or_word(text_at(o, &["preemptionPolicy"]), "PreemptLowerPriority")
        })],
        ("", "PersistentVolume") => vec![
            text_column("VolumeMode", |o, _| {
                or_word(text_at(o, &["spec", "volumeMode"]), "<unset>")
            })
            .wide(),
        ],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns;
    use serde_json::{Value, json};

    fn cells(group: &str, kind: &str, object: &Value) -> Vec<Value> {
        let now = jiff::Timestamp::UNIX_EPOCH;
        columns::builtin(group, kind)
            .iter()
            .map(|c| c.cell(object, now))
            .collect()
    }

    #[test]
    fn rarer_kinds_have_their_columns() {
        let created = "1970-01-01T00:00:00Z";
        let meta = json!({"name": "n", "creationTimestamp": created});
        let ingress = json!({"metadata": meta, "spec": {"rules": [{"host": "a"}], "tls": [{}]}});
        assert_eq!(
            cells("networking.k8s.io", "Ingress", &ingress),
            ["n", "<none>", "a", "", "80, 443", "0s"]
        );
        let class = json!({"metadata": meta, "value": 7});
        assert_eq!(
            cells("scheduling.k8s.io", "PriorityClass", &class),
            [
                json!("n"),
                json!(7),
                json!(false),
                json!("0s"),
                json!("PreemptLowerPriority")
            ]
        );
        let quota = json!({"metadata": meta, "spec": {"hard": {"pods": "3", "limits.cpu": "1"}}});
        assert_eq!(
            cells("", "ResourceQuota", &quota),
            ["n", "pods: 0/3", "limits.cpu: 0/1", "0s"]
        );
    }
}

//! Columns of nodes, pods, services and workloads.

use serde_json::Value;

use super::age;
use super::columns::Column;
use crate::object::{at, meta, text_at};

const NODE_STATUS: &str = "io.k8s.api.core.v1.NodeStatus";
const NODE_INFO: &str = "io.k8s.api.core.v1.NodeSystemInfo";

/// A value as text without quotes.
pub(super) fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn items<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn integer_at(object: &Value, path: &[&str]) -> i64 {
    at(object, path).and_then(Value::as_i64).unwrap_or(0)
}

fn or_none(text: impl Into<String>) -> Value {
    let text = text.into();
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

fn or_unknown(text: &str) -> Value {
    if text.is_empty() {
        "<unknown>".into()
    } else {
        text.into()
    }
}

fn status_count(name: &str, cell: super::columns::Cell) -> Column {
    Column::new(name, cell).of_type("integer")
}

/// Columns between name and age.
pub(super) fn before_age(kind: &str) -> Vec<Column> {
    match kind {
        "Pod" => pod(),
        "Node" => vec![
            Column::new("Status", |o, _| node_status(o).into()).about("The status of the node"),
            Column::new("Roles", |o, _| or_none(node_roles(o))).about("The roles of the node"),
        ],
        "Service" => service(),
        "Endpoints" => vec![Column::new("Endpoints", |o, _| or_none(endpoint_list(o)))],
        "PersistentVolumeClaim" => claim(),
        "Deployment" => vec![
            Column::new("Ready", |o, _| ready_of(o, "readyReplicas")),
            status_count("Up-to-date", |o, _| {
                integer_at(o, &["status", "updatedReplicas"]).into()
            }),
            status_count("Available", |o, _| {
                integer_at(o, &["status", "availableReplicas"]).into()
            }),
        ],
        "ReplicaSet" => vec![
            status_count("Desired", |o, _| {
                integer_at(o, &["spec", "replicas"]).into()
            }),
            status_count("Current", |o, _| {
                integer_at(o, &["status", "replicas"]).into()
            }),
            status_count("Ready", |o, _| {
                integer_at(o, &["status", "readyReplicas"]).into()
            }),
        ],
        "DaemonSet" => daemon_set(),
        "StatefulSet" => vec![Column::new("Ready", |o, _| ready_of(o, "readyReplicas"))],
        "Job" => job(),
        "ControllerRevision" => vec![
            Column::new("Controller", |o, _| {
                let owner = crate::object::owner_references(o).first();
                let text = owner.map(|r| {
                    format!(
                        "{}/{}",
                        text_at(r, &["kind"]).to_lowercase(),
                        text_at(r, &["name"])
                    )
                });
                or_none(text.unwrap_or_default())
            }),
            Column::new("Revision", |o, _| integer_at(o, &["revision"]).into()),
        ],
        _ => Vec::new(),
    }
}

/// Columns after age: mostly those of `-o wide`.
pub(super) fn after_age(kind: &str) -> Vec<Column> {
    let template = || {
        vec![
            Column::new("Containers", |o, _| containers(o, "name")).wide(),
            Column::new("Images", |o, _| containers(o, "image")).wide(),
        ]
    };
    match kind {
        "Node" => node_details(),
        "Pod" => vec![
            Column::new("IP", |o, _| or_none(text_at(o, &["status", "podIP"]))).wide(),
            Column::new("Node", |o, _| or_none(text_at(o, &["spec", "nodeName"]))).wide(),
            Column::new("Nominated Node", |o, _| {
                or_none(text_at(o, &["status", "nominatedNodeName"]))
            })
            .wide(),
            Column::new("Readiness Gates", |_, _| "<none>".into()).wide(),
        ],
        "Service" => {
            vec![
                Column::new("Selector", |o, _| {
                    or_none(key_values(at(o, &["spec", "selector"])))
                })
                .wide(),
            ]
        }
        "PersistentVolumeClaim" => {
            vec![
                Column::new("VolumeMode", |o, _| {
                    text_at(o, &["spec", "volumeMode"]).into()
                })
                .about_field("io.k8s.api.core.v1.PersistentVolumeClaimSpec", "volumeMode")
                .wide(),
            ]
        }
        "StatefulSet" => template(),
        "Deployment" | "ReplicaSet" | "DaemonSet" | "Job" => {
            let mut columns = template();
            let selector =
                |o: &Value, _| or_none(key_values(at(o, &["spec", "selector", "matchLabels"])));
            columns.push(Column::new("Selector", selector).wide());
            columns
        }
        _ => Vec::new(),
    }
}

fn node_status(node: &Value) -> String {
    let conditions = items(node, &["status", "conditions"]);
    let ready = conditions.iter().find(|c| text_at(c, &["type"]) == "Ready");
    let word = match ready.map(|c| text_at(c, &["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    match at(node, &["spec", "unschedulable"]) {
        Some(Value::Bool(true)) => format!("{word},SchedulingDisabled"),
        _ => word.to_owned(),
    }
}

fn node_roles(node: &Value) -> String {
    let labels = meta(node).get("labels").and_then(Value::as_object);
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in labels.into_iter().flatten() {
        if let Some(role) = key
            .strip_prefix("node-role.kubernetes.io/")
            .filter(|r| !r.is_empty())
        {
            roles.push(role);
        } else if key == "kubernetes.io/role" {
            roles.extend(value.as_str().filter(|v| !v.is_empty()));
        }
    }
    roles.sort_unstable();
    roles.dedup();
    roles.join(",")
}

fn node_address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let list = items(node, &["status", "addresses"]);
    list.iter()
        .find(|a| text_at(a, &["type"]) == kind)
        .map(|a| text_at(a, &["address"]))
        .unwrap_or_default()
}

fn node_info<'a>(node: &'a Value, key: &str) -> &'a str {
    text_at(node, &["status", "nodeInfo", key])
}

fn node_details() -> Vec<Column> {
    let address = |name: &str, cell| {
        Column::new(name, cell)
            .about_field(NODE_STATUS, "addresses")
            .wide()
    };
    let info =
        |name: &str, field: &str, cell| Column::new(name, cell).about_field(NODE_INFO, field);
    vec![
        info("Version", "kubeletVersion", |o, _| {
            node_info(o, "kubeletVersion").into()
        }),
        address("Internal-IP", |o, _| or_none(node_address(o, "InternalIP"))),
        address("External-IP", |o, _| or_none(node_address(o, "ExternalIP"))),
        info("OS-Image", "osImage", |o, _| {
            or_unknown(node_info(o, "osImage"))
        })
        .wide(),
        info("Kernel-Version", "kernelVersion", |o, _| {
            or_unknown(node_info(o, "kernelVersion"))
        })
        .wide(),
        info("Container-Runtime", "containerRuntimeVersion", |o, _| {
            or_unknown(node_info(o, "containerRuntimeVersion"))
        })
        .wide(),
    ]
}

fn pod_status(pod: &Value) -> String {
    let mut word = text_at(pod, &["status", "phase"]);
    let reason = text_at(pod, &["status", "reason"]);
    if !reason.is_empty() {
        word = reason;
    }
    for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
        for state in ["waiting", "terminated"] {
            let reason = text_at(status, &["state", state, "reason"]);
            if !reason.is_empty() {
                word = reason;
            }
        }
    }
    if crate::object::is_deleting(pod) {
        "Terminating".to_owned()
    } else {
        word.to_owned()
    }
}

fn pod() -> Vec<Column> {
    vec![
        Column::new("Ready", |o, _| {
            let statuses = items(o, &["status", "containerStatuses"]);
            let ready = statuses
                .iter()
                .filter(|s| s.get("ready") == Some(&Value::Bool(true)))
                .count();
            format!("{ready}/{}", items(o, &["spec", "containers"]).len()).into()
        }),
        Column::new("Status", |o, _| pod_status(o).into()),
        Column::new("Restarts", |o, _| {
            let statuses = items(o, &["status", "containerStatuses"]);
            statuses
                .iter()
                .map(|s| integer_at(s, &["restartCount"]))
                .sum::<i64>()
                .to_string()
                .into()
        }),
    ]
}

fn service_ports(service: &Value) -> String {
    let text = |port: &Value| {
        let number = integer_at(port, &["port"]);
        let protocol = text_at(port, &["protocol"]);
        match integer_at(port, &["nodePort"]) {
            0 => format!("{number}/{protocol}"),
            node => format!("{number}:{node}/{protocol}"),
        }
    };
    items(service, &["spec", "ports"])
        .iter()
        .map(text)
        .collect::<Vec<_>>()
        .join(",")
}

fn key_values(value: Option<&Value>) -> String {
    let map = value.and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", plain(v)))
        .collect::<Vec<_>>()
        .join(",")
}

fn service() -> Vec<Column> {
    vec![
        Column::new("Type", |o, _| text_at(o, &["spec", "type"]).into())
            .about_field("io.k8s.api.core.v1.ServiceSpec", "type"),
        Column::new("Cluster-IP", |o, _| {
            or_none(text_at(o, &["spec", "clusterIP"]))
        })
        .about_field("io.k8s.api.core.v1.ServiceSpec", "clusterIP"),
        Column::new("External-IP", |o, _| {
            let list: Vec<&str> = items(o, &["spec", "externalIPs"])
                .iter()
                .filter_map(Value::as_str)
                .collect();
            or_none(list.join(","))
        })
        .about_field("io.k8s.api.core.v1.ServiceSpec", "externalIPs"),
        Column::new("Port(s)", |o, _| or_none(service_ports(o)))
            .about_field("io.k8s.api.core.v1.ServiceSpec", "ports"),
    ]
}

fn endpoint_list(endpoints: &Value) -> String {
    let mut out = Vec::new();
    for subset in items(endpoints, &["subsets"]) {
        for address in items(subset, &["addresses"]) {
            let ip = text_at(address, &["ip"]);
            let ports = items(subset, &["ports"]);
            out.extend(
                ports
                    .iter()
                    .map(|p| format!("{ip}:{}", integer_at(p, &["port"]))),
            );
            if ports.is_empty() {
                out.push(ip.to_owned());
            }
        }
    }
    out.join(",")
}

fn claim() -> Vec<Column> {
    vec![
        Column::new("Status", |o, _| text_at(o, &["status", "phase"]).into())
            .about_field("io.k8s.api.core.v1.PersistentVolumeClaimStatus", "phase"),
        Column::new("Volume", |o, _| text_at(o, &["spec", "volumeName"]).into())
            .about_field("io.k8s.api.core.v1.PersistentVolumeClaimSpec", "volumeName"),
        Column::new("Capacity", |o, _| {
            text_at(o, &["status", "capacity", "storage"]).into()
        })
        .about_field("io.k8s.api.core.v1.PersistentVolumeClaimStatus", "capacity"),
        Column::new("Access Modes", |o, _| {
            let short = |mode: &str| match mode {
                "ReadWriteOnce" => "RWO",
                "ReadOnlyMany" => "ROX",
                "ReadWriteMany" => "RWX",
                _ => "RWOP",
            };
            let modes = items(o, &["status", "accessModes"])
                .iter()
                .filter_map(Value::as_str);
            modes.map(short).collect::<Vec<_>>().join(",").into()
        })
        .about_field(
            "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
            "accessModes",
        ),
        Column::new("StorageClass", |o, _| {
            text_at(o, &["spec", "storageClassName"]).into()
        })
        .about_field(
            "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
            "storageClassName",
        ),
    ]
}

fn containers(object: &Value, field: &str) -> Value {
    let list = items(object, &["spec", "template", "spec", "containers"]);
    list.iter()
        .map(|c| text_at(c, &[field]))
        .collect::<Vec<_>>()
        .join(",")
        .into()
}

fn ready_of(object: &Value, field: &str) -> Value {
    format!(
        "{}/{}",
        integer_at(object, &["status", field]),
        integer_at(object, &["spec", "replicas"])
    )
    .into()
}

fn daemon_set() -> Vec<Column> {
    vec![
        status_count("Desired", |o, _| {
            integer_at(o, &["status", "desiredNumberScheduled"]).into()
        }),
        status_count("Current", |o, _| {
            integer_at(o, &["status", "currentNumberScheduled"]).into()
        }),
        status_count("Ready", |o, _| {
            integer_at(o, &["status", "numberReady"]).into()
        }),
        status_count("Up-to-date", |o, _| {
            integer_at(o, &["status", "updatedNumberScheduled"]).into()
        }),
        status_count("Available", |o, _| {
            integer_at(o, &["status", "numberAvailable"]).into()
        }),
        Column::new("Node Selector", |o, _| {
            or_none(key_values(at(
                o,
                &["spec", "template", "spec", "nodeSelector"],
            )))
        }),
    ]
}

fn job() -> Vec<Column> {
    vec![
        Column::new("Status", |o, _| {
            let conditions = items(o, &["status", "conditions"]);
            let holds = |kind: &str| {
                conditions
                    .iter()
                    .any(|c| text_at(c, &["type"]) == kind && text_at(c, &["status"]) == "True")
            };
            let word = ["Complete", "Failed", "Suspended"]
                .into_iter()
                .find(|kind| holds(kind));
            word.unwrap_or("Running").into()
        }),
        Column::new("Completions", |o, _| {
            let wanted = integer_at(o, &["spec", "completions"]);
            format!("{}/{wanted}", integer_at(o, &["status", "succeeded"])).into()
        }),
        Column::new("Duration", |o, now| {
            match text_at(o, &["status", "startTime"]).parse::<jiff::Timestamp>() {
                Ok(start) => {
                    let end = text_at(o, &["status", "completionTime"])
                        .parse::<jiff::Timestamp>()
                        .unwrap_or(now);
                    age::human(end.as_second() - start.as_second()).into()
                }
                Err(_) => "".into(),
            }
        }),
    ]
}

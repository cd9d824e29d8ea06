//! Columns of tables.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, others, workloads};
use crate::builtin::definitions::definition;
use crate::jsonpath::Path;
use crate::object::{at, meta, text_at};
use crate::schema::types::OBJECT_META;

/// Computes a cell from the object and the present time.
pub type Cell = fn(&Value, Timestamp) -> Value;

#[derive(Debug, Clone)]
enum Source {
    Computed(Cell),
    Path(Option<Path>),
}

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
    source: Source,
}

impl Column {
    /// A column of text.
    pub fn new(name: &str, cell: Cell) -> Self {
        Self {
            name: name.to_owned(),
            kind: "string".to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            source: Source::Computed(cell),
        }
    }

    /// With a description.
    pub fn about(self, description: &str) -> Self {
        Self {
            description: description.to_owned(),
            ..self
        }
    }

    /// With the description of a schema field.
    pub fn about_field(self, owner: &str, field: &str) -> Self {
        let node = definition(owner).and_then(|d| at(d, &["properties", field]));
        let description = node
            .map(|n| text_at(n, &["description"]))
            .unwrap_or_default();
        self.about(description)
    }

    /// Shown only with `-o wide`.
    pub fn wide(self) -> Self {
        Self {
            priority: 1,
            ..self
        }
    }

    /// Holding values of another type than text.
    pub fn of_type(self, kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            ..self
        }
    }

    /// The column as a table announces it.
    pub fn definition(&self) -> Value {
        json!({"name": self.name, "type": self.kind, "format": self.format, "description": self.description,
            "priority": self.priority})
    }

    /// The cell of an object.
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        match &self.source {
            Source::Computed(cell) => cell(object, now),
            Source::Path(path) => {
                let found = path
                    .as_ref()
                    .and_then(|p| p.find(object).first().copied())
                    .filter(|v| !v.is_null());
                found.map_or(Value::Null, |value| self.convert(value, now))
            }
        }
    }

    fn convert(&self, value: &Value, now: Timestamp) -> Value {
        match (self.kind.as_str(), value) {
            ("string", Value::String(_)) => value.clone(),
            ("string", other) => other.to_string().into(),
            ("date", value) => age::since(Some(value), now).into(),
            ("integer" | "number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            _ => Value::Null,
        }
    }
}

fn name_column() -> Column {
    let column = Column::new("Name", |object, _| crate::object::name(object).into());
    Column {
        format: "name".into(),
        ..column.about_field(OBJECT_META, "name")
    }
}

fn age_column() -> Column {
    let column = Column::new("Age", |object, now| {
        age::since(meta(object).get("creationTimestamp"), now).into()
    });
    column.about_field(OBJECT_META, "creationTimestamp")
}

/// Columns of a custom kind.
pub fn custom(printer: Option<&Value>) -> Vec<Column> {
    let mut columns = vec![name_column()];
    let list = printer.and_then(Value::as_array).filter(|l| !l.is_empty());
    let Some(list) = list else {
        columns.push(age_column().of_type("date"));
        return columns;
    };
    for column in list {
        let path = text_at(column, &["jsonPath"]);
        let description = match text_at(column, &["description"]) {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            text => text.to_owned(),
        };
        columns.push(Column {
            name: text_at(column, &["name"]).to_owned(),
            kind: text_at(column, &["type"]).to_owned(),
            format: text_at(column, &["format"]).to_owned(),
            description,
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
            source: Source::Path(Path::parse(path)),
        });
    }
    columns
}

fn count(value: Option<&Value>) -> usize {
    match value {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(list)) => list.len(),
        _ => 0,
    }
}

/// Columns of a built-in kind.
pub fn builtin(group: &str, kind: &str) -> Vec<Column> {
    let mut columns = vec![name_column()];
    let before_age = match (group, kind) {
        ("" | "events.k8s.io", "Event") => return event_columns(),
        (
            "" | "apiextensions.k8s.io" | "rbac.authorization.k8s.io",
            "CustomResourceDefinition" | "LimitRange" | "Role" | "ClusterRole",
        ) => {
            let created = Column::new("Created At", |o, _| {
                meta(o)
                    .get("creationTimestamp")
                    .cloned()
                    .unwrap_or_default()
            });
            columns.push(created.of_type("date").about(&age_column().description));
            return columns;
        }
        ("", "Node" | "Pod" | "Service" | "Endpoints" | "PersistentVolumeClaim")
        | ("apps" | "batch", _) => workloads::before_age(kind),
        _ => simple_columns(group, kind),
    };
    columns.extend(before_age);
    columns.push(age_column());
    columns.extend(workloads::after_age(kind));
    columns.extend(others::after_age(group, kind));
    columns
}

fn simple_columns(group: &str, kind: &str) -> Vec<Column> {
    match (group, kind) {
        ("", "Namespace") => {
            let status = Column::new("Status", |o, _| text_at(o, &["status", "phase"]).into());
            vec![status.about("The status of the namespace")]
        }
        ("", "ConfigMap") => vec![
            Column::new("Data", |o, _| {
                (count(o.get("data")) + count(o.get("binaryData"))).into()
            })
            .about_field("io.k8s.api.core.v1.ConfigMap", "data"),
        ],
        ("", "Secret") => vec![
            Column::new("Type", |o, _| text_at(o, &["type"]).into())
                .about_field("io.k8s.api.core.v1.Secret", "type"),
            Column::new("Data", |o, _| count(o.get("data")).into())
                .about_field("io.k8s.api.core.v1.Secret", "data"),
        ],
        ("", "ServiceAccount") => {
            vec![
                Column::new("Secrets", |o, _| count(o.get("secrets")).into())
                    .about_field("io.k8s.api.core.v1.ServiceAccount", "secrets"),
            ]
        }
        ("coordination.k8s.io", _) => {
            vec![
                Column::new("Holder", |o, _| {
                    text_at(o, &["spec", "holderIdentity"]).into()
                })
                .about_field("io.k8s.api.coordination.v1.LeaseSpec", "holderIdentity"),
            ]
        }
        ("rbac.authorization.k8s.io", _) => vec![
            Column::new("Role", |o, _| {
                format!(
                    "{}/{}",
                    text_at(o, &["roleRef", "kind"]),
                    text_at(o, &["roleRef", "name"])
                )
                .into()
            })
            .about_field("io.k8s.api.rbac.v1.RoleBinding", "roleRef"),
        ],
        ("discovery.k8s.io", _) => vec![
            Column::new("AddressType", |o, _| text_at(o, &["addressType"]).into())
                .about_field("io.k8s.api.discovery.v1.EndpointSlice", "addressType"),
            Column::new("Endpoints", |o, _| {
                let endpoints = o.get("endpoints").and_then(Value::as_array);
                let addresses = endpoints
                    .into_iter()
                    .flatten()
                    .filter_map(|e| e.get("addresses")?.as_array());
                let list: Vec<&str> = addresses.flatten().filter_map(Value::as_str).collect();
                if list.is_empty() {
                    "<unset>".into()
                } else {
                    list.join(",").into()
                }
            })
            .about_field("io.k8s.api.discovery.v1.EndpointSlice", "endpoints"),
        ],
        ("policy", _) => vec![
            Column::new("Min Available", |o, _| {
                or_not_applicable(at(o, &["spec", "minAvailable"]))
            })
            .about_field(
                "io.k8s.api.policy.v1.PodDisruptionBudgetSpec",
                "minAvailable",
            ),
            Column::new("Max Unavailable", |o, _| {
                or_not_applicable(at(o, &["spec", "maxUnavailable"]))
            })
            .about_field(
                "io.k8s.api.policy.v1.PodDisruptionBudgetSpec",
                "maxUnavailable",
            ),
            Column::new("Allowed Disruptions", |o, _| {
                at(o, &["status", "disruptionsAllowed"])
                    .cloned()
                    .unwrap_or_else(|| 0.into())
            })
            .about_field(
                "io.k8s.api.policy.v1.PodDisruptionBudgetStatus",
                "disruptionsAllowed",
            )
            .of_type("integer"),
        ],
        _ => others::before_age(group, kind),
    }
}

fn or_not_applicable(value: Option<&Value>) -> Value {
    value
        .map_or_else(|| "N/A".to_owned(), workloads::plain)
        .into()
}

fn event_columns() -> Vec<Column> {
    vec![
        Column::new("Last Seen", |o, now| {
            let series = at(o, &["series", "lastObservedTime"]);
            let first_of = ["lastTimestamp", "eventTime", "firstTimestamp"];
            let plain = first_of
                .iter()
                .filter_map(|k| o.get(*k))
                .find(|v| !v.is_null());
            age::since(series.or(plain), now).into()
        })
        .about_field("io.k8s.api.core.v1.Event", "lastTimestamp"),
        Column::new("Type", |o, _| text_at(o, &["type"]).into())
            .about_field("io.k8s.api.core.v1.Event", "type"),
        Column::new("Reason", |o, _| text_at(o, &["reason"]).into())
            .about_field("io.k8s.api.core.v1.Event", "reason"),
        Column::new("Object", |o, _| {
            let object = |key: &str| {
                let core = text_at(o, &["involvedObject", key]);
                if core.is_empty() {
                    text_at(o, &["regarding", key])
                } else {
                    core
                }
                .to_owned()
            };
            format!("{}/{}", object("kind").to_lowercase(), object("name")).into()
        })
        .about_field("io.k8s.api.core.v1.Event", "involvedObject"),
        Column::new("Subobject", |o, _| {
            text_at(o, &["involvedObject", "fieldPath"]).into()
        })
        .about_field("io.k8s.api.core.v1.ObjectReference", "fieldPath")
        .wide(),
        Column::new("Source", |o, _| text_at(o, &["source", "component"]).into())
            .about_field("io.k8s.api.core.v1.Event", "source")
            .wide(),
        Column::new("Message", |o, _| {
            let core = text_at(o, &["message"]);
            if core.is_empty() {
                text_at(o, &["note"])
            } else {
                core
            }
            .trim()
            .into()
        })
        .about_field("io.k8s.api.core.v1.Event", "message"),
        Column::new("First Seen", |o, now| {
            age::since(o.get("firstTimestamp"), now).into()
        })
        .about_field("io.k8s.api.core.v1.Event", "firstTimestamp")
        .wide(),
        Column::new("Count", |o, _| {
            o.get("count").cloned().unwrap_or_else(|| 1.into())
        })
        .about_field("io.k8s.api.core.v1.Event", "count")
        .wide(),
        name_column().wide(),
    ]
}

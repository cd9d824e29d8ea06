//! What the tree needs to know about an object, read from its JSON.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

/// One condition of an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type, for example `Ready`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False`, `Unknown`, or the words of a foreign kind.
    pub status: String,
    /// One CamelCase word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// When the status last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
}

impl Condition {
    /// Whether the status is `True`.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// Whether nobody has looked at it yet: such conditions are noise in a tree.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.status == "Unknown" && matches!(self.reason.as_str(), "Pending" | "")
    }
}

/// The text at a JSON pointer below the object, or an empty one.
#[must_use]
pub fn text<'a>(object: &'a DynamicObject, pointer: &str) -> &'a str {
    object
        .data
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The conditions as they stand in the status.
#[must_use]
pub fn conditions(object: &DynamicObject) -> Vec<Condition> {
    let list = object
        .data
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let field = |condition: &Value, name: &str| {
        let value = condition.get(name).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    list.into_iter()
        .flatten()
        .map(|condition| Condition {
            type_: field(condition, "type"),
            status: field(condition, "status"),
            reason: field(condition, "reason"),
            message: field(condition, "message"),
            last_transition_time: field(condition, "lastTransitionTime").parse().ok(),
        })
        .collect()
}

fn created(object: &DynamicObject) -> Option<Timestamp> {
    object.metadata.creation_timestamp.as_ref().map(|t| t.0)
}

fn ready(status: bool, reason: &str, message: String, since: Option<Timestamp>) -> Condition {
    Condition {
        type_: "Ready".to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since,
    }
}

/// A BFB is ready by its phase; the message says which file and which DOCA version it is.
#[must_use]
pub fn bfb_conditions(object: &DynamicObject) -> Vec<Condition> {
    let phase = match text(object, "/status/phase") {
        "" => "Initializing",
        phase => phase,
    };
    let file = text(object, "/spec/url").rsplit('/').next();
    let mut message = format!("File: {}", file.unwrap_or_default());
    let doca = text(object, "/status/versions/doca");
    if !doca.is_empty() {
        message.push_str(", DOCA: ");
        message.push_str(doca);
    }
    if phase != "Ready" {
        let open = conditions(object).into_iter().find(|c| {
            !c.is_true() && !c.is_untouched() && !c.message.is_empty() && c.type_ != "Ready"
        });
        message = open.map_or(String::new(), |condition| condition.message);
    }
    vec![ready(phase == "Ready", phase, message, created(object))]
}

/// A DPU on its way shows its phase as the reason, with what the current step says.
#[must_use]
pub fn dpu_conditions(object: &DynamicObject) -> Vec<Condition> {
    let mut list = conditions(object);
    let phase = match text(object, "/status/phase") {
        "" => "Initializing",
        phase => phase,
    };
    let has_ready = list.iter().any(|c| c.type_ == "Ready");
    if has_ready && phase == "Ready" {
        return list;
    }
    list.retain(|c| c.type_ != "Ready");
    let newest = list.iter().filter_map(|c| c.last_transition_time).max();
    let since = newest.or_else(|| created(object));
    list.insert(0, ready(phase == "Ready", phase, String::new(), since));
    list
}

/// An Argo CD Application: ready when healthy and without complaints, with one line per workload.
#[must_use]
pub fn application_conditions(object: &DynamicObject) -> Vec<Condition> {
    let since = text(object, "/status/reconciledAt").parse().ok();
    let complaints = conditions(object).into_iter().map(|condition| Condition {
        status: "False".to_owned(),
        reason: condition.type_.clone(),
        ..condition
    });
    let mut list: Vec<_> = complaints.collect();
    let health = match text(object, "/status/health/status") {
        "" => "Unknown",
        health => health,
    };
    let healthy = health == "Healthy" && list.is_empty();
    let resources = object.data.pointer("/status/resources");
    for resource in resources.and_then(Value::as_array).into_iter().flatten() {
        let field = |pointer: &str| {
            let value = resource.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        list.push(Condition {
            type_: format!("{}/{}", field("/kind"), field("/name")),
            status: field("/status"),
            reason: field("/health/status"),
            message: field("/health/message"),
            last_transition_time: since,
        });
    }
    let reason = if healthy { "Success" } else { health };
    let message = text(object, "/status/health/message").to_owned();
    list.insert(0, ready(healthy, reason, message, since));
    list
}

/// The value of a label, or an empty one.
#[must_use]
pub fn label<'a>(object: &'a DynamicObject, key: &str) -> &'a str {
    object.labels().get(key).map_or("", String::as_str)
}

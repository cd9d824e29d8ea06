//! Plans and conditions as YAML that a person can review.

use crate::support::words;
use crate::world::World;
use dpf_core::dpudeployment::{Action, Plan};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Longest line before a list or map is broken into several.
const WIDTH: usize = 116;

/// The writes, each with what it changes, and what we wait for. New objects are compared with older ones of the same role,
/// or with those that `example` has.
pub fn plan(example: Option<&World>, before: &World, after: &World, plan: &Plan) -> Value {
    let example = example.map(objects).unwrap_or_default();
    let mut known = objects(before);
    let now = objects(after);
    let mut writes = Vec::new();
    let mut last = Value::Null;
    for action in &plan.actions {
        let Some(reference) = written(action) else {
            writes.push(json!(words(action)));
            continue;
        };
        let desired = now[&reference].clone();
        let (title, other) = match known.get(&reference) {
            Some(existing) => (format!("change {reference}"), existing.clone()),
            None => match sibling(&known, &reference, &desired) {
                Some((like, other)) => (format!("create {reference} like {like}, but"), other),
                None => match sibling(&example, &reference, &desired) {
                    Some((_, other)) => (format!("create {reference} as in 01, but"), other),
                    None => (format!("create {reference}"), Value::Null),
                },
            },
        };
        let mut changed = difference(&other, &desired).unwrap_or_else(|| json!("nothing"));
        if changed == last {
            changed = json!("the same");
        } else {
            last = changed.clone();
        }
        known.insert(reference, desired);
        writes.push(json!({ title: changed }));
    }
    let mut shown = json!({ "plan": writes });
    let report = &plan.report;
    if !report.waiting_services.is_empty() {
        shown["waiting"] = json!(report.waiting_services);
    }
    if !report.held_revisions.is_empty() {
        shown["held"] = json!(report.held_revisions);
    }
    if !report.warnings.is_empty() {
        shown["warnings"] = json!(report.warnings);
    }
    if let Some(seconds) = plan.requeue_seconds {
        shown["again after"] = json!(seconds);
    }
    shown
}

fn written(action: &Action) -> Option<String> {
    fn reference<K: Resource<DynamicType = ()>>(object: &K) -> Option<String> {
        Some(format!("{} {}", K::kind(&()), object.meta().name.clone()?))
    }
    match action {
        Action::ApplyService(service) => reference(service.as_ref()),
        Action::ApplyInterface { interface, .. } => reference(interface.as_ref()),
        Action::ApplyChain(chain) => reference(chain.as_ref()),
        Action::ApplySet(set) => reference(set.as_ref()),
        _ => None,
    }
}

/// All children by kind and name, without what the API server adds.
fn objects(world: &World) -> Map<String, Value> {
    fn add<K: Resource<DynamicType = ()> + Serialize>(all: &mut Map<String, Value>, list: &[K]) {
        for object in list {
            let meta = object.meta();
            let owners = meta.owner_references.iter().flatten();
            let owners: Vec<String> = owners
                .map(|owner| {
                    let controller = owner.controller == Some(true);
                    let role = if controller { " (controller)" } else { "" };
                    format!("{} {}{role}", owner.kind, owner.name)
                })
                .collect();
            let mut shown = json!({ "labels": meta.labels, "owners": owners });
            if meta.annotations.is_some() {
                shown["annotations"] = json!(meta.annotations);
            }
            shown["spec"] = serde_json::to_value(object).unwrap()["spec"].take();
            let name = meta.name.clone().unwrap();
            all.insert(format!("{} {name}", K::kind(&())), shown);
        }
    }
    let mut all = Map::new();
    add(&mut all, &world.services);
    add(&mut all, &world.interfaces);
    add(&mut all, &world.chains);
    add(&mut all, &world.sets);
    all
}

/// An object of the same kind and service that a new one can be compared with.
fn sibling(
    known: &Map<String, Value>,
    reference: &str,
    desired: &Value,
) -> Option<(String, Value)> {
    let kind = reference.split(' ').next()?;
    let role = |value: &Value| {
        let text = |path: &str| value.pointer(path).cloned();
        (
            text("/labels/svc.dpu.nvidia.com~1owned-by-dpudeployment"),
            text("/labels/svc.dpu.nvidia.com~1dpudeployment-service"),
            text("/spec/deployInCluster"),
            text("/spec/template/spec/template/spec/service/interfaceName"),
        )
    };
    let mut others = known.iter().rev().filter(|(other, value)| {
        other.split(' ').next() == Some(kind) && role(value) == role(desired)
    });
    // Of sets any other, of the rest the newest of the same role.
    let exact = known.get_key_value(reference);
    let (other, value) = exact.or_else(|| others.next())?;
    let name = other.split(' ').nth(1)?.to_owned();
    Some((name, value.clone()))
}

/// What a JSON merge patch would have to say.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (Some(old_fields), Some(new_fields)) = (old.as_object(), new.as_object()) else {
        return (old != new).then(|| new.clone());
    };
    let mut changed = Map::new();
    for (key, value) in new_fields {
        let before = old_fields.get(key).unwrap_or(&Value::Null);
        if let Some(value) = difference(before, value) {
            changed.insert(key.clone(), value);
        }
    }
    for key in old_fields
        .keys()
        .filter(|key| !new_fields.contains_key(*key))
    {
        changed.insert(key.clone(), Value::Null);
    }
    (!changed.is_empty()).then_some(Value::Object(changed))
}

/// Conditions by type, without those that hold.
pub fn conditions(list: &[Condition]) -> Value {
    assert_eq!(
        list.len(),
        12,
        "a condition per step, four of children, and Ready"
    );
    let mut shown = Map::new();
    for condition in list {
        let value = match (condition.status.as_str(), condition.message.as_str()) {
            ("True", "") => continue,
            (status, "") => json!(format!("{status} ({})", condition.reason)),
            (status, message) => {
                let lines: Vec<&str> = message.lines().collect();
                let message = if let [line] = lines.as_slice() {
                    json!(line)
                } else {
                    json!(lines)
                };
                json!({ format!("{status} ({})", condition.reason): message })
            }
        };
        shown.insert(condition.type_.clone(), value);
    }
    if shown.is_empty() {
        return json!("all True");
    }
    if shown.len() < list.len() {
        shown.insert("the others".to_owned(), json!("True"));
    }
    Value::Object(shown)
}

/// The value as YAML, in the order of `plan`, what is waited for, conditions, and what follows.
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    let order = [
        "refused",
        "plan",
        "waiting",
        "held",
        "warnings",
        "again after",
        "conditions",
        "then",
    ];
    for key in order {
        if let Some(value) = value.get(key) {
            entry(key, value, 0, &mut text);
        }
    }
    let read: Value = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(&read, value, "the YAML says something else\n{text}");
    text
}

fn entry(key: &str, value: &Value, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    let key = scalar(&json!(key));
    let line = flow(value);
    if indent + key.len() + line.len() + 2 <= WIDTH || is_scalar(value) {
        text.push_str(&format!("{pad}{key}: {line}\n"));
    } else {
        text.push_str(&format!("{pad}{key}:\n"));
        block(value, indent + 2, text);
    }
}

fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                entry(key, value, indent, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                let line = flow(item);
                if indent + line.len() + 2 <= WIDTH || is_scalar(item) {
                    text.push_str(&format!("{}- {line}\n", " ".repeat(indent)));
                } else {
                    let mut nested = String::new();
                    block(item, indent + 2, &mut nested);
                    text.push_str(&format!("{}- {}", " ".repeat(indent), nested.trim_start()));
                }
            }
        }
        other => text.push_str(&format!("{}{}\n", " ".repeat(indent), scalar(other))),
    }
}

fn is_scalar(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", scalar(&json!(key)), flow(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        other => scalar(other),
    }
}

/// Texts without quotes where YAML allows it.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else {
        return value.to_string();
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-() ".contains(c);
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let safe = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(plain)
        && !text.ends_with(' ')
        && !words.contains(&text.to_ascii_lowercase().as_str());
    if safe {
        text.clone()
    } else {
        value.to_string()
    }
}

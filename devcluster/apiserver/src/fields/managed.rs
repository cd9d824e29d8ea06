//! `metadata.managedFields`: who owns which field, and how writes change that.

use serde_json::{Map, Value, json};

use super::compare::{compare, to_field_set};
use super::merge::merge;
use super::remove::remove_items;
use super::set::{FieldSet, display_path};
use crate::error::ApiError;
use crate::schema::types::Type;

/// How a manager writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Everything else.
    Update,
}

/// Who writes: the identity of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// Name of the manager.
    pub name: String,
    /// How it writes.
    pub operation: Operation,
    /// Version of the API it writes.
    pub api_version: String,
    /// Subresource it writes through; empty for the object itself.
    pub subresource: String,
}

impl Manager {
    /// Appliers are the same manager whatever version they use.
    fn is_same(&self, other: &Self) -> bool {
        let version = self.operation == Operation::Apply || self.api_version == other.api_version;
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && version
    }

    fn display(&self, time: Option<&str>) -> String {
        let mut text = Value::from(self.name.as_str()).to_string();
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
            if let Some(time) = time {
                text.push_str(&format!(" at {time}"));
            }
        }
        text
    }
}

#[derive(Debug, Clone)]
struct Entry {
    manager: Manager,
    time: Option<String>,
    fields: FieldSet,
}

/// All entries of an object.
#[derive(Debug, Clone, Default)]
pub struct Managed {
    entries: Vec<Entry>,
}

/// Fields nobody owns: the server sets them, or they name the object.
fn system_fields() -> FieldSet {
    FieldSet::of_keys(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
        &["metadata", "deletionTimestamp"],
        &["metadata", "deletionGracePeriodSeconds"],
    ])
}

impl Managed {
    /// Reads `managedFields`; None when malformed.
    pub fn decode(list: &Value) -> Option<Self> {
        let entries = list
            .as_array()?
            .iter()
            .map(decode_entry)
            .collect::<Option<Vec<Entry>>>()?;
        Some(Self { entries })
    }

    /// The ownership to start a write from: what the new object says, when it says something, else the old one's.
    pub fn starting_point(old: &Value, new: &Value, subresource: bool) -> Self {
        let of = |object: &Value| {
            crate::object::meta(object)
                .get("managedFields")
                .and_then(Self::decode)
                .unwrap_or_default()
        };
        if subresource {
            return of(old);
        }
        let written = crate::object::meta(new).get("managedFields");
        let reset = written
            .and_then(Value::as_array)
            .is_some_and(|list| list.as_slice() == [json!({})]);
        if reset {
            return Self::default();
        }
        let theirs = of(new);
        if theirs.entries.is_empty() {
            of(old)
        } else {
            theirs
        }
    }

    /// The JSON form, sorted as the original sorts it.
    pub fn encode(&self) -> Value {
        let mut entries: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|e| !e.fields.is_empty())
            .collect();
        entries.sort_by_key(|e| {
            let manager = &e.manager;
            (
                manager.operation,
                e.time.clone(),
                &manager.name,
                &manager.api_version,
                &manager.subresource,
            )
        });
        entries.into_iter().map(encode_entry).collect()
    }

    fn position(&self, manager: &Manager) -> Option<usize> {
        self.entries.iter().position(|e| e.manager.is_same(manager))
    }

    /// Ownership after an ordinary write that turned `old` into `new`.
    pub fn update(
        mut self,
        old: &Value,
        new: &Value,
        manager: &Manager,
        of: Type<'_>,
        now: &str,
    ) -> Self {
        let difference = compare(&without_managed(old), &without_managed(new), of).without_system();
        let taken = difference.modified.union(&difference.added);
        for entry in &mut self.entries {
            entry.fields = entry
                .fields
                .difference(&taken)
                .difference(&difference.removed);
        }
        self.give(manager, taken, Some(now.to_owned()));
        self.entries.retain(|e| !e.fields.is_empty());
        self
    }

    /// Ownership after the scale subresource changed one field of the parent.
    pub fn take_field(mut self, manager: &Manager, field: FieldSet) -> Self {
        for entry in &mut self.entries {
            entry.fields = entry.fields.difference(&field);
        }
        self.give(manager, field, None);
        self.entries.retain(|e| !e.fields.is_empty());
        self
    }

    fn give(&mut self, manager: &Manager, fields: FieldSet, time: Option<String>) {
        if fields.is_empty() {
            return;
        }
        match self
            .position(manager)
            .and_then(|at| self.entries.get_mut(at))
        {
            Some(entry) => {
                entry.fields = entry.fields.union(&fields);
                entry.time = time.or(entry.time.take());
            }
            None => self.entries.push(Entry {
                manager: manager.clone(),
                time,
                fields,
            }),
        }
    }

    /// Server-side apply: the new object (None when nothing changes) and the new ownership.
    pub fn apply(
        mut self,
        live: &Value,
        config: &Value,
        manager: &Manager,
        of: Type<'_>,
        force: bool,
        now: &str,
    ) -> Result<(Option<Value>, Self), ApiError> {
        let live = without_managed(live);
        let config = without_managed(config);
        let merged = merge(&live, &config, of);
        let wanted = to_field_set(&config, of).difference(&system_fields());
        let last = self.position(manager).map(|at| self.entries.remove(at));
        let last_time = last.as_ref().and_then(|e| e.time.clone());
        let mut entry = Entry {
            manager: manager.clone(),
            time: last_time,
            fields: wanted,
        };
        let new = match last.filter(|l| !l.fields.is_empty()) {
            Some(last) => self.prune(merged, &last.fields, &entry.fields, of),
            None => merged,
        };
        let difference = compare(&live, &new, of).without_system();
        let changed = difference.modified.union(&difference.added);
        let conflicts: Vec<(usize, FieldSet)> = self
            .entries
            .iter()
            .enumerate()
            .map(|(at, other)| (at, other.fields.intersection(&changed)))
            .filter(|(_, fields)| !fields.is_empty())
            .collect();
        if !force && !conflicts.is_empty() {
            return Err(self.conflict_error(&conflicts));
        }
        for other in &mut self.entries {
            other.fields = other
                .fields
                .difference(&changed)
                .difference(&difference.removed);
        }
        let same = difference.is_same();
        if !same {
            entry.time = Some(now.to_owned());
        }
        self.entries.push(entry);
        self.entries.retain(|e| !e.fields.is_empty());
        Ok(((!same).then_some(new), self))
    }

    /// Removes what this manager applied last time, does not apply now, and nobody else owns.
    fn prune(&self, merged: Value, last: &FieldSet, wanted: &FieldSet, of: Type<'_>) -> Value {
        let last = last.with_named_fields(of);
        let pruned = remove_items(&merged, &last, of).unwrap_or_else(|| Value::Object(Map::new()));
        // Put back what somebody owns.
        let owned = self
            .entries
            .iter()
            .fold(wanted.clone(), |all, e| all.union(&e.fields))
            .with_named_fields(of);
        let merged_set = to_field_set(&merged, of).with_named_fields(of);
        let pruned_set = to_field_set(&pruned, of).with_named_fields(of);
        let gone = merged_set.difference(&pruned_set.union(&owned));
        let pruned = remove_items(&merged, &gone, of).unwrap_or_else(|| Value::Object(Map::new()));
        // Put back what was never this manager's.
        let pruned_set = to_field_set(&pruned, of).with_named_fields(of);
        let gone = merged_set.difference(&pruned_set).intersection(&last);
        remove_items(&merged, &gone, of).unwrap_or_else(|| Value::Object(Map::new()))
    }

    fn conflict_error(&self, conflicts: &[(usize, FieldSet)]) -> ApiError {
        let mut named: Vec<(String, Vec<String>)> = conflicts
            .iter()
            .filter_map(|(at, fields)| {
                let entry = self.entries.get(*at)?;
                let paths = fields.paths().iter().map(|p| display_path(p)).collect();
                Some((entry.manager.display(None), paths))
            })
            .collect();
        named.sort();
        let mut causes = Vec::new();
        for (manager, paths) in &named {
            for path in paths {
                let message = format!("conflict with {manager}");
                causes.push(
                    json!({"reason": "FieldManagerConflict", "message": message, "field": path}),
                );
            }
        }
        let message = match (causes.len(), named.first()) {
            (1, Some((manager, paths))) => {
                format!(
                    "Apply failed with 1 conflict: conflict with {manager}: {}",
                    paths.join("")
                )
            }
            (count, _) => {
                let group = |(manager, paths): &(String, Vec<String>)| {
                    let lines: Vec<String> = paths.iter().map(|p| format!("- {p}")).collect();
                    format!("conflicts with {manager}:\n{}", lines.join("\n"))
                };
                let groups: Vec<String> = named.iter().map(group).collect();
                format!("Apply failed with {count} conflicts: {}", groups.join("\n"))
            }
        };
        ApiError::apply_conflict(message, causes)
    }
}

impl super::compare::Comparison {
    fn without_system(&self) -> Self {
        let system = system_fields();
        Self {
            added: self.added.difference(&system),
            modified: self.modified.difference(&system),
            removed: self.removed.difference(&system),
        }
    }
}

fn without_managed(object: &Value) -> Value {
    let mut out = object.clone();
    crate::object::remove_meta(&mut out, "managedFields");
    out
}

fn decode_entry(entry: &Value) -> Option<Entry> {
    let text = |key: &str| {
        entry
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let operation = match text("operation").as_str() {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    let fields = match entry.get("fieldsV1") {
        Some(fields) => FieldSet::from_json(fields)?,
        None => FieldSet::default(),
    };
    let manager = Manager {
        name: text("manager"),
        operation,
        api_version: text("apiVersion"),
        subresource: text("subresource"),
    };
    Some(Entry {
        manager,
        time: Some(text("time")).filter(|t| !t.is_empty()),
        fields,
    })
}

fn encode_entry(entry: &Entry) -> Value {
    let operation = match entry.manager.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut out = json!({"manager": entry.manager.name, "operation": operation,
        "apiVersion": entry.manager.api_version, "fieldsType": "FieldsV1", "fieldsV1": entry.fields.to_json()});
    if let Some(map) = out.as_object_mut() {
        if let Some(time) = &entry.time {
            map.insert("time".into(), time.as_str().into());
        }
        if !entry.manager.subresource.is_empty() {
            map.insert(
                "subresource".into(),
                entry.manager.subresource.as_str().into(),
            );
        }
    }
    out
}

/// The old object's ownership when two lists differ only in times.
pub fn same_but_times(old: Option<&Value>, new: Option<&Value>) -> bool {
    let strip = |list: Option<&Value>| -> Vec<Value> {
        let entries = list.and_then(Value::as_array).cloned().unwrap_or_default();
        let mut entries: Vec<Value> = entries
            .into_iter()
            .map(|mut e| {
                e.as_object_mut().map(|m| m.remove("time"));
                e
            })
            .collect();
        entries.sort_by_key(Value::to_string);
        entries
    };
    strip(old) == strip(new)
}

//! Lays one document over another, lists entry by entry.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Field of an entry that says what becomes of the one it names, as in Kubernetes: only `delete` has a meaning.
pub const PATCH: &str = "$patch";

/// Merges documents.
pub struct Merger<'m> {
    key: &'m str,
    /// How many lists were merged by name.
    pub lists: usize,
    /// What is ambiguous, with its path.
    pub problems: Vec<(String, String)>,
}

impl<'m> Merger<'m> {
    /// Entries of lists are named by `key`.
    pub fn new(key: &'m str) -> Self {
        Self {
            key,
            lists: 0,
            problems: Vec::new(),
        }
    }

    /// Maps merge deep; lists whose entries all have a name merge by it, in the order of the base; everything else is replaced.
    pub fn lay_over(&mut self, base: &mut Value, over: Value, path: &str) {
        match (base, over) {
            (Value::Object(base), Value::Object(over)) => self.maps(base, over, path),
            (Value::Array(base), Value::Array(over)) if self.named(base) && self.named(&over) => {
                self.lists += 1;
                *base = self.entries(std::mem::take(base), over, path);
            }
            (base, over) => *base = over,
        }
    }

    fn maps(&mut self, base: &mut Map<String, Value>, over: Map<String, Value>, path: &str) {
        for (key, value) in over {
            let path = format!("{path}.{key}");
            match base.get_mut(&key) {
                Some(below) => self.lay_over(below, value, &path),
                None => {
                    base.insert(key, value);
                }
            }
        }
    }

    fn entries(&mut self, base: Vec<Value>, over: Vec<Value>, path: &str) -> Vec<Value> {
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut merged: Vec<Option<Value>> = Vec::new();
        for entry in base {
            places.insert(self.name(&entry).to_owned(), merged.len());
            merged.push(Some(entry));
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (index, entry) in over.into_iter().enumerate() {
            let name = self.name(&entry).to_owned();
            let path = format!("{path}[{index}]");
            if let Some(first) = seen.insert(name.clone(), index) {
                let problem =
                    format!("{name:?} is named twice, at {first} and {index}; keep one of them");
                self.problems.push((path, problem));
                continue;
            }
            let slot = places.get(&name).and_then(|place| merged.get_mut(*place));
            match (
                slot,
                entry.get(PATCH).and_then(Value::as_str) == Some("delete"),
            ) {
                (Some(slot), true) => *slot = None,
                (None, true) => {}
                (Some(Some(below)), false) => self.lay_over(below, entry, &path),
                (Some(slot), false) => *slot = Some(entry),
                (None, false) => merged.push(Some(entry)),
            }
        }
        merged.into_iter().flatten().collect()
    }

    /// Whether there are entries, and all are maps with a name.
    fn named(&self, list: &[Value]) -> bool {
        !list.is_empty()
            && list
                .iter()
                .all(|entry| entry.get(self.key).is_some_and(Value::is_string))
    }

    fn name<'e>(&self, entry: &'e Value) -> &'e str {
        entry
            .get(self.key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(base: Value, over: Value) -> Value {
        let (value, problems) = merge(base, over);
        assert_eq!(problems, []);
        value
    }

    fn merge(mut base: Value, over: Value) -> (Value, Vec<(String, String)>) {
        let mut merger = Merger::new("name");
        merger.lay_over(&mut base, over, "");
        (base, merger.problems)
    }

    #[test]
    fn entries_merge_by_name() {
        let base = json!({"routes": [{"name": "a", "via": 1, "to": {"x": 1}}, {"name": "b"}]});
        let over = json!({"routes": [{"name": "c"}, {"name": "a", "to": {"y": 2}}]});
        assert_eq!(
            merged(base, over),
            json!({"routes": [{"name": "a", "via": 1, "to": {"x": 1, "y": 2}}, {"name": "b"}, {"name": "c"}]})
        );
    }

    #[test]
    fn entries_can_be_deleted() {
        let base = json!([{"name": "a"}, {"name": "b"}]);
        let over = json!([{"name": "a", "$patch": "delete"}, {"name": "none", "$patch": "delete"}]);
        assert_eq!(merged(base, over), json!([{"name": "b"}]));
    }

    #[test]
    fn lists_without_names_are_replaced() {
        for (base, over) in [
            (json!([1, 2]), json!([3])),
            (json!([{"name": "a"}]), json!([])),
            (json!([{"name": "a"}]), json!([{"id": 1}])),
            (json!([{"name": 1}]), json!([{"name": 1}])),
        ] {
            assert_eq!(merged(base, over.clone()), over);
        }
    }

    #[test]
    fn a_name_twice_is_ambiguous() {
        let over = json!({"routes": [{"name": "a", "x": 1}, {"name": "a", "x": 2}]});
        let (_, problems) = merge(json!({"routes": [{"name": "a"}]}), over);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].0, ".routes[1]");
    }
}

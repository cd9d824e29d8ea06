//! Sets of field paths, as `managedFields` stores them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::schema::types::Type;

/// One step of a path into an object. The order of the variants is the order paths are listed in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    /// A key of a map or struct.
    Field(String),
    /// An item of a list that has keys; values are JSON text.
    Key(BTreeMap<String, String>),
    /// An item of a set; the value as JSON text.
    Value(String),
    /// A position in a list.
    Index(usize),
}

impl PathElement {
    /// A key of a map or struct.
    pub fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// Reads the form used inside `fieldsV1`: `f:name`, `k:{..}`, `v:..`, `i:0`.
    pub fn parse(text: &str) -> Option<Self> {
        let (prefix, rest) = text.split_once(':')?;
        match prefix {
            "f" => Some(Self::field(rest)),
            "k" => {
                let map: Map<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::Key(
                    map.into_iter().map(|(k, v)| (k, v.to_string())).collect(),
                ))
            }
            "v" => serde_json::from_str::<Value>(rest)
                .ok()
                .map(|v| Self::Value(v.to_string())),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    /// The form used inside `fieldsV1`.
    pub fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                let parts: Vec<String> = keys
                    .iter()
                    .map(|(k, v)| format!("{}:{v}", Value::from(k.as_str())))
                    .collect();
                format!("k:{{{}}}", parts.join(","))
            }
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    fn display(&self) -> String {
        match self {
            Self::Field(name) => format!(".{name}"),
            Self::Key(keys) => {
                let parts: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("[{}]", parts.join(","))
            }
            Self::Value(value) => format!("[={value}]"),
            Self::Index(index) => format!("[{index}]"),
        }
    }
}

/// A set of field paths, as a tree: `members` end here, `children` go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    members: BTreeSet<PathElement>,
    children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    /// True when no path is in the set.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    /// Adds a path; the empty path is ignored.
    pub fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// A set of one path of map keys.
    pub fn of_keys(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let elements: Vec<PathElement> = path.iter().map(|p| PathElement::field(p)).collect();
            set.insert(&elements);
        }
        set
    }

    /// True when the one-step path is a member.
    pub fn has(&self, element: &PathElement) -> bool {
        self.members.contains(element)
    }

    /// What lies below one step.
    pub fn child(&self, element: &PathElement) -> Option<&FieldSet> {
        self.children.get(element).filter(|c| !c.is_empty())
    }

    /// Paths in either set.
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.members.extend(other.members.iter().cloned());
        for (element, theirs) in &other.children {
            let slot = out.children.entry(element.clone()).or_default();
            *slot = slot.union(theirs);
        }
        out
    }

    /// Paths in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let members = self.members.intersection(&other.members).cloned().collect();
        let children = self.children.iter().filter_map(|(element, ours)| {
            let both = ours.intersection(other.children.get(element)?);
            (!both.is_empty()).then(|| (element.clone(), both))
        });
        Self {
            members,
            children: children.collect(),
        }
    }

    /// Paths of this set that are not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let children = self.children.iter().filter_map(|(element, ours)| {
            let left = match other.children.get(element) {
                Some(theirs) => ours.difference(theirs),
                None => ours.clone(),
            };
            (!left.is_empty()).then(|| (element.clone(), left))
        });
        Self {
            members,
            children: children.collect(),
        }
    }

    /// Makes every declared struct field on a path a member itself, so that removing the last thing below it
    /// removes the field too.
    pub fn with_named_fields(&self, at: Type<'_>) -> Self {
        let mut members = self.members.clone();
        let mut children = BTreeMap::new();
        for (element, below) in &self.children {
            if let PathElement::Field(name) = element
                && at.declares(name)
            {
                members.insert(element.clone());
            }
            children.insert(element.clone(), below.with_named_fields(at.step(element)));
        }
        Self { members, children }
    }

    /// All paths: those that end at a level before those that go deeper.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, out: &mut Vec<Vec<PathElement>>) {
        for member in &self.members {
            let mut path = prefix.clone();
            path.push(member.clone());
            out.push(path);
        }
        for (element, below) in &self.children {
            prefix.push(element.clone());
            below.collect(prefix, out);
            prefix.pop();
        }
    }

    /// The `fieldsV1` form.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        for member in &self.members {
            map.insert(member.encode(), Value::Object(Map::new()));
        }
        for (element, below) in self.children.iter().filter(|(_, below)| !below.is_empty()) {
            let mut value = below.to_json();
            if self.members.contains(element)
                && let Some(inner) = value.as_object_mut()
            {
                inner.insert(".".into(), Value::Object(Map::new()));
            }
            map.insert(element.encode(), value);
        }
        Value::Object(map)
    }

    /// Reads the `fieldsV1` form; None when it is malformed.
    pub fn from_json(value: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (key, below) in value.as_object()? {
            if key == "." {
                continue;
            }
            let element = PathElement::parse(key)?;
            let inner = below.as_object()?;
            if inner.is_empty() || inner.contains_key(".") {
                set.members.insert(element.clone());
            }
            let child = Self::from_json(below)?;
            if !child.is_empty() {
                set.children.insert(element, child);
            }
        }
        Some(set)
    }
}

/// A path as conflict messages print it.
pub fn display_path(path: &[PathElement]) -> String {
    path.iter().map(PathElement::display).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn json_form_round_trips() {
        let form = json!({"f:spec": {".": {}, "f:ports": {"k:{\"name\":\"a\"}": {".": {}, "f:port": {}}},
            "f:tags": {"v:\"x\"": {}}}});
        let set = FieldSet::from_json(&form).unwrap();
        assert_eq!(set.to_json(), form);
        let shown: Vec<String> = set.paths().iter().map(|p| display_path(p)).collect();
        assert_eq!(
            shown,
            [
                ".spec",
                ".spec.ports[name=\"a\"]",
                ".spec.ports[name=\"a\"].port",
                ".spec.tags[=\"x\"]"
            ]
        );
    }

    fn sets() -> impl Strategy<Value = FieldSet> {
        proptest::collection::vec(proptest::collection::vec("[abc]", 1..4), 0..6).prop_map(
            |paths| {
                let mut set = FieldSet::default();
                for path in paths {
                    let path: Vec<PathElement> =
                        path.iter().map(|p| PathElement::field(p)).collect();
                    set.insert(&path);
                }
                set
            },
        )
    }

    proptest! {
        #[test]
        fn set_laws(a in sets(), b in sets()) {
            prop_assert_eq!(FieldSet::from_json(&a.to_json()).unwrap(), a.clone());
            prop_assert_eq!(a.union(&b), b.union(&a));
            prop_assert!(a.difference(&a).is_empty());
            prop_assert!(a.intersection(&b).difference(&a).is_empty());
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a);
        }
    }
}

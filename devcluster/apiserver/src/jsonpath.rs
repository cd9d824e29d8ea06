//! The JSON paths of printer columns and selectable fields: fields, indexes, unions, wildcards and equality filters.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Every,
    /// `['a','b']`: what each of them leads to, in this order.
    Union(Vec<Step>),
    Where {
        path: Vec<String>,
        equal: bool,
        value: Value,
    },
}

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    steps: Vec<Step>,
}

impl Path {
    /// Parses a path like `.status.conditions[?(@.type=='Ready')].status`; None when it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('{').trim_end_matches('}');
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            rest = if let Some(tail) = rest.strip_prefix('[') {
                let end = bracket_end(tail)?;
                let (inner, after) = tail.split_at(end);
                steps.push(bracket(inner)?);
                after.strip_prefix(']')?
            } else {
                let tail = rest.strip_prefix('.').unwrap_or(rest);
                let (name, after) = field(tail);
                match name.as_str() {
                    "" => {}
                    "*" => steps.push(Step::Every),
                    _ => steps.push(Step::Field(name)),
                }
                if after.len() == rest.len() {
                    return None;
                }
                after
            };
        }
        Some(Self { steps })
    }

    /// All values the path leads to.
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let mut current = vec![object];
        for step in &self.steps {
            current = current
                .into_iter()
                .flat_map(|value| apply(step, value))
                .collect();
        }
        current
    }

    /// The path as dotted field names, when it is nothing else.
    pub fn dotted(&self) -> Option<String> {
        let names: Option<Vec<&str>> = self
            .steps
            .iter()
            .map(|s| match s {
                Step::Field(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        names.map(|n| n.join("."))
    }
}

fn bracket_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (None, ']') => return Some(index),
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    None
}

/// A field name up to the next dot or bracket; a backslash takes the next character literally.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, text.get(index..).unwrap_or_default()),
            c => name.push(c),
        }
    }
    (name, "")
}

fn bracket(inner: &str) -> Option<Step> {
    let inner = inner.trim();
    if inner == "*" {
        return Some(Step::Every);
    }
    let parts = alternatives(inner);
    if parts.len() > 1 {
        let steps: Option<Vec<Step>> = parts.into_iter().map(bracket).collect();
        return steps.map(Step::Union);
    }
    if let Some(quoted) = unquote(inner) {
        return Some(Step::Field(quoted));
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        let (left, right, equal) = match filter.split_once("==") {
            Some((left, right)) => (left, right, true),
            None => filter
                .split_once("!=")
                .map(|(left, right)| (left, right, false))?,
        };
        let path = left
            .trim()
            .strip_prefix('@')?
            .split('.')
            .filter(|p| !p.is_empty())
            .map(str::to_owned)
            .collect();
        let right = right.trim();
        let value = match unquote(right) {
            Some(text) => Value::String(text),
            None => serde_json::from_str(right).ok()?,
        };
        return Some(Step::Where { path, equal, value });
    }
    inner.parse().ok().map(Step::Index)
}

/// The parts between commas outside of quotes; a filter is one part.
fn alternatives(inner: &str) -> Vec<&str> {
    if inner.starts_with('?') {
        return vec![inner];
    }
    let mut quote = None;
    inner
        .split(|c: char| match (quote, c) {
            (Some(open), _) if open == c => {
                quote = None;
                false
            }
            (None, '\'' | '"') => {
                quote = Some(c);
                false
            }
            (None, ',') => true,
            _ => false,
        })
        .collect()
}

fn unquote(text: &str) -> Option<String> {
    let strip = |q: char| text.strip_prefix(q).and_then(|t| t.strip_suffix(q));
    strip('\'').or_else(|| strip('"')).map(str::to_owned)
}

fn apply<'a>(step: &Step, value: &'a Value) -> Vec<&'a Value> {
    match (step, value) {
        (Step::Field(name), _) => value.get(name).into_iter().collect(),
        (Step::Index(index), Value::Array(list)) => {
            let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let at = if *index < 0 { length + index } else { *index };
            usize::try_from(at)
                .ok()
                .and_then(|at| list.get(at))
                .into_iter()
                .collect()
        }
        (Step::Union(steps), _) => steps.iter().flat_map(|step| apply(step, value)).collect(),
        (Step::Every, Value::Array(list)) => list.iter().collect(),
        (Step::Every, Value::Object(map)) => map.values().collect(),
        (
            Step::Where {
                path,
                equal,
                value: wanted,
            },
            Value::Array(list),
        ) => {
            let holds = |item: &&Value| {
                let found = path.iter().try_fold(*item, |v, key| v.get(key));
                (found == Some(wanted)) == *equal
            };
            list.iter().filter(holds).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn paths_of_printer_columns() {
        let object = json!({"spec": {"size": 3, "ports": [{"name": "a"}, {"name": "b"}]},
            "metadata": {"annotations": {"x.y/z": "v"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let find = |p: &str| {
            Path::parse(p)
                .unwrap()
                .find(&object)
                .into_iter()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(find(".spec.size"), [json!(3)]);
        assert_eq!(
            find(".status.conditions[?(@.type=='Ready')].status"),
            [json!("True")]
        );
        assert_eq!(
            find(".status.conditions[?(@.type==\"Nope\")].status"),
            Vec::<Value>::new()
        );
        assert_eq!(find(".spec.ports[*].name"), [json!("a"), json!("b")]);
        assert_eq!(find(".spec.ports[-1].name"), [json!("b")]);
        assert_eq!(find(".metadata.annotations.x\\.y/z"), [json!("v")]);
        assert_eq!(find(".metadata.annotations['x.y/z']"), [json!("v")]);
        assert_eq!(find(".spec['absent','size']"), [json!(3)]);
        assert_eq!(find(".spec.ports[1,0].name"), [json!("b"), json!("a")]);
        assert!(Path::parse(".a[").is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,30}") {
            let _ = Path::parse(&text);
        }
    }
}

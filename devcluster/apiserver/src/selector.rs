//! Label and field selectors.

use serde_json::Value;

use crate::error::ApiError;
use crate::names::{label_value_fault, qualified_name_fault};
use crate::object::{meta, text_at};
use crate::registry::Resource;

/// One requirement of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::In(list) => value.is_some_and(|v| list.iter().any(|l| l == v)),
            Self::NotIn(list) => value.is_none_or(|v| !list.iter().any(|l| l == v)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Greater(bound) => number().is_some_and(|n| n > *bound),
            Self::Less(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

/// Label and field requirements an object must meet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

impl Selector {
    /// Reads both selectors of a request for objects of a resource.
    pub fn parse(
        labels: Option<&str>,
        fields: Option<&str>,
        resource: &Resource,
    ) -> Result<Self, ApiError> {
        let labels = parse_labels(labels.unwrap_or_default())?;
        let fields = parse_fields(fields.unwrap_or_default())?;
        let unknown = fields.iter().find(|f| {
            !matches!(f.key.as_str(), "metadata.name" | "metadata.namespace")
                && !resource.selectable.contains(&f.key)
        });
        match unknown {
            Some(unknown) => Err(ApiError::bad_request(resource.not_selectable(&unknown.key))),
            None => Ok(Self { labels, fields }),
        }
    }

    /// Reads a `LabelSelector` object.
    pub fn of_object(selector: &Value) -> Self {
        let exact = selector.get("matchLabels").and_then(Value::as_object);
        let exact = exact.into_iter().flatten().map(|(key, value)| Requirement {
            key: key.clone(),
            test: Test::In(vec![value.as_str().unwrap_or_default().to_owned()]),
        });
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        let expressions = expressions.into_iter().flatten().map(|expression| {
            let values = expression.get("values").and_then(Value::as_array);
            let values = values
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            Requirement {
                key: text_at(expression, &["key"]).to_owned(),
                test: match text_at(expression, &["operator"]) {
                    "In" => Test::In(values),
                    "NotIn" => Test::NotIn(values),
                    "Exists" => Test::Exists,
                    _ => Test::Absent,
                },
            }
        });
        Self {
            labels: exact.chain(expressions).collect(),
            fields: Vec::new(),
        }
    }

    /// True when nothing is required.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// True when a field beside name and namespace is asked for.
    pub fn needs_body(&self) -> bool {
        let in_metadata = |key: &str| matches!(key, "metadata.name" | "metadata.namespace");
        self.fields.iter().any(|r| !in_metadata(&r.key))
    }

    /// True when the labels of an object meet every requirement.
    pub fn matches_labels(&self, object: &Value) -> bool {
        let labels = meta(object).get("labels");
        let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
        self.labels.iter().all(|r| r.test.holds(label(&r.key)))
    }

    /// True when the fields of an object meet every requirement.
    pub fn matches_fields(&self, object: &Value) -> bool {
        self.fields
            .iter()
            .all(|r| r.test.holds(Some(&field_text(object, &r.key))))
    }
}

/// A field as text: absent fields are empty (booleans false).
fn field_text(object: &Value, path: &str) -> String {
    let value = path.split('.').try_fold(object, |v, key| v.get(key));
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(map)) if path == "source" => map
            .get("component")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        Some(Value::Null) | None if matches!(path, "spec.unschedulable" | "spec.hostNetwork") => {
            "false".to_owned()
        }
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

fn parse_fields(text: &str) -> Result<Vec<Requirement>, ApiError> {
    let mut out = Vec::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let negative = part.split_once("!=").map(|(k, v)| (k, v, true));
        let positive = || {
            part.split_once("==")
                .or_else(|| part.split_once('='))
                .map(|(k, v)| (k, v, false))
        };
        let Some((key, value, negated)) = negative.or_else(positive) else {
            return Err(ApiError::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{part}'"
            )));
        };
        let values = vec![value.to_owned()];
        let test = if negated {
            Test::NotIn(values)
        } else {
            Test::In(values)
        };
        out.push(Requirement {
            key: key.to_owned(),
            test,
        });
    }
    Ok(out)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
}

fn tokens(text: &str) -> Vec<Token> {
    const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", ",", "(", ")", ">", "<"];
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            out.push(Token::Symbol(symbol));
            rest = rest.strip_prefix(*symbol).unwrap_or_default();
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || "=!,()<>".contains(c))
                .unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            out.push(Token::Word(word.to_owned()));
            rest = tail;
        }
        rest = rest.trim_start();
    }
    out
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, ApiError> {
    let mut parser = Parser {
        tokens: tokens(text).into_iter().peekable(),
    };
    let mut out = Vec::new();
    if parser.tokens.peek().is_none() {
        return Ok(out);
    }
    loop {
        out.push(parser.requirement().map_err(unparsable)?);
        match parser.tokens.next() {
            None => return Ok(out),
            Some(Token::Symbol(",")) => {}
            other => return Err(parser.unexpected(other, "',' or 'end of string'")),
        }
    }
}

/// As the original introduces what is wrong inside a requirement.
fn unparsable(error: ApiError) -> ApiError {
    ApiError::bad_request(format!("unable to parse requirement: {}", error.message))
}

/// Keys and values must be such that a label could be written.
fn check(key: &str, test: &Test) -> Result<(), ApiError> {
    let bad = |place: &str, value: &Value, fault: &str| {
        Err(ApiError::bad_request(format!(
            "{place}: Invalid value: {value}: {fault}"
        )))
    };
    if let Some(fault) = qualified_name_fault(key) {
        return bad("key", &key.into(), &fault);
    }
    let (Test::In(values) | Test::NotIn(values)) = test else {
        return Ok(());
    };
    if values.is_empty() {
        let fault = "for 'in', 'notin' operators, values set can't be empty";
        return bad("values", &Value::Array(Vec::new()), fault);
    }
    for (index, value) in values.iter().enumerate() {
        if let Some(fault) = label_value_fault(value) {
            let place = format!("values[{index}][{key}]");
            return bad(&place, &value.as_str().into(), fault);
        }
    }
    Ok(())
}

impl Parser {
    fn unexpected(&self, found: Option<Token>, expected: &str) -> ApiError {
        let found = match found {
            None => String::new(),
            Some(Token::Word(word)) => word,
            Some(Token::Symbol(symbol)) => symbol.to_owned(),
        };
        ApiError::bad_request(format!("found '{found}', expected: {expected}"))
    }

    fn word(&mut self, expected: &str) -> Result<String, ApiError> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(self.unexpected(other, expected)),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, ApiError> {
        if self.tokens.peek() == Some(&Token::Symbol("!")) {
            self.tokens.next();
            let key = self.word("identifier")?;
            return Ok(Requirement {
                key,
                test: Test::Absent,
            });
        }
        let key = self.word("!, identifier, or 'end of string'")?;
        let test = match self.tokens.peek() {
            None | Some(Token::Symbol(",")) => Test::Exists,
            Some(Token::Symbol("=" | "==")) => {
                self.tokens.next();
                Test::In(vec![self.value()])
            }
            Some(Token::Symbol("!=")) => {
                self.tokens.next();
                Test::NotIn(vec![self.value()])
            }
            Some(Token::Symbol(">")) => {
                self.tokens.next();
                Test::Greater(self.number(&key)?)
            }
            Some(Token::Symbol("<")) => {
                self.tokens.next();
                Test::Less(self.number(&key)?)
            }
            Some(Token::Word(word)) if word == "in" => {
                self.tokens.next();
                Test::In(self.values()?)
            }
            Some(Token::Word(word)) if word == "notin" => {
                self.tokens.next();
                Test::NotIn(self.values()?)
            }
            _ => {
                let found = self.tokens.next();
                return Err(self.unexpected(found, "in, notin, =, ==, !=, gt, lt"));
            }
        };
        check(&key, &test)?;
        Ok(Requirement { key, test })
    }

    fn value(&mut self) -> String {
        match self.tokens.peek() {
            Some(Token::Word(_)) => self.word("identifier").unwrap_or_default(),
            _ => String::new(),
        }
    }

    fn number(&mut self, key: &str) -> Result<i64, ApiError> {
        let word = self.word("an integer")?;
        word.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "for 'Gt', 'Lt' operators, the value of {key} must be an integer"
            ))
        })
    }

    fn values(&mut self) -> Result<Vec<String>, ApiError> {
        match self.tokens.next() {
            Some(Token::Symbol("(")) => {}
            other => return Err(self.unexpected(other, "'('")),
        }
        let mut out = Vec::new();
        loop {
            out.push(self.value());
            match self.tokens.next() {
                Some(Token::Symbol(",")) => {}
                Some(Token::Symbol(")")) => return Ok(out),
                other => return Err(self.unexpected(other, "',' or ')'")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(labels: &str, fields: &str) -> Result<Selector, ApiError> {
        let registry = crate::registry::Registry::builtin();
        let pods = registry.get("", "v1", "pods").unwrap();
        Selector::parse(Some(labels), Some(fields), pods)
    }

    fn matches(labels: &str, object: &Value) -> bool {
        parse(labels, "").unwrap().matches_labels(object)
    }

    #[test]
    fn label_selectors() {
        let object = json!({"metadata": {"labels": {"a": "1", "b": "x"}}});
        for good in [
            "a=1",
            "a==1,b=x",
            "a in (1,2)",
            "c notin (y)",
            "!c",
            "a",
            "c!=1",
            "a>0",
            "a<2",
            "",
        ] {
            assert!(matches(good, &object), "{good}");
        }
        for bad in ["a=2", "c", "!a", "a notin (1)", "b in (y)", "a>1"] {
            assert!(!matches(bad, &object), "{bad}");
        }
        for (bad, said) in [
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            (
                "a in b",
                "unable to parse requirement: found 'b', expected: '('",
            ),
            (
                "a in (b@)",
                "unable to parse requirement: values[0][a]: Invalid value: \"b@\": a valid label must be",
            ),
            (
                "-a",
                "unable to parse requirement: key: Invalid value: \"-a\": name part must consist",
            ),
        ] {
            let message = parse(bad, "").unwrap_err().message;
            assert!(message.starts_with(said), "{bad}: {message}");
        }
    }

    #[test]
    fn field_selectors() {
        let object = json!({"metadata": {"name": "n"}, "spec": {"nodeName": "red"}});
        let selector = parse("", "spec.nodeName=red,metadata.name!=m").unwrap();
        assert!(selector.matches_fields(&object));
        let message = parse("", "spec.size=3").unwrap_err().message;
        assert_eq!(message, "field label not supported: spec.size");
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _ = parse(&text, &text);
        }
    }
}

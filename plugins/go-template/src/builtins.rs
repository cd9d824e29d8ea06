//! The functions of Go's text/template. There are no others.

use std::cmp::Ordering;
use std::fmt::Write as _;

use crate::compare;
use crate::printf;
use crate::value::Value;

/// Names with the least and the greatest number of arguments.
const FUNCTIONS: [(&str, usize, Option<usize>); 19] = [
    ("and", 1, None),
    ("call", 1, None),
    ("eq", 1, None),
    ("ge", 2, Some(2)),
    ("gt", 2, Some(2)),
    ("html", 0, None),
    ("index", 1, None),
    ("js", 0, None),
    ("le", 2, Some(2)),
    ("len", 1, Some(1)),
    ("lt", 2, Some(2)),
    ("ne", 2, Some(2)),
    ("not", 1, Some(1)),
    ("or", 1, None),
    ("print", 0, None),
    ("printf", 1, None),
    ("println", 0, None),
    ("slice", 1, None),
    ("urlquery", 0, None),
];

/// The name of a function, if there is one.
pub(crate) fn find(name: &str) -> Option<&'static str> {
    FUNCTIONS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(known, ..)| *known)
}

/// Checks the number of arguments.
pub(crate) fn check_count(name: &str, count: usize) -> Result<(), String> {
    let Some((_, least, greatest)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("function {name:?} not defined"));
    };
    match greatest {
        Some(greatest) if count > *greatest || count < *least => Err(format!(
            "wrong number of args for {name}: want {least} got {count}"
        )),
        None if count < *least => Err(format!(
            "wrong number of args for {name}: want at least {least} got {count}"
        )),
        _ => Ok(()),
    }
}

/// Calls any function but `and` and `or`, which do not evaluate all their arguments. `limit` bounds the bytes of a string.
pub(crate) fn call<'d>(
    name: &str,
    values: &[Value<'d>],
    limit: usize,
) -> Result<Value<'d>, String> {
    let called = match (name, values) {
        ("call", [Value::Nil, ..]) => Err("call of nil".to_owned()),
        ("call", [value, ..]) => Err(format!("non-function of type {}", value.type_name())),
        ("eq", [first, others @ ..]) => compare::equal_any(first, others).map(Value::Bool),
        ("ne", [left, right]) => compare::equal(left, right).map(|equal| Value::Bool(!equal)),
        ("lt", [left, right]) => {
            compare::order(left, right).map(|order| Value::Bool(order == Some(Ordering::Less)))
        }
        ("le", [left, right]) => compare::order(left, right)
            .map(|order| Value::Bool(matches!(order, Some(Ordering::Less | Ordering::Equal)))),
        ("gt", [left, right]) => compare::order(left, right)
            .map(|order| Value::Bool(!matches!(order, Some(Ordering::Less | Ordering::Equal)))),
        ("ge", [left, right]) => {
            compare::order(left, right).map(|order| Value::Bool(order != Some(Ordering::Less)))
        }
        ("index", [item, indexes @ ..]) => index(item, indexes),
        ("slice", [item, indexes @ ..]) => slice(item, indexes),
        ("len", [item]) => len(item),
        ("not", [item]) => Ok(Value::Bool(!item.is_true())),
        ("print", values) => Ok(Value::text(printf::print(values))),
        ("println", values) => Ok(Value::text(printf::println(values))),
        ("printf", [format, values @ ..]) => match format {
            Value::Text(format) => printf::printf(format, values, limit)
                .map(Value::text)
                .ok_or_else(|| format!("the result has more than {limit} bytes")),
            Value::Nil => return Err("invalid value; expected string".to_owned()),
            other => {
                return Err(format!(
                    "wrong type for value; expected string; got {}",
                    other.type_name()
                ));
            }
        },
        ("html", values) => Ok(Value::text(html(&joined(values)))),
        ("js", values) => Ok(Value::text(javascript(&joined(values)))),
        ("urlquery", values) => Ok(Value::text(url_query(&joined(values)))),
        _ => Err("wrong number of args".to_owned()),
    };
    called.map_err(|reason| format!("error calling {name}: {reason}"))
}

fn len<'d>(item: &Value<'d>) -> Result<Value<'d>, String> {
    let length = match item {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    i64::try_from(length)
        .map(Value::Int)
        .map_err(|error| error.to_string())
}

/// An index as a number up to and with `end`.
fn position(index: &Value<'_>, end: usize) -> Result<usize, String> {
    let Some(number) = index.as_int() else {
        return Err(match index {
            Value::Nil => "cannot index slice/array with nil".to_owned(),
            other => format!("cannot index slice/array with type {}", other.type_name()),
        });
    };
    usize::try_from(number)
        .ok()
        .filter(|position| *position <= end)
        .ok_or_else(|| format!("index out of range: {number}"))
}

fn index<'d>(item: &Value<'d>, indexes: &[Value<'d>]) -> Result<Value<'d>, String> {
    let mut item = item.clone();
    if matches!(item, Value::Nil) {
        return Err("index of untyped nil".to_owned());
    }
    for index in indexes {
        let out_of_range = |at: usize| format!("index out of range: {at}");
        item = match &item {
            Value::List(items) => {
                let at = position(index, items.len())?;
                Value::of(items.get(at).ok_or_else(|| out_of_range(at))?)
            }
            Value::Text(text) => {
                let at = position(index, text.len())?;
                Value::Byte(*text.as_bytes().get(at).ok_or_else(|| out_of_range(at))?)
            }
            Value::Map(map) => match index {
                Value::Text(key) => map.get(&**key).map_or(Value::Nil, Value::of),
                Value::Nil => return Err("value is nil; should be of type string".to_owned()),
                other => {
                    return Err(format!(
                        "value has type {}; should be string",
                        other.type_name()
                    ));
                }
            },
            Value::Nil => return Err("index of nil pointer".to_owned()),
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(item)
}

fn slice<'d>(item: &Value<'d>, indexes: &[Value<'d>]) -> Result<Value<'d>, String> {
    let end = match item {
        Value::Nil => return Err("slice of untyped nil".to_owned()),
        _ if indexes.len() > 3 => return Err(format!("too many slice indexes: {}", indexes.len())),
        Value::Text(_) if indexes.len() == 3 => {
            return Err("cannot slice a string with 3 indexes".to_owned());
        }
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, end, end];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, end)?;
    }
    let [from, to, capacity] = bounds;
    if from > to || to > capacity {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match item {
        Value::Text(text) => text
            .get(from..to)
            .map(Value::text)
            .ok_or_else(|| format!("slice {from}:{to} cuts a character in two")),
        Value::List(items) => Ok(Value::List(items.get(from..to).unwrap_or_default())),
        other => Err(format!("can't slice item of type {}", other.type_name())),
    }
}

/// The arguments of an escaping function as one text.
fn joined(values: &[Value<'_>]) -> String {
    let shown: Vec<Value<'_>> = values
        .iter()
        .map(|value| match value {
            Value::Nil => Value::text("<no value>"),
            value => value.clone(),
        })
        .collect();
    printf::print(&shown)
}

fn html(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => output.push_str("&#34;"),
            '\'' => output.push_str("&#39;"),
            '&' => output.push_str("&amp;"),
            '<' => output.push_str("&lt;"),
            '>' => output.push_str("&gt;"),
            '\0' => output.push(char::REPLACEMENT_CHARACTER),
            c => output.push(c),
        }
    }
    output
}

fn javascript(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => output.push_str("\\\\"),
            '\'' => output.push_str("\\'"),
            '"' => output.push_str("\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\u{1f}' => {
                let _ = write!(output, "\\u{:04X}", u32::from(c));
            }
            c if printf::is_printable(c) => output.push(c),
            c => {
                let _ = write!(output, "\\u{:04X}", u32::from(c));
            }
        }
    }
    output
}

fn url_query(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => output.push('+'),
            b'-' | b'_' | b'.' | b'~' => output.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => output.push(char::from(byte)),
            byte => {
                let _ = write!(output, "%{byte:02X}");
            }
        }
    }
    output
}

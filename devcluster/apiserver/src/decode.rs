//! Reading JSON the way the original does: with its words for syntax errors, and an eye for keys written twice.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// How deep values may be nested; deeper ones are refused by the parser already.
const DEPTH: usize = 128;

/// Reads a JSON value; `duplicates` receives the paths of keys that were written twice.
pub fn read(body: &[u8], duplicates: &mut Vec<String>) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let mut path = String::new();
    let seed = Seed {
        path: &mut path,
        duplicates,
        depth: 0,
    };
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// A syntax error as the JSON decoder of the original words it.
pub fn go_syntax_error(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = body
        .split(|b| *b == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let rest = line
        .get(error.column().saturating_sub(1)..)
        .unwrap_or_default();
    let found = String::from_utf8_lossy(rest.get(..rest.len().min(4)).unwrap_or_default())
        .chars()
        .next();
    match found {
        Some(found) => {
            let text = error.to_string();
            let place = if text.contains("key must be a string") {
                "looking for beginning of object key string"
            } else if text.contains("expected value") || text.contains("expected ident") {
                "looking for beginning of value"
            } else if text.contains("expected `,` or `}`") {
                "after object key:value pair"
            } else if text.contains("expected `,` or `]`") {
                "after array element"
            } else if text.contains("trailing characters") {
                "after top-level value"
            } else {
                return text;
            };
            format!("invalid character '{found}' {place}")
        }
        None => error.to_string(),
    }
}

struct Seed<'a> {
    path: &'a mut String,
    duplicates: &'a mut Vec<String>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        if self.depth > DEPTH {
            return Err(A::Error::custom("the value is nested too deeply"));
        }
        let mut out = Vec::new();
        let length = self.path.len();
        loop {
            self.path.push_str(&format!("[{}]", out.len()));
            let seed = Seed {
                path: &mut *self.path,
                duplicates: &mut *self.duplicates,
                depth: self.depth + 1,
            };
            let item = list.next_element_seed(seed)?;
            self.path.truncate(length);
            match item {
                Some(item) => out.push(item),
                None => return Ok(Value::Array(out)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        if self.depth > DEPTH {
            return Err(A::Error::custom("the value is nested too deeply"));
        }
        let mut out = Map::new();
        let length = self.path.len();
        while let Some(key) = map.next_key::<String>()? {
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(&key);
            if out.contains_key(&key) && !self.duplicates.contains(self.path) {
                self.duplicates.push(self.path.clone());
            }
            let seed = Seed {
                path: &mut *self.path,
                duplicates: &mut *self.duplicates,
                depth: self.depth + 1,
            };
            let value = map.next_value_seed(seed)?;
            self.path.truncate(length);
            out.insert(key, value);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_written_twice_are_named() {
        let mut twice = Vec::new();
        let value = read(
            br#"{"spec": {"a": 1, "a": 2, "l": [{"x": 1}, {"x": 1, "x": 2}]}}"#,
            &mut twice,
        );
        assert_eq!(twice, ["spec.a", "spec.l[1].x"]);
        assert_eq!(value.unwrap()["spec"]["a"], 2);
    }

    #[test]
    fn syntax_errors_have_the_words_of_the_original() {
        let cases = [
            (
                "{nope",
                "invalid character 'n' looking for beginning of object key string",
            ),
            ("{\"a\": ", "unexpected end of JSON input"),
            (
                "{\"a\":1 2}",
                "invalid character '2' after object key:value pair",
            ),
        ];
        for (text, said) in cases {
            let error = read(text.as_bytes(), &mut Vec::new()).unwrap_err();
            assert_eq!(go_syntax_error(text.as_bytes(), &error), said, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_reads(text in r#"[\[\]{}",:0-9a-z ]{0,40}"#) {
            let ours = read(text.as_bytes(), &mut Vec::new()).ok();
            prop_assert_eq!(ours, serde_json::from_str::<Value>(&text).ok());
        }
    }
}

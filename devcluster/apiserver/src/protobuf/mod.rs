//! Reading the protobuf bodies kubectl insists on for a few kinds. The server itself answers in JSON only.

mod messages;

use base64::Engine as _;
use serde_json::{Map, Value};

use messages::{Field, Kind, Message};

/// What every protobuf body of Kubernetes starts with.
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages may be nested.
const DEPTH_LIMIT: usize = 32;

/// Decodes a body; None when it is malformed or of a kind without a table.
pub fn decode(body: &[u8]) -> Option<Value> {
    let envelope = body.strip_prefix(MAGIC)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), None);
    for field in Fields(envelope) {
        match field? {
            (1, Wire::Bytes(meta)) => {
                for field in Fields(meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = text_of(text)?,
                        (2, Wire::Bytes(text)) => kind = text_of(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = Some(bytes),
            _ => {}
        }
    }
    let message = messages::of_kind(&kind)?;
    let mut object = read_message(raw.unwrap_or_default(), message, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Some(Value::Object(object))
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message in the order they were written; None for a malformed one.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Bytes(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((tag >> 3, wire))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn text_of(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn read_message(bytes: &[u8], message: &Message, depth: usize) -> Option<Map<String, Value>> {
    if depth > DEPTH_LIMIT {
        return None;
    }
    let mut out = Map::new();
    for field in Fields(bytes) {
        let (number, wire) = field?;
        let Some(known) = message.fields.iter().find(|f| f.number == number) else {
            continue;
        };
        add(&mut out, known, wire, depth)?;
    }
    Some(out)
}

fn add(out: &mut Map<String, Value>, field: &Field, wire: Wire<'_>, depth: usize) -> Option<()> {
    if let Kind::Map(values) = &field.kind {
        let Wire::Bytes(entry) = wire else {
            return None;
        };
        let (mut key, mut value) = (String::new(), values.empty());
        for part in Fields(entry) {
            match part? {
                (1, Wire::Bytes(text)) => key = text_of(text)?,
                (2, wire) => value = scalar(values, wire, depth)?,
                _ => {}
            }
        }
        crate::object::child_map(out, field.name)?.insert(key, value);
        return Some(());
    }
    let value = scalar(&field.kind, wire, depth)?;
    if let (Kind::Inline(_), Value::Object(inner)) = (&field.kind, &value) {
        out.extend(inner.clone());
        return Some(());
    }
    if field.repeated {
        let slot = out
            .entry(field.name)
            .or_insert_with(|| Value::Array(Vec::new()));
        slot.as_array_mut()?.push(value);
    } else if !is_unset(&field.kind, &value) {
        out.insert(field.name.to_owned(), value);
    }
    Some(())
}

/// Scalars without presence are written even when they are empty; JSON leaves them out.
fn is_unset(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::Text => value.as_str() == Some(""),
        Kind::Time => value.is_null(),
        Kind::Flag => value == &Value::Bool(false),
        Kind::Number => value.as_i64() == Some(0),
        _ => false,
    }
}

fn scalar(kind: &Kind, wire: Wire<'_>, depth: usize) -> Option<Value> {
    Some(match (kind, wire) {
        (Kind::Text, Wire::Bytes(bytes)) => text_of(bytes)?.into(),
        (Kind::Bytes, Wire::Bytes(bytes)) => base64::engine::general_purpose::STANDARD
            .encode(bytes)
            .into(),
        (Kind::Bool | Kind::Flag, Wire::Number(number)) => (number != 0).into(),
        (Kind::Integer | Kind::Number, Wire::Number(number)) => number.cast_signed().into(),
        (Kind::Time, Wire::Bytes(bytes)) => time(bytes)?,
        (Kind::Quantity, Wire::Bytes(bytes)) => quantity(bytes)?,
        (Kind::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Kind::Message(message) | Kind::Inline(message), Wire::Bytes(bytes)) => {
            Value::Object(read_message(bytes, message, depth + 1)?)
        }
        _ => return None,
    })
}

/// A quantity is a message with its text.
fn quantity(bytes: &[u8]) -> Option<Value> {
    let mut text = String::from("0");
    for field in Fields(bytes) {
        if let (1, Wire::Bytes(own)) = field? {
            text = text_of(own)?;
        }
    }
    Some(text.into())
}

/// Which of the two it is stands in front.
fn int_or_string(bytes: &[u8]) -> Option<Value> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(own)) => number = own.cast_signed(),
            (3, Wire::Bytes(own)) => text = text_of(own)?,
            _ => {}
        }
    }
    Some(if is_text { text.into() } else { number.into() })
}

fn time(bytes: &[u8]) -> Option<Value> {
    let mut seconds = None;
    for field in Fields(bytes) {
        if let (1, Wire::Number(number)) = field? {
            seconds = Some(number.cast_signed());
        }
    }
    Some(match seconds {
        Some(seconds) => jiff::Timestamp::from_second(seconds)
            .ok()?
            .to_string()
            .into(),
        None => Value::Null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    }

    fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [
            bytes_field(1, version.as_bytes()),
            bytes_field(2, kind.as_bytes()),
        ]
        .concat();
        [MAGIC.to_vec(), bytes_field(1, &meta), bytes_field(2, raw)].concat()
    }

    #[test]
    fn a_secret_is_read() {
        let meta = [
            bytes_field(1, b"s"),
            bytes_field(2, b""),
            bytes_field(8, b""),
        ]
        .concat();
        let entry = [bytes_field(1, b"p"), bytes_field(2, b"1")].concat();
        let raw = [
            bytes_field(1, &meta),
            bytes_field(2, &entry),
            bytes_field(3, b"Opaque"),
        ]
        .concat();
        let object = decode(&envelope("v1", "Secret", &raw)).unwrap();
        assert_eq!(
            object,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"p": "MQ=="}, "type": "Opaque"})
        );
    }

    #[test]
    fn malformed_bodies_are_refused() {
        let good = envelope("v1", "Secret", &bytes_field(1, b""));
        assert!(decode(&good).is_some());
        assert!(decode(good.strip_suffix(b"\0").unwrap_or(&good[..good.len() - 1])).is_none());
        assert!(decode(&envelope("v1", "Gadget", b"")).is_none());
        assert!(decode(b"k8s").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&envelope("v1", "ConfigMap", &bytes));
        }
    }
}

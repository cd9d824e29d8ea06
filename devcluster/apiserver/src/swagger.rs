//! OpenAPI v2, in JSON and in the protobuf form kubectl validates lists of objects with.

use serde_json::{Map, Value, json};

use crate::discovery::GIT_VERSION;
use crate::openapi;
use crate::registry::Registry;
use crate::schema::types::REF_PREFIX;

/// The media type of the protobuf form.
pub const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// True when a client asks for the protobuf form.
pub fn wants_protobuf(accept: &str) -> bool {
    accept.contains("com.github.proto-openapi.spec.v2")
}

/// The schemas of everything.
pub fn document(registry: &Registry) -> Value {
    let mut definitions = openapi::all_schemas(registry);
    definitions.values_mut().for_each(point_to_definitions);
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": GIT_VERSION}, "paths": {},
        "definitions": definitions})
}

/// References of the older form point elsewhere, and stand alone.
fn point_to_definitions(node: &mut Value) {
    match node {
        Value::Object(map) => {
            let wrapped = map
                .get("allOf")
                .and_then(|all| all.get(0)?.get("$ref").cloned());
            if let Some(reference) = wrapped {
                map.remove("allOf");
                map.insert("$ref".into(), reference);
            }
            if let Some(Value::String(reference)) = map.get_mut("$ref") {
                *reference = reference.replace(REF_PREFIX, "#/definitions/");
            }
            map.values_mut().for_each(point_to_definitions);
        }
        Value::Array(list) => list.iter_mut().for_each(point_to_definitions),
        _ => {}
    }
}

/// A document in the protobuf form, as far as validation needs it. The numbers are those of the message
/// `openapi.v2.Document`.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, text(document, "swagger"));
    let info = document.get("info").unwrap_or(&Value::Null);
    let mut written = Message::default();
    written.text(1, text(info, "title"));
    written.text(2, text(info, "version"));
    out.message(2, &written);
    out.message(8, &Message::default());
    let mut definitions = Message::default();
    named_schemas(document.get("definitions"), &mut definitions);
    out.message(9, &definitions);
    out.0
}

fn text<'a>(node: &'a Value, key: &str) -> &'a str {
    node.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn named_schemas(map: Option<&Value>, out: &mut Message) {
    for (name, node) in map.and_then(Value::as_object).into_iter().flatten() {
        let mut entry = Message::default();
        entry.text(1, name);
        entry.message(2, &schema(node));
        out.message(1, &entry);
    }
}

fn schema(node: &Value) -> Message {
    let mut out = Message::default();
    if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
        out.text(1, reference);
        return out;
    }
    out.text(2, text(node, "format"));
    out.text(4, text(node, "description"));
    let required = node.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        out.text(19, name);
    }
    if let Some(values) = node.get("additionalProperties").filter(|v| v.is_object()) {
        let mut item = Message::default();
        item.message(1, &schema(values));
        out.message(21, &item);
    }
    let kind = text(node, "type");
    if !kind.is_empty() {
        let mut item = Message::default();
        item.text(1, kind);
        out.message(22, &item);
    }
    if kind == "array" {
        let mut item = Message::default();
        let empty = Value::Object(Map::new());
        item.message(1, &schema(node.get("items").unwrap_or(&empty)));
        out.message(23, &item);
    }
    if let Some(properties) = node.get("properties") {
        let mut written = Message::default();
        named_schemas(Some(properties), &mut written);
        out.message(25, &written);
    }
    for (name, value) in node.as_object().into_iter().flatten() {
        if name.starts_with("x-") {
            let mut any = Message::default();
            any.text(2, &value.to_string());
            let mut entry = Message::default();
            entry.text(1, name);
            entry.message(2, &any);
            out.message(31, &entry);
        }
    }
    out
}

/// A message being written.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or_default();
            value >>= 7;
            if value == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }

    fn bytes(&mut self, number: u64, content: &[u8]) {
        self.varint(number << 3 | 2);
        self.varint(content.len() as u64);
        self.0.extend_from_slice(content);
    }

    fn text(&mut self, number: u64, content: &str) {
        if !content.is_empty() {
            self.bytes(number, content.as_bytes());
        }
    }

    fn message(&mut self, number: u64, content: &Message) {
        self.bytes(number, &content.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_is_defined() {
        fn references(node: &Value, out: &mut Vec<String>) {
            match node {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        out.push(reference.clone());
                    }
                    map.values().for_each(|v| references(v, out));
                }
                Value::Array(list) => list.iter().for_each(|v| references(v, out)),
                _ => {}
            }
        }
        let document = document(&Registry::builtin());
        let mut all = Vec::new();
        references(&document, &mut all);
        assert!(!all.is_empty());
        for reference in all {
            let name = reference.strip_prefix("#/definitions/").unwrap();
            assert!(document["definitions"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        let mut message = Message::default();
        message.text(1, &"x".repeat(300));
        assert_eq!(message.0[..3], [0x0a, 0xac, 0x02]);
    }
}

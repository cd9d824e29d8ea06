//! Replays conversations recorded with a real kube-apiserver and compares every answer.
//!
//! Values that differ from run to run are replaced by placeholders before comparing, as in the recorder. Waiting
//! times of the recording are not kept: background jobs are done before the next request is read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may be as blunt as the tests"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use dpf_apiserver::{ApiServer, ApiService, Clock, Options};
use http_body_util::{BodyExt as _, Full};
use regex::Regex;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

/// Steps that do not pass yet, as `case/step`. Whoever makes one pass takes it off the list.
const KNOWN_FAILURES: &[&str] = &[];

const VOLATILE: &[(&str, &str)] = &[
    ("uid", "<uid>"),
    ("resourceVersion", "<rv>"),
    ("creationTimestamp", "<time>"),
    ("deletionTimestamp", "<time>"),
    ("time", "<time>"),
    ("lastTransitionTime", "<time>"),
    ("continue", "<continue>"),
    ("storageVersionHash", "<hash>"),
    ("remainingItemCount", "<n>"),
];

struct Placeholders {
    uuid: Regex,
    age: Regex,
    time: Regex,
}

impl Placeholders {
    fn new() -> Self {
        let regex = |text: &str| Regex::new(text).unwrap();
        Self {
            uuid: regex("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
            age: regex(r"^([0-9]+[smhdy])+$"),
            time: regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z"),
        }
    }

    fn apply(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(self.apply_to_map(map)),
            Value::Array(list) => list.iter().map(|v| self.apply(v)).collect(),
            Value::String(text) => {
                let text = self.uuid.replace_all(text, "<uid>");
                let text = self.age.replace_all(&text, "<age>");
                self.time.replace_all(&text, "<time>").into_owned().into()
            }
            other => other.clone(),
        }
    }

    fn apply_to_map(&self, map: &Map<String, Value>) -> Map<String, Value> {
        let prefix = map
            .get("generateName")
            .and_then(Value::as_str)
            .filter(|p| !p.is_empty());
        let mut out = Map::new();
        for (key, value) in map {
            let volatile = VOLATILE
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, placeholder)| *placeholder);
            let set = value.is_number() || value.as_str().is_some_and(|t| !t.is_empty());
            let generated = prefix
                .filter(|p| key == "name" && value.as_str().is_some_and(|n| n.starts_with(p)));
            let (key, value) = match (volatile.filter(|_| set), generated) {
                (Some(placeholder), _) => (key.clone(), placeholder.into()),
                (None, Some(prefix)) => (key.clone(), format!("{prefix}<rand>").into()),
                (None, None) => (
                    self.uuid.replace_all(key, "<uid>").into_owned(),
                    self.apply(value),
                ),
            };
            out.insert(key, value);
        }
        out
    }
}

fn dig(value: &Value, path: &str) -> Value {
    let found = path.split('.').try_fold(value, |value, part| match value {
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        Value::Object(map) => map.get(part),
        _ => None,
    });
    found.cloned().unwrap_or(Value::Null)
}

/// Fills in `${step.path}` from earlier answers.
fn fill(value: &Value, seen: &BTreeMap<String, Value>) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(k, v)| (k.clone(), fill(v, seen)))
                .collect(),
        ),
        Value::Array(list) => list.iter().map(|v| fill(v, seen)).collect(),
        Value::String(text) => fill_text(text, seen).into(),
        other => other.clone(),
    }
}

fn fill_text(text: &str, seen: &BTreeMap<String, Value>) -> String {
    let reference = Regex::new(r"\$\{([^}.]+)\.([^}]+)\}").unwrap();
    let replace = |found: &regex::Captures<'_>| match dig(&seen[&found[1]], &found[2]) {
        Value::String(text) => text,
        other => other.to_string(),
    };
    reference.replace_all(text, replace).into_owned()
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(b).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

async fn call(service: &ApiService, step: &Value, seen: &BTreeMap<String, Value>) -> (u16, Value) {
    let text = |key: &str| step.get(key).and_then(Value::as_str);
    let mut url = fill_text(text("path").unwrap(), seen);
    if let Some(query) = step.get("query").and_then(Value::as_object) {
        let pair = |(key, value): (&String, &Value)| {
            format!(
                "{}={}",
                escape(key),
                escape(&fill_text(value.as_str().unwrap(), seen))
            )
        };
        url = format!(
            "{url}?{}",
            query.iter().map(pair).collect::<Vec<_>>().join("&")
        );
    }
    let body = match (text("rawBody"), step.get("body")) {
        (Some(raw), _) => Some(raw.to_owned()),
        (None, Some(body)) => Some(fill(body, seen).to_string()),
        (None, None) => None,
    };
    let mut request = http::Request::builder()
        .method(text("method").unwrap_or("GET"))
        .uri(url)
        .header("Accept", text("accept").unwrap_or("application/json"))
        .header("User-Agent", "Python-urllib/3.11");
    if body.is_some() {
        request = request.header(
            "Content-Type",
            text("contentType").unwrap_or("application/json"),
        );
    }
    let request = request
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    // A watch ends by its timeout; the paused clock jumps there.
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let answer = String::from_utf8(bytes.to_vec()).unwrap();
    if step.get("watch") == Some(&Value::Bool(true)) {
        let events: Vec<Value> = answer
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        return (status, json!({ "events": events }));
    }
    (
        status,
        serde_json::from_str(&answer).unwrap_or_else(|_| json!({ "text": answer })),
    )
}

fn differences(want: &Value, got: &Value, path: &str, out: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            for (key, value) in want {
                match got.get(key) {
                    Some(other) => differences(value, other, &format!("{path}.{key}"), out),
                    None => out.push(format!("{path}.{key}: missing, want {value}")),
                }
            }
            let extra = got.iter().filter(|(key, _)| !want.contains_key(*key));
            out.extend(extra.map(|(key, value)| format!("{path}.{key}: unexpected {value}")));
        }
        (Value::Array(want), Value::Array(got)) => {
            if want.len() != got.len() {
                out.push(format!(
                    "{path}: want {} items, got {}",
                    want.len(),
                    got.len()
                ));
            }
            for (index, (want, got)) in want.iter().zip(got).enumerate() {
                differences(want, got, &format!("{path}[{index}]"), out);
            }
        }
        (want, got) if want != got => out.push(format!("{path}: want {want}, got {got}")),
        _ => {}
    }
}

async fn replay(service: &ApiService, case: &Value, failed: &mut Vec<String>) -> usize {
    let placeholders = Placeholders::new();
    let mut seen = BTreeMap::new();
    let mut passed = 0;
    for step in case["steps"].as_array().unwrap() {
        let (status, body) = call(service, step, &seen).await;
        let shown = placeholders.apply(&body);
        seen.insert(step["id"].as_str().unwrap().to_owned(), body);
        let mut got = json!({ "status": status });
        if let Some(only) = step.get("only").and_then(Value::as_array) {
            let fields = only
                .iter()
                .map(|p| p.as_str().unwrap())
                .map(|p| (p.to_owned(), dig(&shown, p)));
            got["fields"] = Value::Object(fields.collect());
        } else if step.get("statusOnly").is_none() {
            got["body"] = shown;
        }
        let mut found = Vec::new();
        differences(&step["expect"], &got, "", &mut found);
        let id = format!(
            "{}/{}",
            case["name"].as_str().unwrap(),
            step["id"].as_str().unwrap()
        );
        if found.is_empty() {
            passed += 1;
        } else {
            println!("{id}\n    {}", found.join("\n    "));
            failed.push(id);
        }
    }
    passed
}

#[tokio::test(start_paused = true)]
async fn recorded_steps() {
    let now: jiff::Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    let server = ApiServer::new(Options {
        clock: Clock::new(move || now),
        seed: 1,
        ..Options::default()
    });
    let service = server.service();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    let (mut passed, mut failed) = (0, Vec::new());
    for file in files {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        passed += replay(&service, &case, &mut failed).await;
    }
    println!("{passed} passed, {} failed", failed.len());
    assert_eq!(failed, KNOWN_FAILURES);
    assert_eq!(passed + failed.len(), 196);
}

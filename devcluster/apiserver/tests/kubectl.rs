//! Runs the recorded kubectl transcript against the listener and compares what a person sees.
//!
//! Skipped, saying so, where no kubectl is on the PATH.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may be as blunt as the tests"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use dpf_apiserver::{ApiServer, Clock, Options, Tls, Token};
use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;

/// Commands that do not pass yet. Whoever makes one pass takes it off the list.
const KNOWN_FAILURES: &[&str] = &[];

const TOKEN: &str = "transcript";

fn placeholders() -> Vec<(Regex, &'static str)> {
    [
        (
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "<uid>",
        ),
        (
            r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z",
            "<time>",
        ),
        (
            r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]+ \+0000",
            "<time>",
        ),
        (r#"/tmp/[^\s"']+"#, "<tmp>"),
        (r#"([Rr]esource ?[Vv]ersion:?\s+"?)[0-9]+"#, "${1}<rv>"),
        (r"\b([0-9]+[smhd])+\b", "<age>"),
        (r"https?://127\.0\.0\.1:[0-9]+", "<server>"),
        (r"[ \t]+", " "),
    ]
    .into_iter()
    .map(|(pattern, placeholder)| (Regex::new(pattern).unwrap(), placeholder))
    .collect()
}

fn normal(text: &[u8], placeholders: &[(Regex, &str)]) -> String {
    let mut text = String::from_utf8_lossy(text).into_owned();
    for (pattern, placeholder) in placeholders {
        text = pattern.replace_all(&text, *placeholder).into_owned();
    }
    text.trim().to_owned()
}

fn run(document: &Value, folder: &Path) -> Vec<String> {
    for (name, text) in document["files"].as_object().unwrap() {
        std::fs::write(folder.join(name), text.as_str().unwrap()).unwrap();
    }
    let placeholders = placeholders();
    let mut failed = Vec::new();
    for command in document["commands"].as_array().unwrap() {
        let line = command["run"].as_str().unwrap();
        let output = Command::new("timeout")
            .args(["60", "sh", "-c", line])
            .current_dir(folder)
            .env("HOME", folder)
            .env("KUBECONFIG", folder.join("kubeconfig"))
            // `kubectl diff` compares temporary directories, whose names are replaced when they are under /tmp.
            .env("TMPDIR", "/tmp")
            .output()
            .unwrap();
        let expect = &command["expect"];
        let got = [
            ("exit", Value::from(output.status.code())),
            ("stdout", normal(&output.stdout, &placeholders).into()),
            ("stderr", normal(&output.stderr, &placeholders).into()),
        ];
        let compared = |key: &str| {
            command
                .get("only")
                .is_none_or(|o| o.as_array().unwrap().contains(&key.into()))
        };
        let wrong: Vec<_> = got
            .iter()
            .filter(|(key, value)| compared(key) && expect[*key] != *value)
            .collect();
        if !wrong.is_empty() {
            println!("{line}");
            for (key, value) in wrong {
                println!("    {key} want: {}\n    {key} got:  {value}", expect[*key]);
            }
            failed.push(line.to_owned());
        }
    }
    failed
}

async fn transcript(file: &str) -> Option<Vec<String>> {
    let version = Command::new("kubectl")
        .args(["version", "--client"])
        .output();
    if !version.is_ok_and(|v| v.status.success()) {
        println!("skipped: there is no kubectl on the PATH");
        return None;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file);
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    // Entries of managed fields are sorted by time, so the transcript happens within one second.
    let now = Timestamp::now();
    let server = ApiServer::new(Options {
        clock: Clock::new(move || now),
        tokens: vec![Token::admin(TOKEN)],
        anonymous: false,
        ..Options::default()
    });
    let listening = server
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)), Tls::SelfSigned)
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("kubeconfig"),
        listening.kubeconfig(TOKEN),
    )
    .unwrap();
    let place = folder.path().to_owned();
    let failed = tokio::task::spawn_blocking(move || run(&document, &place))
        .await
        .unwrap();
    listening.stop().await;
    Some(failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_commands() {
    if let Some(failed) = transcript("kubectl.json").await {
        assert_eq!(failed, KNOWN_FAILURES);
    }
}

/// Verbs that were not recorded: edit, drain, watching, cascades, strategic patches. Written down from this server
/// and checked by hand against what kubectl documents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_commands() {
    if let Some(failed) = transcript("more-kubectl.json").await {
        assert_eq!(failed, KNOWN_FAILURES);
    }
}

/// What people create by hand: workloads, services, rights and tokens; and the refusals they meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creating_commands() {
    if let Some(failed) = transcript("create-kubectl.json").await {
        assert_eq!(failed, KNOWN_FAILURES);
    }
}

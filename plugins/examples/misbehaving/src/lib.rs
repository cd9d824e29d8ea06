//! A template-merge plugin that does whatever its settings say, for tests of hosts.
//!
//! The settings are one word in quotes, or an object with that word as its `mode`. Every way in which a plugin can be at fault
//! has one; without any it behaves.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use dpf_plugin_sdk::values::{Request, Response};
use dpf_plugin_sdk::{
    Descriptor, Failure, Finding, Level, Plugin, Settings, TemplateMerge, descriptor, error, log,
};

static CALLS: AtomicU32 = AtomicU32::new(0);

/// What to do.
pub struct Mode(String);

impl Settings for Mode {
    fn schema() -> String {
        r#"{"anyOf":[{"type":"string"},{"type":"object","additionalProperties":false,"properties":{"mode":{"type":"string"}}}]}"#
            .to_owned()
    }

    fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        match mode(text) {
            "refuse" => Err(vec![error(
                "settings",
                "settings.mode",
                "refused, as asked",
            )]),
            "loop at load" => run_forever(),
            mode => Ok(Mode(mode.to_owned())),
        }
    }
}

/// The exported plugin.
pub struct Misbehaving;

impl Plugin for Misbehaving {
    type Settings = Mode;

    fn describe() -> Descriptor {
        descriptor!("example.com", "Misbehaves on demand.")
    }
}

impl TemplateMerge for Misbehaving {
    #[expect(clippy::panic, reason = "misbehaving is what it is for")]
    fn merge(request: Request, Mode(mode): Mode) -> Result<Response, Failure> {
        let mut values = request.configuration_values.clone();
        let mut findings = Vec::new();
        match mode.as_str() {
            // As the built-in plugin does for values of one side.
            "keep" => values = values.or_else(|| request.template_values.clone()),
            "stamp" => values = Some(stamped(request.template_values.as_deref())),
            "other namespace" => values = Some(manifest("ConfigMap", "kube-system")),
            "cluster kind" => values = Some(manifest("ClusterRoleBinding", "")),
            "deep" => values = Some(format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120))),
            "deeper" => values = Some(format!("{}{}", "[".repeat(500_000), "]".repeat(500_000))),
            "loop" => run_forever(),
            "grow" => grow(),
            "panic" => panic!("panicking, as asked"),
            "recurse" => values = Some(recurse(0).to_string()),
            "huge" => values = Some(format!("{{\"x\":\"{}\"}}", "x".repeat(2 << 20))),
            "hundred megabytes" => {
                values = Some(format!("{{\"x\":\"{}\"}}", "x".repeat(100 << 20)));
            }
            "not json" => values = Some("{".to_owned()),
            "not an object" => values = Some("[]".to_owned()),
            "no findings" => {
                let (code, message) = ("Nothing".to_owned(), "for no reason".to_owned());
                return Err(Failure {
                    code,
                    message,
                    findings,
                });
            }
            "count" => {
                values = Some(format!(
                    "{{\"calls\":{}}}",
                    CALLS.fetch_add(1, Ordering::Relaxed)
                ))
            }
            "chatter" => (0..5_000).for_each(|line| log(Level::Debug, &format!("line {line}"))),
            _ => findings.clear(),
        }
        Ok(Response {
            configuration_values: request.configuration_values,
            values,
            findings,
            annotations: Vec::new(),
        })
    }
}

dpf_plugin_sdk::template_merge!(Misbehaving);

fn mode(settings: &str) -> &str {
    let after = settings
        .split_once("\"mode\":")
        .map_or(settings, |(_, rest)| rest);
    after.trim_matches(['"', '}', '{', ' '])
}

/// What a test changes in the built component to get another version of the plugin.
const STAMP: &str = "made by version 1";

/// The template's values and who made them.
fn stamped(template: Option<&str>) -> String {
    let rest = template.and_then(|t| t.strip_prefix('{')).unwrap_or("}");
    let comma = if rest.trim() == "}" { "" } else { "," };
    format!("{{\"stamp\":\"{}\"{comma}{rest}", black_box(STAMP))
}

fn manifest(kind: &str, namespace: &str) -> String {
    format!(
        r#"{{"extra":[{{"apiVersion":"v1","kind":"{kind}","metadata":{{"name":"x","namespace":"{namespace}"}}}}]}}"#
    )
}

fn run_forever() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn grow() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[expect(unconditional_recursion, reason = "until the stack is full")]
fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    recurse(depth.wrapping_add(1)).wrapping_add(here.iter().sum::<u64>())
}

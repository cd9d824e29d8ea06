//! `dpfctl plugin inspect`: what a host sees of a component.

use std::process::ExitCode;

use dpf_engine::{Component, Inspection, inspect as look};
use dpf_plugin_harness::{HarnessOptions, size};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::arguments::{Format, InspectArgs};
use super::source::{self, Source};
use crate::say;

/// Shows it.
///
/// # Errors
/// It is no component at all.
pub fn inspect(arguments: &InspectArgs) -> anyhow::Result<ExitCode> {
    let source = source::open(&arguments.component)?;
    let inspection = look(&source.bytes)?;
    let options = HarnessOptions {
        skip_fuel: true,
        ..HarnessOptions::default()
    };
    let harness = source::harness(&arguments.component, options)?;
    let admitted = harness.admit(&source.bytes, source.stage);
    let (component, reason) = match &admitted {
        Ok(component) => (Some(component), None),
        Err(error) => (
            None,
            Some(format!("{:#}", anyhow::Error::msg(chain(error)))),
        ),
    };
    let facts = facts(&source, &inspection, component, reason.as_deref());
    match arguments.output {
        Format::Json => say(&format!("{facts:#}\n"))?,
        Format::Text => say(&text(&facts))?,
    }
    Ok(if component.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn facts(
    source: &Source,
    inspection: &Inspection,
    component: Option<&Component>,
    reason: Option<&str>,
) -> Value {
    let worlds: Vec<String> = inspection
        .stages()
        .iter()
        .map(|stage| format!("dpf:plugin/{stage}"))
        .collect();
    let schema = component
        .and_then(|it| it.settings_schema().ok())
        .and_then(|text| serde_json::from_str::<Value>(&text).ok());
    json!({
        "component": source.name,
        "digest": format!("sha256:{}", hex::encode(Sha256::digest(&source.bytes))),
        "bytes": source.bytes.len(),
        "worlds": worlds,
        "imports": inspection.imports,
        "exports": inspection.exports,
        "forbidden": inspection.forbidden,
        "admitted": component.is_some(),
        "descriptor": component.map(Component::descriptor),
        "settingsSchema": schema,
        "reason": reason,
    })
}

fn text(facts: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| {
        let items: Vec<&str> = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if items.is_empty() {
            "none".to_owned()
        } else {
            items.join(", ")
        }
    };
    let bytes = facts["bytes"]
        .as_u64()
        .and_then(|bytes| usize::try_from(bytes).ok());
    let mut rows = vec![
        ("component", word(&facts["component"])),
        ("digest", word(&facts["digest"])),
        ("size", size(bytes.unwrap_or_default())),
        ("world", list(&facts["worlds"])),
        ("imports", list(&facts["imports"])),
        ("exports", list(&facts["exports"])),
    ];
    let who = &facts["descriptor"];
    if who.is_object() {
        rows.push((
            "plugin",
            format!("{} {}", word(&who["name"]), word(&who["version"])),
        ));
        rows.push(("vendor", word(&who["vendor"])));
        rows.push(("about", word(&who["description"])));
        rows.push(("settings", facts["settingsSchema"].to_string()));
        rows.push(("verdict", "hosts admit it".to_owned()));
    } else {
        rows.push((
            "verdict",
            format!("hosts refuse it: {}", word(&facts["reason"])),
        ));
    }
    rows.iter()
        .map(|(key, value)| format!("{key:10} {value}\n"))
        .collect()
}

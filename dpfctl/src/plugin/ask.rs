//! `dpfctl plugin run`: one request, one answer.

use std::process::ExitCode;

use anyhow::Context as _;
use dpf_engine::{Component, LoadError, Usage};
use dpf_plugin_harness::{Harness, HarnessOptions, Outcome, Request, size};
use serde_json::json;

use super::arguments::{Function, RunArgs};
use super::source;
use crate::{say, warn};

/// Asks.
///
/// # Errors
/// The component is not admitted, the request is malformed, or the plugin is at fault.
pub fn run(arguments: &RunArgs) -> anyhow::Result<ExitCode> {
    let source = source::open(&arguments.component)?;
    let options = HarnessOptions {
        skip_fuel: !arguments.stats,
        ..HarnessOptions::default()
    };
    let harness = source::harness(&arguments.component, options)?;
    let component = harness.admit(&source.bytes, source.stage)?;
    let settings = source::settings(arguments.settings.as_deref())?;
    match arguments.call {
        Some(Function::Describe) => say(&pretty(&json!(component.describe()?)))?,
        Some(Function::SettingsSchema) => {
            let text = component.settings_schema()?;
            let schema: serde_json::Value =
                serde_json::from_str(&text).context("settings-schema is not JSON")?;
            say(&pretty(&schema))?;
        }
        Some(Function::ValidateSettings) => {
            let outcome = match component.configure(&settings) {
                Ok(_) => Outcome::Response(json!({})),
                Err(LoadError::Settings { findings }) => Outcome::Refused(findings),
                Err(error) => return Err(error.into()),
            };
            return answered(&outcome);
        }
        None => return stage(arguments, &harness, &component, &source, &settings),
    }
    Ok(ExitCode::SUCCESS)
}

fn stage(
    arguments: &RunArgs,
    harness: &Harness,
    component: &Component,
    source: &source::Source,
    settings: &str,
) -> anyhow::Result<ExitCode> {
    let path = arguments
        .request
        .as_deref()
        .context("--request is missing")?;
    let request =
        Request::parse(component.stage(), source::document(path)?).with_context(|| {
            format!(
                "{} is no request of stage {}",
                path.display(),
                component.stage()
            )
        })?;
    let (outcome, usage) = harness.ask(component, settings, &request)?;
    if arguments.stats {
        let fuel = harness.fuel(&source.bytes, component.stage(), settings, &request)?;
        if let Some(usage) = usage {
            warn(&cost(&usage, fuel));
        }
    }
    answered(&outcome)
}

fn answered(outcome: &Outcome) -> anyhow::Result<ExitCode> {
    say(&format!("{}\n", outcome.pretty()))?;
    Ok(match outcome {
        Outcome::Response(_) => ExitCode::SUCCESS,
        Outcome::Failure(_) | Outcome::Refused(_) => ExitCode::FAILURE,
    })
}

fn cost(usage: &Usage, fuel: Option<u64>) -> String {
    let fuel = fuel.map_or_else(String::new, |fuel| format!(", {fuel} fuel"));
    let ms = usage.duration.as_secs_f64() * 1e3;
    format!("{ms:.2} ms, {} of memory{fuel}", size(usage.memory_bytes))
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

//! `dpfctl plugin test` and `dpfctl plugin bench`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use dpf_plugin_harness::{HarnessOptions, Request};

use super::arguments::{BenchArgs, TestArgs};
use super::source;
use crate::say;

/// Runs the cases.
///
/// # Errors
/// They cannot be run. That one fails is the exit code.
pub fn test(arguments: &TestArgs) -> anyhow::Result<ExitCode> {
    let source = source::open(&arguments.component)?;
    let options = HarnessOptions {
        skip_fuel: arguments.no_fuel,
        max_fuel: arguments.max_fuel,
        bless: arguments.bless,
        ..HarnessOptions::default()
    };
    let harness = source::harness(&arguments.component, options)?;
    let cases = arguments
        .cases
        .clone()
        .unwrap_or_else(|| source.dir.join("cases"));
    let report = harness.test(&source.bytes, source.stage, &cases)?;
    say(&format!("{report}\n"))?;
    Ok(if report.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Times calls.
///
/// # Errors
/// The component is not admitted, the request is malformed, or the plugin is at fault.
pub fn bench(arguments: &BenchArgs) -> anyhow::Result<ExitCode> {
    let source = source::open(&arguments.component)?;
    let options = HarnessOptions {
        skip_fuel: true,
        ..HarnessOptions::default()
    };
    let harness = source::harness(&arguments.component, options)?;
    let begin = Instant::now();
    let component = harness.admit(&source.bytes, source.stage)?;
    let admitted = begin.elapsed();
    let path = &arguments.request;
    let request =
        Request::parse(component.stage(), source::document(path)?).with_context(|| {
            format!(
                "{} is no request of stage {}",
                path.display(),
                component.stage()
            )
        })?;
    let settings = source::settings(arguments.settings.as_deref())?;
    let bench = harness.bench(&component, &settings, &request, arguments.duration)?;
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    say(&format!(
        "admission {:.1} ms (compiled code is kept, see --no-cache)\nfirst call {:.3} ms\n{}\n",
        ms(admitted),
        ms(bench.first),
        bench.calls
    ))?;
    Ok(ExitCode::SUCCESS)
}

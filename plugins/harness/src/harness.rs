//! Runs cases.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dpf_engine::{
    Component, Engine, EngineOptions, Fault, Limits, LoadError, Observer, Plugin, Stage, Usage,
    inspect,
};

use crate::bench::Bench;
use crate::case::Case;
use crate::error::HarnessError;
use crate::outcome::{Outcome, Request};
use crate::report::{CaseReport, Report};

/// How a test is set up. The default is what hosts do.
#[derive(Debug, Clone, Default)]
pub struct HarnessOptions {
    /// Where compiled code is kept between runs.
    pub cache_dir: Option<PathBuf>,
    /// What the plugin may use.
    pub limits: Limits,
    /// Do not count fuel, which needs the component compiled a second time.
    pub skip_fuel: bool,
    /// A case that burns more fuel than this fails.
    pub max_fuel: Option<u64>,
    /// Make what the plugin answers the expectation of its cases.
    pub bless: bool,
}

/// Engines to test plugins in.
pub struct Harness {
    host: Engine,
    counting: Option<Engine>,
    options: HarnessOptions,
}

impl Harness {
    /// Starts the engine hosts run, and one beside it that counts fuel.
    ///
    /// # Errors
    /// WebAssembly does not work on this machine, or the cache directory is not usable.
    pub fn new(options: HarnessOptions) -> Result<Self, HarnessError> {
        let start = |count_fuel| {
            Engine::new(EngineOptions {
                cache_dir: options.cache_dir.clone(),
                limits: options.limits.clone(),
                // Every call is to run.
                result_cache_bytes: 0,
                count_fuel,
            })
        };
        Ok(Self {
            host: start(false)?,
            counting: if options.skip_fuel {
                None
            } else {
                Some(start(true)?)
            },
            options,
        })
    }

    /// Admits a component as hosts do, up to its settings.
    ///
    /// # Errors
    /// It is not admitted, or its stage is not clear.
    pub fn admit(&self, component: &[u8], stage: Option<Stage>) -> Result<Component, HarnessError> {
        Ok(self.host.prepare(stage_of(component, stage)?, component)?)
    }

    /// Runs all cases of a directory.
    ///
    /// # Errors
    /// The component is not admitted, or a case cannot be read. A case that fails is no error but in the report.
    pub fn test(
        &self,
        component: &[u8],
        stage: Option<Stage>,
        cases: &Path,
    ) -> Result<Report, HarnessError> {
        let cases = Case::find(cases)?;
        let stage = stage_of(component, stage)?;
        let host = self.host.prepare(stage, component)?;
        let counting = match &self.counting {
            Some(engine) => Some(engine.prepare(stage, component)?),
            None => None,
        };
        let mut report = Report {
            descriptor: host.descriptor().clone(),
            stage,
            digest: host.digest().to_owned(),
            component_bytes: component.len(),
            problems: self_description(&host),
            cases: Vec::new(),
        };
        for case in &cases {
            report
                .cases
                .push(self.run(case, stage, &host, counting.as_ref())?);
        }
        Ok(report)
    }

    /// Asks a plugin one request, with what that cost.
    ///
    /// # Errors
    /// The plugin is at fault.
    pub fn ask(
        &self,
        component: &Component,
        settings: &str,
        request: &Request,
    ) -> Result<(Outcome, Option<Usage>), LoadError> {
        match observed(component, settings)? {
            Ok((plugin, last)) => {
                let outcome = request.ask(&plugin).map_err(LoadError::Faulted)?;
                Ok((outcome, last.take()))
            }
            Err(refused) => Ok((refused, None)),
        }
    }

    /// The fuel a request burns.
    ///
    /// # Errors
    /// The component is not admitted or is at fault.
    pub fn fuel(
        &self,
        component: &[u8],
        stage: Stage,
        settings: &str,
        request: &Request,
    ) -> Result<Option<u64>, LoadError> {
        let Some(engine) = &self.counting else {
            return Ok(None);
        };
        let (_, usage) = self.ask(&engine.prepare(stage, component)?, settings, request)?;
        Ok(usage.and_then(|usage| usage.fuel))
    }

    /// Calls a plugin again and again, each time in a fresh instance.
    ///
    /// # Errors
    /// It is at fault or refuses its settings.
    pub fn bench(
        &self,
        component: &Component,
        settings: &str,
        request: &Request,
        duration: Duration,
    ) -> Result<Bench, LoadError> {
        let plugin = component.configure(settings)?;
        Bench::run(&plugin, request, duration).map_err(LoadError::Faulted)
    }

    fn run(
        &self,
        case: &Case,
        stage: Stage,
        host: &Component,
        counting: Option<&Component>,
    ) -> Result<CaseReport, HarnessError> {
        let mut report = CaseReport::new(&case.name);
        let request = match Request::parse(stage, case.request.clone()) {
            Ok(request) => request,
            Err(error) => {
                return Err(HarnessError::Malformed {
                    path: case.request_file.clone(),
                    what: format!("a request of stage {stage}"),
                    detail: error.to_string(),
                });
            }
        };
        let first = match self.ask(host, &case.settings, &request) {
            Ok((outcome, usage)) => {
                report.usage = usage;
                outcome
            }
            Err(error) => {
                report.problems.push(faulted(&error));
                return Ok(report);
            }
        };
        self.check_determinism(&mut report, case, &request, &first, host, counting);
        self.check_expectation(&mut report, case, &first)?;
        report.outcome = Some(first);
        Ok(report)
    }

    /// The same answer from another instance, and from another engine, to the byte.
    fn check_determinism(
        &self,
        report: &mut CaseReport,
        case: &Case,
        request: &Request,
        first: &Outcome,
        host: &Component,
        counting: Option<&Component>,
    ) {
        for component in [Some(host), counting].into_iter().flatten() {
            match self.ask(component, &case.settings, request) {
                Ok((outcome, usage)) => {
                    if outcome.pretty() != first.pretty() {
                        report.problems.push(format!(
                            "not deterministic: the same request gave another answer\n{}",
                            difference(&first.pretty(), &outcome.pretty())
                        ));
                        return;
                    }
                    if let (Some(usage), Some(of_case)) = (usage, report.usage.as_mut()) {
                        of_case.fuel = of_case.fuel.or(usage.fuel);
                    }
                }
                Err(error) => report.problems.push(faulted(&error)),
            }
        }
        let fuel = report.usage.and_then(|usage| usage.fuel);
        if let (Some(fuel), Some(most)) = (fuel, self.options.max_fuel)
            && fuel > most
        {
            report
                .problems
                .push(format!("burnt {fuel} fuel, more than the {most} allowed"));
        }
    }

    fn check_expectation(
        &self,
        report: &mut CaseReport,
        case: &Case,
        outcome: &Outcome,
    ) -> Result<(), HarnessError> {
        match &case.expected {
            Some(expected) if expected == outcome => {}
            _ if self.options.bless => {
                case.bless(outcome)?;
                report.blessed = true;
            }
            Some(expected) => report.problems.push(format!(
                "not as expected (- expected, + answered)\n{}",
                difference(&expected.pretty(), &outcome.pretty())
            )),
            None => report.problems.push(format!(
                "no expected.json yet; look at the answer and bless it with --bless\n{}",
                outcome.pretty()
            )),
        }
        Ok(())
    }
}

/// The stage of a component, when it is not said.
fn stage_of(component: &[u8], stage: Option<Stage>) -> Result<Stage, HarnessError> {
    if let Some(stage) = stage {
        return Ok(stage);
    }
    let inspection = inspect(component)?;
    match inspection.stages().as_slice() {
        [stage] => Ok(*stage),
        [] => Err(HarnessError::NoStage {
            exports: inspection.exports,
        }),
        several => Err(HarnessError::SeveralStages {
            stages: several.to_vec(),
        }),
    }
}

/// Problems of what a plugin says of itself, whatever the case.
fn self_description(component: &Component) -> Vec<String> {
    let mut problems = Vec::new();
    match (component.settings_schema(), component.settings_schema()) {
        (Ok(first), Ok(second)) => {
            if first != second {
                problems.push("settings-schema says something else each time".to_owned());
            }
            match serde_json::from_str::<serde_json::Value>(&first) {
                Ok(schema) if schema.is_object() || schema.is_boolean() => {}
                Ok(_) => problems.push("settings-schema is not a JSON Schema".to_owned()),
                Err(error) => problems.push(format!("settings-schema is not JSON: {error}")),
            }
        }
        (Err(fault), _) | (_, Err(fault)) => problems.push(fault.to_string()),
    }
    match component.describe() {
        Ok(again) if again == *component.descriptor() => {}
        Ok(_) => problems.push("describe says something else each time".to_owned()),
        Err(fault) => problems.push(fault.to_string()),
    }
    problems
}

/// Remembers the usage of the last call.
#[derive(Default)]
struct Last(Mutex<Option<Usage>>);

impl Last {
    fn take(&self) -> Option<Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Observer for Last {
    fn called(&self, usage: &Usage, _: Option<&Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(*usage);
    }
}

/// A plugin with its settings, or its refusal of them.
fn observed(
    component: &Component,
    settings: &str,
) -> Result<Result<(Plugin, Arc<Last>), Outcome>, LoadError> {
    match component.configure(settings) {
        Ok(plugin) => {
            let last = Arc::new(Last::default());
            let observer: Arc<dyn Observer> = last.clone();
            Ok(Ok((plugin.observed_by(observer), last)))
        }
        Err(LoadError::Settings { findings }) => Ok(Err(Outcome::Refused(findings))),
        Err(error) => Err(error),
    }
}

fn faulted(error: &LoadError) -> String {
    match error {
        LoadError::Faulted(fault) => format!("{}: {fault}", fault.reason()),
        other => other.to_string(),
    }
}

/// The lines that differ, with a line around them.
fn difference(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let same_start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - same_start;
    let same_end = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    let mut text = String::new();
    let mut push = |sign: char, lines: &[&str], skip: usize, end: usize| {
        for line in lines.iter().take(lines.len() - end).skip(skip) {
            text.push_str(&format!("  {sign} {line}\n"));
        }
    };
    push(
        ' ',
        &old,
        same_start.saturating_sub(1),
        old.len() - same_start,
    );
    push('-', &old, same_start, same_end);
    push('+', &new, same_start, same_end);
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_what_differs() {
        assert_eq!(
            difference("{\n  a\n  b\n  c\n}", "{\n  a\n  x\n  y\n  c\n}"),
            "      a\n  -   b\n  +   x\n  +   y"
        );
        assert_eq!(difference("a", "a\nb"), "    a\n  + b");
        assert_eq!(difference("a\na", "a"), "    a\n  - a");
    }
}

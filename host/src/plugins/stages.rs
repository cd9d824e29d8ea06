//! The stages of one pass: asks the plugins that serve a deployment, judges their answers and decides what a fault comes to.

use super::Registry;
use super::served::{Assigned, Given, Offer, Served};
use dpf_api::plugin::{FailurePolicy, LastFault};
use dpf_core::dpudeployment::validate::Service;
use dpf_core::dpudeployment::{Answer, Refusal, Stages};
use dpf_core::dpuplugin::output::{check_chain, check_values};
use dpf_engine::{self as engine, CallError, Circuit, Engine, Fault, Guarded, Stage};
use dpf_stage::{
    ChainRequest, ChainResponse, CheckRequest, Failure, Finding, MergeRequest, MergeResponse,
    Severity,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The plugins of one deployment in one pass. Its calls block.
pub(crate) struct PluginStages {
    /// Has the built-in plugins.
    pub(crate) engine: Engine,
    /// Hears of faults.
    pub(crate) registry: Arc<Registry>,
    /// Who serves.
    pub(crate) given: Given,
    /// `namespace/name` of the deployment.
    pub(crate) object: String,
    /// Time of the pass.
    pub(crate) now: Timestamp,
    /// A plugin was not ready to be asked; the pass says nothing and is repeated.
    pub(crate) hold: AtomicBool,
}

/// No answer of a vendor's plugin.
enum Declined {
    /// Nor shall there be another.
    Refused(Refusal),
    /// The built-in plugin serves; the warning says so.
    UseDefault(Finding),
}

impl PluginStages {
    /// Asks whoever is assigned; `none` is what the built-in plugin answers.
    fn ask<T>(
        &self,
        assigned: &Assigned,
        service: Option<&str>,
        call: impl FnOnce(&Guarded) -> engine::Answer<T>,
    ) -> Result<Option<(Arc<T>, String)>, Declined> {
        match assigned {
            Assigned::Default => Ok(None),
            Assigned::Refused(message) => Err(Declined::Refused(input(message.clone()))),
            Assigned::Offer(Offer::Serving(served)) => {
                let answer = self.call(served, service, call)?;
                Ok(Some((answer, served.plugin.digest().to_owned())))
            }
            Assigned::Offer(Offer::Loading) => {
                self.hold.store(true, Ordering::Relaxed);
                Err(Declined::Refused(Refusal::Fault {
                    reason: "PluginLoading".to_owned(),
                    message: "a plugin is being loaded".to_owned(),
                }))
            }
            Assigned::Offer(Offer::Unavailable {
                name,
                policy,
                problem,
            }) => Err(match policy {
                FailurePolicy::Fail => Declined::Refused(Refusal::Fault {
                    reason: "PluginNotReady".to_owned(),
                    message: format!(
                        "DPUPlugin {name} cannot serve: {problem}. See its conditions, or select another plugin"
                    ),
                }),
                FailurePolicy::UseDefault => {
                    Declined::UseDefault(stands_in(name, service, problem))
                }
            }),
        }
    }

    fn call<T>(
        &self,
        served: &Served,
        service: Option<&str>,
        call: impl FnOnce(&Guarded) -> engine::Answer<T>,
    ) -> Result<Arc<T>, Declined> {
        let before = served.plugin.circuit();
        let answer = call(&served.plugin);
        self.note_circuit(served, before);
        answer.map_err(|error| match error {
            CallError::Failure(failure) => Declined::Refused(Refusal::Input(failure)),
            CallError::Fault(fault) => self.decline(served, service, &fault),
        })
    }

    /// A circuit that closed is news for those who wait for it.
    fn note_circuit(&self, served: &Served, before: Circuit) {
        let after = served.plugin.circuit();
        let kind = |circuit: Circuit| std::mem::discriminant(&circuit);
        if kind(before) == kind(after) {
            return;
        }
        self.registry.touch(&served.name);
        if after == Circuit::Closed {
            tracing::info!(plugin = served.name, "the plugin works again");
            self.registry.wake_users(&served.name);
        } else {
            tracing::warn!(
                plugin = served.name,
                "the plugin failed several times in a row and is left alone for a while"
            );
        }
    }

    fn decline(&self, served: &Served, service: Option<&str>, fault: &Fault) -> Declined {
        let name = &served.name;
        let whom = service.map_or(String::new(), |s| format!(" for service {s}"));
        if fault.is_of_plugin() {
            let fault = LastFault {
                time: Time(self.now),
                reason: fault.reason().to_owned(),
                message: fault.to_string(),
                object: self.object.clone(),
                service: service.map(str::to_owned),
            };
            self.registry.note_fault(name, fault);
        } else if fault.reason() == "PluginsBusy" {
            self.hold.store(true, Ordering::Relaxed);
        }
        let open = served.plugin.circuit() != Circuit::Closed;
        if open && served.policy == FailurePolicy::UseDefault {
            return Declined::UseDefault(stands_in(name, service, &fault.to_string()));
        }
        Declined::Refused(Refusal::Fault {
            reason: fault.reason().to_owned(),
            message: format!(
                "DPUPlugin {name} failed{whom}: {fault}. What runs goes on running; install another version of the plugin, or select \
                 another one"
            ),
        })
    }
}

/// That the built-in plugin serves in place of a vendor's.
fn stands_in(name: &str, service: Option<&str>, problem: &str) -> Finding {
    Finding {
        severity: Severity::Warning,
        object: format!("DPUPlugin/{name}"),
        field: "spec.failurePolicy".to_owned(),
        message: format!(
            "the built-in plugin serves {} in its place: {problem}",
            service.unwrap_or("the deployment")
        ),
    }
}

fn input(message: String) -> Refusal {
    Refusal::Input(Failure {
        code: "PluginNotUsable".to_owned(),
        message,
        findings: Vec::new(),
    })
}

/// A plan is made of values of its own.
fn owned<T: Clone>(answer: Arc<T>) -> T {
    Arc::unwrap_or_clone(answer)
}

/// The built-in plugins never misbehave; if one does, the binary is broken, and this says so.
fn refuse(error: CallError) -> Refusal {
    match error {
        CallError::Failure(failure) => Refusal::Input(failure),
        CallError::Fault(fault) => Refusal::Fault {
            reason: fault.reason().to_owned(),
            message: format!("the built-in plugin failed: {fault}"),
        },
    }
}

impl Stages for PluginStages {
    fn merge(
        &self,
        service: &Service<'_>,
        request: &MergeRequest,
    ) -> Result<Answer<MergeResponse>, Refusal> {
        let assigned = self.given.merge.get(service.name);
        let asked = self.ask(
            assigned.unwrap_or(&Assigned::Default),
            Some(service.name),
            |plugin| plugin.merge(request, |response| check_values(request, response)),
        );
        let warning = match asked {
            Ok(Some((response, digest))) => {
                return Ok(Answer {
                    response: owned(response),
                    made_by: Some(digest),
                });
            }
            Ok(None) => None,
            Err(Declined::UseDefault(warning)) => Some(warning),
            Err(Declined::Refused(refusal)) => return Err(refusal),
        };
        let plugin = self.engine.default_plugin(Stage::TemplateMerge);
        let mut response = owned(plugin.merge(request).map_err(refuse)?);
        response.findings.extend(warning);
        Ok(response.into())
    }

    fn check(&self, request: &CheckRequest) -> Result<Vec<Finding>, Refusal> {
        let plugin = self.engine.default_plugin(Stage::VersionCheck);
        let mut findings = owned(plugin.check(request).map_err(refuse)?);
        for (assigned, services) in &self.given.checks {
            let shown = shown_to(request, services);
            let asked = self.ask(assigned, None, |plugin| {
                plugin.check(&shown, |found| fits_a_condition(found))
            });
            match asked {
                Ok(Some((found, _))) => findings.extend(owned(found)),
                Ok(None) => {}
                Err(Declined::UseDefault(warning)) => findings.push(warning),
                Err(Declined::Refused(refusal)) => return Err(refusal),
            }
        }
        Ok(findings)
    }

    fn build_chain(&self, request: &ChainRequest) -> Result<Answer<ChainResponse>, Refusal> {
        let asked = self.ask(&self.given.chain, None, |plugin| {
            plugin.build_chain(request, |response| check_chain(request, response))
        });
        let warning = match asked {
            Ok(Some((response, digest))) => {
                return Ok(Answer {
                    response: owned(response),
                    made_by: Some(digest),
                });
            }
            Ok(None) => None,
            Err(Declined::UseDefault(warning)) => Some(warning),
            Err(Declined::Refused(refusal)) => return Err(refusal),
        };
        let plugin = self.engine.default_plugin(Stage::ChainBuilder);
        let mut response = owned(plugin.build_chain(request).map_err(refuse)?);
        response.findings.extend(warning);
        Ok(response.into())
    }
}

/// A vendor's check sees the services it was selected for, and no others.
fn shown_to(request: &CheckRequest, services: &BTreeSet<String>) -> CheckRequest {
    let mut shown = request.clone();
    shown.services.retain(|s| services.contains(&s.name));
    shown
}

/// Findings end in a condition, which has an end.
fn fits_a_condition(findings: &[Finding]) -> Result<(), String> {
    const FINDINGS_MAX: usize = 100;
    const MESSAGE_LENGTH_MAX: usize = 2000;
    if findings.len() > FINDINGS_MAX {
        return Err(format!(
            "{} findings, more than the {FINDINGS_MAX} a condition can hold",
            findings.len()
        ));
    }
    match findings
        .iter()
        .find(|f| f.message.len() > MESSAGE_LENGTH_MAX)
    {
        Some(finding) => Err(format!(
            "a finding of {} bytes, more than {MESSAGE_LENGTH_MAX}",
            finding.message.len()
        )),
        None => Ok(()),
    }
}

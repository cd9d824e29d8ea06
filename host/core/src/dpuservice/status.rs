//! Conditions of a service.

use super::argo::Application;
use crate::conditions::{Conditions, Verdict, bulleted};
use dpf_api::conditions::{dpuservice as types, reasons};
use dpf_api::svc::DpuService;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

/// What the conditions are computed from. A step that was not reached is `None` and keeps what it said before.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Problems with interfaces.
    pub interfaces: Option<&'a [String]>,
    /// Problems with namespaces, pull secrets, projects and cluster Secrets.
    pub prerequisites: Option<&'a [String]>,
    /// Problems with Applications.
    pub applications: Option<&'a [String]>,
    /// Problems with ports.
    pub config_ports: Option<&'a [String]>,
    /// Applications as they should be; `None` when that is not known, or while the service is paused.
    pub desired: Option<&'a [Application]>,
    /// Applications as they are.
    pub observed: &'a [Application],
    /// Now.
    pub now: Timestamp,
}

/// The conditions of a service.
#[must_use]
pub fn conditions(service: &DpuService, facts: Facts<'_>) -> Vec<Condition> {
    let generation = service.metadata.generation.unwrap_or_default();
    let observed = service
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref());
    let mut conditions = Conditions::new(observed, &types::ALL, generation, facts.now);
    for (type_, problems) in [
        (types::DPUSERVICEINTERFACE_RECONCILED, facts.interfaces),
        (types::APPLICATION_PREREQS_RECONCILED, facts.prerequisites),
        (types::APPLICATIONS_RECONCILED, facts.applications),
        (types::CONFIG_PORTS_RECONCILED, facts.config_ports),
    ] {
        match problems {
            Some([]) => conditions.set(type_, &Verdict::True),
            Some([one]) => {
                conditions.set(
                    type_,
                    &Verdict::no(reasons::ERROR, format!("Error occurred: {one}")),
                );
            }
            Some(several) => {
                conditions.set(
                    type_,
                    &Verdict::no(reasons::ERROR, bulleted("Errors occurred", several)),
                );
            }
            None => {}
        }
    }
    if service.metadata.deletion_timestamp.is_some() {
        let left = facts.observed.len();
        let verdict = if left == 0 {
            Verdict::True
        } else {
            Verdict::no(
                reasons::AWAITING_DELETION,
                format!("{left} Applications still exist"),
            )
        };
        conditions.set(types::APPLICATIONS_RECONCILED, &verdict);
    } else {
        let verdict = ready(facts.desired, facts.observed);
        conditions.set(types::APPLICATIONS_READY, &verdict);
    }
    conditions.summarise();
    conditions.into_list()
}

fn ready(desired: Option<&[Application]>, observed: &[Application]) -> Verdict {
    let problems: Vec<String> = match desired {
        Some(desired) => desired
            .iter()
            .filter_map(|desired| {
                let name = desired.name_any();
                match observed.iter().find(|o| o.name_any() == name) {
                    None => Some(format!("Application {name} does not exist yet")),
                    Some(observed) => problem(observed, Some(desired)),
                }
            })
            .collect(),
        None => observed.iter().filter_map(|o| problem(o, None)).collect(),
    };
    if problems.is_empty() {
        Verdict::True
    } else {
        Verdict::no(
            reasons::PENDING,
            bulleted("Applications are not ready", problems),
        )
    }
}

/// Why an Application is not ready. What Argo CD said about a former chart or former values does not count.
fn problem(observed: &Application, desired: Option<&Application>) -> Option<String> {
    let name = observed.name_any();
    let status = observed.status.clone().unwrap_or_default();
    if observed.metadata.deletion_timestamp.is_some() {
        return Some(format!("Application {name} is being deleted"));
    }
    let compared = status
        .sync
        .compared_to
        .as_ref()
        .and_then(|c| c.source.as_ref());
    let stale = desired.is_some_and(|desired| {
        desired.spec != observed.spec
            || compared.is_some_and(|c| Some(c) != desired.spec.source.as_ref())
    });
    let (sync, health) = (status.sync.status.as_str(), status.health.status.as_str());
    if sync.is_empty() && health.is_empty() {
        return Some(format!("Application {name} is not yet deployed"));
    }
    if stale {
        return Some(format!(
            "Application {name} was changed, and Argo CD has not looked at it yet"
        ));
    }
    if sync == "Synced" && health == "Healthy" {
        return None;
    }
    let said = status
        .health
        .message
        .or_else(|| Some(status.conditions?.first()?.message.clone()))
        .map(|message| format!(": {message}"))
        .unwrap_or_default();
    Some(format!(
        "Application {name}: sync {sync}, health {health}{said}; see kubectl describe application -n {} {name}",
        observed.namespace().unwrap_or_default()
    ))
}

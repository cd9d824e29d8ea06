//! Services that the spec no longer names.
//!
//! Their pods may carry traffic on nodes whose turn has not come, and an older chain there still leads to them. So they stay,
//! like an older revision, until no node carries their label, and the label goes with the effect on the host. A service that may not
//! disturb nodes goes at once, and so does one beside the hosts, which carries nothing.

use super::action::ChildKind;
use super::build::selector_value;
use super::consult::{Advice, service_of};
use super::needs::{Replacement, needed_by};
use super::plan::{alive, needed, owned_by};
use super::validate::Validated;
use crate::names::name_of;
use dpf_api::keys::labels;
use dpf_api::svc::DpuService;
use std::collections::{BTreeMap, BTreeSet};

/// What of removed services stays for now.
#[derive(Clone, Debug, Default)]
pub(super) struct Removed {
    /// Their objects, each with what holds it.
    pub held: BTreeMap<String, String>,
    /// Children that must not be deleted.
    pub keep: BTreeSet<(ChildKind, String)>,
    /// Their names. The configurations of these stay marked, because they tell whether nodes are disturbed.
    pub services: BTreeSet<String>,
    /// Whether nodes are disturbed by the removal.
    pub disturbs: bool,
}

/// Finds the removed services that nodes still need.
pub(super) fn removed(validated: &Validated<'_>, advice: &Advice<'_>) -> Removed {
    let mut removed = Removed::default();
    let mut held = BTreeSet::new();
    let chain_disturbs = advice.chain.as_ref().is_some_and(|chain| chain.disturbs);
    for (service, object) in unnamed(validated) {
        let disruptive = disruptive(validated, service);
        if !disruptive && !chain_disturbs {
            continue;
        }
        let key = labels::service_version(service);
        let gone = Replacement {
            key: &key,
            value: None,
        };
        let old = selector_value(object, &key);
        if let Some(cause) = needed(&needed_by(validated, gone, old.as_deref())) {
            let name = name_of(object);
            removed.held.insert(format!("DPUService {name}"), cause);
            removed.keep.insert((ChildKind::Service, name.clone()));
            removed.services.insert(service.to_owned());
            removed.disturbs |= disruptive;
            held.insert(name);
        }
    }
    let interfaces = alive(&validated.observed.interfaces);
    removed.keep.extend(
        interfaces
            .filter(|interface| owned_by(interface, &held))
            .map(|interface| (ChildKind::Interface, name_of(interface))),
    );
    removed
}

/// Revisions on DPUs of services that are not in the spec.
fn unnamed<'a>(validated: &Validated<'a>) -> impl Iterator<Item = (&'a str, &'a DpuService)> {
    let named = &validated.observed.deployment.spec.services;
    alive(&validated.observed.services).filter_map(|object| {
        let service = service_of(object)?;
        let removed = !named.contains_key(service) && object.spec.deploy_in_cluster != Some(true);
        removed.then_some((service, object))
    })
}

/// Whether its configuration lets the service disturb nodes; without one, the default does.
fn disruptive(validated: &Validated<'_>, service: &str) -> bool {
    let marked = validated.observed.marked.configurations.iter();
    let mut policies = marked
        .filter(|configuration| configuration.spec.deployment_service_name == service)
        .map(|configuration| configuration.spec.upgrade_policy.disruptive())
        .peekable();
    policies.peek().is_none() || policies.any(|disruptive| disruptive)
}

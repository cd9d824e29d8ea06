//! What to write, in which order, and what we wait for.

use super::action::{Action, ChildKind, Plan};
use super::build;
use super::consult::{Advice, ServiceRevision, service_in_name};
use super::deletion::unpause_terminating;
use super::marks::mark_dependencies;
use super::needs::{Replacement, needed_by, set_ready};
use super::removed::removed;
use super::rollout::{Case, Choice, Rules, choose};
use super::validate::Validated;
use crate::conditions::{is_true, is_true_for};
use crate::drift::spec_drifted;
use crate::names::name_of;
use dpf_api::conditions::READY;
use dpf_api::keys::{annotations, labels, managers};
use dpf_api::provisioning::DpuSet;
use dpf_api::svc::{DpuService, DpuServiceInterface};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::object::HasSpec;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Looks again after this many seconds while a rollout or a deletion is under way, should an event be missed.
pub(super) const SAFETY_REQUEUE_SECONDS: u64 = 30;

/// Plans one pass.
#[must_use]
pub fn plan(validated: &Validated<'_>, advice: &Advice<'_>) -> Plan {
    let mut plan = Plan::default();
    plan.report.warnings = advice
        .warnings
        .iter()
        .map(|w| format!("{} {}: {}", w.object, w.field, w.message))
        .collect();
    plan.report.faulted_services = advice.faulted.clone();
    let removed = removed(validated, advice);
    mark_dependencies(validated.observed, &removed.services, &mut plan);

    let mut keep = BTreeSet::new();
    for revision in &advice.services {
        plan_service(validated, revision, &mut keep, &mut plan);
    }
    plan_chain(validated, advice, &mut plan);
    let disturbs = removed.disturbs;
    let rolling = is_rolling(advice) || !removed.held.is_empty();
    keep.extend(removed.keep);
    plan.report.held_revisions.extend(removed.held);
    plan_sets(validated, advice, disturbs, &mut plan);
    delete_leftovers(validated, &keep, &mut plan);
    plan.requeue_seconds =
        (rolling || !plan.report.waiting_services.is_empty()).then_some(SAFETY_REQUEUE_SECONDS);
    plan
}

/// Whether a revision is on its way, or an older one is still there.
fn is_rolling(advice: &Advice<'_>) -> bool {
    let services = advice.services.iter();
    services
        .map(|revision| &revision.choice)
        .any(Choice::is_rolling)
        || (advice.chain.iter()).any(|revision| revision.choice.is_rolling())
}

fn desire(plan: &mut Plan, kind: ChildKind, name: &str) {
    plan.report
        .desired
        .entry(kind)
        .or_default()
        .insert(name.to_owned());
}

/// Plans one service and its interfaces. `keep` collects the names of all objects that must not be deleted.
fn plan_service(
    validated: &Validated<'_>,
    revision: &ServiceRevision<'_>,
    keep: &mut BTreeSet<(ChildKind, String)>,
    plan: &mut Plan,
) {
    let choice = &revision.choice;
    keep.extend(
        choice
            .retained
            .iter()
            .map(|old| (ChildKind::Service, name_of(*old))),
    );
    keep.insert((ChildKind::Service, choice.name.clone()));
    desire(plan, ChildKind::Service, &choice.name);
    if !revision.waits_for.is_empty() {
        let service = revision.service.name.to_owned();
        if !plan.report.faulted_services.contains_key(&service) {
            let waiting = &mut plan.report.waiting_services;
            waiting.insert(service, revision.waits_for.clone());
        }
        // Nothing of this service is touched, not even what exceeds the history.
        keep.extend(
            choice
                .surplus
                .iter()
                .map(|old| (ChildKind::Service, name_of(*old))),
        );
        keep_interfaces_of(validated, revision.service.name, keep, |_| true);
        return;
    }
    if choice.case == Case::New {
        for old in choice
            .retained
            .iter()
            .filter(|old| old.spec.paused != Some(true))
        {
            plan.actions.push(Action::Pause {
                service: name_of(*old),
            });
        }
    }
    let interfaces = choose_interfaces(validated, revision);
    let names = interfaces.iter().map(|i| i.name_any()).collect();
    write_service(
        choice.existing,
        build::service(validated, revision, names),
        plan,
    );
    for mut interface in interfaces {
        let name = interface.name_any();
        desire(plan, ChildKind::Interface, &name);
        keep.insert((ChildKind::Interface, name.clone()));
        if let Some(uid) = choice
            .existing
            .and_then(|service| service.metadata.uid.as_ref())
        {
            let owners = interface.metadata.owner_references.get_or_insert_default();
            owners.push(build::service_owner(&choice.name, uid));
        }
        if changes(find(&validated.observed.interfaces, &name), &interface) {
            plan.actions.push(Action::ApplyInterface {
                interface: Box::new(interface),
                service: choice.name.clone(),
            });
        }
    }
    let key = &revision.node_label_key;
    let replacement = Replacement {
        key,
        value: Some(&revision.node_label_value),
    };
    let running = choice.case == Case::Current && choice.existing.is_some_and(service_ready);
    let mut held = BTreeSet::new();
    for service in &choice.retained {
        let name = name_of(*service);
        if name == choice.name {
            continue;
        }
        let value = build::selector_value(service, key);
        let cause = (!running).then(|| format!("DPUService {} is not Ready", choice.name));
        let cause = cause.or_else(|| needed(&needed_by(validated, replacement, value.as_deref())));
        if let Some(cause) = cause {
            let what = format!("DPUService {name}");
            plan.report.held_revisions.insert(what, cause);
            held.insert(name);
        } else {
            keep.remove(&(ChildKind::Service, name));
        }
    }
    keep_interfaces_of(validated, revision.service.name, keep, |interface| {
        owned_by(interface, &held)
    });
}

pub(super) fn needed(by: &[String]) -> Option<String> {
    (!by.is_empty()).then(|| format!("needed by {}", by.join(", ")))
}

pub(super) fn owned_by(interface: &DpuServiceInterface, services: &BTreeSet<String>) -> bool {
    interface
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "DPUService" && services.contains(&owner.name))
}

/// An older revision that becomes current again is unpaused after it was written.
fn write_service(existing: Option<&DpuService>, desired: DpuService, plan: &mut Plan) {
    let paused = existing.is_some_and(|service| service.spec.paused == Some(true));
    let unpaused = existing.map(|service| {
        let mut service = service.clone();
        service.spec.paused = None;
        service
    });
    let name = name_of(&desired);
    if changes(unpaused.as_ref(), &desired) {
        plan.actions.push(Action::ApplyService(Box::new(desired)));
    }
    if paused {
        plan.actions.push(Action::Unpause { service: name });
    }
}

fn find<'a, K: Resource>(objects: &'a [K], name: &str) -> Option<&'a K> {
    objects.iter().find(|object| {
        object.meta().name.as_deref() == Some(name) && object.meta().deletion_timestamp.is_none()
    })
}

/// Whether writing `desired` would change `existing`: its labels, annotations and owners are there, and so is the spec.
///
/// Builders write every field that the API server would default, so that equality means that nothing is to do.
fn changes<K>(existing: Option<&K>, desired: &K) -> bool
where
    K: Resource + HasSpec,
    K::Spec: PartialEq + Serialize,
{
    let Some(existing) = existing else {
        return true;
    };
    let (old, new) = (existing.meta(), desired.meta());
    let contains = |old: &Option<BTreeMap<String, String>>,
                    new: &Option<BTreeMap<String, String>>| {
        new.iter()
            .flatten()
            .all(|(key, value)| old.as_ref().and_then(|old| old.get(key)) == Some(value))
    };
    let owners = old.owner_references.as_deref().unwrap_or_default();
    let spec = |object: &K| serde_json::to_value(object.spec()).unwrap_or_default();
    !contains(&old.labels, &new.labels)
        || !contains(&old.annotations, &new.annotations)
        || new
            .owner_references
            .iter()
            .flatten()
            .any(|owner| !owners.iter().any(|old| is_same_owner(old, owner)))
        || (existing.spec() != desired.spec()
            && spec_drifted(
                managers::DPUDEPLOYMENT,
                &spec(desired),
                &spec(existing),
                old,
            ))
}

/// Whether two references name one owner in one role. How far its deletion waits is not worth a write.
fn is_same_owner(one: &OwnerReference, other: &OwnerReference) -> bool {
    one.uid == other.uid
        && one.controller.unwrap_or_default() == other.controller.unwrap_or_default()
}

fn service_ready(service: &DpuService) -> bool {
    let conditions = service
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref());
    is_true_for(conditions, READY, service.metadata.generation)
}

/// Interfaces of one service that exist, by label.
fn interfaces_of<'a>(
    validated: &Validated<'a>,
    service: &str,
) -> impl Iterator<Item = &'a DpuServiceInterface> {
    validated
        .observed
        .interfaces
        .iter()
        .filter(move |interface| is_of(interface, service))
}

/// Whether an interface is of this service: by label, or for objects older than the label by the DPUService that owns it,
/// or else by name.
fn is_of(interface: &DpuServiceInterface, service: &str) -> bool {
    let labels = interface.metadata.labels.as_ref();
    if let Some(label) = labels.and_then(|l| l.get(labels::DPUDEPLOYMENT_SERVICE)) {
        return label == service;
    }
    let mut owners = interface.owner_references().iter();
    if let Some(owner) = owners.find(|owner| owner.kind == "DPUService") {
        return service_in_name(&owner.name) == Some(service);
    }
    let template = interface.spec.template.spec.template.spec.service.as_ref();
    template.is_some_and(|template| {
        let base = interface_base(service, &template.interface_name);
        service_in_name(&name_of(interface)) == Some(base.as_str())
    })
}

/// What the names of interfaces begin with.
fn interface_base(service: &str, interface: &str) -> String {
    format!("{service}-{}", interface.replace('_', "-"))
}

fn keep_interfaces_of(
    validated: &Validated<'_>,
    service: &str,
    keep: &mut BTreeSet<(ChildKind, String)>,
    condition: impl Fn(&DpuServiceInterface) -> bool,
) {
    keep.extend(
        interfaces_of(validated, service)
            .filter(|interface| condition(interface))
            .map(|interface| (ChildKind::Interface, name_of(interface))),
    );
}

fn choose_interfaces(
    validated: &Validated<'_>,
    revision: &ServiceRevision<'_>,
) -> Vec<DpuServiceInterface> {
    let templates = revision
        .service
        .configuration
        .spec
        .interfaces
        .iter()
        .flatten();
    // What an older revision uses stays as it is, even if this revision lost its own.
    let others: BTreeSet<String> = revision
        .choice
        .retained
        .iter()
        .chain(&revision.choice.surplus)
        .map(|old| name_of(*old))
        .collect();
    templates
        .map(|template| {
            let (of_this_name, rest): (Vec<&DpuServiceInterface>, Vec<&DpuServiceInterface>) =
                interfaces_of(validated, revision.service.name).partition(|interface| {
                    let service = interface.spec.template.spec.template.spec.service.as_ref();
                    // The network cannot be changed in place: another one is another interface.
                    service.is_some_and(|service| {
                        service.interface_name == template.name
                            && service.virtual_network == template.virtual_network
                    }) && !owned_by(interface, &others)
                });
            let taken = rest.into_iter().map(name_of).collect();
            let base = interface_base(revision.service.name, &template.name);
            let choice = choose(
                of_this_name,
                Rules {
                    digest: &revision.digest,
                    disruptive: revision.choice.case == Case::New,
                    history_limit: usize::MAX,
                    base: &base,
                    owner_uid: validated.uid,
                    taken: &taken,
                },
                |interface| {
                    interface
                        .metadata
                        .annotations
                        .as_ref()?
                        .get(annotations::DPUSERVICE_VERSION)
                        .map(String::as_str)
                },
                |interface| {
                    is_true(
                        interface
                            .status
                            .as_ref()
                            .and_then(|s| s.conditions.as_deref()),
                        READY,
                    )
                },
            );
            let existing = choice.existing;
            let mut interface = build::interface(validated, revision, template, choice.name);
            if let Some(existing) = existing {
                build::leave_unlabelled(revision, &existing.metadata, &mut interface.metadata);
            }
            interface
        })
        .collect()
}

fn plan_chain(validated: &Validated<'_>, advice: &Advice<'_>, plan: &mut Plan) {
    let mut keep = BTreeSet::new();
    if let Some(revision) = &advice.chain {
        let choice = &revision.choice;
        desire(plan, ChildKind::Chain, &choice.name);
        keep.insert(choice.name.clone());
        let chain = build::chain(validated, revision);
        if changes(choice.existing, &chain) {
            plan.actions.push(Action::ApplyChain(Box::new(chain)));
        }
        let value = build::chain_label_value(revision);
        let ready = choice.existing.is_some_and(|chain| {
            let conditions = chain.status.as_ref().and_then(|s| s.conditions.as_deref());
            is_true_for(conditions, READY, chain.metadata.generation)
        });
        let running = choice.case == Case::Current && ready;
        let replacement = Replacement {
            key: labels::DPUSERVICECHAIN_VERSION,
            value: Some(&value),
        };
        for old in &choice.retained {
            let cause = (!running).then(|| format!("DPUServiceChain {} is not Ready", choice.name));
            let old_value = build::chain_selector_value(old);
            let cause = cause.or_else(|| needed(&needed_by(validated, replacement, old_value)));
            if let Some(cause) = cause {
                let what = format!("DPUServiceChain {}", name_of(*old));
                plan.report.held_revisions.insert(what, cause);
                keep.insert(name_of(*old));
            }
        }
    }
    for chain in alive(&validated.observed.chains).filter(|chain| !keep.contains(&name_of(*chain)))
    {
        plan.actions.push(Action::Delete {
            kind: ChildKind::Chain,
            name: name_of(chain),
        });
    }
}

fn plan_sets(
    validated: &Validated<'_>,
    advice: &Advice<'_>,
    removal_disturbs: bool,
    plan: &mut Plan,
) {
    let disruptive = removal_disturbs
        || advice.services.iter().any(ServiceRevision::disturbs)
        || advice.chain.as_ref().is_some_and(|chain| chain.disturbs);
    let mut names = BTreeSet::new();
    for mut set in build::sets(validated, advice) {
        let name = set.name_any();
        desire(plan, ChildKind::Set, &name);
        let existing = find(&validated.observed.sets, &name);
        let effect_first =
            existing.is_some_and(|existing| effect_first(existing, &set, disruptive, plan));
        build::set_effect_first(&mut set, effect_first);
        // Its name is fixed: one that is being deleted comes back when it is gone.
        if !terminates(&validated.observed.sets, &name) && changes(existing, &set) {
            plan.actions.push(Action::ApplySet(Box::new(set)));
        }
        names.insert(name);
    }
    for set in alive(&validated.observed.sets).filter(|set| !names.contains(&name_of(*set))) {
        plan.actions.push(Action::Delete {
            kind: ChildKind::Set,
            name: name_of(set),
        });
    }
}

/// Whether changed labels take the effect on the host first: from the disruptive change on that changes them until the set
/// is ready and no older revision is left. A set that does not exist has no DPU that could be disturbed.
fn effect_first(existing: &DpuSet, desired: &DpuSet, disruptive: bool, plan: &Plan) -> bool {
    let template = |set: &DpuSet| set.spec.dpu_template.spec.clone().unwrap_or_default();
    let (old, new) = (template(existing), template(desired));
    let labels_change =
        old.cluster.and_then(|c| c.node_labels) != new.cluster.and_then(|c| c.node_labels);
    let began = old
        .node_effect
        .is_some_and(|effect| effect.apply_on_label_change == Some(true));
    (disruptive && labels_change)
        || (began && !(plan.report.held_revisions.is_empty() && set_ready(existing)))
}

fn terminates<K: Resource>(objects: &[K], name: &str) -> bool {
    objects.iter().any(|object| {
        object.meta().name.as_deref() == Some(name) && object.meta().deletion_timestamp.is_some()
    })
}

/// Objects that are not being deleted, by name: the order in which they were read is no reason for another plan.
pub(super) fn alive<K: Resource>(objects: &[K]) -> impl Iterator<Item = &K> {
    let mut alive: Vec<&K> = objects
        .iter()
        .filter(|object| object.meta().deletion_timestamp.is_none())
        .collect();
    alive.sort_by_key(|object| object.meta().name.as_deref());
    alive.into_iter()
}

/// Deletes services and interfaces that nothing keeps. An older revision is deleted before it is unpaused, so that its
/// controller starts with the deletion and not with another change.
fn delete_leftovers(
    validated: &Validated<'_>,
    keep: &BTreeSet<(ChildKind, String)>,
    plan: &mut Plan,
) {
    for interface in alive(&validated.observed.interfaces) {
        let name = name_of(interface);
        if !keep.contains(&(ChildKind::Interface, name.clone())) {
            plan.actions.push(Action::Delete {
                kind: ChildKind::Interface,
                name,
            });
        }
    }
    for service in alive(&validated.observed.services) {
        let name = name_of(service);
        if !keep.contains(&(ChildKind::Service, name.clone())) {
            plan.actions.push(Action::Delete {
                kind: ChildKind::Service,
                name,
            });
        }
    }
    unpause_terminating(validated.observed, plan);
}

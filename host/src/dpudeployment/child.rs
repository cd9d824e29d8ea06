//! What the four kinds of children have in common.

use crate::kit::Kind;
use dpf_api::provisioning::DpuSet;
use dpf_api::svc::{DpuService, DpuServiceChain, DpuServiceInterface};
use dpf_core::dpudeployment::status::{Readiness, child_ready};
use dpf_core::dpudeployment::{ChildKind, Observed};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// A kind that deployments make.
pub(super) trait Child: Kind {
    /// What conditions call it.
    const KIND: ChildKind;
    /// What its controller says about it.
    fn conditions(&self) -> Option<&[Condition]>;
    /// Those that were read.
    fn observed(observed: &Observed) -> &[Self];
}

macro_rules! children {
    ($($kind:ident, $variant:ident, $list:ident;)*) => {
        $(impl Child for $kind {
            const KIND: ChildKind = ChildKind::$variant;
            fn conditions(&self) -> Option<&[Condition]> {
                self.status.as_ref()?.conditions.as_deref()
            }
            fn observed(observed: &Observed) -> &[Self] {
                &observed.$list
            }
        })*
    };
}
children! {
    DpuService, Service, services;
    DpuServiceInterface, Interface, interfaces;
    DpuServiceChain, Chain, chains;
    DpuSet, Set, sets;
}

/// Readiness of the children as they were read.
pub(super) fn readiness(observed: &Observed) -> Readiness {
    let mut readiness = Readiness::new();
    note_all::<DpuService>(&mut readiness, observed);
    note_all::<DpuServiceInterface>(&mut readiness, observed);
    note_all::<DpuServiceChain>(&mut readiness, observed);
    note_all::<DpuSet>(&mut readiness, observed);
    readiness
}

fn note_all<K: Child>(readiness: &mut Readiness, observed: &Observed) {
    for child in K::observed(observed) {
        note(readiness, child);
    }
}

/// Notes whether one child is ready.
pub(super) fn note<K: Child>(readiness: &mut Readiness, child: &K) {
    let meta = child.meta();
    let ready =
        meta.deletion_timestamp.is_none() && child_ready(child.conditions(), meta.generation);
    let name = meta.name.clone().unwrap_or_default();
    readiness.entry(K::KIND).or_default().insert(name, ready);
}

//! The revisions of in-cluster services, by label key.

use crate::dpudeployment::build::in_cluster_label_key;
use crate::dpudeployment::consult::service_of;
use dpf_api::keys::labels::OWNED_BY_DPUDEPLOYMENT;
use dpf_api::provisioning::DpuSet;
use dpf_api::svc::DpuService;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One DPUService.
#[derive(Debug)]
struct Revision<'a> {
    name: String,
    owner: &'a str,
    requestor: String,
    terminating: bool,
    /// A DPUSet leads nodes to it.
    current: bool,
    paused: bool,
    created: Option<&'a Time>,
}

/// All in-cluster services that a deployment owns.
#[derive(Debug)]
pub(super) struct Revisions<'a> {
    by_key: BTreeMap<String, Vec<Revision<'a>>>,
    requestors: BTreeSet<String>,
}

impl<'a> Revisions<'a> {
    pub(super) fn new(services: &'a [Arc<DpuService>], sets: &[Arc<DpuSet>]) -> Self {
        let mut by_key: BTreeMap<String, Vec<Revision<'a>>> = BTreeMap::new();
        let mut requestors = BTreeSet::new();
        for service in services {
            let Some((key, owner)) = identity(service) else {
                continue;
            };
            let name = service.name_any();
            let requestor = format!("{owner}_{name}");
            requestors.insert(requestor.clone());
            by_key.entry(key.clone()).or_default().push(Revision {
                current: sets.iter().any(|set| leads_to(set, owner, &key, &name)),
                name,
                owner,
                requestor,
                terminating: service.metadata.deletion_timestamp.is_some(),
                paused: service.spec.paused == Some(true),
                created: service.metadata.creation_timestamp.as_ref(),
            });
        }
        Self { by_key, requestors }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str)
    }

    /// Keys of the services of one deployment.
    pub(super) fn keys_of(&self, owner: &str) -> impl Iterator<Item = &str> {
        self.by_key
            .iter()
            .filter(move |(_, revisions)| revisions.iter().any(|r| r.owner == owner))
            .map(|(key, _)| key.as_str())
    }

    /// Whether a service has this key.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// Whether there is an object of this name, even one that is being deleted.
    pub(super) fn exists(&self, key: &str, name: &str) -> bool {
        let revisions = self.by_key.get(key);
        revisions.is_some_and(|revisions| revisions.iter().any(|r| r.name == name))
    }

    pub(super) fn is_requestor(&self, requestor: &str) -> bool {
        self.requestors.contains(requestor)
    }

    /// The revision to run among those whose requestor is eligible: the one that DPUSets name, else the newest that is
    /// not paused.
    pub(super) fn preferred(
        &self,
        key: &str,
        eligible: impl Fn(&String) -> bool,
    ) -> Option<String> {
        let revisions = self.by_key.get(key)?;
        revisions
            .iter()
            .filter(|r| !r.terminating && eligible(&r.requestor))
            .max_by_key(|r| {
                let created = r.created.map(|time| time.0);
                (r.current, !r.paused, created, Reverse(r.name.as_str()))
            })
            .map(|r| r.name.clone())
    }
}

/// Label key and owner of an in-cluster service; nothing for objects that are none, or that no deployment made.
fn identity(service: &DpuService) -> Option<(String, &str)> {
    if service.spec.deploy_in_cluster != Some(true) {
        return None;
    }
    let owner = service.labels().get(OWNED_BY_DPUDEPLOYMENT)?;
    let namespace = service.metadata.namespace.as_deref()?;
    let deployment = owner.strip_prefix(namespace)?.strip_prefix('_')?;
    let key = in_cluster_label_key(namespace, deployment, service_of(service)?);
    Some((key, owner))
}

fn leads_to(set: &DpuSet, owner: &str, key: &str, name: &str) -> bool {
    let template = set.spec.dpu_template.spec.as_ref();
    let labels = template
        .and_then(|spec| spec.cluster.as_ref())
        .and_then(|cluster| cluster.node_labels.as_ref());
    set.metadata.deletion_timestamp.is_none()
        && set.labels().get(OWNED_BY_DPUDEPLOYMENT).map(String::as_str) == Some(owner)
        && labels.is_some_and(|labels| labels.get(key).map(String::as_str) == Some(name))
}

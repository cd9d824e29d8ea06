//! Children that lost the label of their deployment.
//!
//! Children are listed by label. Were the label all that leads to them, whoever takes it away would make an orphan that runs on
//! and that nobody deletes. Their owner reference still names the deployment, so the watches of children remember
//! those without the label, and a pass reads them by name.

use super::child::Child;
use dpf_api::keys::labels::{OWNED_BY_DPUDEPLOYMENT, owner_value};
use dpf_api::svc::DpuDeployment;
use dpf_core::dpudeployment::ChildKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Namespace and name of a deployment.
type Owner = (String, String);

type Known = BTreeMap<Owner, BTreeSet<(ChildKind, String)>>;

/// What is known of children without label. Bounded by their number: those that got it back, or are gone, are forgotten.
#[derive(Clone, Default)]
pub(super) struct Strays(Arc<Mutex<Known>>);

impl Strays {
    /// Maps a child to the deployment that its owner reference names, and remembers it if its label does not.
    pub(super) fn owner<K: Child>(
        &self,
    ) -> impl Fn(K) -> Option<ObjectRef<DpuDeployment>> + use<K> {
        let this = self.clone();
        move |child| {
            let owner = owner_reference(&child)?;
            let namespace = child.namespace()?;
            let label = child.labels().get(OWNED_BY_DPUDEPLOYMENT);
            let key = (namespace.clone(), owner.name.clone());
            if label == Some(&owner_value(&namespace, &owner.name)) {
                this.forget(&key, K::KIND, &child.name_any());
            } else {
                let mut strays = this.lock();
                let of_owner = strays.entry(key).or_default();
                of_owner.insert((K::KIND, child.name_any()));
            }
            Some(ObjectRef::new(&owner.name).within(&namespace))
        }
    }

    /// Names of the children of this kind.
    pub(super) fn names<K: Child>(&self, owner: &Owner) -> Vec<String> {
        let strays = self.lock();
        let of_owner = strays.get(owner).into_iter().flatten();
        of_owner
            .filter(|(kind, _)| *kind == K::KIND)
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// It is no child any more, or found by its label again.
    pub(super) fn forget(&self, owner: &Owner, kind: ChildKind, name: &str) {
        let mut strays = self.lock();
        if let Some(of_owner) = strays.get_mut(owner) {
            of_owner.remove(&(kind, name.to_owned()));
            if of_owner.is_empty() {
                strays.remove(owner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the deployment with this uid owns a child.
pub(super) fn is_owned<K: Resource>(child: &K, uid: Option<&str>) -> bool {
    let owner = owner_reference(child);
    owner.is_some_and(|owner| Some(owner.uid.as_str()) == uid)
}

fn owner_reference<K: Resource>(child: &K) -> Option<&OwnerReference> {
    let mut owners = child.meta().owner_references.iter().flatten();
    owners.find(|owner| {
        owner.kind == DpuDeployment::kind(&())
            && owner.api_version == DpuDeployment::api_version(&())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::svc::DpuService;
    use serde_json::{Value, json};

    fn service(labels: Value, owner: Value) -> DpuService {
        serde_json::from_value(json!({
            "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "DPUService",
            "metadata": {"name": "s", "namespace": "n", "labels": labels, "ownerReferences": [owner]},
            "spec": {"helmChart": {"source": {"repoURL": "oci://h", "version": "1"}}},
        }))
        .unwrap()
    }

    #[test]
    fn a_child_without_label_is_remembered_until_it_has_it_again() {
        let deployment = json!({"apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "DPUDeployment", "name": "d", "uid": "u",
            "controller": true});
        let strays = Strays::default();
        let owner_of = strays.owner::<DpuService>();
        let key = ("n".to_owned(), "d".to_owned());
        let woken = Some(ObjectRef::new("d").within("n"));
        let label = |value: &str| json!({OWNED_BY_DPUDEPLOYMENT: value});

        for (labels, known) in [
            (label("n_d"), 0),
            (json!({}), 1),
            (json!({}), 1),
            (label("n_d"), 0),
            (label("n_other"), 1),
        ] {
            let child = service(labels, deployment.clone());
            assert!(is_owned(&child, Some("u")) && !is_owned(&child, Some("v")));
            assert_eq!(owner_of(child), woken);
            assert_eq!(strays.names::<DpuService>(&key).len(), known);
        }
        strays.forget(&key, ChildKind::Service, "s");
        assert!(strays.lock().is_empty());

        let of_another_kind =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "d", "uid": "u"});
        assert_eq!(owner_of(service(json!({}), of_another_kind)), None);
    }
}

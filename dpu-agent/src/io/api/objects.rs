//! What the watches found, and who hears of a change.

use crate::core::Inputs;
use crate::core::names::Key;
use dpf_api::keys::{annotations, labels};
use dpf_api::svc::{ServiceChain, ServiceInterface};
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};

use crate::core::inputs::ServicePod;

/// All objects of this node.
///
/// The driver hears of what matters to the switch, whoever writes status hears of everything.
pub struct Objects {
    lists: Mutex<Lists>,
    inputs: watch::Sender<Option<Arc<Inputs>>>,
    /// Something changed that a status may depend on.
    pub(super) touched: Notify,
}

#[derive(Default)]
struct Lists {
    chains: List<ServiceChain>,
    interfaces: List<ServiceInterface>,
    pods: List<ServicePod>,
}

/// One kind: what is known, and what a new list has brought so far.
struct List<T> {
    known: Option<BTreeMap<Key, T>>,
    coming: BTreeMap<Key, T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            known: None,
            coming: BTreeMap::new(),
        }
    }
}

impl<T: Clone> List<T> {
    /// Takes an event of objects that `read` understands; whether what is known may have changed.
    fn take<K: Resource>(&mut self, event: Event<K>, read: impl Fn(K) -> Option<T>) -> bool {
        let key = |object: &K| Key::new(object.namespace().unwrap_or_default(), object.name_any());
        match event {
            Event::Init => {
                self.coming.clear();
                false
            }
            Event::InitApply(object) => {
                let key = key(&object);
                if let Some(object) = read(object) {
                    self.coming.insert(key, object);
                }
                false
            }
            Event::InitDone => {
                self.known = Some(std::mem::take(&mut self.coming));
                true
            }
            Event::Apply(object) => {
                let key = key(&object);
                let known = self.known.get_or_insert_default();
                match read(object) {
                    Some(object) => known.insert(key, object),
                    None => known.remove(&key),
                };
                true
            }
            Event::Delete(object) => {
                let key = key(&object);
                self.known
                    .as_mut()
                    .is_some_and(|known| known.remove(&key).is_some())
            }
        }
    }
}

impl Objects {
    /// Publishes to `inputs` once all kinds were listed.
    #[must_use]
    pub fn new(inputs: watch::Sender<Option<Arc<Inputs>>>) -> Arc<Self> {
        Arc::new(Self {
            lists: Mutex::default(),
            inputs,
            touched: Notify::new(),
        })
    }

    pub(super) fn chain(&self, event: Event<ServiceChain>, node: &str) {
        self.change(|lists| {
            lists.chains.take(event, |mut chain: ServiceChain| {
                trim(&mut chain);
                (chain.spec.node.as_deref() == Some(node)).then_some(chain)
            })
        });
    }

    pub(super) fn interface(&self, event: Event<ServiceInterface>, node: &str) {
        self.change(|lists| {
            lists
                .interfaces
                .take(event, |mut interface: ServiceInterface| {
                    trim(&mut interface);
                    (interface.spec.node.as_deref() == Some(node)).then_some(interface)
                })
        });
    }

    pub(super) fn pod(&self, event: Event<PartialObjectMeta<Pod>>) {
        self.change(|lists| {
            lists.pods.take(event, |pod: PartialObjectMeta<Pod>| {
                let custom = pod.labels().get(labels::CUSTOM_FLOWS);
                Some(ServicePod {
                    service_id: pod.labels().get(labels::SERVICE)?.clone(),
                    firefly: custom.is_some_and(|flows| flows == labels::CUSTOM_FLOWS_FIREFLY),
                    deleting: pod.metadata.deletion_timestamp.is_some(),
                })
            })
        });
    }

    fn change(&self, take: impl FnOnce(&mut Lists) -> bool) {
        // A panic elsewhere does not make what is known wrong.
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if !take(&mut lists) {
            return;
        }
        let Lists {
            chains,
            interfaces,
            pods,
        } = &*lists;
        let (Some(chains), Some(interfaces), Some(pods)) =
            (&chains.known, &interfaces.known, &pods.known)
        else {
            return;
        };
        let now = Inputs {
            chains: chains.clone(),
            interfaces: interfaces.clone(),
            pods: pods.clone(),
        };
        self.inputs.send_if_modified(|before| {
            let matters = before.as_ref().is_none_or(|before| differs(before, &now));
            *before = Some(Arc::new(now));
            matters
        });
        self.touched.notify_one();
    }

    /// What is known now.
    pub(super) fn now(&self) -> Option<Arc<Inputs>> {
        self.inputs.borrow().clone()
    }
}

/// Leaves out what no decision needs: it is most of an object.
fn trim<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| key == annotations::KEEP_PHYSICAL);
    }
}

/// Whether the switch may have to change; a status that was written, above all by this agent, is no reason.
fn differs(before: &Inputs, now: &Inputs) -> bool {
    fn same<K: Resource, S: PartialEq>(a: &K, b: &K, spec: impl Fn(&K) -> &S) -> bool {
        let meta = |object: &K| {
            let meta = object.meta();
            (
                meta.uid.clone(),
                meta.generation,
                meta.labels.clone(),
                meta.annotations.clone(),
                meta.deletion_timestamp.clone(),
            )
        };
        meta(a) == meta(b) && spec(a) == spec(b)
    }
    fn all_same<K>(
        a: &BTreeMap<Key, K>,
        b: &BTreeMap<Key, K>,
        same: impl Fn(&K, &K) -> bool,
    ) -> bool {
        a.len() == b.len()
            && a.iter()
                .zip(b)
                .all(|((ka, va), (kb, vb))| ka == kb && same(va, vb))
    }
    before.pods != now.pods
        || !all_same(&before.chains, &now.chains, |a, b| same(a, b, |c| &c.spec))
        || !all_same(&before.interfaces, &now.interfaces, |a, b| {
            same(a, b, |i| &i.spec)
        })
}

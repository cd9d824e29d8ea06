//! One namespace: what the deployment refers to, and the children of all deployments.

use crate::support::{
    Deletion, carry_out_with, example, let_go, managed, now, ready, ready_for, stored, words,
};
use dpf_api::keys::{finalizers, labels};
use dpf_api::provisioning::{Bfb, Dpu, DpuFlavor, DpuSet};
use dpf_api::svc::{
    DpuDeployment, DpuService, DpuServiceChain, DpuServiceConfiguration, DpuServiceInterface,
    DpuServiceTemplate,
};
use dpf_core::dpudeployment::marks::mark_label;
use dpf_core::dpudeployment::status::{Readiness, child_ready};
use dpf_core::dpudeployment::{
    Action, ChildKind, DependencyKind, Invalid, Marked, Observed, Outcome, Plan, Rejection,
    conditions, consult, plan, plan_deletion, validate,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Everything that is in the namespace.
#[derive(Clone)]
pub struct World {
    pub deployment: DpuDeployment,
    pub bfbs: BTreeMap<String, Bfb>,
    pub flavors: BTreeMap<String, DpuFlavor>,
    pub templates: BTreeMap<String, DpuServiceTemplate>,
    pub configurations: BTreeMap<String, DpuServiceConfiguration>,
    pub services: Vec<DpuService>,
    pub interfaces: Vec<DpuServiceInterface>,
    pub chains: Vec<DpuServiceChain>,
    pub sets: Vec<DpuSet>,
    pub dpus: Vec<Dpu>,
}

/// What a pass comes to.
pub enum Look {
    Invalid(Invalid),
    Rejected(Rejection),
    Planned(Plan),
    Deleting(Plan),
}

impl World {
    /// The example right after it was applied, with its image and templates ready.
    pub fn applied() -> Self {
        let observed = example();
        let named = |object: &dyn Fn() -> Option<String>| object().unwrap();
        let (bfb, flavor) = (observed.bfb.unwrap(), observed.flavor.unwrap());
        Self {
            deployment: observed.deployment,
            bfbs: BTreeMap::from([(named(&|| bfb.metadata.name.clone()), bfb)]),
            flavors: BTreeMap::from([(named(&|| flavor.metadata.name.clone()), flavor)]),
            templates: observed.templates,
            configurations: observed.configurations,
            services: Vec::new(),
            interfaces: Vec::new(),
            chains: Vec::new(),
            sets: Vec::new(),
            dpus: Vec::new(),
        }
    }

    /// The example, rolled out and ready.
    pub fn running() -> Self {
        let mut world = Self::applied();
        for _ in 0..2 {
            world.settle();
            world.everything_ready();
        }
        let Look::Planned(plan) = world.look() else {
            panic!("the example is refused");
        };
        let outcome = Outcome::Applied {
            report: &plan.report,
            errors: &[],
        };
        let conditions = conditions(&world.deployment, &outcome, &world.readiness(), now());
        world.deployment.status.get_or_insert_default().conditions = Some(conditions);
        world
    }

    fn owner(&self) -> String {
        let namespace = self.deployment.namespace().unwrap();
        labels::owner_value(&namespace, &self.deployment.name_any())
    }

    fn mark(&self) -> String {
        let namespace = self.deployment.namespace().unwrap();
        mark_label(&namespace, &self.deployment.name_any())
    }

    /// What the host reads: references by name, the rest by label.
    pub fn observe(&self) -> Observed {
        let spec = &self.deployment.spec;
        let (owner, mark) = (self.owner(), self.mark());
        let by_name = |name: &Option<String>| name.clone().unwrap_or_default();
        let templates = spec.services.values().map(|s| &s.service_template);
        let configurations = spec.services.values().map(|s| &s.service_configuration);
        Observed {
            deployment: self.deployment.clone(),
            bfb: self.bfbs.get(&by_name(&spec.dpus.bfb)).cloned(),
            flavor: self.flavors.get(&by_name(&spec.dpus.flavor)).cloned(),
            templates: some(&self.templates, templates),
            configurations: some(&self.configurations, configurations),
            marked: Marked {
                bfbs: carrying(self.bfbs.values(), &mark, ""),
                flavors: carrying(self.flavors.values(), &mark, ""),
                templates: carrying(self.templates.values(), &mark, ""),
                configurations: carrying(self.configurations.values(), &mark, ""),
            },
            services: carrying(&self.services, labels::OWNED_BY_DPUDEPLOYMENT, &owner),
            interfaces: carrying(&self.interfaces, labels::OWNED_BY_DPUDEPLOYMENT, &owner),
            chains: carrying(&self.chains, labels::OWNED_BY_DPUDEPLOYMENT, &owner),
            sets: carrying(&self.sets, labels::OWNED_BY_DPUDEPLOYMENT, &owner),
            dpus: carrying(&self.dpus, labels::OWNED_BY_DPUDEPLOYMENT, &owner),
        }
    }

    /// Decides, without writing.
    pub fn look(&self) -> Look {
        let observed = self.observe();
        if observed.deployment.metadata.deletion_timestamp.is_some() {
            return Look::Deleting(plan_deletion(&observed));
        }
        let validated = match validate(&observed) {
            Ok(validated) => validated,
            Err(invalid) => return Look::Invalid(invalid),
        };
        match consult(&validated, &crate::plugins::DefaultStages) {
            Ok(advice) => Look::Planned(plan(&validated, &advice)),
            Err(rejection) => Look::Rejected(rejection),
        }
    }

    /// Writes. What is deleted stays until its finalizers go.
    pub fn carry_out(&mut self, plan: &Plan) {
        let mut observed = self.observe();
        carry_out_with(&mut observed, plan.clone(), Deletion::Lingers);
        let changed = observed.clone();
        replace(&mut self.services, observed.services);
        replace(&mut self.interfaces, observed.interfaces);
        replace(&mut self.chains, observed.chains);
        replace(&mut self.sets, observed.sets);
        for action in &plan.actions {
            match action {
                Action::Mark { kind, name } => self.put_marked(&changed, *kind, name),
                Action::Unmark { kind, name } => self.unmark(*kind, name),
                _ => {}
            }
        }
        self.record();
    }

    /// Nobody recorded yet who wrote what was just created.
    fn record(&mut self) {
        fn each<K: Resource + Serialize>(objects: &mut [K]) {
            for object in objects {
                if object.meta().managed_fields.is_none() {
                    managed::record(object);
                }
            }
        }
        each(&mut self.services);
        each(&mut self.interfaces);
        each(&mut self.chains);
        each(&mut self.sets);
    }

    fn put_marked(&mut self, observed: &Observed, kind: DependencyKind, name: &str) {
        let name = name.to_owned();
        match kind {
            DependencyKind::Bfb => drop(self.bfbs.insert(name, observed.bfb.clone().unwrap())),
            DependencyKind::Flavor => {
                drop(self.flavors.insert(name, observed.flavor.clone().unwrap()));
            }
            DependencyKind::Template => {
                let template = observed.templates[&name].clone();
                self.templates.insert(name, template);
            }
            DependencyKind::Configuration => {
                let configuration = observed.configurations[&name].clone();
                self.configurations.insert(name, configuration);
            }
        }
    }

    fn unmark(&mut self, kind: DependencyKind, name: &str) {
        let mark = self.mark();
        let metadata = match kind {
            DependencyKind::Bfb => self.bfbs.get_mut(name).map(Resource::meta_mut),
            DependencyKind::Flavor => self.flavors.get_mut(name).map(Resource::meta_mut),
            DependencyKind::Template => self.templates.get_mut(name).map(Resource::meta_mut),
            DependencyKind::Configuration => {
                self.configurations.get_mut(name).map(Resource::meta_mut)
            }
        };
        let metadata = metadata.unwrap();
        metadata.labels.as_mut().unwrap().remove(&mark);
        let others = metadata
            .labels
            .iter()
            .flatten()
            .any(|(key, _)| key.starts_with(labels::CONSUMED_BY_DPUDEPLOYMENT_PREFIX));
        if !others {
            let list = metadata.finalizers.as_mut().unwrap();
            list.retain(|finalizer| finalizer != finalizers::DPUDEPLOYMENT);
        }
    }

    /// Passes until nothing is left to write. Returns what was done, in words.
    pub fn settle(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for _ in 0..10 {
            let (Look::Planned(plan) | Look::Deleting(plan)) = self.look() else {
                panic!("the deployment is refused");
            };
            if plan.actions.is_empty() {
                return done;
            }
            done.extend(plan.actions.iter().map(words));
            self.carry_out(&plan);
        }
        panic!("the plans do not come to an end: {done:#?}");
    }

    /// Finalizers go from what is being deleted; the controller of a paused service does nothing.
    pub fn finalizers_go(&mut self) {
        let mut observed = Observed {
            services: std::mem::take(&mut self.services),
            interfaces: std::mem::take(&mut self.interfaces),
            chains: std::mem::take(&mut self.chains),
            sets: std::mem::take(&mut self.sets),
            ..Observed::default()
        };
        let_go(&mut observed);
        self.services = observed.services;
        self.interfaces = observed.interfaces;
        self.chains = observed.chains;
        self.sets = observed.sets;
    }

    /// Every child that its controller looks at becomes ready for the generation it has.
    pub fn everything_ready(&mut self) {
        for service in &mut self.services {
            if service.spec.paused != Some(true) {
                set_ready(service, true);
            }
        }
        self.interfaces.iter_mut().for_each(|o| set_ready(o, true));
        self.chains.iter_mut().for_each(|o| set_ready(o, true));
        self.sets.iter_mut().for_each(|o| set_ready(o, true));
    }

    /// Readiness of the children, as the host reads it.
    pub fn readiness(&self) -> Readiness {
        let observed = self.observe();
        Readiness::from([
            (ChildKind::Service, readiness_of(&observed.services)),
            (ChildKind::Interface, readiness_of(&observed.interfaces)),
            (ChildKind::Chain, readiness_of(&observed.chains)),
            (ChildKind::Set, readiness_of(&observed.sets)),
        ])
    }
}

fn some<'a, K: Clone>(
    all: &BTreeMap<String, K>,
    names: impl Iterator<Item = &'a String>,
) -> BTreeMap<String, K> {
    let found = names.filter_map(|name| Some((name.clone(), all.get(name)?.clone())));
    found.collect()
}

fn carrying<'a, K: Resource + Clone + 'a>(
    objects: impl IntoIterator<Item = &'a K>,
    key: &str,
    value: &str,
) -> Vec<K> {
    let carries = |object: &&K| object.labels().get(key).is_some_and(|v| v == value);
    objects.into_iter().filter(carries).cloned().collect()
}

/// Puts changed and new objects in place of those of the same name.
fn replace<K: Resource>(all: &mut Vec<K>, changed: Vec<K>) {
    for object in changed {
        let name = object.name_any();
        match all.iter_mut().find(|o| o.name_any() == name) {
            Some(place) => *place = object,
            None => all.push(object),
        }
    }
}

fn conditions_of<K: Serialize>(object: &K) -> Option<Vec<Condition>> {
    let value = serde_json::to_value(object).unwrap();
    let conditions = value.pointer("/status/conditions")?.clone();
    Some(serde_json::from_value(conditions).unwrap())
}

fn readiness_of<K: Resource + Serialize>(objects: &[K]) -> BTreeMap<String, bool> {
    let ready = |object: &K| {
        object.meta().deletion_timestamp.is_none()
            && child_ready(conditions_of(object).as_deref(), object.meta().generation)
    };
    objects
        .iter()
        .map(|object| (object.name_any(), ready(object)))
        .collect()
}

/// Sets the condition Ready for the present generation.
pub fn set_ready<K: Resource + Serialize + DeserializeOwned>(object: &mut K, to: bool) {
    let mut conditions = ready_for(object.meta().generation);
    if !to {
        let ready = &mut conditions.as_mut().unwrap()[0];
        (ready.status, ready.reason) = ("False".to_owned(), "Pending".to_owned());
    }
    let mut value = serde_json::to_value(&*object).unwrap();
    merge(
        &mut value,
        &json!({ "status": { "conditions": conditions } }),
    );
    *object = serde_json::from_value(value).unwrap();
}

/// JSON merge patch.
pub fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let fields = into.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Somebody changes an object, or creates it; the generation counts changes of the spec.
pub fn edited<K>(object: Option<K>, name: &str, patch: &Value) -> K
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    let existed = object.is_some();
    let mut value = object.map_or_else(
        || {
            let mut metadata = ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("customer-namespace".to_owned()),
                creation_timestamp: Some(Time(now())),
                ..ObjectMeta::default()
            };
            stored(&mut metadata, &format!("uid-of-{name}"));
            json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata})
        },
        |object| serde_json::to_value(object).unwrap(),
    );
    let before = value["spec"].clone();
    merge(&mut value, patch);
    let generation = value["metadata"]["generation"].as_i64().unwrap_or(1);
    let changed = existed && before != value["spec"];
    if patch.pointer("/metadata/generation").is_none() {
        value["metadata"]["generation"] = json!(generation + i64::from(changed));
    }
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Its controller has read the chart of the present generation.
pub fn set_template_ready(template: &mut DpuServiceTemplate) {
    let status = template.status.get_or_insert_default();
    status.observed_generation = template.metadata.generation;
    status.conditions = ready();
    for condition in status.conditions.iter_mut().flatten() {
        condition.observed_generation = template.metadata.generation;
    }
}

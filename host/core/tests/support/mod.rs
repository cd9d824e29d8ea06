//! The producer-consumer example as observed objects, and an API server as small as a plan needs it.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

use dpf_api::svc::DpuDeployment;
use dpf_core::conditions::{Conditions, Verdict};
use dpf_core::dpudeployment::build::service_owner;
use dpf_core::dpudeployment::marks::mark_label;
use dpf_core::dpudeployment::validate::Service;
use dpf_core::dpudeployment::{
    Action, Answer, ChildKind, DependencyKind, Observed, Plan, Refusal, Stages, consult, plan,
    validate,
};
use dpf_stage::{
    ChainPort, ChainRequest, ChainResponse, ChainSwitch, CheckRequest, Finding, MergeRequest,
    MergeResponse, PortSpec,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::core::object::{HasSpec, HasStatus};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

pub mod managed;
pub mod world;

/// The time of all tests.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// One manifest of the example.
pub fn manifest<K: DeserializeOwned>(file: &str) -> K {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/producer-consumer")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the API server adds when it stores an object.
pub fn stored(metadata: &mut ObjectMeta, uid: &str) {
    metadata.uid = Some(uid.to_owned());
    metadata.generation = Some(1);
}

/// The condition Ready, for generation 1.
pub fn ready() -> Option<Vec<Condition>> {
    let mut conditions = Conditions::new(None, &[], 1, now());
    conditions.set("Ready", &Verdict::True);
    Some(conditions.into_list())
}

/// The example right after it was applied, with its image and templates ready.
pub fn example() -> Observed {
    static EXAMPLE: std::sync::OnceLock<Observed> = std::sync::OnceLock::new();
    EXAMPLE.get_or_init(read_example).clone()
}

fn read_example() -> Observed {
    let mut observed = Observed {
        deployment: manifest::<DpuDeployment>("40-dpudeployment.yaml"),
        ..Observed::default()
    };
    stored(&mut observed.deployment.metadata, "uid-of-the-deployment");
    let mut bfb: dpf_api::provisioning::Bfb = manifest("10-bfb.yaml");
    stored(&mut bfb.metadata, "uid-of-the-bfb");
    bfb.status = Some(
        serde_json::from_value(
            serde_json::json!({"phase": "Ready", "versions": {"doca": "2.9.1"}}),
        )
        .unwrap(),
    );
    observed.bfb = Some(bfb);
    observed.flavor = Some(manifest("11-dpuflavor.yaml"));
    for file in ["20-producer-template.yaml", "21-consumer-template.yaml"] {
        let mut template: dpf_api::svc::DpuServiceTemplate = manifest(file);
        stored(&mut template.metadata, file);
        template.status = Some(dpf_api::svc::DpuServiceTemplateStatus {
            conditions: ready(),
            observed_generation: Some(1),
            ..Default::default()
        });
        observed.templates.insert(template.name_any(), template);
    }
    for file in [
        "30-producer-configuration.yaml",
        "31-consumer-configuration.yaml",
    ] {
        let mut configuration: dpf_api::svc::DpuServiceConfiguration = manifest(file);
        stored(&mut configuration.metadata, file);
        observed
            .configurations
            .insert(configuration.name_any(), configuration);
    }
    observed
}

/// The stages in plain Rust, as small as their contract allows: what a plan makes of the answers does not depend on who gives them.
pub struct NativeStages;

impl Stages for NativeStages {
    fn merge(
        &self,
        _service: &Service<'_>,
        request: &MergeRequest,
    ) -> Result<Answer<MergeResponse>, Refusal> {
        let rendered = request
            .configuration_values
            .clone()
            .map(|values| render(values, request));
        Ok(MergeResponse {
            values: match (request.template_values.clone(), rendered.clone()) {
                (Some(template), Some(configuration)) => Some(merged(template, configuration)),
                (template, configuration) => configuration.or(template),
            },
            configuration_values: rendered,
            ..MergeResponse::default()
        }
        .into())
    }

    fn check(&self, _request: &CheckRequest) -> Result<Vec<Finding>, Refusal> {
        Ok(Vec::new())
    }

    fn build_chain(&self, request: &ChainRequest) -> Result<Answer<ChainResponse>, Refusal> {
        let port = |port: &PortSpec| match port {
            PortSpec::Service {
                name,
                interface,
                ipam,
            } => {
                let service = request
                    .services
                    .iter()
                    .find(|service| service.name == *name)
                    .unwrap();
                ChainPort {
                    match_labels: BTreeMap::from([
                        (
                            "svc.dpu.nvidia.com/service".to_owned(),
                            service.service_id.clone(),
                        ),
                        ("svc.dpu.nvidia.com/interface".to_owned(), interface.clone()),
                    ]),
                    ipam: ipam.clone(),
                }
            }
            PortSpec::ServiceInterface { match_labels, ipam } => ChainPort {
                match_labels: match_labels.clone(),
                ipam: ipam.clone(),
            },
        };
        Ok(ChainResponse {
            switches: request
                .switches
                .iter()
                .map(|switch| ChainSwitch {
                    ports: switch.ports.iter().map(port).collect(),
                    service_mtu: switch.service_mtu,
                })
                .collect(),
            ..ChainResponse::default()
        }
        .into())
    }
}

fn merged(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (key, value) in over {
                let value = match base.remove(&key) {
                    Some(below) => merged(below, value),
                    None => value,
                };
                base.insert(key, value);
            }
            Value::Object(base)
        }
        (_, over) => over,
    }
}

fn render(values: Value, request: &MergeRequest) -> Value {
    if !request.render {
        return values;
    }
    let mut text = values.to_string();
    for dependency in &request.dependencies {
        text = text.replace(
            &format!("{{{{ .Services.{}.Name }}}}", dependency.name),
            &dependency.object_name,
        );
    }
    serde_json::from_str(&text).unwrap()
}

/// One pass: validate, consult, plan.
pub fn pass(observed: &Observed) -> Plan {
    let validated = validate(observed).unwrap_or_else(|invalid| panic!("{invalid:?}"));
    let advice =
        consult(&validated, &NativeStages).unwrap_or_else(|rejection| panic!("{rejection:?}"));
    plan(&validated, &advice)
}

/// How objects go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// No finalizer holds them.
    AtOnce,
    /// A finalizer holds them until [`let_go`].
    Lingers,
}

/// Carries a plan out as an API server would, and returns what was done in words.
pub fn carry_out(observed: &mut Observed, plan: Plan) -> Vec<String> {
    carry_out_with(observed, plan, Deletion::AtOnce)
}

/// As [`carry_out`], with deletions of this kind.
pub fn carry_out_with(observed: &mut Observed, plan: Plan, deletion: Deletion) -> Vec<String> {
    let mut done = Vec::new();
    for action in plan.actions {
        done.push(words(&action));
        match action {
            Action::RemoveFinalizer => {}
            Action::Mark { kind, name } => mark(observed, kind, &name),
            Action::Unmark { .. } => {}
            Action::Pause { service } => pause(observed, &service, Some(true)),
            Action::Unpause { service } => pause(observed, &service, None),
            Action::ApplyService(mut service) => {
                let existing = observed
                    .services
                    .iter()
                    .find(|s| s.name_any() == service.name_any());
                service.spec.paused = existing.and_then(|existing| existing.spec.paused);
                store(&mut observed.services, *service);
            }
            Action::ApplyInterface {
                mut interface,
                service,
            } => {
                let owner = observed
                    .services
                    .iter()
                    .find(|s| s.name_any() == service)
                    .unwrap();
                let reference = service_owner(&service, owner.metadata.uid.as_ref().unwrap());
                let owners = interface.metadata.owner_references.get_or_insert_default();
                if !owners.contains(&reference) {
                    owners.push(reference);
                }
                store(&mut observed.interfaces, *interface);
            }
            Action::ApplyChain(chain) => store(&mut observed.chains, *chain),
            Action::ApplySet(set) => store(&mut observed.sets, *set),
            Action::Delete { kind, name } => delete_child(observed, kind, &name, deletion),
        }
    }
    done
}

/// One action in words.
pub fn words(action: &Action) -> String {
    match action {
        Action::RemoveFinalizer => "remove finalizer".to_owned(),
        Action::Mark { kind, name } => format!("mark {kind:?} {name}"),
        Action::Unmark { kind, name } => format!("unmark {kind:?} {name}"),
        Action::Pause { service } => format!("pause {service}"),
        Action::Unpause { service } => format!("unpause {service}"),
        Action::ApplyService(service) => format!("apply service {}", service.name_any()),
        Action::ApplyInterface { interface, service } => {
            format!("apply interface {} of {service}", interface.name_any())
        }
        Action::ApplyChain(chain) => format!("apply chain {}", chain.name_any()),
        Action::ApplySet(set) => format!("apply set {}", set.name_any()),
        Action::Delete { kind, name } => format!("delete {kind:?} {name}"),
    }
}

/// Server-side apply: what others wrote stays, and the generation counts changes of the spec.
fn store<K>(objects: &mut Vec<K>, mut object: K)
where
    K: Resource + HasSpec + HasStatus + Serialize + DeserializeOwned,
    K::Spec: PartialEq,
{
    let latest = objects
        .iter()
        .filter_map(|o| o.meta().creation_timestamp.as_ref())
        .map(|time| time.0.as_second())
        .max();
    let name = object.meta().name.clone();
    if let Some(existing) = objects.iter_mut().find(|o| o.meta().name == name) {
        assert!(
            existing.meta().deletion_timestamp.is_none(),
            "{name:?} is written while it terminates"
        );
        if existing.meta().managed_fields.is_some() {
            object = managed::merged(existing, &object);
        }
        *object.status_mut() = existing.status_mut().take();
        let generation = existing.meta().generation.unwrap();
        let changed = i64::from(existing.spec() != object.spec());
        let (old, new) = (existing.meta(), object.meta_mut());
        new.uid.clone_from(&old.uid);
        new.creation_timestamp.clone_from(&old.creation_timestamp);
        new.generation = Some(generation + changed);
        *existing = object;
        return;
    }
    object.meta_mut().uid = Some(format!("uid-of-{}", name.unwrap()));
    object.meta_mut().generation = Some(1);
    let second = latest.map_or(now().as_second(), |latest| latest + 1);
    object.meta_mut().creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
    objects.push(object);
}

fn delete<K: Resource>(objects: &mut Vec<K>, name: &str, deletion: Deletion) {
    match deletion {
        Deletion::AtOnce => objects.retain(|o| o.meta().name.as_deref() != Some(name)),
        Deletion::Lingers => {
            for object in objects
                .iter_mut()
                .filter(|o| o.meta().name.as_deref() == Some(name))
            {
                object.meta_mut().deletion_timestamp = Some(Time(now()));
            }
        }
    }
}

/// Deletes a child; one that lingers goes with [`let_go`].
pub fn delete_child(observed: &mut Observed, kind: ChildKind, name: &str, deletion: Deletion) {
    match kind {
        ChildKind::Service => delete(&mut observed.services, name, deletion),
        ChildKind::Interface => delete(&mut observed.interfaces, name, deletion),
        ChildKind::Chain => delete(&mut observed.chains, name, deletion),
        ChildKind::Set => delete(&mut observed.sets, name, deletion),
    }
}

/// The controllers of the children take their finalizers off what is being deleted; that of a paused service does nothing.
pub fn let_go(observed: &mut Observed) {
    fn alive(object: &impl Resource) -> bool {
        object.meta().deletion_timestamp.is_none()
    }
    observed
        .services
        .retain(|o| alive(o) || o.spec.paused == Some(true));
    observed.interfaces.retain(alive);
    observed.chains.retain(alive);
    observed.sets.retain(alive);
}

fn pause(observed: &mut Observed, service: &str, paused: Option<bool>) {
    if let Some(service) = observed
        .services
        .iter_mut()
        .find(|s| s.name_any() == service)
        && service.spec.paused != paused
    {
        service.spec.paused = paused;
        service.metadata.generation = service.metadata.generation.map(|g| g + 1);
    }
}

fn mark(observed: &mut Observed, kind: DependencyKind, name: &str) {
    let label = mark_label(
        &observed.deployment.namespace().unwrap_or_default(),
        &observed.deployment.name_any(),
    );
    let metadata = match kind {
        DependencyKind::Bfb => &mut observed.bfb.as_mut().unwrap().metadata,
        DependencyKind::Flavor => &mut observed.flavor.as_mut().unwrap().metadata,
        DependencyKind::Template => &mut observed.templates.get_mut(name).unwrap().metadata,
        DependencyKind::Configuration => {
            &mut observed.configurations.get_mut(name).unwrap().metadata
        }
    };
    metadata
        .labels
        .get_or_insert_default()
        .insert(label, String::new());
    let finalizers = metadata.finalizers.get_or_insert_default();
    if finalizers.is_empty() {
        finalizers.push("dpu.nvidia.com/dpudeployment".to_owned());
    }
}

/// The condition Ready of every object of these kinds, for the generation it has.
pub fn make_services_ready(observed: &mut Observed) {
    for service in observed
        .services
        .iter_mut()
        .filter(|s| s.spec.paused != Some(true) && s.metadata.deletion_timestamp.is_none())
    {
        let conditions = ready_for(service.metadata.generation);
        service.status = Some(dpf_api::svc::DpuServiceStatus {
            conditions,
            ..Default::default()
        });
    }
}

/// Chains and sets become ready for the generation they have.
pub fn make_rest_ready(observed: &mut Observed) {
    for chain in &mut observed.chains {
        let conditions = ready_for(chain.metadata.generation);
        chain.status = Some(dpf_api::svc::DpuServiceChainStatus {
            conditions,
            ..Default::default()
        });
    }
    for set in &mut observed.sets {
        let conditions = ready_for(set.metadata.generation);
        set.status = Some(dpf_api::provisioning::DpuSetStatus {
            conditions,
            ..Default::default()
        });
    }
}

/// The condition Ready for a generation.
pub fn ready_for(generation: Option<i64>) -> Option<Vec<Condition>> {
    let mut conditions = Conditions::new(None, &[], generation.unwrap_or_default(), now());
    conditions.set("Ready", &Verdict::True);
    Some(conditions.into_list())
}

/// Passes until a plan is empty; at most ten.
pub fn settle(observed: &mut Observed) -> Vec<String> {
    let mut done = Vec::new();
    for _ in 0..10 {
        let plan = pass(observed);
        if plan.actions.is_empty() {
            return done;
        }
        done.extend(carry_out(observed, plan));
    }
    panic!("the plans do not come to an end: {done:#?}");
}

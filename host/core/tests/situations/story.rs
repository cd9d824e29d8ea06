//! What a case says, and what comes of it.

use crate::show;
use crate::support::{now, words};
use crate::world::{Look, World, edited, set_ready, set_template_ready};
use dpf_api::keys::labels;
use dpf_api::provisioning::Dpu;
use dpf_core::dpudeployment::{Outcome, Plan, conditions};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A situation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// For a person: what it is about and what is expected.
    pub about: String,
    /// Where it begins.
    pub from: Start,
    /// What happened since.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// Where a case begins.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// The example of the user's page, just applied, with image and templates ready.
    Applied,
    /// The same, rolled out and ready.
    Running,
}

/// Something that happened.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// JSON merge patches by `<Kind>/<name>`. An object that does not exist is created; null takes one away. The controller of
    /// templates has seen their new specs, unless the patch says what their status is.
    Edit(BTreeMap<String, Value>),
    /// Passes until nothing is left to write.
    Settle,
    /// One pass.
    Pass,
    /// Every child is ready.
    Everything,
    /// These children are ready.
    Ready(Vec<String>),
    /// These children are not ready.
    Unready(Vec<String>),
    /// Somebody deletes these children; their finalizers hold them.
    Delete(Vec<String>),
    /// Nothing holds any longer what is being deleted.
    Gone,
    /// Children have these names instead: another controller drew them.
    Rename(BTreeMap<String, String>),
    /// DPUs as their DPUSets have made them so far.
    Dpus(Vec<DpuRow>),
}

/// A DPU with the labels that its set asks for now.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DpuRow {
    name: String,
    /// Suffix of its set.
    set: String,
    phase: String,
    #[serde(default)]
    previous: Option<String>,
    /// Whether its controller has looked at the present spec.
    #[serde(default = "yes")]
    current: bool,
    /// Only labels change, nothing is installed.
    #[serde(default)]
    labels_only: bool,
}

fn yes() -> bool {
    true
}

/// The plan, the conditions after it, and how it goes on.
pub fn tell(case: &Case) -> Value {
    let mut world = match case.from {
        Start::Applied => World::applied(),
        Start::Running => World::running(),
    };
    for step in &case.steps {
        happen(&mut world, step);
    }
    let before = world.clone();
    let example = (!case.steps.is_empty()).then(World::running);
    let shown = |world: &World, outcome: &Outcome<'_>| {
        show::conditions(&conditions(
            &world.deployment,
            outcome,
            &world.readiness(),
            now(),
        ))
    };
    match world.look() {
        Look::Invalid(invalid) => {
            json!({"refused": "before the plugins", "conditions": shown(&world, &Outcome::Invalid(&invalid))})
        }
        Look::Rejected(rejection) => {
            json!({"refused": "by a plugin", "conditions": shown(&world, &Outcome::Rejected(&rejection))})
        }
        Look::Planned(plan) => {
            world.carry_out(&plan);
            assert_fixpoint(&world);
            let outcome = Outcome::Applied {
                report: &plan.report,
                errors: &[],
            };
            let mut told = show::plan(example.as_ref(), &before, &world, &plan);
            told["conditions"] = shown(&world, &outcome);
            told["then"] = go_on(&mut world);
            told
        }
        Look::Deleting(plan) => {
            world.carry_out(&plan);
            assert_fixpoint(&world);
            let outcome = Outcome::Deleting {
                report: &plan.report,
            };
            let mut told = show::plan(None, &before, &world, &plan);
            told["conditions"] = shown(&world, &outcome);
            told["then"] = if ends(&plan) {
                json!(["the deployment is gone"])
            } else {
                go_on(&mut world)
            };
            told
        }
    }
}

fn ends(plan: &Plan) -> bool {
    let last = plan.actions.last();
    last.is_some_and(|action| words(action) == "remove finalizer")
}

/// The plan of an applied plan is empty.
fn assert_fixpoint(world: &World) {
    match world.look() {
        Look::Planned(plan) => {
            let left: Vec<String> = plan.actions.iter().map(words).collect();
            assert!(left.is_empty(), "the plan of an applied plan: {left:#?}");
        }
        Look::Deleting(plan) => {
            let left: Vec<String> = plan.actions.iter().map(words).collect();
            let gone = left.last().is_some_and(|last| last == "remove finalizer");
            assert!(
                left.is_empty() || gone,
                "the plan of an applied plan: {left:#?}"
            );
        }
        Look::Invalid(invalid) => panic!("{invalid:?}"),
        Look::Rejected(rejection) => panic!("{rejection:?}"),
    }
}

/// Round by round: finalizers go, everything becomes ready, one pass.
fn go_on(world: &mut World) -> Value {
    let mut rounds = Vec::new();
    for _ in 0..12 {
        world.finalizers_go();
        world.everything_ready();
        match world.look() {
            Look::Planned(plan) if plan.actions.is_empty() => {
                let outcome = Outcome::Applied {
                    report: &plan.report,
                    errors: &[],
                };
                let list = conditions(&world.deployment, &outcome, &world.readiness(), now());
                assert!(
                    world
                        .services
                        .iter()
                        .all(|s| s.metadata.deletion_timestamp.is_none()),
                    "something stays for ever"
                );
                let ready = list.iter().find(|c| c.type_ == "Ready").unwrap();
                assert_eq!(ready.status, "True", "{list:#?}");
                assert_eq!(plan.requeue_seconds, None, "nothing is waited for");
                rounds.push(json!("Ready"));
                return Value::Array(rounds);
            }
            Look::Planned(plan) => {
                world.carry_out(&plan);
                assert_fixpoint(world);
                rounds.push(json!(plan.actions.iter().map(words).collect::<Vec<_>>()));
            }
            Look::Deleting(plan) => {
                rounds.push(json!(plan.actions.iter().map(words).collect::<Vec<_>>()));
                if ends(&plan) {
                    return Value::Array(rounds);
                }
                world.carry_out(&plan);
                assert_fixpoint(world);
            }
            Look::Invalid(invalid) => panic!("{invalid:?}"),
            Look::Rejected(rejection) => panic!("{rejection:?}"),
        }
    }
    panic!("no end is reached: {rounds:#?}");
}

fn happen(world: &mut World, step: &Step) {
    match step {
        Step::Edit(patches) => {
            for (reference, patch) in patches {
                edit(world, reference, patch);
            }
        }
        Step::Settle => drop(world.settle()),
        Step::Pass => {
            let (Look::Planned(plan) | Look::Deleting(plan)) = world.look() else {
                panic!("the deployment is refused");
            };
            world.carry_out(&plan);
        }
        Step::Everything => world.everything_ready(),
        Step::Ready(references) => references.iter().for_each(|r| flip(world, r, true)),
        Step::Unready(references) => references.iter().for_each(|r| flip(world, r, false)),
        Step::Delete(references) => references.iter().for_each(|r| delete(world, r)),
        Step::Gone => world.finalizers_go(),
        Step::Rename(names) => rename(world, names),
        Step::Dpus(rows) => rows.iter().for_each(|row| dpu(world, row)),
    }
}

fn edit(world: &mut World, reference: &str, patch: &Value) {
    let (kind, name) = reference.split_once('/').expect("Kind/name");
    fn put<K>(all: &mut BTreeMap<String, K>, name: &str, patch: &Value)
    where
        K: Resource<DynamicType = ()> + serde::Serialize + DeserializeOwned,
    {
        let object = all.remove(name);
        if !patch.is_null() {
            all.insert(name.to_owned(), edited(object, name, patch));
        }
    }
    fn child<K>(all: &mut Vec<K>, name: &str, patch: &Value)
    where
        K: Resource<DynamicType = ()> + serde::Serialize + DeserializeOwned,
    {
        let place = all.iter().position(|o| o.name_any() == name);
        let object = place.map(|place| all.remove(place));
        if !patch.is_null() {
            let object = edited(object, name, patch);
            all.insert(place.unwrap_or(all.len()), object);
        }
    }
    match kind {
        "DPUDeployment" => {
            let deployment = world.deployment.clone();
            world.deployment = edited(Some(deployment), name, patch);
        }
        "BFB" => put(&mut world.bfbs, name, patch),
        "DPUFlavor" => put(&mut world.flavors, name, patch),
        "DPUServiceConfiguration" => put(&mut world.configurations, name, patch),
        "DPUServiceTemplate" => {
            put(&mut world.templates, name, patch);
            if patch.pointer("/status/observedGeneration").is_none()
                && patch.pointer("/metadata/generation").is_none()
                && let Some(template) = world.templates.get_mut(name)
            {
                set_template_ready(template);
            }
        }
        "DPUService" => {
            let name = resolve(world, reference);
            child(&mut world.services, &name, patch);
        }
        "DPUServiceInterface" => {
            let name = resolve(world, reference);
            child(&mut world.interfaces, &name, patch);
        }
        "DPUServiceChain" => {
            let name = resolve(world, reference);
            child(&mut world.chains, &name, patch);
        }
        "DPUSet" => {
            let name = resolve(world, reference);
            child(&mut world.sets, &name, patch);
        }
        other => panic!("unknown kind {other}"),
    }
}

/// The name that a reference in a case means: `DPUService/<service>`, `DPUServiceInterface/<service>/<interface>`,
/// `DPUServiceChain/chain`, `DPUSet/<suffix>`. The newest object is meant, or with `@n` the n-th oldest. Any other name
/// means itself.
fn resolve(world: &World, reference: &str) -> String {
    let Some((kind, name)) = reference.split_once('/') else {
        return reference.to_owned();
    };
    let (key, number) = match name.split_once('@') {
        Some((key, number)) => (key, number.parse::<usize>().ok()),
        None => (name, None),
    };
    let mut found: Vec<(Option<Time>, String)> = Vec::new();
    let mut add = |object: &dyn Fn() -> (Option<Time>, String), meant: bool| {
        if meant {
            found.push(object());
        }
    };
    let service_of =
        |labels: &BTreeMap<String, String>| labels.get(labels::DPUDEPLOYMENT_SERVICE).cloned();
    match kind {
        "DPUService" => {
            for o in &world.services {
                let meant = service_of(o.labels()).as_deref() == Some(key);
                add(
                    &|| (o.metadata.creation_timestamp.clone(), o.name_any()),
                    meant,
                );
            }
        }
        "DPUServiceInterface" => {
            for o in &world.interfaces {
                let own = o.spec.template.spec.template.spec.service.as_ref();
                let interface = own
                    .map(|own| own.interface_name.clone())
                    .unwrap_or_default();
                let service = service_of(o.labels()).unwrap_or_default();
                let meant = format!("{service}/{interface}") == key;
                add(
                    &|| (o.metadata.creation_timestamp.clone(), o.name_any()),
                    meant,
                );
            }
        }
        "DPUServiceChain" => {
            for o in &world.chains {
                add(
                    &|| (o.metadata.creation_timestamp.clone(), o.name_any()),
                    key == "chain",
                );
            }
        }
        "DPUSet" => {
            let full = format!("{}-{key}", world.deployment.name_any());
            for o in &world.sets {
                let meant = o.name_any() == full;
                add(
                    &|| (o.metadata.creation_timestamp.clone(), o.name_any()),
                    meant,
                );
            }
        }
        _ => {}
    }
    found.sort();
    let place = number.map_or(found.len().wrapping_sub(1), |number| number - 1);
    found
        .get(place)
        .map_or_else(|| name.to_owned(), |(_, name)| name.clone())
}

fn flip(world: &mut World, reference: &str, to: bool) {
    let name = resolve(world, reference);
    let mut known = false;
    macro_rules! each {
        ($($list:ident),*) => {$(
            for object in world.$list.iter_mut().filter(|o| o.name_any() == name) {
                set_ready(object, to);
                known = true;
            }
        )*};
    }
    each!(services, interfaces, chains, sets);
    assert!(known, "{reference} is not known");
}

fn delete(world: &mut World, reference: &str) {
    let (kind, _) = reference.split_once('/').expect("Kind/name");
    if kind == "DPUDeployment" {
        world.deployment.metadata.deletion_timestamp = Some(Time(now()));
        return;
    }
    let name = resolve(world, reference);
    let mut known = false;
    macro_rules! each {
        ($($list:ident),*) => {$(
            for object in world.$list.iter_mut().filter(|o| o.name_any() == name) {
                object.metadata.deletion_timestamp = Some(Time(now()));
                known = true;
            }
        )*};
    }
    each!(services, interfaces, chains, sets);
    assert!(known, "{reference} is not known");
}

fn rename(world: &mut World, names: &BTreeMap<String, String>) {
    let children = (
        &world.services,
        &world.interfaces,
        &world.chains,
        &world.sets,
    );
    let mut text = serde_json::to_string(&children).unwrap();
    for (reference, new) in names {
        text = text.replace(&resolve(world, reference), new);
    }
    (world.services, world.interfaces, world.chains, world.sets) =
        serde_json::from_str(&text).unwrap();
}

fn dpu(world: &mut World, row: &DpuRow) {
    let name = format!("{}-{}", world.deployment.name_any(), row.set);
    let set = world
        .sets
        .iter_mut()
        .find(|set| set.name_any() == name)
        .unwrap();
    let template = set.spec.dpu_template.spec.as_ref().unwrap();
    let node_labels = &template.cluster.as_ref().unwrap().node_labels;
    let dpu: Dpu = serde_json::from_value(json!({
        "apiVersion": "provisioning.dpu.nvidia.com/v1alpha1",
        "kind": "DPU",
        "metadata": {
            "name": row.name,
            "generation": 2,
            "labels": {
                labels::DPUSET_NAME: name,
                labels::OWNED_BY_DPUDEPLOYMENT: set.labels()[labels::OWNED_BY_DPUDEPLOYMENT],
            },
        },
        "spec": {
            "dpuNodeName": "n", "dpuDeviceName": "d", "serialNumber": "s",
            "cluster": {"nodeLabels": node_labels},
        },
        "status": {
            "phase": row.phase,
            "previousPhase": row.previous,
            "observedGeneration": if row.current { 2 } else { 1 },
            "postProvisioningNodeEffect": row.labels_only.then_some(true),
        },
    }))
    .unwrap();
    world.dpus.retain(|other| other.name_any() != row.name);
    world.dpus.push(dpu);
    let mut counted: BTreeMap<String, i64> = BTreeMap::new();
    let of_set = |dpu: &&Dpu| dpu.labels().get(labels::DPUSET_NAME) == Some(&name);
    for dpu in world.dpus.iter().filter(of_set) {
        let phase = dpu.status.as_ref().unwrap().phase;
        *counted.entry(phase.as_str().to_owned()).or_default() += 1;
    }
    set.status.get_or_insert_default().dpu_statistics = Some(counted);
}

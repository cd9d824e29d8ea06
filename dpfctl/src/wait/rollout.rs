//! What a rollout still waits for, as a function of the objects.

use crate::describe::{Condition, conditions};
use dpf_core::dpudeployment::dependencies::metadata_digest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An object that a deployment refers to, in its own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// Kind.
    pub kind: &'static str,
    /// Name.
    pub name: String,
}

impl fmt::Display for Dependency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.name)
    }
}

/// An object as the cluster holds it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    generation: Option<i64>,
    uid: Option<String>,
    metadata_digest: Option<String>,
}

impl Present {
    /// What counts of an object of this kind.
    #[must_use]
    pub fn of(kind: &str, meta: &ObjectMeta) -> Self {
        Self {
            generation: meta.generation,
            uid: meta.uid.clone(),
            metadata_digest: metadata_digest(kind, meta),
        }
    }
}

/// Each dependency now; `None` where it does not exist.
pub type Live = BTreeMap<Dependency, Option<Present>>;

/// Everything the spec refers to.
#[must_use]
pub fn dependencies(deployment: &DynamicObject) -> BTreeSet<Dependency> {
    let at = |kind, value: Option<&Value>| {
        let name = value?.as_str()?.to_owned();
        Some(Dependency { kind, name })
    };
    let dpus = deployment.data.pointer("/spec/dpus");
    let field = |name: &str| dpus.and_then(|dpus| dpus.get(name));
    let mut all: BTreeSet<Dependency> = BTreeSet::new();
    all.extend(at("BFB", field("bfb")));
    all.extend(at("DPUFlavor", field("flavor")));
    let services = deployment.data.pointer("/spec/services");
    for service in services.and_then(Value::as_object).into_iter().flatten() {
        let (_, service) = service;
        all.extend(at("DPUServiceTemplate", service.get("serviceTemplate")));
        all.extend(at(
            "DPUServiceConfiguration",
            service.get("serviceConfiguration"),
        ));
    }
    all
}

/// What is open, one line each; empty when the present generation of everything is rolled out.
///
/// A generation has to be equal, not just reached: an object that was deleted and created again starts over at 1.
#[must_use]
pub fn open(deployment: &DynamicObject, live: &Live) -> Vec<String> {
    if deployment.metadata.deletion_timestamp.is_some() {
        return vec!["the DPUDeployment is being deleted".to_owned()];
    }
    let conditions = conditions(deployment);
    if conditions.is_empty() {
        return vec![
            "nobody has looked at the DPUDeployment; is the controller manager running?".to_owned(),
        ];
    }
    let mut lines = Vec::new();
    let generation = deployment.metadata.generation;
    let observed = deployment.data.pointer("/status/observedGeneration");
    let observed = observed.and_then(Value::as_i64);
    if observed != generation {
        lines.push(format!(
            "the controller has not seen generation {} of the DPUDeployment",
            generation.unwrap_or_default()
        ));
    }
    lines.extend(unseen(deployment, live));
    // Conditions of an older state would only mislead.
    if lines.is_empty() {
        lines.extend(not_ready(&conditions));
    }
    lines
}

/// Dependencies whose present state the status does not speak of.
fn unseen(deployment: &DynamicObject, live: &Live) -> Vec<String> {
    let list = deployment.data.pointer("/status/observedDependencies");
    let Some(list) = list.and_then(Value::as_array) else {
        return vec![
            "the status does not say which dependencies it speaks of (status.observedDependencies): the controller has \
             not looked at them yet, or it is older than this dpfctl"
                .to_owned(),
        ];
    };
    let entry = |dependency: &Dependency| {
        list.iter().find(|entry| {
            text(entry, "kind") == Some(dependency.kind)
                && text(entry, "name") == Some(&dependency.name)
        })
    };
    let lines = live.iter().filter_map(|(dependency, present)| {
        let Some(present) = present else {
            return Some(format!("{dependency} does not exist"));
        };
        let what = not_seen(dependency, present, entry(dependency))?;
        Some(format!("the controller has not seen {what}"))
    });
    lines.collect()
}

/// What an entry of the status does not speak of. An entry of an older controller has neither uid nor metadata.
fn not_seen(dependency: &Dependency, present: &Present, entry: Option<&Value>) -> Option<String> {
    let seen = entry.and_then(|entry| entry.get("generation")?.as_i64());
    if seen != present.generation {
        let generation = present.generation.unwrap_or_default();
        return Some(format!("generation {generation} of {dependency}"));
    }
    let uid = text(entry?, "uid")?;
    if present.uid.as_deref() != Some(uid) {
        return Some(format!("that {dependency} was deleted and created again"));
    }
    (text(entry?, "metadataDigest") != present.metadata_digest.as_deref())
        .then(|| format!("the present annotations and labels of {dependency}"))
}

fn text<'a>(entry: &'a Value, field: &str) -> Option<&'a str> {
    entry.get(field).and_then(Value::as_str)
}

/// The conditions that are not true, the summary only where nothing else explains it.
fn not_ready(conditions: &[Condition]) -> Vec<String> {
    let ready = conditions.iter().find(|c| c.type_ == "Ready");
    if ready.is_some_and(Condition::is_true) {
        return Vec::new();
    }
    let line = |condition: &Condition| {
        let words: Vec<_> = condition.message.split_whitespace().collect();
        let separator = if words.is_empty() { "" } else { ": " };
        format!(
            "{} is {} ({}){separator}{}",
            condition.type_,
            condition.status,
            condition.reason,
            words.join(" ")
        )
    };
    let others = conditions
        .iter()
        .filter(|c| c.type_ != "Ready" && !c.is_true());
    let lines: Vec<_> = others.map(line).collect();
    if !lines.is_empty() {
        return lines;
    }
    match ready {
        Some(ready) => vec![line(ready)],
        None => vec!["there is no condition Ready yet".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SPEC: &str = r#"{"dpus": {"bfb": "bfb-2.9", "flavor": "pc"},
        "services": {"producer": {"serviceTemplate": "t", "serviceConfiguration": "c"}}}"#;

    fn deployment(generation: i64, status: Value) -> DynamicObject {
        let spec: Value = serde_json::from_str(SPEC).unwrap();
        serde_json::from_value(json!({
            "metadata": {"name": "pc", "namespace": "ns", "generation": generation}, "spec": spec, "status": status
        }))
        .unwrap()
    }

    fn ready(status: &str) -> Value {
        json!([{"type": "Ready", "status": status, "reason": "Pending", "message": ""}])
    }

    fn seen(configuration: i64) -> Value {
        json!([
            {"kind": "BFB", "name": "bfb-2.9", "generation": 1},
            {"kind": "DPUFlavor", "name": "pc", "generation": 1},
            {"kind": "DPUServiceTemplate", "name": "t", "generation": 1},
            {"kind": "DPUServiceConfiguration", "name": "c", "generation": configuration}
        ])
    }

    fn live(deployment: &DynamicObject, configuration: Option<i64>) -> Live {
        let all = dependencies(deployment).into_iter();
        all.map(|dependency| {
            let generation = match dependency.kind {
                "DPUServiceConfiguration" => configuration,
                _ => Some(1),
            };
            let present = generation.map(|generation| Present {
                generation: Some(generation),
                ..Present::default()
            });
            (dependency, present)
        })
        .collect()
    }

    #[test]
    fn annotations_and_other_objects_of_the_same_name_are_noticed() {
        let meta = |uid: &str, annotation: Option<&str>| ObjectMeta {
            generation: Some(1),
            uid: Some(uid.to_owned()),
            annotations: annotation
                .map(|text| [("dpu.nvidia.com/doca-version".to_owned(), text.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let present = |meta: &ObjectMeta| Present::of("DPUServiceTemplate", meta);
        let seen = present(&meta("a", Some(">= 2")));
        let entry = json!({"kind": "DPUServiceTemplate", "name": "t", "generation": 1, "uid": "a",
            "metadataDigest": seen.metadata_digest});
        let template = Dependency {
            kind: "DPUServiceTemplate",
            name: "t".to_owned(),
        };
        let of_older_controller =
            json!({"kind": "DPUServiceTemplate", "name": "t", "generation": 1});
        for (now, entry, expected) in [
            (meta("a", Some(">= 2")), &entry, None),
            (
                meta("a", Some(">= 3")),
                &entry,
                Some("the present annotations and labels of DPUServiceTemplate t"),
            ),
            (
                meta("a", None),
                &entry,
                Some("the present annotations and labels of DPUServiceTemplate t"),
            ),
            (
                meta("b", Some(">= 2")),
                &entry,
                Some("that DPUServiceTemplate t was deleted and created again"),
            ),
            (meta("b", None), &of_older_controller, None),
        ] {
            assert_eq!(
                not_seen(&template, &present(&now), Some(entry)).as_deref(),
                expected,
                "{now:?}"
            );
        }
    }

    #[test]
    fn everything_a_deployment_refers_to() {
        let all: Vec<String> = dependencies(&deployment(1, json!({})))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            all,
            [
                "BFB bfb-2.9",
                "DPUFlavor pc",
                "DPUServiceConfiguration c",
                "DPUServiceTemplate t"
            ]
        );
    }

    /// Generation of the deployment, the one observed, that of the configuration, the one observed, Ready; what is open.
    type Case = (
        i64,
        i64,
        Option<i64>,
        i64,
        &'static str,
        &'static [&'static str],
    );

    #[test]
    fn rolled_out_means_ready_for_the_present_generation_of_everything() {
        let cases: [Case; 7] = [
            (2, 2, Some(3), 3, "True", &[]),
            (
                2,
                1,
                Some(3),
                3,
                "True",
                &["the controller has not seen generation 2 of the DPUDeployment"],
            ),
            (
                2,
                2,
                Some(4),
                3,
                "True",
                &["the controller has not seen generation 4 of DPUServiceConfiguration c"],
            ),
            // Deleted and created again.
            (
                2,
                2,
                Some(1),
                3,
                "True",
                &["the controller has not seen generation 1 of DPUServiceConfiguration c"],
            ),
            (
                2,
                2,
                None,
                3,
                "True",
                &["DPUServiceConfiguration c does not exist"],
            ),
            (2, 2, Some(3), 3, "False", &["Ready is False (Pending)"]),
            (
                2,
                1,
                Some(4),
                3,
                "False",
                &[
                    "the controller has not seen generation 2 of the DPUDeployment",
                    "the controller has not seen generation 4 of DPUServiceConfiguration c",
                ],
            ),
        ];
        for (generation, observed, configuration, observed_configuration, status, expected) in cases
        {
            let status = json!({
                "observedGeneration": observed, "conditions": ready(status),
                "observedDependencies": seen(observed_configuration)
            });
            let deployment = deployment(generation, status);
            assert_eq!(
                open(&deployment, &live(&deployment, configuration)),
                expected
            );
        }
    }

    #[test]
    fn what_explains_ready_is_said_instead_of_ready() {
        let status = json!({"observedGeneration": 1, "observedDependencies": seen(1), "conditions": [
            {"type": "Ready", "status": "False", "reason": "Error", "message": "x"},
            {"type": "DPUSetsReady", "status": "False", "reason": "Pending", "message": "Objects not ready:\n* ns/a"},
            {"type": "PrerequisitesReady", "status": "True", "reason": "Success", "message": ""}
        ]});
        let deployment = deployment(1, status);
        assert_eq!(
            open(&deployment, &live(&deployment, Some(1))),
            ["DPUSetsReady is False (Pending): Objects not ready: * ns/a"]
        );
    }

    #[test]
    fn a_status_that_is_not_there_is_explained() {
        let nothing = deployment(1, json!({}));
        assert!(
            open(&nothing, &live(&nothing, Some(1)))[0]
                .contains("is the controller manager running")
        );
        let old = deployment(
            1,
            json!({"observedGeneration": 1, "conditions": ready("True")}),
        );
        assert!(open(&old, &live(&old, Some(1)))[0].contains("status.observedDependencies"));
        let summary = deployment(
            1,
            json!({"observedGeneration": 1, "observedDependencies": seen(1),
                "conditions": [{"type": "PrerequisitesReady", "status": "True"}]}),
        );
        assert_eq!(
            open(&summary, &live(&summary, Some(1))),
            ["there is no condition Ready yet"]
        );
    }

    #[test]
    fn a_deployment_on_its_way_out_is_not_waited_for_in_vain() {
        let mut going = deployment(1, json!({}));
        going.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(
            open(&going, &Live::new()),
            ["the DPUDeployment is being deleted"]
        );
    }
}

//! The generated CustomResourceDefinitions: structural, and no narrower than what other peers publish.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic in a test is a failed test"
)]

use dpf_api::provisioning::{Bfb, Dpu, DpuFlavor, DpuNode, DpuSet};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

fn crds() -> Vec<Value> {
    dpf_api::all_crds()
        .iter()
        .map(|crd| serde_json::to_value(crd).unwrap())
        .collect()
}

fn root_of(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn is_open(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == json!(true)
}

/// What makes a schema structural: a type everywhere, no references, logic only beside types.
fn check_structural(schema: &Value, path: &str, problems: &mut Vec<String>) {
    let typed = schema["type"].is_string()
        || schema["x-kubernetes-int-or-string"] == json!(true)
        || is_open(schema);
    if !typed {
        problems.push(format!("{path}: no type"));
    }
    for forbidden in ["$ref", "definitions", "$defs", "nullable", "const", "oneOf"] {
        if schema.get(forbidden).is_some() {
            problems.push(format!("{path}: {forbidden}"));
        }
    }
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_some() {
        problems.push(format!("{path}: properties and additionalProperties"));
    }
    if schema["default"] == Value::Null && schema.get("default").is_some() {
        problems.push(format!("{path}: default null"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        check_structural(property, &format!("{path}.{name}"), problems);
    }
    if let Some(items) = schema.get("items") {
        check_structural(items, &format!("{path}[]"), problems);
    }
    if schema["type"] == "array" && schema.get("items").is_none() {
        problems.push(format!("{path}: array without items"));
    }
    if let Some(values) = schema.get("additionalProperties").filter(|v| v.is_object()) {
        check_structural(values, &format!("{path}{{}}"), problems);
    }
}

#[test]
fn every_schema_is_structural() {
    let mut problems = Vec::new();
    for crd in crds() {
        let name = crd["metadata"]["name"].as_str().unwrap().to_owned();
        check_structural(root_of(&crd), &name, &mut problems);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Where ours must be at least as wide as theirs: properties, requirements, bounds.
fn check_not_narrower(ours: &Value, theirs: &Value, path: &str, problems: &mut Vec<String>) {
    if is_open(ours) && ours.get("properties").is_none() {
        return;
    }
    let required = |schema: &Value| -> BTreeSet<String> {
        schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    };
    for name in required(ours).difference(&required(theirs)) {
        problems.push(format!("{path}.{name}: required by us only"));
    }
    for bound in ["minimum", "minLength", "minItems", "minProperties"] {
        if let Some(mine) = ours[bound].as_f64()
            && theirs[bound].as_f64().is_none_or(|other| mine > other)
        {
            problems.push(format!(
                "{path}: {bound} {mine} is narrower than {}",
                theirs[bound]
            ));
        }
    }
    for bound in ["maximum", "maxLength", "maxItems", "maxProperties"] {
        if let Some(mine) = ours[bound].as_f64()
            && theirs[bound].as_f64().is_none_or(|other| mine < other)
        {
            problems.push(format!(
                "{path}: {bound} {mine} is narrower than {}",
                theirs[bound]
            ));
        }
    }
    let words = |schema: &Value| -> BTreeSet<String> {
        schema["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .map(Value::to_string)
            .collect()
    };
    if !words(ours).is_empty() && theirs.get("allOf").is_none() {
        if words(theirs).is_empty() {
            problems.push(format!("{path}: enum where they have none"));
        }
        for word in words(theirs).difference(&words(ours)) {
            problems.push(format!("{path}: {word} is not in our enum"));
        }
    }
    if ours.get("pattern").is_some() && theirs.get("pattern").is_none() {
        problems.push(format!("{path}: pattern where they have none"));
    }
    for (name, property) in theirs["properties"].as_object().into_iter().flatten() {
        match ours["properties"].get(name) {
            Some(mine) => check_not_narrower(mine, property, &format!("{path}.{name}"), problems),
            None if is_open(ours) => {}
            None => problems.push(format!("{path}.{name}: missing")),
        }
    }
    if let (Some(mine), Some(other)) = (ours.get("items"), theirs.get("items")) {
        check_not_narrower(mine, other, &format!("{path}[]"), problems);
    }
    if let (Some(mine), Some(other)) = (
        ours.get("additionalProperties").filter(|v| v.is_object()),
        theirs.get("additionalProperties").filter(|v| v.is_object()),
    ) {
        check_not_narrower(mine, other, &format!("{path}{{}}"), problems);
    }
}

/// Deliberate differences, each with its reason.
const EXPLAINED: &[(&str, &str)] = &[
    // A port is a 16 bit number; a larger one can never be reached.
    (
        "dpudevices.provisioning.dpu.nvidia.com.spec.bmcPort",
        "maximum",
    ),
];

/// Kinds of releases whose definitions are not published yet.
const NOT_PUBLISHED: &[&str] = &["dpuflavortemplates.provisioning.dpu.nvidia.com"];

#[test]
fn nothing_that_others_publish_is_missing_or_narrower() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/compat/crds");
    let published = if published.is_dir() {
        published
    } else {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/compat/crds")
    };
    if !published.is_dir() {
        eprintln!("skipped: ../shared/compat/crds is not there");
        return;
    }
    let mut problems = Vec::new();
    let mut compared = 0;
    for crd in crds() {
        let name = crd["metadata"]["name"].as_str().unwrap().to_owned();
        if !name.ends_with(".provisioning.dpu.nvidia.com")
            && !name.ends_with(".operator.dpu.nvidia.com")
            || NOT_PUBLISHED.contains(&name.as_str())
        {
            continue;
        }
        let text = std::fs::read_to_string(published.join(format!("{name}.yaml"))).unwrap();
        let theirs: Value = serde_saphyr::from_str(&text).unwrap();
        check_not_narrower(root_of(&crd), root_of(&theirs), &name, &mut problems);
        assert_eq!(
            crd["spec"]["names"]["plural"],
            theirs["spec"]["names"]["plural"]
        );
        assert_eq!(
            crd["spec"]["names"]["kind"],
            theirs["spec"]["names"]["kind"]
        );
        assert_eq!(
            crd["spec"]["versions"][0]["subresources"]
                .get("status")
                .is_some(),
            theirs["spec"]["versions"][0]["subresources"]
                .get("status")
                .is_some(),
            "{name}"
        );
        compared += 1;
    }
    problems.retain(|problem| {
        !EXPLAINED
            .iter()
            .any(|(path, what)| problem.starts_with(path) && problem.contains(what))
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(compared, 11);
}

#[test]
fn an_object_without_spec_can_be_read() {
    let object = json!({"apiVersion": "provisioning.dpu.nvidia.com/v1alpha1", "kind": "BFB",
        "metadata": {"name": "a", "namespace": "n"}});
    serde_json::from_value::<Bfb>(object.clone()).unwrap();
    serde_json::from_value::<Dpu>(object.clone()).unwrap();
    serde_json::from_value::<DpuNode>(object.clone()).unwrap();
    serde_json::from_value::<DpuFlavor>(object.clone()).unwrap();
    serde_json::from_value::<DpuSet>(object).unwrap();
}

#[test]
fn the_api_server_fills_phases_and_effects() {
    let crds = crds();
    let property = |crd: &str, path: &[&str]| {
        let crd = crds
            .iter()
            .find(|c| c["spec"]["names"]["plural"] == crd)
            .unwrap();
        path.iter().fold(root_of(crd).clone(), |schema, name| {
            schema["properties"][name].clone()
        })
    };
    for (plural, phase) in [
        ("bfbs", "Initializing"),
        ("dpus", "Initializing"),
        ("dpuclusters", "Pending"),
    ] {
        assert_eq!(
            property(plural, &["status"])["default"],
            json!({"phase": phase})
        );
        assert_eq!(
            property(plural, &["status", "phase"])["default"],
            json!(phase)
        );
        assert!(property(plural, &["spec"]).get("default").is_none());
    }
    assert_eq!(
        property("dpus", &["spec", "nodeEffect"])["default"],
        json!({"drain": true})
    );
    assert_eq!(
        property("dpusets", &["spec", "strategy", "type"])["default"],
        json!("OnDelete")
    );
    assert_eq!(
        property(
            "dpusets",
            &["spec", "dpuTemplate", "spec", "nodeEffect", "force"]
        )["default"],
        json!(false)
    );
    assert_eq!(
        property("dpunodes", &["spec", "nodeRebootMethod"])["default"],
        json!({"hostAgent": {}})
    );
}

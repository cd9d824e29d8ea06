//! Compares our schemas with the published ones, where a copy of those lies beside the repository.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// `shared/compat/crds` beside the repository or one of its parents.
fn published() -> Option<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|parent| parent.join("shared/compat/crds"))
        .find(|path| path.is_dir())
}

fn names(schema: &Value, field: &str) -> Vec<String> {
    schema[field]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Lists what an object valid under `theirs` could hold that `ours` would refuse or drop.
fn compare(theirs: &Value, ours: &Value, at: &str, problems: &mut Vec<String>) {
    let open = ours["x-kubernetes-preserve-unknown-fields"] == true;
    if open && ours["properties"].is_null() {
        return;
    }
    if theirs["type"] != ours["type"] {
        problems.push(format!(
            "{at}: type {} is {} here",
            theirs["type"], ours["type"]
        ));
    }
    for required in names(ours, "required") {
        if !names(theirs, "required").contains(&required) {
            problems.push(format!("{at}: {required} is required only here"));
        }
    }
    let allowed = names(ours, "enum");
    for value in names(theirs, "enum") {
        if !allowed.is_empty() && !allowed.contains(&value) {
            problems.push(format!("{at}: {value} is refused here"));
        }
    }
    if theirs["enum"].is_null() && !allowed.is_empty() {
        problems.push(format!("{at}: only {allowed:?} are accepted here"));
    }
    compare_limits(theirs, ours, at, problems);
    for (name, property) in theirs["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match ours["properties"].get(name) {
            Some(ours) => compare(property, ours, &at, problems),
            None if open => {}
            None => problems.push(format!("{at}: missing here")),
        }
    }
    for nested in ["items", "additionalProperties"] {
        if theirs[nested].is_object() {
            compare(
                &theirs[nested],
                &ours[nested],
                &format!("{at}.{nested}"),
                problems,
            );
        }
    }
}

/// Limits that only we have, or that are closer here.
fn compare_limits(theirs: &Value, ours: &Value, at: &str, problems: &mut Vec<String>) {
    for (limit, upper) in [
        ("maxLength", true),
        ("maxItems", true),
        ("maxProperties", true),
        ("maximum", true),
        ("minLength", false),
        ("minItems", false),
        ("minimum", false),
    ] {
        let (wide, narrow) = (theirs[limit].as_f64(), ours[limit].as_f64());
        let closer = match (wide, narrow) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wide), Some(narrow)) => (upper && narrow < wide) || (!upper && narrow > wide),
        };
        if closer {
            problems.push(format!(
                "{at}: {limit} is {} here and {} there",
                ours[limit], theirs[limit]
            ));
        }
    }
    for rule in ["pattern", "format"] {
        let numeric = theirs["type"] == "integer";
        if !ours[rule].is_null() && ours[rule] != theirs[rule] && !numeric {
            problems.push(format!("{at}: {rule} {} only here", ours[rule]));
        }
    }
}

/// What is refused here on purpose: no object that works could have it.
const ON_PURPOSE: &[&str] = &[
    // An empty name refers to nothing.
    ".spec.dpus.bfb: minLength",
    ".spec.dpus.flavor: minLength",
    // Ports have 16 bits.
    ".spec.bmcPort: maximum",
    ".configPorts.ports.items.nodePort: maximum",
    ".configPorts.ports.items.nodePort: minimum",
    ".configPorts.ports.items.port: maximum",
    ".configPorts.ports.items.port: minimum",
    ".configPorts.additionalProperties.items.nodePort: maximum",
    ".configPorts.additionalProperties.items.nodePort: minimum",
    ".configPorts.additionalProperties.items.port: maximum",
    ".configPorts.additionalProperties.items.port: minimum",
    // `allOf` of two lists there: only what both have is valid.
    "dpuclusters.provisioning.dpu.nvidia.com.status.phase: only",
    ".status.dpuMode: only",
];

#[test]
fn objects_valid_under_the_published_schemas_are_valid_here() {
    let Some(directory) = published() else {
        println!("skipped: no shared/compat/crds beside the repository");
        return;
    };
    let mut problems = Vec::new();
    let mut compared = 0;
    for crd in dpf_api::all_crds() {
        let name = crd.metadata.name.clone().unwrap();
        let Ok(text) = std::fs::read_to_string(directory.join(format!("{name}.yaml"))) else {
            continue;
        };
        let theirs: Value = serde_saphyr::from_str(&text).unwrap();
        let ours = serde_json::to_value(&crd).unwrap();
        assert_eq!(
            theirs["spec"]["names"]["plural"],
            ours["spec"]["names"]["plural"]
        );
        assert_eq!(
            theirs["spec"]["names"]["kind"],
            ours["spec"]["names"]["kind"]
        );
        assert_eq!(theirs["spec"]["scope"], ours["spec"]["scope"]);
        let schema = |crd: &Value| crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        compare(&schema(&theirs), &schema(&ours), &name, &mut problems);
        compared += 1;
    }
    problems.retain(|problem| !ON_PURPOSE.iter().any(|known| problem.contains(known)));
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(compared, 24, "kinds of three groups");
}

#[test]
fn user_facing_columns_are_those_of_release_25_10() {
    for (kind, columns) in [
        (
            "dpuserviceinterfaces",
            vec!["Ready", "Phase", "IfType", "IfName", "Age"],
        ),
        ("dpuservices", vec!["Ready", "Phase", "Age"]),
        ("dpuservicechains", vec!["Ready", "Phase", "Age"]),
    ] {
        let crd = dpf_api::all_crds()
            .into_iter()
            .find(|crd| crd.spec.names.plural == kind)
            .unwrap();
        let shown: Vec<String> = crd.spec.versions[0]
            .additional_printer_columns
            .iter()
            .flatten()
            .map(|column| column.name.clone())
            .collect();
        assert_eq!(shown, columns, "{kind}");
    }
}

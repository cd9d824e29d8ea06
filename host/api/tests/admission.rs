//! The rules that one object alone can break, each accepted and refused, by the CEL of the generated schemas.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failed test"
)]

use kube_cel::{Validator, compile_schema};
use serde_json::{Value, json};

/// What the rules of a kind object to; `old` is the object before the change.
fn objections(plural: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    let crds = dpf_api::all_crds();
    let crd = crds.iter().find(|crd| crd.spec.names.plural == plural);
    let crd = serde_json::to_value(crd.unwrap()).unwrap();
    let schema = compile_schema(
        crd.pointer("/spec/versions/0/schema/openAPIV3Schema")
            .unwrap(),
    );
    match Validator::new().validate_compiled(&schema, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| error.message)
            .collect(),
    }
}

/// Each row: the object, and a part of the only objection; none where it is accepted.
fn check(plural: &str, rows: Vec<(Value, Option<&str>)>) {
    for (object, expected) in rows {
        let found = objections(plural, &object, None);
        match (expected, found.as_slice()) {
            (None, []) => {}
            (Some(part), [one]) if one.contains(part) => {}
            _ => panic!("{object}: expected {expected:?}, found {found:?}"),
        }
    }
}

fn configuration(spec: Value) -> Value {
    let mut whole = json!({"deploymentServiceName": "a", "upgradePolicy": {}});
    whole
        .as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": "a"}, "spec": whole})
}

fn pods(kind: &str, key: &str) -> Value {
    configuration(json!({"serviceConfiguration": {"serviceDaemonSet": {kind: {key: "x"}}}}))
}

#[test]
fn interfaces_need_a_dpu() {
    let interfaces = json!([{"name": "p0", "network": "n"}]);
    let refused = Some("interfaces cannot be set");
    check(
        "dpuserviceconfigurations",
        vec![
            (configuration(json!({})), None),
            (configuration(json!({"interfaces": interfaces})), None),
            (
                configuration(
                    json!({"interfaces": interfaces, "serviceConfiguration": {"deployInCluster": false}}),
                ),
                None,
            ),
            (
                configuration(json!({"interfaces": interfaces, "serviceConfiguration": {}})),
                None,
            ),
            (
                configuration(json!({"serviceConfiguration": {"deployInCluster": true}})),
                None,
            ),
            (
                configuration(
                    json!({"interfaces": interfaces, "serviceConfiguration": {"deployInCluster": true}}),
                ),
                refused,
            ),
        ],
    );
}

#[test]
fn labels_and_annotations_of_pods_leave_the_controllers_their_own() {
    let labels = Some("labels must not contain");
    let annotations = Some("annotations must not contain");
    check(
        "dpuserviceconfigurations",
        vec![
            (pods("labels", "sre.nvidia.com/tier"), None),
            (pods("annotations", "sre.nvidia.com/tier"), None),
            (pods("labels", "dpu.nvidia.com"), labels),
            (pods("labels", "svc.dpu.nvidia.com/service"), labels),
            (pods("labels", "svc.dpu.nvidia.com/custom-flows"), None),
            (pods("annotations", "dpu.nvidia.com"), annotations),
            (
                pods("annotations", "svc.dpu.nvidia.com/dpuservice-version"),
                annotations,
            ),
            (
                pods("annotations", "svc.dpu.nvidia.com/custom-flows"),
                annotations,
            ),
            (
                configuration(json!({"serviceConfiguration": {"serviceDaemonSet": {
                    "labels": {"good": "x"}, "annotations": {"a.dpu.nvidia.com/b": "x"}}}})),
                annotations,
            ),
            (
                configuration(json!({"serviceConfiguration": {"serviceDaemonSet": {
                    "labels": {"a.dpu.nvidia.com/b": "x"}, "annotations": {"good": "x"}}}})),
                labels,
            ),
        ],
    );
}

#[test]
fn ports_of_a_service_go_with_its_place_and_type() {
    let ports = |type_: &str, port: Value| json!({"serviceType": type_, "ports": [port]});
    let plain = json!({"name": "web", "port": 80, "protocol": "TCP"});
    let node = json!({"name": "web", "port": 80, "protocol": "TCP", "nodePort": 30080});
    let with = |settings: Value| configuration(json!({"serviceConfiguration": settings}));
    check(
        "dpuserviceconfigurations",
        vec![
            (
                with(json!({"configPorts": ports("NodePort", node.clone())})),
                None,
            ),
            (
                with(json!({"configPorts": ports("ClusterIP", plain.clone())})),
                None,
            ),
            (
                with(json!({"configPorts": ports("ClusterIP", node)})),
                Some("nodePort can only be set"),
            ),
            (
                with(json!({"deployInCluster": true, "configPorts": ports("ClusterIP", plain)})),
                Some("configPorts cannot be set"),
            ),
        ],
    );
}

#[test]
fn virtual_networks_are_immutable() {
    for kind in ["vf", "pf", "service"] {
        let interface = |network: Option<&str>| {
            let mut own = match kind {
                "vf" => json!({"vfID": 1, "pfID": 0}),
                "pf" => json!({"pfID": 0}),
                _ => json!({"serviceID": "s", "network": "n", "interfaceName": "p0"}),
            };
            if let Some(network) = network {
                own.as_object_mut()
                    .unwrap()
                    .insert("virtualNetwork".to_owned(), json!(network));
            }
            json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {"template": {"spec": {
                "interfaceType": kind, kind: own}}}}}})
        };
        for (old, new, accepted) in [
            (None, None, true),
            (Some("a"), Some("a"), true),
            (None, Some("a"), false),
            (Some("a"), None, false),
            (Some("a"), Some("b"), false),
        ] {
            let found = objections(
                "dpuserviceinterfaces",
                &interface(new),
                Some(&interface(old)),
            );
            let expected: &[&str] = if accepted {
                &[]
            } else {
                &["virtualNetwork is immutable"]
            };
            assert_eq!(found, expected, "{kind} {old:?} {new:?}");
        }
    }
}

fn deployment(name: &str, dpus: Value, services: Value) -> Value {
    let mut whole = json!({"bfb": "b", "flavor": "f"});
    let fields = whole.as_object_mut().unwrap();
    fields.extend(dpus.as_object().unwrap().clone());
    fields.retain(|_, value| !value.is_null());
    json!({"metadata": {"name": name}, "spec": {"dpus": whole, "services": services}})
}

fn with_sets(sets: Value) -> Value {
    deployment("edge", json!({"dpuSets": sets}), json!({}))
}

#[test]
fn annotations_of_dpus_leave_the_controllers_their_own() {
    let set = |key: &str| with_sets(json!([{"nameSuffix": "a", "dpuAnnotations": {key: "x"}}]));
    let refused = Some("dpuAnnotations must not contain");
    check(
        "dpudeployments",
        vec![
            (set("example.com/a"), None),
            (set("dpu.nvidia.com"), refused),
            (set("provisioning.dpu.nvidia.com/retry"), refused),
            (set("noderesources.dpu.nvidia.com/cpu"), None),
            (set("provisioning.dpu.nvidia.com/force-fw-update"), None),
        ],
    );
}

#[test]
fn names_have_lengths_and_sets_have_names_of_their_own() {
    let service = |length: usize| {
        let services =
            json!({"s".repeat(length): {"serviceTemplate": "a", "serviceConfiguration": "a"}});
        deployment("edge", json!({}), services)
    };
    check(
        "dpudeployments",
        vec![
            (deployment(&"d".repeat(20), json!({}), json!({})), None),
            (
                deployment(&"d".repeat(21), json!({}), json!({})),
                Some("can't be bigger than 20 chars"),
            ),
            (service(28), None),
            (service(29), Some("can't be bigger than 28 chars")),
            (
                with_sets(json!([{"nameSuffix": "a"}, {"nameSuffix": "b"}])),
                None,
            ),
            (
                with_sets(json!([{"nameSuffix": "a"}, {"nameSuffix": "a"}])),
                Some("nameSuffix values must be unique"),
            ),
        ],
    );
}

#[test]
fn one_spelling_of_a_selector_and_one_source_of_each_kind() {
    let set = |selectors: Value| {
        let mut set = json!({"nameSuffix": "a"});
        let fields = set.as_object_mut().unwrap();
        fields.extend(selectors.as_object().unwrap().clone());
        with_sets(json!([set]))
    };
    let labels = json!({"matchLabels": {"a": "b"}});
    let sources = |dpus: Value| deployment("edge", dpus, json!({}));
    check(
        "dpudeployments",
        vec![
            (
                set(json!({"nodeSelector": labels, "dpuSelector": {"a": "b"}})),
                None,
            ),
            (
                set(json!({"dpuNodeSelector": labels, "dpuDeviceSelector": labels})),
                None,
            ),
            (
                set(json!({"nodeSelector": labels, "dpuNodeSelector": labels})),
                Some("only one of nodeSelector or dpuNodeSelector"),
            ),
            (
                set(json!({"dpuSelector": {"a": "b"}, "dpuDeviceSelector": labels})),
                Some("only one of dpuSelector or dpuDeviceSelector"),
            ),
            (
                sources(json!({"bfb": null, "blueFieldSoftware": "x"})),
                None,
            ),
            (
                sources(json!({"blueFieldSoftware": "x"})),
                Some("exactly one of bfb or blueFieldSoftware"),
            ),
            (
                sources(json!({"bfb": null})),
                Some("exactly one of bfb or blueFieldSoftware"),
            ),
            (
                sources(json!({"flavorTemplate": "x"})),
                Some("exactly one of flavor or flavorTemplate"),
            ),
            (
                sources(json!({"flavor": null})),
                Some("exactly one of flavor or flavorTemplate"),
            ),
        ],
    );
}

#[test]
fn a_port_leads_to_one_thing() {
    let port = |port: Value| {
        let mut deployment = deployment("edge", json!({}), json!({}));
        let spec = deployment.pointer_mut("/spec").unwrap().as_object_mut();
        spec.unwrap().insert(
            "serviceChains".to_owned(),
            json!({"upgradePolicy": {}, "switches": [{"ports": [port]}]}),
        );
        deployment
    };
    let service = json!({"name": "a", "interface": "p0"});
    let labels = json!({"matchLabels": {"uplink": "p0"}});
    let refused = Some("exactly one of service or serviceInterface");
    check(
        "dpudeployments",
        vec![
            (port(json!({"service": service})), None),
            (port(json!({"serviceInterface": labels})), None),
            (
                port(json!({"service": service, "serviceInterface": labels})),
                refused,
            ),
            (port(json!({})), refused),
        ],
    );
}

#[test]
fn a_part_of_the_resources_is_reserved_only_beside_the_whole() {
    let flavor = |spec: Value| json!({"spec": spec});
    check(
        "dpuflavors",
        vec![
            (flavor(json!({})), None),
            (flavor(json!({"dpuResources": {"cpu": 16}})), None),
            (
                flavor(json!({"dpuResources": {"cpu": 16}, "systemReservedResources": {"cpu": 4}})),
                None,
            ),
            (
                flavor(json!({"systemReservedResources": {"cpu": 4}})),
                Some("dpuResources are not specified"),
            ),
        ],
    );
}

use super::*;
use kube::core::DynamicObject;
use serde_json::{Value, json};

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

/// An object of namespace `customer` with a Ready condition and the label of the deployment.
fn ready(kind: &str, name: &str, since: &str) -> Value {
    json!({
        "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": kind,
        "metadata": {
            "name": name, "namespace": "customer", "creationTimestamp": since,
            "labels": {"svc.dpu.nvidia.com/owned-by-dpudeployment": "customer_vpc"}
        },
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "Success", "message": "", "lastTransitionTime": since}
        ]}
    })
}

fn dpu(name: &str, set: &str, phase: &str, conditions: Value) -> DynamicObject {
    object(json!({
        "metadata": {
            "name": name, "namespace": "customer", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "provisioning.dpu.nvidia.com/dpuset-name": set,
                "provisioning.dpu.nvidia.com/dpuset-namespace": "customer"
            }
        },
        "status": {"phase": phase, "conditions": conditions}
    }))
}

const DAY_ONE: &str = "2026-01-01T00:00:00Z";
const DAY_TWO: &str = "2026-01-02T00:00:00Z";

fn now() -> Timestamp {
    "2026-01-04T23:00:00Z".parse().unwrap()
}

fn set(name: &str) -> DynamicObject {
    object(json!({
        "metadata": {
            "name": name, "namespace": "customer",
            "labels": {"svc.dpu.nvidia.com/owned-by-dpudeployment": "customer_vpc"}
        },
        "spec": {"dpuTemplate": {"spec": {"bfb": {"name": "bundle"}}}}
    }))
}

/// A deployment like the one on the user's page: four DPUs of one set, four services, one chain.
fn healthy() -> Observed {
    let services = ["central", "controller", "node", "router"];
    let mut deployment = ready("DPUDeployment", "vpc", DAY_TWO);
    deployment["spec"] = json!({"services": services.map(|s| (s, json!({"serviceTemplate": s})))
        .into_iter().collect::<std::collections::BTreeMap<_, _>>()});
    let done = json!([
        {"type": "Ready", "status": "True", "reason": "DPUReady", "message": "", "lastTransitionTime": DAY_TWO}
    ]);
    Observed {
        config: Some(object(json!({
            "metadata": {"name": "dpfoperatorconfig", "namespace": "dpf-operator-system"},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Success", "message": "",
                "lastTransitionTime": DAY_TWO}]}
        }))),
        deployments: vec![object(deployment)],
        chains: vec![object(ready("DPUServiceChain", "vpc-trsq6", DAY_TWO))],
        interfaces: Vec::new(),
        sets: vec![set("vpc-dpuset1")],
        bfbs: vec![object(json!({
            "metadata": {"name": "bundle", "namespace": "customer", "creationTimestamp": DAY_ONE},
            "spec": {"url": "http://images/bf-bundle-3.1.0-53_25.07_ubuntu-22.04_prod.bfb"},
            "status": {"phase": "Ready", "versions": {"doca": "3.1.0"}}
        }))],
        dpus: [
            "dpu-node-mt2310xz03lr-mt2310xz03lr",
            "dpu-node-mt2310xz03m2-mt2310xz03m2",
            "dpu-node-mt2425601xqy-mt2425601xqy",
            "dpu-node-mt2425601x13-mt2425601x13",
        ]
        .map(|name| dpu(name, "vpc-dpuset1", "Ready", done.clone()))
        .to_vec(),
        templates: services
            .map(|s| object(ready("DPUServiceTemplate", s, DAY_ONE)))
            .to_vec(),
        services: services
            .map(|s| object(ready("DPUService", &format!("{s}-9558p"), DAY_ONE)))
            .to_vec(),
        applications: Vec::new(),
    }
}

#[test]
fn a_healthy_deployment_is_short() {
    let text = as_table(&healthy(), &Appearance::default(), now());
    insta::assert_snapshot!(text);
}

#[test]
fn without_operator_config_deployments_are_roots() {
    let observed = Observed {
        config: None,
        ..healthy()
    };
    let text = as_table(&observed, &Appearance::default(), now());
    let second = text.lines().nth(1).unwrap();
    assert!(second.starts_with("DPUDeployment/vpc "), "{text}");
}

/// One DPU is being installed, one service waits for its Application, the deployment says so.
fn in_progress() -> Observed {
    let mut observed = healthy();
    let conditions = |list: Value| json!({"conditions": list});
    let waiting = "The following conditions are not ready:\n* DPUSetsReady\n* DPUServicesReady";
    observed.deployments[0].data["status"] = conditions(json!([
        {"type": "PrerequisitesReady", "status": "True", "reason": "Success", "message": "",
         "lastTransitionTime": DAY_TWO},
        {"type": "DPUSetsReady", "status": "False", "reason": "Pending", "lastTransitionTime": DAY_TWO,
         "message": "The following objects are not ready:\n* customer/vpc-dpuset1: 3 of 4 DPUs are Ready"},
        {"type": "DPUServiceChainsReady", "status": "Unknown", "reason": "Pending", "message": "",
         "lastTransitionTime": DAY_TWO},
        {"type": "Ready", "status": "False", "reason": "Pending", "message": waiting, "lastTransitionTime": DAY_TWO}
    ]));
    observed.dpus[2] = dpu(
        "dpu-node-mt2425601xqy-mt2425601xqy",
        "vpc-dpuset1",
        "OS Installing",
        json!([
            {"type": "BFBPrepared", "status": "True", "reason": "BFBPrepared", "message": "",
             "lastTransitionTime": DAY_TWO},
            {"type": "OSInstalled", "status": "False", "reason": "TaskProgress",
             "message": "install task 40% complete", "lastTransitionTime": "2026-01-04T22:59:00Z"}
        ]),
    );
    observed.services[1].data["status"] = conditions(json!([
        {"type": "ApplicationsReady", "status": "False", "reason": "Pending", "lastTransitionTime": DAY_TWO,
         "message": "Application is not yet deployed."},
        {"type": "Ready", "status": "False", "reason": "Pending", "lastTransitionTime": DAY_TWO,
         "message": "The following conditions are not ready:\n* ApplicationsReady"}
    ]));
    observed.services[3].metadata.deletion_timestamp =
        serde_json::from_value(json!(DAY_TWO)).unwrap();
    observed.applications = vec![object(json!({
        "metadata": {"name": "cluster-controller-9558p", "namespace": "dpf-operator-system", "labels": {
            "dpu.nvidia.com/dpuservice-name": "controller-9558p", "dpu.nvidia.com/dpuservice-namespace": "customer"
        }},
        "status": {
            "reconciledAt": "2026-01-04T22:58:00Z",
            "sync": {"status": "Unknown"}, "health": {"status": "Missing"},
            "conditions": [{"type": "ComparisonError", "message": "chart controller has no version v9",
                "lastTransitionTime": DAY_TWO}],
            "resources": [{"kind": "DaemonSet", "name": "controller", "status": "OutOfSync",
                "health": {"status": "Missing"}}]
        }
    }))];
    observed
}

#[test]
fn what_is_not_ready_is_told_apart() {
    let text = as_table(&in_progress(), &Appearance::default(), now());
    insta::assert_snapshot!(text);
}

#[test]
fn failed_lists_every_condition_of_what_is_not_ready() {
    let appearance = Appearance {
        show: ShowConditions::Failed,
        colour: false,
    };
    let text = as_table(&in_progress(), &appearance, now());
    assert!(text.contains("─PrerequisitesReady"), "{text}");
    assert!(text.contains("─DPUServiceChainsReady"), "{text}");
    assert!(text.contains("─BFBPrepared"), "{text}");
    assert!(
        !text.contains("trsq6\n"),
        "ready objects keep one row: {text}"
    );
}

#[test]
fn colour_changes_nothing_but_colour() {
    let plain = as_table(&in_progress(), &Appearance::default(), now());
    let coloured = as_table(
        &in_progress(),
        &Appearance {
            show: ShowConditions::Open,
            colour: true,
        },
        now(),
    );
    assert!(coloured.contains("\u{1b}[32mReady: True\u{1b}[0m"));
    let mut stripped = String::new();
    let mut parts = coloured.split('\u{1b}');
    stripped.push_str(parts.next().unwrap());
    for part in parts {
        stripped.push_str(part.split_once('m').unwrap().1);
    }
    let trim =
        |text: &str| -> Vec<String> { text.lines().map(|l| l.trim_end().to_owned()).collect() };
    assert_eq!(trim(&stripped), trim(&plain));
}

#[test]
fn machine_output_has_objects_by_kind_and_edges() {
    let text = as_machine(&healthy(), false, now()).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["dpus"].as_array().unwrap().len(), 4);
    assert_eq!(
        value["dpudeployments"][0]["typeMeta"]["kind"],
        "DPUDeployment"
    );
    let deployment = &value["tree"][0]["children"][0];
    assert_eq!(deployment["name"], "vpc");
    let kinds: Vec<_> = deployment["children"]
        .as_array()
        .unwrap()
        .iter()
        .map(|child| child["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.starts_with(&["DPUServiceChain", "DPUSet"]),
        "{kinds:?}"
    );
    let yaml = as_machine(&healthy(), true, now()).unwrap();
    assert!(yaml.contains("kind: DPUDeployment"), "{yaml}");
}

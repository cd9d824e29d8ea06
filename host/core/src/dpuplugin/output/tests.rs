use super::*;
use dpf_stage::{ChainService, ChainSwitch, DeploymentRef, Ipam, SwitchSpec};
use serde_json::json;

fn merge(given: Value, answered: Value) -> Result<(), String> {
    let request = MergeRequest {
        deployment: DeploymentRef {
            namespace: "mine".to_owned(),
            name: "d".to_owned(),
        },
        configuration_values: Some(given),
        ..MergeRequest::default()
    };
    let response = MergeResponse {
        values: Some(answered),
        ..MergeResponse::default()
    };
    check_values(&request, &response)
}

fn manifest(kind: &str, namespace: Option<&str>) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "namespace": namespace}})
}

#[test]
fn manifests_stay_in_their_namespace() {
    for (value, expected) in [
        (manifest("ConfigMap", Some("mine")), None),
        (manifest("ConfigMap", None), None),
        (
            manifest("ConfigMap", Some("kube-system")),
            Some("in namespace kube-system"),
        ),
        (manifest("ClusterRole", None), Some("adds a ClusterRole")),
        (json!({"kind": "Namespace"}), None),
        (
            json!("apiVersion: v1\nkind: Secret\nmetadata:\n  namespace: kube-system\n"),
            Some("in namespace kube-system"),
        ),
        (
            json!("apiVersion: v1\nkind: \"ClusterRoleBinding\"\n"),
            Some("adds a ClusterRoleBinding"),
        ),
        (
            json!("{\"apiVersion\": \"v1\", \"kind\": \"Node\"}"),
            Some("adds a Node"),
        ),
        (json!("the apiVersion of a namespace: any"), None),
    ] {
        let result = merge(json!({}), json!({"extra": [value]}));
        match expected {
            None => assert_eq!(result, Ok(()), "{value}"),
            Some(text) => {
                let error = result.unwrap_err();
                assert!(error.contains(text), "{value}: {error}");
                assert!(error.starts_with("values.extra[0] "), "{error}");
            }
        }
    }
}

#[test]
fn what_the_user_wrote_may_stay() {
    let role = manifest("ClusterRole", None);
    let given = json!({"deep": {"extra": [role.clone()]}});
    assert_eq!(merge(given.clone(), json!({"elsewhere": role})), Ok(()));
    let other = manifest("ClusterRole", Some("x"));
    assert!(merge(given, json!({"elsewhere": other})).is_err());
}

#[test]
fn deep_values_are_refused() {
    let mut value = json!(1);
    for _ in 0..100 {
        value = json!({"a": value});
    }
    let error = merge(json!({}), value).unwrap_err();
    assert!(error.contains("nested deeper"), "{error}");
    assert!(error.len() < 300, "{error}");
}

fn chain(labels: &[(&str, &str)], asked: PortSpec) -> Result<(), String> {
    let request = ChainRequest {
        switches: vec![SwitchSpec {
            ports: vec![asked],
            ..SwitchSpec::default()
        }],
        services: vec![ChainService {
            name: "a".to_owned(),
            service_id: "id-a".to_owned(),
            interfaces: vec!["eth".to_owned()],
        }],
        ..ChainRequest::default()
    };
    let match_labels = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let response = ChainResponse {
        switches: vec![ChainSwitch {
            ports: vec![ChainPort {
                match_labels,
                ipam: Some(Ipam::default()),
            }],
            ..ChainSwitch::default()
        }],
        ..ChainResponse::default()
    };
    check_chain(&request, &response)
}

#[test]
fn ports_may_be_narrowed_but_not_moved() {
    let service = || PortSpec::Service {
        name: "a".to_owned(),
        interface: "eth".to_owned(),
        ipam: None,
    };
    let (id, interface) = (
        ("svc.dpu.nvidia.com/service", "id-a"),
        ("svc.dpu.nvidia.com/interface", "eth"),
    );
    assert_eq!(chain(&[id, interface], service()), Ok(()));
    assert_eq!(chain(&[id, interface, ("rack", "1")], service()), Ok(()));
    for labels in [
        &[("svc.dpu.nvidia.com/service", "id-b"), interface][..],
        &[interface],
        &[],
        &[id, interface, ("rack", "not a label")],
        &[id, interface, ("a/b/c", "1")],
    ] {
        assert!(chain(labels, service()).is_err(), "{labels:?}");
    }
    let selected = PortSpec::ServiceInterface {
        match_labels: [("uplink".to_owned(), "p0".to_owned())].into(),
        ipam: None,
    };
    assert_eq!(chain(&[("uplink", "p0")], selected.clone()), Ok(()));
    assert!(chain(&[("uplink", "p1")], selected).is_err());
}

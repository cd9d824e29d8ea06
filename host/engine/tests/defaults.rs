//! The default plugins, as components under wasmtime.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::sync::OnceLock;

use dpf_engine::{
    CallError, ChainRequest, ChainService, CheckRequest, CheckService, DeploymentRef, Engine,
    EngineOptions, LoadError, MergeDependency, MergeRequest, MergeService, Pairs, PortSpec,
    Provided, Resources, Stage, SwitchSpec,
};
use serde_json::json;

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        Engine::new(EngineOptions::default()).expect("invariant: the built-in plugins load")
    })
}

fn pairs(pairs: &[(&str, &str)]) -> Pairs {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn deployment() -> DeploymentRef {
    DeploymentRef {
        namespace: "dpf-operator-system".into(),
        name: "producer-consumer".into(),
    }
}

fn merge_request(configuration: serde_json::Value) -> MergeRequest {
    MergeRequest {
        deployment: deployment(),
        service: MergeService {
            name: "consumer".into(),
            template: "consumer".into(),
            configuration: "consumer".into(),
        },
        template_values: Some(json!({"image": {"tag": "1", "name": "consumer"}})),
        configuration_values: Some(configuration),
        render: true,
        dependencies: vec![MergeDependency {
            name: "producer".into(),
            object_name: "producer-ln2kk".into(),
            namespace: "dpf-operator-system".into(),
        }],
        ..MergeRequest::default()
    }
}

#[test]
fn values_are_rendered_and_merged() {
    let request =
        merge_request(json!({"image": {"tag": "2"}, "peer": "{{ .Services.producer.Name }}"}));
    let response = engine()
        .default_plugin(Stage::TemplateMerge)
        .merge(&request)
        .unwrap();
    assert_eq!(
        response.configuration_values,
        Some(json!({"image": {"tag": "2"}, "peer": "producer-ln2kk"}))
    );
    assert_eq!(
        response.values,
        Some(json!({"image": {"name": "consumer", "tag": "2"}, "peer": "producer-ln2kk"}))
    );
}

#[test]
fn a_template_error_is_the_users() {
    let request = merge_request(json!({"peer": "{{ .Services.lost.Name }}"}));
    let error = engine()
        .default_plugin(Stage::TemplateMerge)
        .merge(&request)
        .unwrap_err();
    let CallError::Failure(failure) = error else {
        panic!("a failure, not {error}")
    };
    assert_eq!(
        failure.findings[0].object,
        "DPUServiceConfiguration/consumer"
    );
    assert_eq!(
        failure.findings[0].field,
        "spec.serviceConfiguration.helmChart.values.peer"
    );
    assert!(
        failure.message.contains("service consumer")
            && failure.message.contains("line 1, column 13"),
        "{failure}"
    );
}

#[test]
fn the_deepest_template_fits_the_stack_of_a_plugin() {
    let parens = format!("{{{{ {}1{} }}}}", "(".repeat(90), ")".repeat(90));
    let controls = "{{ if true }}".repeat(49) + "x" + &"{{ end }}".repeat(49);
    let recursion = "{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}";
    let plugin = engine().default_plugin(Stage::TemplateMerge);
    let response = plugin
        .merge(&merge_request(json!({"a": parens, "b": controls})))
        .unwrap();
    assert_eq!(
        response.configuration_values,
        Some(json!({"a": "1", "b": "x"}))
    );
    let error = plugin
        .merge(&merge_request(json!({"a": recursion})))
        .unwrap_err();
    assert!(
        matches!(&error, CallError::Failure(failure) if failure.message.contains("depth")),
        "{error}"
    );
}

#[test]
fn versions_and_resources_are_checked() {
    let service = |name: &str, cpu: &str| CheckService {
        name: name.into(),
        template: name.into(),
        constraints: pairs(&[("dpu.nvidia.com/doca-version", ">= 3.0")]),
        resource_requirements: pairs(&[("cpu", cpu), ("memory", "1Gi")]),
        in_cluster: false,
    };
    let request = CheckRequest {
        deployment: deployment(),
        services: vec![service("producer", "3")],
        provided: Provided {
            kind: "BFB".into(),
            name: "bf-bundle".into(),
            versions: pairs(&[("dpu.nvidia.com/doca-version", "2.9.1")]),
        },
        resources: Some(Resources {
            flavor: "flavor".into(),
            total: pairs(&[("cpu", "2")]),
            reserved: pairs(&[("cpu", "1")]),
        }),
        ..CheckRequest::default()
    };
    let findings = engine()
        .default_plugin(Stage::VersionCheck)
        .check(&request)
        .unwrap();
    let messages: Vec<&str> = findings
        .iter()
        .map(|finding| finding.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "version constraint for 'dpu.nvidia.com/doca-version' found in DPUServiceTemplate 'producer' is not satisfied by \
             the version '2.9.1' found in the given BFB",
            "there are not enough resources for DPUServices to fit in this DPUDeployment: Additional resources needed: \
             cpu: 2, memory: 1Gi",
        ]
    );
    assert_eq!(findings[1].field, "spec.dpuResources");
}

#[test]
fn chains_are_built() {
    let port = |interface: &str| PortSpec::Service {
        name: "producer".into(),
        interface: interface.into(),
        ipam: None,
    };
    let request = |interface| ChainRequest {
        deployment: deployment(),
        switches: vec![SwitchSpec {
            ports: vec![port(interface)],
            service_mtu: Some(1500),
        }],
        services: vec![ChainService {
            name: "producer".into(),
            service_id: "demo_producer_0123456789".into(),
            interfaces: vec!["app_sf".into()],
        }],
        ..ChainRequest::default()
    };
    let plugin = engine().default_plugin(Stage::ChainBuilder);
    let chain = plugin.build_chain(&request("app_sf")).unwrap();
    assert_eq!(
        chain.switches[0].ports[0].match_labels,
        pairs(&[
            ("svc.dpu.nvidia.com/interface", "app_sf"),
            ("svc.dpu.nvidia.com/service", "demo_producer_0123456789"),
        ])
    );
    let error = plugin.build_chain(&request("lost")).unwrap_err();
    assert!(
        matches!(&error, CallError::Failure(failure) if failure.message.contains("known interfaces: app_sf")),
        "{error}"
    );
}

#[test]
fn a_plugin_of_another_stage_faults() {
    let error = engine()
        .default_plugin(Stage::ChainBuilder)
        .merge(&MergeRequest::default())
        .unwrap_err();
    assert!(matches!(error, CallError::Fault(_)), "{error}");
}

#[test]
fn descriptors_are_those_of_the_crates() {
    for stage in Stage::ALL {
        let plugin = engine().default_plugin(stage);
        assert_eq!(plugin.descriptor().name, stage.as_str());
        assert_eq!(plugin.digest().len(), "sha256:".len() + 64);
        serde_json::from_str::<serde_json::Value>(&plugin.settings_schema().unwrap()).unwrap();
    }
}

#[test]
fn what_is_no_plugin_is_not_admitted() {
    let refused = |bytes: &[u8]| engine().load(Stage::VersionCheck, bytes, "{}").unwrap_err();
    assert!(matches!(refused(b""), LoadError::Parse { .. }));
    assert!(matches!(refused(b"#!/bin/sh"), LoadError::Parse { .. }));
    assert!(matches!(
        refused(&wat::parse_str("(module)").unwrap()),
        LoadError::Parse { .. }
    ));
    assert!(matches!(
        refused(&wat::parse_str("(component)").unwrap()),
        LoadError::WrongWorld { .. }
    ));
    let large = vec![0; engine().limits().component_bytes + 1];
    assert!(matches!(refused(&large), LoadError::TooLarge { .. }));
}

#[test]
fn an_import_beyond_the_log_is_refused_by_name() {
    let component = r#"(component
        (import "dpf:plugin/log@1.0.0" (instance))
        (import "wasi:cli/environment@0.2.6" (instance))
        (import "dpf:plugin/secrets@1.0.0" (instance)))"#;
    let error = engine()
        .load(
            Stage::TemplateMerge,
            &wat::parse_str(component).unwrap(),
            "{}",
        )
        .unwrap_err();
    let imports = vec![
        "wasi:cli/environment@0.2.6".to_owned(),
        "dpf:plugin/secrets@1.0.0".to_owned(),
    ];
    assert_eq!(error, LoadError::ForbiddenImports { imports });
}

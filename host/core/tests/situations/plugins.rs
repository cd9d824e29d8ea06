//! The logic of the three default plugins, called natively.

use chain_builder::DefaultChainBuilder;
use dpf_core::dpudeployment::validate::Service;
use dpf_core::dpudeployment::{Answer, Refusal, Stages};
use dpf_plugin_sdk::{call, chain, check, values};
use dpf_stage::{
    ChainPort, ChainRequest, ChainResponse, ChainSwitch, CheckRequest, DeploymentRef, Failure,
    Finding, Ipam, MergeRequest, MergeResponse, Pairs, PortSpec, Severity,
};
use serde_json::Value;
use template_merge::DefaultTemplateMerge;
use version_check::DefaultVersionCheck;

/// What the host does with a component, without the component.
pub struct DefaultStages;

impl Stages for DefaultStages {
    fn merge(
        &self,
        _service: &Service<'_>,
        request: &MergeRequest,
    ) -> Result<Answer<MergeResponse>, Refusal> {
        let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
        let response = call::merge::<DefaultTemplateMerge>(values::Request {
            settings: "{}".to_owned(),
            deployment: deployment(&request.deployment),
            service: values::Service {
                name: request.service.name.clone(),
                template: request.service.template.clone(),
                configuration: request.service.configuration.clone(),
            },
            template_values: text(&request.template_values),
            configuration_values: text(&request.configuration_values),
            render: request.render,
            delimiters: request.delimiters.clone(),
            dependencies: request
                .dependencies
                .iter()
                .map(|dependency| values::Dependency {
                    name: dependency.name.clone(),
                    object_name: dependency.object_name.clone(),
                    namespace: dependency.namespace.clone(),
                })
                .collect(),
            annotations: Vec::new(),
        })
        .map_err(refusal)?;
        let json = |text: Option<String>| text.map(|text| serde_json::from_str(&text).unwrap());
        Ok(MergeResponse {
            configuration_values: json(response.configuration_values),
            values: json(response.values),
            findings: findings(response.findings),
            ..MergeResponse::default()
        }
        .into())
    }

    fn check(&self, request: &CheckRequest) -> Result<Vec<Finding>, Refusal> {
        let services = request.services.iter().map(|service| check::Service {
            name: service.name.clone(),
            template: service.template.clone(),
            constraints: list(&service.constraints),
            resource_requirements: list(&service.resource_requirements),
            in_cluster: service.in_cluster,
        });
        call::check::<DefaultVersionCheck>(check::Request {
            settings: "{}".to_owned(),
            deployment: deployment(&request.deployment),
            services: services.collect(),
            provided: check::Provided {
                kind: request.provided.kind.clone(),
                name: request.provided.name.clone(),
                versions: list(&request.provided.versions),
            },
            resources: request
                .resources
                .as_ref()
                .map(|resources| check::Resources {
                    flavor: resources.flavor.clone(),
                    total: list(&resources.total),
                    reserved: list(&resources.reserved),
                }),
            annotations: Vec::new(),
        })
        .map(findings)
        .map_err(refusal)
    }

    fn build_chain(&self, request: &ChainRequest) -> Result<Answer<ChainResponse>, Refusal> {
        let switches = request.switches.iter().map(|switch| chain::Switch {
            ports: switch.ports.iter().map(port).collect(),
            service_mtu: switch.service_mtu,
        });
        let services = request.services.iter().map(|service| chain::Service {
            name: service.name.clone(),
            service_id: service.service_id.clone(),
            interfaces: service.interfaces.clone(),
        });
        let response = call::build::<DefaultChainBuilder>(chain::Request {
            settings: "{}".to_owned(),
            deployment: deployment(&request.deployment),
            switches: switches.collect(),
            services: services.collect(),
            annotations: Vec::new(),
        })
        .map_err(refusal)?;
        Ok(ChainResponse {
            switches: response
                .switches
                .into_iter()
                .map(|switch| ChainSwitch {
                    ports: switch
                        .ports
                        .into_iter()
                        .map(|port| ChainPort {
                            match_labels: port.match_labels.into_iter().collect(),
                            ipam: port.ipam.map(|ipam| Ipam {
                                match_labels: ipam.match_labels.into_iter().collect(),
                                default_gateway: ipam.default_gateway,
                                set_default_route: ipam.set_default_route,
                            }),
                        })
                        .collect(),
                    service_mtu: switch.service_mtu,
                })
                .collect(),
            findings: findings(response.findings),
            ..ChainResponse::default()
        }
        .into())
    }
}

fn port(port: &PortSpec) -> chain::Port {
    let ipam = |ipam: &Option<Ipam>| {
        ipam.as_ref().map(|ipam| chain::Ipam {
            match_labels: list(&ipam.match_labels),
            default_gateway: ipam.default_gateway,
            set_default_route: ipam.set_default_route,
        })
    };
    match port {
        PortSpec::Service {
            name,
            interface,
            ipam: addresses,
        } => chain::Port::Service(chain::ServicePort {
            name: name.clone(),
            interface: interface.clone(),
            ipam: ipam(addresses),
        }),
        PortSpec::ServiceInterface {
            match_labels,
            ipam: addresses,
        } => chain::Port::ServiceInterface(chain::ServiceInterfacePort {
            match_labels: list(match_labels),
            ipam: ipam(addresses),
        }),
    }
}

fn deployment(deployment: &DeploymentRef) -> dpf_plugin_sdk::Deployment {
    dpf_plugin_sdk::Deployment {
        namespace: deployment.namespace.clone(),
        name: deployment.name.clone(),
    }
}

fn list(pairs: &Pairs) -> Vec<(String, String)> {
    pairs.clone().into_iter().collect()
}

fn findings(findings: Vec<dpf_plugin_sdk::Finding>) -> Vec<Finding> {
    let finding = |finding: dpf_plugin_sdk::Finding| Finding {
        severity: match finding.severity {
            dpf_plugin_sdk::Severity::Error => Severity::Error,
            dpf_plugin_sdk::Severity::Warning => Severity::Warning,
        },
        object: finding.object,
        field: finding.field,
        message: finding.message,
    };
    findings.into_iter().map(finding).collect()
}

fn refusal(failure: dpf_plugin_sdk::Failure) -> Refusal {
    Refusal::Input(Failure {
        code: failure.code,
        message: failure.message,
        findings: findings(failure.findings),
    })
}

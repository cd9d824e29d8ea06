//! Between the host's structs and those of the bindings.

use serde_json::Value;

use crate::bindings::base::dpf::plugin::types;
use crate::bindings::base::exports::dpf::plugin::plugin;
use crate::bindings::chain::exports::dpf::plugin::chain;
use crate::bindings::check::exports::dpf::plugin::check;
use crate::bindings::values::exports::dpf::plugin::values;
use crate::stage::{
    ChainPort, ChainRequest, ChainResponse, ChainSwitch, CheckRequest, DeploymentRef, Descriptor,
    Failure, Finding, Ipam, MergeRequest, MergeResponse, Pairs, PortSpec, Severity,
};

fn list(pairs: &Pairs) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn deployment(deployment: &DeploymentRef) -> types::Deployment {
    types::Deployment {
        namespace: deployment.namespace.clone(),
        name: deployment.name.clone(),
    }
}

/// A document as text. An explicit null is no document: a manifest's `values: null` means that there are none.
fn text(document: Option<&Value>) -> Option<String> {
    document
        .filter(|value| !value.is_null())
        .map(Value::to_string)
}

/// A text as a document; plugins may return objects only.
fn document(name: &str, text: Option<String>) -> Result<Option<Value>, String> {
    let Some(text) = text else { return Ok(None) };
    match serde_json::from_str(&text) {
        Ok(value @ Value::Object(_)) => Ok(Some(value)),
        Ok(_) => Err(format!("{name} is not a JSON object")),
        Err(error) => Err(format!("{name} is not JSON: {error}")),
    }
}

pub(crate) fn finding(finding: types::Finding) -> Finding {
    let severity = match finding.severity {
        types::Severity::Error => Severity::Error,
        types::Severity::Warning => Severity::Warning,
    };
    Finding {
        severity,
        object: finding.object,
        field: finding.field,
        message: finding.message,
    }
}

pub(crate) fn findings(findings: Vec<types::Finding>) -> Vec<Finding> {
    findings.into_iter().map(finding).collect()
}

pub(crate) fn failure(failure: types::Failure) -> Failure {
    Failure {
        code: failure.code,
        message: failure.message,
        findings: findings(failure.findings),
    }
}

pub(crate) fn descriptor(descriptor: plugin::Descriptor) -> Descriptor {
    Descriptor {
        name: descriptor.name,
        version: descriptor.version,
        vendor: descriptor.vendor,
        description: descriptor.description,
        annotations: descriptor.annotations.into_iter().collect(),
    }
}

pub(crate) fn merge_request(request: &MergeRequest, settings: &str) -> values::Request {
    values::Request {
        settings: settings.to_owned(),
        deployment: deployment(&request.deployment),
        service: values::Service {
            name: request.service.name.clone(),
            template: request.service.template.clone(),
            configuration: request.service.configuration.clone(),
        },
        template_values: text(request.template_values.as_ref()),
        configuration_values: text(request.configuration_values.as_ref()),
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
        annotations: list(&request.annotations),
    }
}

pub(crate) fn merge_response(response: values::Response) -> Result<MergeResponse, String> {
    Ok(MergeResponse {
        configuration_values: document("configuration-values", response.configuration_values)?,
        values: document("values", response.values)?,
        findings: findings(response.findings),
        annotations: response.annotations.into_iter().collect(),
    })
}

pub(crate) fn check_request(request: &CheckRequest, settings: &str) -> check::Request {
    check::Request {
        settings: settings.to_owned(),
        deployment: deployment(&request.deployment),
        services: request
            .services
            .iter()
            .map(|service| check::Service {
                name: service.name.clone(),
                template: service.template.clone(),
                constraints: list(&service.constraints),
                resource_requirements: list(&service.resource_requirements),
                in_cluster: service.in_cluster,
            })
            .collect(),
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
        annotations: list(&request.annotations),
    }
}

fn ipam_in(ipam: &Ipam) -> chain::Ipam {
    chain::Ipam {
        match_labels: list(&ipam.match_labels),
        default_gateway: ipam.default_gateway,
        set_default_route: ipam.set_default_route,
    }
}

fn ipam_out(ipam: chain::Ipam) -> Ipam {
    Ipam {
        match_labels: ipam.match_labels.into_iter().collect(),
        default_gateway: ipam.default_gateway,
        set_default_route: ipam.set_default_route,
    }
}

fn port(port: &PortSpec) -> chain::Port {
    match port {
        PortSpec::Service {
            name,
            interface,
            ipam,
        } => chain::Port::Service(chain::ServicePort {
            name: name.clone(),
            interface: interface.clone(),
            ipam: ipam.as_ref().map(ipam_in),
        }),
        PortSpec::ServiceInterface { match_labels, ipam } => {
            chain::Port::ServiceInterface(chain::ServiceInterfacePort {
                match_labels: list(match_labels),
                ipam: ipam.as_ref().map(ipam_in),
            })
        }
    }
}

pub(crate) fn chain_request(request: &ChainRequest, settings: &str) -> chain::Request {
    chain::Request {
        settings: settings.to_owned(),
        deployment: deployment(&request.deployment),
        switches: request
            .switches
            .iter()
            .map(|switch| chain::Switch {
                ports: switch.ports.iter().map(port).collect(),
                service_mtu: switch.service_mtu,
            })
            .collect(),
        services: request
            .services
            .iter()
            .map(|service| chain::Service {
                name: service.name.clone(),
                service_id: service.service_id.clone(),
                interfaces: service.interfaces.clone(),
            })
            .collect(),
        annotations: list(&request.annotations),
    }
}

/// A chain has the switches and ports it was asked for.
pub(crate) fn chain_response(
    response: chain::Response,
    request: &ChainRequest,
) -> Result<ChainResponse, String> {
    let wanted: Vec<usize> = request
        .switches
        .iter()
        .map(|switch| switch.ports.len())
        .collect();
    let got: Vec<usize> = response
        .switches
        .iter()
        .map(|switch| switch.ports.len())
        .collect();
    if wanted != got {
        return Err(format!(
            "the switches have {got:?} ports instead of {wanted:?}"
        ));
    }
    let switch = |switch: chain::ChainSwitch| ChainSwitch {
        ports: switch
            .ports
            .into_iter()
            .map(|port| ChainPort {
                match_labels: port.match_labels.into_iter().collect(),
                ipam: port.ipam.map(ipam_out),
            })
            .collect(),
        service_mtu: switch.service_mtu,
    };
    Ok(ChainResponse {
        switches: response.switches.into_iter().map(switch).collect(),
        findings: findings(response.findings),
        annotations: response.annotations.into_iter().collect(),
    })
}

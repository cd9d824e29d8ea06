//! The default chain-builder plugin.
//!
//! A port that names a service becomes the two labels its ServiceInterfaces carry; a port that selects interfaces by labels is
//! kept as it is. A service or interface that does not exist is an error here, before anything is created. This file is the
//! logic; it knows nothing of WebAssembly.

use dpf_plugin_sdk::chain::{
    ChainPort, ChainSwitch, Port, Request, Response, Service, ServicePort,
};
use dpf_plugin_sdk::{
    ChainBuilder, Descriptor, Failure, Finding, NoSettings, Plugin, descriptor, error, failure,
};

/// Label of a ServiceInterface: the `serviceID` of its DPUService.
pub const SERVICE_LABEL: &str = "svc.dpu.nvidia.com/service";
/// Label of a ServiceInterface: its name in the DPUServiceConfiguration.
pub const INTERFACE_LABEL: &str = "svc.dpu.nvidia.com/interface";

/// The exported plugin.
pub struct DefaultChainBuilder;

impl Plugin for DefaultChainBuilder {
    type Settings = NoSettings;

    fn describe() -> Descriptor {
        descriptor!(
            "dpf",
            "Connects services by the labels of their interfaces."
        )
    }
}

impl ChainBuilder for DefaultChainBuilder {
    fn build(request: Request, _: NoSettings) -> Result<Response, Failure> {
        build(request)
    }
}

dpf_plugin_sdk::chain_builder!(DefaultChainBuilder);

/// Resolves every port of every switch.
///
/// # Errors
/// One finding per port that names an unknown service or interface, in the order of the ports.
pub fn build(request: Request) -> Result<Response, Failure> {
    let object = format!("DPUDeployment/{}", request.deployment.name);
    let services = request.services;
    let mut findings = Vec::new();
    let mut switches = Vec::with_capacity(request.switches.len());
    for (switch_index, switch) in request.switches.into_iter().enumerate() {
        let mut ports = Vec::with_capacity(switch.ports.len());
        for (port_index, port) in switch.ports.into_iter().enumerate() {
            let path = format!("spec.serviceChains.switches[{switch_index}].ports[{port_index}]");
            match port {
                Port::ServiceInterface(port) => {
                    ports.push(ChainPort {
                        match_labels: sorted(port.match_labels),
                        ipam: port.ipam,
                    });
                }
                Port::Service(port) => match resolve(&object, &path, port, &services) {
                    Ok(port) => ports.push(port),
                    Err(finding) => findings.push(finding),
                },
            }
        }
        switches.push(ChainSwitch {
            ports,
            service_mtu: switch.service_mtu,
        });
    }
    if findings.is_empty() {
        Ok(Response {
            switches,
            findings,
            annotations: Vec::new(),
        })
    } else {
        Err(failure("ServiceChainInvalid", findings))
    }
}

fn resolve(
    object: &str,
    path: &str,
    port: ServicePort,
    services: &[Service],
) -> Result<ChainPort, Finding> {
    let Some(service) = services.iter().find(|service| service.name == port.name) else {
        let known = listed(services.iter().map(|service| service.name.as_str()));
        return Err(error(
            object,
            format!("{path}.service.name"),
            format!(
                "port {path} names service \"{}\", which spec.services does not have; known services: {known}",
                port.name
            ),
        ));
    };
    if !service.interfaces.contains(&port.interface) {
        let known = listed(service.interfaces.iter().map(String::as_str));
        return Err(error(
            object,
            format!("{path}.service.interface"),
            format!(
                "port {path} names interface \"{}\", which the DPUServiceConfiguration of service \"{}\" does not have; known \
                 interfaces: {known}",
                port.interface, port.name
            ),
        ));
    }
    let match_labels = vec![
        (INTERFACE_LABEL.to_owned(), port.interface),
        (SERVICE_LABEL.to_owned(), service.service_id.clone()),
    ];
    Ok(ChainPort {
        match_labels,
        ipam: port.ipam,
    })
}

fn sorted(mut pairs: Vec<(String, String)>) -> Vec<(String, String)> {
    pairs.sort();
    pairs
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_plugin_sdk::Deployment;
    use dpf_plugin_sdk::chain::{Ipam, ServiceInterfacePort, Switch};

    fn service(name: &str, interfaces: &[&str]) -> Service {
        Service {
            name: name.into(),
            service_id: format!("demo_{name}_1234567890"),
            interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn service_port(name: &str, interface: &str) -> Port {
        Port::Service(ServicePort {
            name: name.into(),
            interface: interface.into(),
            ipam: None,
        })
    }

    fn request(ports: Vec<Port>) -> Request {
        Request {
            settings: "{}".into(),
            deployment: Deployment {
                namespace: "ns".into(),
                name: "demo".into(),
            },
            switches: vec![Switch {
                ports,
                service_mtu: Some(3000),
            }],
            services: vec![
                service("producer", &["app_sf"]),
                service("consumer", &["eth1", "eth0"]),
            ],
            annotations: Vec::new(),
        }
    }

    #[test]
    fn service_ports_become_labels() {
        let response = build(request(vec![
            service_port("producer", "app_sf"),
            service_port("consumer", "eth0"),
        ]))
        .unwrap();
        let [switch] = response.switches.as_slice() else {
            panic!("one switch, got {:?}", response.switches)
        };
        assert_eq!(switch.service_mtu, Some(3000));
        assert_eq!(
            switch.ports[0].match_labels,
            vec![
                (
                    "svc.dpu.nvidia.com/interface".to_owned(),
                    "app_sf".to_owned()
                ),
                (
                    "svc.dpu.nvidia.com/service".to_owned(),
                    "demo_producer_1234567890".to_owned()
                ),
            ]
        );
        assert_eq!(
            switch.ports[1].match_labels[1].1,
            "demo_consumer_1234567890"
        );
    }

    #[test]
    fn label_ports_and_ipam_are_kept() {
        let ipam = Ipam {
            match_labels: vec![("pool".into(), "p0".into())],
            default_gateway: Some(false),
            set_default_route: None,
        };
        let port = Port::ServiceInterface(ServiceInterfacePort {
            match_labels: vec![("uplink".into(), "p0".into())],
            ipam: Some(ipam.clone()),
        });
        let response = build(request(vec![port])).unwrap();
        let expected = ChainPort {
            match_labels: vec![("uplink".into(), "p0".into())],
            ipam: Some(ipam),
        };
        assert_eq!(response.switches[0].ports, vec![expected]);
    }

    #[test]
    fn every_unknown_name_is_reported_with_the_known_ones() {
        let failure = build(request(vec![
            service_port("produced", "app_sf"),
            service_port("consumer", "eth0"),
            service_port("consumer", "eth2"),
        ]))
        .unwrap_err();
        assert_eq!(failure.code, "ServiceChainInvalid");
        let fields: Vec<&str> = failure
            .findings
            .iter()
            .map(|finding| finding.field.as_str())
            .collect();
        assert_eq!(
            fields,
            [
                "spec.serviceChains.switches[0].ports[0].service.name",
                "spec.serviceChains.switches[0].ports[2].service.interface",
            ]
        );
        assert!(
            failure.findings[0].message.contains("\"produced\""),
            "{}",
            failure.message
        );
        assert!(
            failure.findings[0]
                .message
                .ends_with("known services: consumer, producer"),
            "{}",
            failure.message
        );
        assert!(
            failure.findings[1]
                .message
                .ends_with("known interfaces: eth0, eth1"),
            "{}",
            failure.message
        );
        assert!(
            failure
                .findings
                .iter()
                .all(|finding| finding.object == "DPUDeployment/demo")
        );
    }

    #[test]
    fn a_service_without_interfaces_says_none() {
        let mut request = request(vec![service_port("lonely", "eth0")]);
        request.services.push(service("lonely", &[]));
        let failure = build(request).unwrap_err();
        assert!(
            failure.message.ends_with("known interfaces: none"),
            "{}",
            failure.message
        );
    }
}

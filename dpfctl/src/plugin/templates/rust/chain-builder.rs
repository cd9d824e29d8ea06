//! Connects ports by labels, and adds labels of the cluster.

use std::collections::BTreeMap;

use dpf_plugin_sdk::chain::{ChainPort, ChainSwitch, Port, Request, Response, ServicePort};
use dpf_plugin_sdk::{ChainBuilder, Descriptor, Failure, Findings, Plugin, descriptor};

/// What a cluster administrator can configure in the DPUPlugin.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Labels every port that names a service selects as well.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

dpf_plugin_sdk::settings!(Settings);

/// The exported plugin.
pub struct ThisPlugin;

impl Plugin for ThisPlugin {
    type Settings = Settings;

    fn describe() -> Descriptor {
        descriptor!(
            "example.com",
            "Connects ports by labels, and adds labels of the cluster."
        )
    }
}

impl ChainBuilder for ThisPlugin {
    fn build(request: Request, settings: Settings) -> Result<Response, Failure> {
        let object = format!("DPUDeployment/{}", request.deployment.name);
        let mut findings = Findings::default();
        let mut switches = Vec::new();
        for (number, switch) in request.switches.into_iter().enumerate() {
            let mut ports = Vec::new();
            for port in switch.ports {
                match port {
                    Port::ServiceInterface(port) => {
                        ports.push(ChainPort {
                            match_labels: port.match_labels,
                            ipam: port.ipam,
                        });
                    }
                    Port::Service(port) => {
                        match request.services.iter().find(|it| it.name == port.name) {
                            Some(service) => {
                                ports.push(connect(port, &service.service_id, &settings))
                            }
                            None => findings.error(
                                object.as_str(),
                                format!("spec.serviceChains.switches[{number}]"),
                                format!("there is no service {}", port.name),
                            ),
                        }
                    }
                }
            }
            switches.push(ChainSwitch {
                ports,
                service_mtu: switch.service_mtu,
            });
        }
        Ok(Response {
            switches,
            findings: findings.or_fail("PortsUnresolved")?,
            ..Default::default()
        })
    }
}

dpf_plugin_sdk::chain_builder!(ThisPlugin);

/// The labels that the interfaces of a service carry, and those of the settings.
fn connect(port: ServicePort, service_id: &str, settings: &Settings) -> ChainPort {
    let mut labels = settings.labels.clone();
    labels.insert("svc.dpu.nvidia.com/service".into(), service_id.into());
    labels.insert("svc.dpu.nvidia.com/interface".into(), port.interface);
    ChainPort {
        match_labels: labels.into_iter().collect(),
        ipam: port.ipam,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_plugin_sdk::{call, chain};

    fn request(service: &str) -> Request {
        Request {
            settings: r#"{"labels": {"rack": "a"}}"#.into(),
            services: vec![chain::Service {
                name: "router".into(),
                service_id: "router-id".into(),
                interfaces: vec!["eth0".into()],
            }],
            switches: vec![chain::Switch {
                ports: vec![Port::Service(ServicePort {
                    name: service.into(),
                    interface: "eth0".into(),
                    ipam: None,
                })],
                service_mtu: None,
            }],
            ..Default::default()
        }
    }

    #[test]
    fn a_service_becomes_labels() {
        let response = call::build::<ThisPlugin>(request("router")).unwrap();
        let labels = &response.switches[0].ports[0].match_labels;
        assert!(labels.contains(&("svc.dpu.nvidia.com/service".into(), "router-id".into())));
        assert!(labels.contains(&("rack".into(), "a".into())));
    }

    #[test]
    fn an_unknown_service_is_the_users_mistake() {
        let failure = call::build::<ThisPlugin>(request("lost")).unwrap_err();
        assert_eq!(failure.message, "there is no service lost");
    }
}

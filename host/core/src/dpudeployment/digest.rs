//! Version digests, byte for byte those of the system we can take over from.
//!
//! A digest is the first ten hexadecimal digits of sha256 over the JSON of the hashed objects, each followed by a
//! newline, in the form that Go's encoder writes: compact, declared field order, sorted map keys, `<`, `>`, `&` and the
//! two Unicode line separators escaped. Source of the field order: `spec/dpudeployment.md`, section 2.8.

use dpf_api::svc::{
    ChainSwitch, ChartSource, ConfigPorts, ConfigurationDaemonSet, DpuServiceConfigurationSpec,
    DpuServiceTemplateSpec, ServiceInterfaceTemplate, ServiceSecurity, Switch,
};
use dpf_api::{Quantity, RawValues, ResourceList};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

use dpf_quantity::Quantity as Amount;

/// Hexadecimal digits of a digest.
const LENGTH: usize = 10;

/// Ten hexadecimal digits that identify a revision.
pub type VersionDigest = String;

/// Digest of a service: its configuration with the values as rendered, and its template.
///
/// The upgrade policy does not count: how a change is rolled out is not a change.
#[must_use]
pub fn service_digest(
    configuration: &DpuServiceConfigurationSpec,
    rendered_values: Option<&Value>,
    template: &DpuServiceTemplateSpec,
) -> VersionDigest {
    let (configuration, template) = service_documents(configuration, rendered_values, template);
    digest(&[&configuration, &template])
}

/// Digest of a service whose values a vendor's plugin merged: that of [`service_digest`], the component and what came out.
///
/// Unlike the built-in plugin, a vendor's may make other values of the same input, so the output itself counts.
#[must_use]
pub fn service_digest_by_plugin(
    configuration: &DpuServiceConfigurationSpec,
    rendered_values: Option<&Value>,
    template: &DpuServiceTemplateSpec,
    plugin: &str,
    merged_values: Option<&Value>,
) -> VersionDigest {
    let (configuration, template) = service_documents(configuration, rendered_values, template);
    digest(&[
        &configuration,
        &template,
        &encode(&plugin),
        &encode(&merged_values),
    ])
}

fn service_documents(
    configuration: &DpuServiceConfigurationSpec,
    rendered_values: Option<&Value>,
    template: &DpuServiceTemplateSpec,
) -> (String, String) {
    let settings = configuration.service_configuration.as_ref();
    let configuration = ConfigurationForm {
        deployment_service_name: &configuration.deployment_service_name,
        service_configuration: SettingsForm {
            helm_chart: ValuesForm {
                values: rendered_values,
            },
            service_daemon_set: settings
                .and_then(|s| s.service_daemon_set.as_ref())
                .map(DaemonSetForm::new),
            deploy_in_cluster: settings.and_then(|s| s.deploy_in_cluster),
            config_ports: settings
                .and_then(|s| s.config_ports.as_ref())
                .map(ConfigPortsForm::new),
        },
        interfaces: configuration
            .interfaces
            .as_deref()
            .unwrap_or_default()
            .iter()
            .map(InterfaceForm::new)
            .collect(),
        upgrade_policy: Empty {},
    };
    let template = TemplateForm {
        deployment_service_name: &template.deployment_service_name,
        helm_chart: ChartForm {
            source: SourceForm::new(&template.helm_chart.source),
            values: template.helm_chart.values.as_ref(),
        },
        resource_requirements: template
            .resource_requirements
            .as_ref()
            .map(canonical)
            .filter(|r| !r.is_empty()),
        security: template.security.as_ref(),
    };
    (encode(&configuration), encode(&template))
}

/// Digest of a chain: the switches with every service name replaced by its service ID.
#[must_use]
pub fn chain_digest(switches: &[Switch], service_ids: &BTreeMap<String, String>) -> VersionDigest {
    digest(&[&chain_document(switches, service_ids)])
}

/// Digest of a chain that a vendor's plugin built: that of [`chain_digest`], the component and what came out.
#[must_use]
pub fn chain_digest_by_plugin(
    switches: &[Switch],
    service_ids: &BTreeMap<String, String>,
    plugin: &str,
    built: &[ChainSwitch],
) -> VersionDigest {
    digest(&[
        &chain_document(switches, service_ids),
        &encode(&plugin),
        &encode(&built),
    ])
}

fn chain_document(switches: &[Switch], service_ids: &BTreeMap<String, String>) -> String {
    let switches: Vec<SwitchForm<'_>> = switches
        .iter()
        .map(|switch| SwitchForm {
            ports: switch
                .ports
                .iter()
                .map(|port| PortForm {
                    service: port.service.as_ref().map(|service| ServicePortForm {
                        name: service_ids.get(&service.name).unwrap_or(&service.name),
                        interface: &service.interface,
                        ipam: service.ipam.as_ref(),
                    }),
                    service_interface: port.service_interface.as_ref(),
                })
                .collect(),
            service_mtu: switch.service_mtu,
        })
        .collect();
    encode(&switches)
}

/// The ten digits that stand for a deployment, as in the label of what it consumes.
#[must_use]
pub fn deployment_digest(namespace: &str, name: &str) -> VersionDigest {
    digest(&[&encode(&NamespacedName { namespace, name })])
}

/// The ten digits in the host node label of an in-cluster service.
#[must_use]
pub fn in_cluster_digest(namespace: &str, name: &str, service: &str) -> VersionDigest {
    digest(&[
        &encode(&NamespacedName { namespace, name }),
        &encode(&service),
    ])
}

/// The ten digits of the state of any object, to see whether it is the same.
#[must_use]
pub fn state_digest(state: &Value) -> VersionDigest {
    digest(&[&encode(state)])
}

fn digest(documents: &[&str]) -> VersionDigest {
    let mut hasher = Sha256::new();
    for document in documents {
        hasher.update(document.as_bytes());
        hasher.update(b"\n");
    }
    let mut text = hex::encode(hasher.finalize());
    text.truncate(LENGTH);
    text
}

/// JSON as Go writes it. Outside strings none of the escaped characters can occur in JSON.
fn encode(document: &impl Serialize) -> String {
    let json = serde_json::to_string(document).unwrap_or_default();
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Amounts in the form in which Kubernetes writes them; a text that is no quantity stays as it is.
fn canonical(resources: &ResourceList) -> BTreeMap<&str, String> {
    resources
        .iter()
        .map(|(name, Quantity(text))| {
            let amount = Amount::parse(text.trim())
                .map_or_else(|_| text.clone(), |amount| amount.to_string());
            (name.as_str(), amount)
        })
        .collect()
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct NamespacedName<'a> {
    #[serde(rename = "Namespace")]
    namespace: &'a str,
    #[serde(rename = "Name")]
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigurationForm<'a> {
    deployment_service_name: &'a str,
    service_configuration: SettingsForm<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<InterfaceForm<'a>>,
    upgrade_policy: Empty,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SettingsForm<'a> {
    helm_chart: ValuesForm<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_daemon_set: Option<DaemonSetForm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deploy_in_cluster: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_ports: Option<ConfigPortsForm<'a>>,
}

#[derive(Serialize)]
struct ValuesForm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DaemonSetForm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    update_strategy: Option<UpdateStrategyForm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<BTreeMap<&'a str, String>>,
}

impl<'a> DaemonSetForm<'a> {
    fn new(set: &'a ConfigurationDaemonSet) -> Self {
        Self {
            update_strategy: set.update_strategy.as_ref().map(UpdateStrategyForm::new),
            labels: set.labels.as_ref().filter(|labels| !labels.is_empty()),
            annotations: set
                .annotations
                .as_ref()
                .filter(|annotations| !annotations.is_empty()),
            resources: set
                .resources
                .as_ref()
                .map(canonical)
                .filter(|r| !r.is_empty()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UpdateStrategyForm<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rolling_update: Option<RollingUpdateForm<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RollingUpdateForm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_unavailable: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_surge: Option<&'a Value>,
}

impl<'a> UpdateStrategyForm<'a> {
    fn new(strategy: &'a Value) -> Self {
        Self {
            type_: strategy.get("type"),
            rolling_update: strategy.get("rollingUpdate").filter(|r| r.is_object()).map(
                |rolling| RollingUpdateForm {
                    max_unavailable: rolling.get("maxUnavailable"),
                    max_surge: rolling.get("maxSurge"),
                },
            ),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigPortsForm<'a> {
    service_type: &'a str,
    ports: Vec<ConfigPortForm<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigPortForm<'a> {
    name: &'a str,
    port: u32,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_port: Option<u32>,
}

impl<'a> ConfigPortsForm<'a> {
    fn new(ports: &'a ConfigPorts) -> Self {
        Self {
            service_type: &ports.service_type,
            ports: ports
                .ports
                .iter()
                .map(|p| ConfigPortForm {
                    name: &p.name,
                    port: p.port,
                    protocol: &p.protocol,
                    node_port: p.node_port,
                })
                .collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InterfaceForm<'a> {
    name: &'a str,
    network: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_network: Option<&'a String>,
}

impl<'a> InterfaceForm<'a> {
    fn new(interface: &'a ServiceInterfaceTemplate) -> Self {
        Self {
            name: &interface.name,
            network: &interface.network,
            virtual_network: interface.virtual_network.as_ref(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TemplateForm<'a> {
    deployment_service_name: &'a str,
    helm_chart: ChartForm<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_requirements: Option<BTreeMap<&'a str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<&'a ServiceSecurity>,
}

#[derive(Serialize)]
struct ChartForm<'a> {
    source: SourceForm<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<&'a RawValues>,
}

/// `path` is always written, empty when unset.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceForm<'a> {
    #[serde(rename = "repoURL")]
    repo_url: &'a str,
    path: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    chart: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_name: Option<&'a str>,
}

impl<'a> SourceForm<'a> {
    fn new(source: &'a ChartSource) -> Self {
        let given = |text: &'a Option<String>| text.as_deref().filter(|t| !t.is_empty());
        Self {
            repo_url: &source.repo_url,
            path: source.path.as_deref().unwrap_or_default(),
            version: &source.version,
            chart: given(&source.chart),
            release_name: given(&source.release_name),
        }
    }
}

#[derive(Serialize)]
struct SwitchForm<'a> {
    ports: Vec<PortForm<'a>>,
    #[serde(rename = "serviceMTU", skip_serializing_if = "Option::is_none")]
    service_mtu: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PortForm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServicePortForm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_interface: Option<&'a dpf_api::svc::InterfacePort>,
}

#[derive(Serialize)]
struct ServicePortForm<'a> {
    name: &'a str,
    interface: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: Option<&'a dpf_api::svc::Ipam>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn configuration(value: Value) -> DpuServiceConfigurationSpec {
        serde_json::from_value(value).unwrap()
    }

    fn template(value: Value) -> DpuServiceTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn service_vectors() {
        let plain = service_digest(
            &configuration(
                json!({"deploymentServiceName": "someservice", "serviceConfiguration": {}}),
            ),
            None,
            &template(
                json!({"deploymentServiceName": "someservice", "helmChart": {"source": {
                "repoURL": "oci://someurl/repo", "path": "somepath", "version": "someversion", "chart": "somechart"}}}),
            ),
        );
        assert_eq!(plain, "133e91553f");

        let whole = service_digest(
            &configuration(json!({
                "deploymentServiceName": "hbn",
                "serviceConfiguration": {"helmChart": {"values": {"replicas": 2}}},
                "interfaces": [{"name": "p0_if", "network": "mybrhbn"}],
                "upgradePolicy": {"applyNodeEffect": false}
            })),
            Some(&json!({"replicas": 2})),
            &template(json!({
                "deploymentServiceName": "hbn",
                "helmChart": {
                    "source": {"repoURL": "https://example.com/charts", "version": "1.0.0", "chart": "hbn"},
                    "values": {"replicas": 1}
                },
                "resourceRequirements": {"cpu": 1, "memory": "1Gi"}
            })),
        );
        assert_eq!(whole, "078673008e");
    }

    #[test]
    fn chain_vector() {
        let switches: Vec<Switch> = serde_json::from_value(json!([{
            "ports": [
                {"service": {"name": "hbn", "interface": "p0_if"}},
                {"serviceInterface": {"matchLabels": {"uplink": "p0"}}}
            ],
            "serviceMTU": 1500
        }]))
        .unwrap();
        let ids = BTreeMap::from([("hbn".to_owned(), "edge_hbn_078673008e".to_owned())]);
        assert_eq!(chain_digest(&switches, &ids), "131ad2d7e6");
    }

    #[test]
    fn name_vectors() {
        assert_eq!(
            deployment_digest("customer-namespace", "producer-consumer"),
            "5b57861d63"
        );
        assert_eq!(
            deployment_digest("dpf-operator-system", "edge"),
            "f8ac572fd6"
        );
        assert_eq!(
            in_cluster_digest("customer-namespace", "producer-consumer", "observer"),
            "71aa5e755a"
        );
        assert_eq!(digest(&[&encode(&"foo")]), "464f0da35d");
        assert_eq!(digest(&[&encode(&"foo"), &encode(&"bar")]), "ae40de46fb");
    }

    #[test]
    fn amounts_count_as_kubernetes_writes_them() {
        let digest = |cpu: &str| {
            let template = template(json!({
                "deploymentServiceName": "a",
                "helmChart": {"source": {"repoURL": "oci://a/b", "version": "1"}},
                "resourceRequirements": {"cpu": cpu}
            }));
            service_digest(
                &configuration(json!({"deploymentServiceName": "a"})),
                None,
                &template,
            )
        };
        assert_eq!(digest("1.5"), digest("1500m"));
        assert_ne!(
            digest("1000m"),
            digest("1"),
            "Kubernetes repeats an amount without fraction as it was written"
        );
    }

    #[test]
    fn go_escapes_html_and_line_separators() {
        assert_eq!(encode(&"<a>&\u{2028}"), "\"\\u003ca\\u003e\\u0026\\u2028\"");
    }
}

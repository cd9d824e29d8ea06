//! The desired children, as objects.

use super::consult::{Advice, ChainRevision, ServiceRevision};
use super::digest::in_cluster_digest;
use super::rollout::Case;
use super::validate::{Service, Validated};
use crate::selectors::with_canonical_pci;
use dpf_api::keys::{annotations, labels};
use dpf_api::provisioning::{
    BfbReference, ClusterTemplate, DpuSet, DpuSetSpec, DpuTemplate, DpuTemplateSpec, NodeEffect,
    Strategy, StrategyType,
};
use dpf_api::svc::{
    ChainPort, ChainSwitch, DpuDeployment, DpuService, DpuServiceChain, DpuServiceChainSpec,
    DpuServiceInterface, DpuServiceInterfaceSpec, DpuServiceSpec, DpuSetStrategy, DpuSetTemplate,
    InterfacePort, InterfaceType, Ipam, ServiceChainSetSpec, ServiceChainSetTemplate,
    ServiceChainSpec, ServiceChainTemplateObject, ServiceDaemonSet, ServiceDef,
    ServiceInterfaceSetSpec, ServiceInterfaceSetTemplate, ServiceInterfaceSpec,
    ServiceInterfaceTemplate, ServiceInterfaceTemplateObject, ServiceSecurity,
};
use dpf_api::{RawValues, common::TemplateMeta};
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference,
};
use kube::Resource;
use std::collections::{BTreeMap, BTreeSet};

/// Prefix of service IDs written before the digest became part of them.
const LEGACY_SERVICE_ID_PREFIX: &str = "dpudeployment_";

/// `<deployment>_<service>_<digest>`.
#[must_use]
pub fn service_id(deployment: &str, service: &str, digest: &str) -> String {
    format!("{deployment}_{service}_{digest}")
}

/// Whether a service ID has the form that it had before the digest became part of it.
pub(super) fn is_legacy(service_id: &str) -> bool {
    service_id.starts_with(LEGACY_SERVICE_ID_PREFIX)
}

/// The service ID that an object keeps: its own while it is current, nothing when it becomes another revision.
pub(super) fn current_service_id(running: &DpuService, case: &Case) -> Option<String> {
    let id = running.spec.service_id.clone()?;
    let keeps = match case {
        Case::Current => is_legacy(&id),
        Case::InPlace => false,
        Case::New => true,
    };
    keeps.then_some(id)
}

/// The node label key of a service: on DPU nodes by its name, on host nodes by a digest.
#[must_use]
pub fn node_label_key(validated: &Validated<'_>, service: &Service<'_>) -> String {
    if service.in_cluster() {
        in_cluster_label_key(validated.namespace, validated.name, service.name)
    } else {
        labels::service_version(service.name)
    }
}

/// The host node label key of an in-cluster service of the deployment `namespace/name`.
#[must_use]
pub fn in_cluster_label_key(namespace: &str, name: &str, service: &str) -> String {
    let digest = in_cluster_digest(namespace, name, service);
    format!("{}{digest}", labels::IN_CLUSTER_VERSION_PREFIX)
}

/// The value that the node selector of an existing service demands for this key.
pub(super) fn selector_value(service: &DpuService, key: &str) -> Option<String> {
    let selector = service
        .spec
        .service_daemon_set
        .as_ref()?
        .node_selector
        .as_ref()?;
    selector
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_expressions.iter().flatten())
        .find(|requirement| requirement.key == key)
        .and_then(|requirement| requirement.values.as_ref()?.first().cloned())
}

/// The controller reference that all children carry.
#[must_use]
pub fn owner_reference(validated: &Validated<'_>) -> OwnerReference {
    OwnerReference {
        api_version: DpuDeployment::api_version(&()).into_owned(),
        kind: DpuDeployment::kind(&()).into_owned(),
        name: validated.name.to_owned(),
        uid: validated.uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The second owner of an interface: it goes with its service, whose deletion does not wait for it.
#[must_use]
pub fn service_owner(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: DpuService::api_version(&()).into_owned(),
        kind: DpuService::kind(&()).into_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(false),
        block_owner_deletion: Some(false),
    }
}

fn metadata(validated: &Validated<'_>, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(validated.namespace.to_owned()),
        labels: Some(BTreeMap::from([(
            labels::OWNED_BY_DPUDEPLOYMENT.to_owned(),
            validated.owner.clone(),
        )])),
        owner_references: Some(vec![owner_reference(validated)]),
        ..ObjectMeta::default()
    }
}

fn service_metadata(
    validated: &Validated<'_>,
    revision: &ServiceRevision<'_>,
    name: String,
) -> ObjectMeta {
    let mut metadata = metadata(validated, name);
    metadata.labels.get_or_insert_default().insert(
        labels::DPUDEPLOYMENT_SERVICE.to_owned(),
        revision.service.name.to_owned(),
    );
    metadata.annotations = Some(BTreeMap::from([(
        annotations::DPUSERVICE_VERSION.to_owned(),
        revision.digest.clone(),
    )]));
    metadata
}

/// Writes down which vendor's component made a revision.
fn note_maker(metadata: &mut ObjectMeta, made_by: Option<&String>) {
    let maker = made_by.map(|digest| (annotations::PLUGIN_DIGEST.to_owned(), digest.clone()));
    metadata.annotations.get_or_insert_default().extend(maker);
}

/// The DPUService of a revision; `interfaces` are the names of its DPUServiceInterfaces.
#[must_use]
pub fn service(
    validated: &Validated<'_>,
    revision: &ServiceRevision<'_>,
    mut interfaces: Vec<String>,
) -> DpuService {
    let service = &revision.service;
    let settings = service.configuration.spec.service_configuration.as_ref();
    let daemon_set = settings.and_then(|s| s.service_daemon_set.as_ref());
    let mut pod_labels = daemon_set
        .and_then(|d| d.labels.clone())
        .unwrap_or_default();
    let legacy = legacy_spec(revision);
    if legacy.is_none_or(has_service_label) {
        pod_labels.insert(
            labels::DPUDEPLOYMENT_SERVICE.to_owned(),
            service.name.to_owned(),
        );
    }
    interfaces.sort();
    let mut chart = service.template.spec.helm_chart.clone();
    chart.values = revision.values.clone().map(RawValues);
    let spec = DpuServiceSpec {
        helm_chart: chart,
        service_id: Some(revision.service_id.clone()),
        service_daemon_set: Some(ServiceDaemonSet {
            node_selector: Some(node_selector(validated, revision)),
            update_strategy: daemon_set.and_then(|d| d.update_strategy.clone()),
            labels: (!pod_labels.is_empty()).then_some(pod_labels),
            annotations: daemon_set.and_then(|d| d.annotations.clone()),
            resources: daemon_set.and_then(|d| d.resources.clone()),
        }),
        deploy_in_cluster: settings.and_then(|s| s.deploy_in_cluster),
        interfaces: (!interfaces.is_empty()).then_some(interfaces),
        config_ports: settings.and_then(|s| s.config_ports.clone()),
        dpu_cluster_selector: if service.in_cluster() {
            None
        } else {
            cluster_selector(validated)
        },
        security: if service.in_cluster() || legacy.is_some_and(|old| old.security.is_none()) {
            None
        } else {
            Some(security(service))
        },
        ..DpuServiceSpec::default()
    };
    let mut object = DpuService::new(&revision.choice.name, spec);
    object.metadata = service_metadata(validated, revision, revision.choice.name.clone());
    if let Some(existing) = revision.choice.existing {
        leave_unlabelled(revision, &existing.metadata, &mut object.metadata);
    }
    note_maker(&mut object.metadata, revision.made_by.as_ref());
    object
}

/// Objects written before they had the label of their service are left without it while they are current.
pub(super) fn leave_unlabelled(
    revision: &ServiceRevision<'_>,
    existing: &ObjectMeta,
    desired: &mut ObjectMeta,
) {
    let key = labels::DPUDEPLOYMENT_SERVICE;
    let labelled = existing
        .labels
        .iter()
        .flatten()
        .any(|(name, _)| name == key);
    if is_legacy(&revision.service_id) && !labelled {
        desired.labels.get_or_insert_default().remove(key);
    }
}

/// The present spec, if it was written before pods had the label of their service and a security setting. A revision that
/// runs is left without them: its pods would be replaced, and no node is prepared for that.
fn legacy_spec<'a>(revision: &ServiceRevision<'a>) -> Option<&'a DpuServiceSpec> {
    let running = revision.choice.existing?;
    let legacy = revision.choice.case == Case::Current && is_legacy(&revision.service_id);
    legacy.then_some(&running.spec)
}

fn has_service_label(spec: &DpuServiceSpec) -> bool {
    let daemon_set = spec.service_daemon_set.as_ref();
    let pod_labels = daemon_set.and_then(|d| d.labels.as_ref());
    pod_labels.is_some_and(|pod| pod.contains_key(labels::DPUDEPLOYMENT_SERVICE))
}

/// Unset means privileged today, as upstream announces it until its default changes.
fn security(service: &Service<'_>) -> ServiceSecurity {
    let given = service.template.spec.security.clone().unwrap_or_default();
    ServiceSecurity {
        privileged: Some(given.privileged.unwrap_or(true)),
        spiffe: given.spiffe,
    }
}

fn requirement(key: &str, value: &str) -> NodeSelectorRequirement {
    NodeSelectorRequirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![value.to_owned()]),
    }
}

fn node_selector(validated: &Validated<'_>, revision: &ServiceRevision<'_>) -> NodeSelector {
    let version = requirement(&revision.node_label_key, &revision.node_label_value);
    let term = |requirements| NodeSelectorTerm {
        match_expressions: Some(requirements),
        match_fields: None,
    };
    if !revision.service.in_cluster() {
        let owner = requirement(labels::OWNED_BY_DPUDEPLOYMENT, &validated.owner);
        return NodeSelector {
            node_selector_terms: vec![term(vec![version, owner])],
        };
    }
    // One term per set: the version and the whole selector of its hosts. A set without selector means every host.
    let sets = dpu_sets(validated);
    let unlimited = sets.is_empty() || sets.iter().any(|set| node_selector_of(set).is_none());
    let node_selector_terms = if unlimited {
        vec![term(vec![version])]
    } else {
        sets.iter()
            .filter_map(node_selector_of)
            .map(|selector| {
                let mut requirements = vec![version.clone()];
                requirements.extend(
                    selector
                        .match_labels
                        .iter()
                        .flatten()
                        .map(|(key, value)| requirement(key, value)),
                );
                requirements.extend(selector.match_expressions.iter().flatten().map(
                    |expression| NodeSelectorRequirement {
                        key: expression.key.clone(),
                        operator: expression.operator.clone(),
                        values: expression.values.clone(),
                    },
                ));
                term(requirements)
            })
            .collect()
    };
    NodeSelector {
        node_selector_terms,
    }
}

fn dpu_sets<'a>(validated: &Validated<'a>) -> &'a [DpuSetTemplate] {
    validated
        .observed
        .deployment
        .spec
        .dpus
        .dpu_sets
        .as_deref()
        .unwrap_or_default()
}

/// The selector of hosts of a set, whichever field has it.
pub(crate) fn node_selector_of(set: &DpuSetTemplate) -> Option<&LabelSelector> {
    set.dpu_node_selector
        .as_ref()
        .or(set.node_selector.as_ref())
}

/// The clusters of all sets together: per key all values. With different keys this selects more than the union.
fn cluster_selector(validated: &Validated<'_>) -> Option<LabelSelector> {
    let mut values: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for set in dpu_sets(validated) {
        let selector = set
            .dpu_cluster_selector
            .as_ref()
            .filter(|selector| !selector.is_empty())?;
        for (key, value) in selector {
            values.entry(key).or_default().insert(value);
        }
    }
    (!values.is_empty()).then(|| LabelSelector {
        match_labels: None,
        match_expressions: Some(
            values
                .into_iter()
                .map(|(key, values)| LabelSelectorRequirement {
                    key: key.clone(),
                    operator: "In".to_owned(),
                    values: Some(values.into_iter().cloned().collect()),
                })
                .collect(),
        ),
    })
}

fn label_selector(validated: &Validated<'_>, key: &str, value: &str) -> LabelSelector {
    let expression = |key: &str, value: &str| LabelSelectorRequirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![value.to_owned()]),
    };
    LabelSelector {
        match_labels: None,
        match_expressions: Some(vec![
            expression(key, value),
            expression(labels::OWNED_BY_DPUDEPLOYMENT, &validated.owner),
        ]),
    }
}

/// A DPUServiceInterface of a revision. Its second owner, the DPUService, is added when that object has a uid.
#[must_use]
pub fn interface(
    validated: &Validated<'_>,
    revision: &ServiceRevision<'_>,
    template: &ServiceInterfaceTemplate,
    name: String,
) -> DpuServiceInterface {
    let spec = DpuServiceInterfaceSpec {
        dpu_cluster_selector: cluster_selector(validated),
        template: ServiceInterfaceSetTemplate {
            metadata: None,
            spec: ServiceInterfaceSetSpec {
                node_selector: (!revision.service.in_cluster()).then(|| {
                    label_selector(
                        validated,
                        &revision.node_label_key,
                        &revision.node_label_value,
                    )
                }),
                template: ServiceInterfaceTemplateObject {
                    metadata: Some(TemplateMeta {
                        labels: Some(BTreeMap::from([
                            (labels::SERVICE.to_owned(), revision.service_id.clone()),
                            (labels::INTERFACE.to_owned(), template.name.clone()),
                        ])),
                        annotations: None,
                    }),
                    spec: ServiceInterfaceSpec {
                        interface_type: InterfaceType::Service,
                        service: Some(ServiceDef {
                            service_id: revision.service_id.clone(),
                            network: template.network.clone(),
                            interface_name: template.name.clone(),
                            virtual_network: template.virtual_network.clone(),
                        }),
                        ..ServiceInterfaceSpec::default()
                    },
                },
            },
        },
        ..DpuServiceInterfaceSpec::default()
    };
    let mut object = DpuServiceInterface::new(&name, spec);
    object.metadata = service_metadata(validated, revision, name);
    object
}

/// A switch as a plugin returned it.
pub(super) fn chain_switch(switch: dpf_stage::ChainSwitch) -> ChainSwitch {
    ChainSwitch {
        ports: switch
            .ports
            .into_iter()
            .map(|port| ChainPort {
                service_interface: InterfacePort {
                    match_labels: port.match_labels,
                    ipam: port.ipam.map(|ipam| Ipam {
                        match_labels: ipam.match_labels,
                        default_gateway: ipam.default_gateway,
                        set_default_route: ipam.set_default_route,
                    }),
                },
            })
            .collect(),
        service_mtu: switch.service_mtu.map(i64::from),
    }
}

/// The DPUServiceChain of a revision.
#[must_use]
pub fn chain(validated: &Validated<'_>, revision: &ChainRevision<'_>) -> DpuServiceChain {
    let value = chain_label_value(revision);
    let spec = DpuServiceChainSpec {
        dpu_cluster_selector: cluster_selector(validated),
        template: ServiceChainSetTemplate {
            metadata: None,
            spec: ServiceChainSetSpec {
                node_selector: Some(label_selector(
                    validated,
                    labels::DPUSERVICECHAIN_VERSION,
                    &value,
                )),
                template: ServiceChainTemplateObject {
                    metadata: None,
                    spec: ServiceChainSpec {
                        node: None,
                        switches: revision.switches.clone(),
                    },
                },
            },
        },
        ..DpuServiceChainSpec::default()
    };
    let mut object = DpuServiceChain::new(&revision.choice.name, spec);
    object.metadata = metadata(validated, revision.choice.name.clone());
    object.metadata.annotations = Some(BTreeMap::from([(
        annotations::DPUSERVICECHAIN_VERSION.to_owned(),
        revision.digest.clone(),
    )]));
    note_maker(&mut object.metadata, revision.made_by.as_ref());
    object
}

/// The node label value of a chain: what an existing chain selects, else its name.
#[must_use]
pub fn chain_label_value(revision: &ChainRevision<'_>) -> String {
    let existing = revision.choice.existing.and_then(chain_selector_value);
    existing.unwrap_or(&revision.choice.name).to_owned()
}

/// The value that the node selector of an existing chain demands.
pub(super) fn chain_selector_value(chain: &DpuServiceChain) -> Option<&str> {
    let selector = chain.spec.template.spec.node_selector.as_ref()?;
    let mut expressions = selector.match_expressions.iter().flatten();
    let version = expressions.find(|e| e.key == labels::DPUSERVICECHAIN_VERSION)?;
    version.values.as_ref()?.first().map(String::as_str)
}

/// The labels that lead revisions to nodes, by key, without the owner label.
#[must_use]
pub fn version_labels(advice: &Advice<'_>) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, String> = advice
        .services
        .iter()
        .map(|r| (r.node_label_key.clone(), r.node_label_value.clone()))
        .collect();
    if let Some(chain) = &advice.chain {
        values.insert(
            labels::DPUSERVICECHAIN_VERSION.to_owned(),
            chain_label_value(chain),
        );
    }
    values
}

/// Says whether changed labels of nodes take the effect on the host first.
pub(super) fn set_effect_first(set: &mut DpuSet, effect_first: bool) {
    let template = set.spec.dpu_template.spec.get_or_insert_default();
    if let Some(effect) = &mut template.node_effect {
        effect.apply_on_label_change = Some(effect_first);
    }
}

/// The DPUSets of a deployment; changed labels of nodes take no effect first.
#[must_use]
pub fn sets(validated: &Validated<'_>, advice: &Advice<'_>) -> Vec<DpuSet> {
    let versions = version_labels(advice);
    let skip_chain = validated
        .observed
        .deployment
        .metadata
        .annotations
        .as_ref()
        .is_some_and(|a| a.contains_key(annotations::SKIP_CHAIN_REQUESTOR));
    let requestors: BTreeSet<String> = versions
        .iter()
        .filter(|(key, _)| !(skip_chain && *key == labels::DPUSERVICECHAIN_VERSION))
        .map(|(_, value)| format!("{}_{value}", validated.owner))
        .collect();
    let mut node_labels = versions;
    node_labels.insert(
        labels::OWNED_BY_DPUDEPLOYMENT.to_owned(),
        validated.owner.clone(),
    );
    let dpus = &validated.observed.deployment.spec.dpus;
    dpu_sets(validated)
        .iter()
        .map(|template| {
            let name = format!("{}-{}", validated.name, template.name_suffix);
            let mut action = dpus.node_effect.clone().unwrap_or_default();
            action.force = Some(action.force.unwrap_or(false));
            if dpus.node_effect.is_none() {
                // The default of release 25.10.
                action.drain = Some(true);
            }
            let spec = DpuSetSpec {
                strategy: Some(strategy(dpus.dpu_set_strategy.as_ref())),
                dpu_node_selector: node_selector_of(template).cloned(),
                dpu_device_selector: device_selector(template),
                dpu_template: DpuTemplate {
                    annotations: template.dpu_annotations.clone(),
                    spec: Some(DpuTemplateSpec {
                        bfb: dpus
                            .bfb
                            .clone()
                            .map(|name| BfbReference { name: Some(name) }),
                        dpu_flavor: dpus.flavor.clone(),
                        secure_boot: dpus.secure_boot,
                        astra_enabled: dpus.astra_enabled,
                        node_effect: Some(NodeEffect {
                            apply_on_label_change: Some(false),
                            node_maintenance_additional_requestors: Some(
                                requestors.iter().cloned().collect(),
                            ),
                            ..NodeEffect::from(action)
                        }),
                        cluster: Some(ClusterTemplate {
                            node_labels: Some(node_labels.clone()),
                            selector: template.dpu_cluster_selector.clone().map(|match_labels| {
                                LabelSelector {
                                    match_labels: Some(match_labels),
                                    match_expressions: None,
                                }
                            }),
                            ..ClusterTemplate::default()
                        }),
                        ..DpuTemplateSpec::default()
                    }),
                },
                ..DpuSetSpec::default()
            };
            let mut set = DpuSet::new(&name, spec);
            set.metadata = metadata(validated, name);
            set
        })
        .collect()
}

/// Deployments of 25.10 name no strategy; their sets always roll.
fn strategy(given: Option<&DpuSetStrategy>) -> Strategy {
    let type_ = match given.map(|strategy| strategy.type_.as_str()) {
        Some("OnDelete") => StrategyType::OnDelete,
        _ => StrategyType::RollingUpdate,
    };
    Strategy {
        type_,
        rolling_update: given.and_then(|strategy| strategy.rolling_update.clone()),
    }
}

/// The device selector in the form that labels have, whichever spelling the user chose.
pub(crate) fn device_selector(template: &DpuSetTemplate) -> Option<LabelSelector> {
    let given = template.dpu_device_selector.clone().or_else(|| {
        let match_labels = template
            .dpu_selector
            .clone()
            .filter(|labels| !labels.is_empty())?;
        Some(LabelSelector {
            match_labels: Some(match_labels),
            match_expressions: None,
        })
    });
    given.map(with_canonical_pci)
}

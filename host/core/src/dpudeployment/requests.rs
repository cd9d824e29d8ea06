//! What the stages are asked.

use super::consult::ServiceRevision;
use super::validate::{Service, Validated};
use dpf_api::keys::annotations;
use dpf_api::provisioning::Bfb;
use dpf_stage::{
    ChainRequest, ChainService, CheckRequest, CheckService, DeploymentRef, MergeDependency,
    MergeRequest, MergeService, Pairs, PortSpec, Provided, Resources, SwitchSpec,
};

pub(super) fn deployment_ref(validated: &Validated<'_>) -> DeploymentRef {
    DeploymentRef {
        namespace: validated.namespace.to_owned(),
        name: validated.name.to_owned(),
    }
}

pub(super) fn check_request(validated: &Validated<'_>) -> CheckRequest {
    let text_pairs = |list: Option<&dpf_api::ResourceList>| {
        list.into_iter()
            .flatten()
            .map(|(name, amount)| (name.clone(), amount.0.clone()))
            .collect()
    };
    let flavor = &validated.flavor.spec;
    CheckRequest {
        deployment: deployment_ref(validated),
        services: {
            let mut services: Vec<CheckService> = validated
                .services
                .iter()
                .map(|service| CheckService {
                    name: service.name.to_owned(),
                    template: service.reference.service_template.clone(),
                    constraints: service
                        .template
                        .status
                        .as_ref()
                        .and_then(|s| s.versions.clone())
                        .unwrap_or_default(),
                    resource_requirements: text_pairs(
                        service.template.spec.resource_requirements.as_ref(),
                    ),
                    in_cluster: service.in_cluster(),
                })
                .collect();
            services.sort_by(|a, b| a.name.cmp(&b.name));
            services
        },
        provided: Provided {
            kind: "BFB".to_owned(),
            name: validated.bfb.metadata.name.clone().unwrap_or_default(),
            versions: provided_versions(validated.bfb),
        },
        resources: flavor.dpu_resources.as_ref().map(|total| Resources {
            flavor: validated.flavor.metadata.name.clone().unwrap_or_default(),
            total: text_pairs(Some(total)),
            reserved: text_pairs(flavor.system_reserved_resources.as_ref()),
        }),
        ..CheckRequest::default()
    }
}

/// What the image says of itself, by the keys plugins know. What it does not say is left out.
fn provided_versions(bfb: &Bfb) -> Pairs {
    let Some(versions) = bfb.status.as_ref().and_then(|it| it.versions.as_ref()) else {
        return Pairs::new();
    };
    [
        (annotations::DOCA_VERSION, &versions.doca),
        (annotations::BSP_VERSION, &versions.bsp),
        (annotations::UEFI_VERSION, &versions.uefi),
        (annotations::ATF_VERSION, &versions.atf),
    ]
    .into_iter()
    .filter_map(|(key, version)| Some((key, version.clone().filter(|it| !it.is_empty())?)))
    .map(|(key, version)| (key.to_owned(), version))
    .collect()
}

pub(super) fn merge_request(
    validated: &Validated<'_>,
    service: &Service<'_>,
    revisions: &[ServiceRevision<'_>],
) -> MergeRequest {
    let settings = service.configuration.spec.service_configuration.as_ref();
    MergeRequest {
        deployment: deployment_ref(validated),
        service: MergeService {
            name: service.name.to_owned(),
            template: service.reference.service_template.clone(),
            configuration: service.reference.service_configuration.clone(),
        },
        template_values: service
            .template
            .spec
            .helm_chart
            .values
            .as_ref()
            .map(|v| v.0.clone()),
        configuration_values: settings
            .and_then(|s| s.helm_chart.as_ref())
            .and_then(|chart| chart.values.as_ref())
            .map(|v| v.0.clone()),
        render: service.dependencies().next().is_some(),
        delimiters: service
            .configuration
            .metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(annotations::TEMPLATE_DELIMITER).cloned()),
        dependencies: service
            .dependencies()
            .filter_map(|dependency| revisions.iter().find(|r| r.service.name == dependency))
            .map(|revision| MergeDependency {
                name: revision.service.name.to_owned(),
                object_name: revision.choice.name.clone(),
                namespace: validated.namespace.to_owned(),
            })
            .collect(),
        ..MergeRequest::default()
    }
}

pub(super) fn chain_request(
    validated: &Validated<'_>,
    revisions: &[ServiceRevision<'_>],
) -> ChainRequest {
    let switches = validated
        .observed
        .deployment
        .spec
        .service_chains
        .iter()
        .flat_map(|chains| &chains.switches);
    ChainRequest {
        deployment: deployment_ref(validated),
        switches: switches
            .map(|switch| SwitchSpec {
                ports: switch.ports.iter().filter_map(port_spec).collect(),
                service_mtu: switch.service_mtu.and_then(|mtu| u32::try_from(mtu).ok()),
            })
            .collect(),
        services: revisions
            .iter()
            .map(|revision| ChainService {
                name: revision.service.name.to_owned(),
                service_id: revision.service_id.clone(),
                interfaces: revision
                    .service
                    .configuration
                    .spec
                    .interfaces
                    .iter()
                    .flatten()
                    .map(|interface| interface.name.clone())
                    .collect(),
            })
            .collect(),
        ..ChainRequest::default()
    }
}

pub(super) fn port_spec(port: &dpf_api::svc::SwitchPort) -> Option<PortSpec> {
    let ipam = |ipam: &Option<dpf_api::svc::Ipam>| {
        ipam.as_ref().map(|ipam| dpf_stage::Ipam {
            match_labels: ipam.match_labels.clone(),
            default_gateway: ipam.default_gateway,
            set_default_route: ipam.set_default_route,
        })
    };
    match (&port.service, &port.service_interface) {
        (Some(service), _) => Some(PortSpec::Service {
            name: service.name.clone(),
            interface: service.interface.clone(),
            ipam: ipam(&service.ipam),
        }),
        (None, Some(selected)) => Some(PortSpec::ServiceInterface {
            match_labels: selected.match_labels.clone(),
            ipam: ipam(&selected.ipam),
        }),
        (None, None) => None,
    }
}

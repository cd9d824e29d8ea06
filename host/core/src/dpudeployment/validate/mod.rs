//! Everything that is wrong with a deployment and what it refers to, found before anything is written.

mod names;

use super::Observed;
use crate::conditions::is_true_for;
use crate::dpuservicetemplate::follows_annotations;
use dpf_api::conditions::READY;
use dpf_api::keys::labels::owner_value;
use dpf_api::provisioning::{Bfb, DpuFlavor};
use dpf_api::svc::{DpuServiceConfiguration, DpuServiceTemplate, ServiceRef};
use names::{check_interfaces, check_services, check_sets};
use std::collections::{BTreeMap, BTreeSet};

/// Longest value of a Kubernetes label.
const LABEL_VALUE_LENGTH_MAX: usize = 63;

/// One service with everything it refers to.
#[derive(Clone, Debug)]
pub struct Service<'a> {
    /// Key in `spec.services`.
    pub name: &'a str,
    /// The entry in `spec.services`.
    pub reference: &'a ServiceRef,
    /// Its template.
    pub template: &'a DpuServiceTemplate,
    /// Its configuration.
    pub configuration: &'a DpuServiceConfiguration,
}

impl Service<'_> {
    /// Names of the services that must be ready first.
    pub fn dependencies(&self) -> impl Iterator<Item = &str> {
        self.reference
            .depends_on
            .iter()
            .flatten()
            .map(|d| d.name.as_str())
    }

    /// Whether it runs in the management cluster.
    #[must_use]
    pub fn in_cluster(&self) -> bool {
        self.configuration
            .spec
            .service_configuration
            .as_ref()
            .and_then(|s| s.deploy_in_cluster)
            .unwrap_or(false)
    }

    /// Whether a change of it may disturb nodes.
    #[must_use]
    pub fn disruptive(&self) -> bool {
        self.configuration.spec.upgrade_policy.disruptive()
    }
}

/// A deployment whose references all exist, are ready and fit together.
#[derive(Clone, Debug)]
pub struct Validated<'a> {
    /// Namespace of the deployment and everything it refers to.
    pub namespace: &'a str,
    /// Name of the deployment.
    pub name: &'a str,
    /// Uid of the deployment.
    pub uid: &'a str,
    /// Value of the owner label.
    pub owner: String,
    /// What was read.
    pub observed: &'a Observed,
    /// The image.
    pub bfb: &'a Bfb,
    /// The flavor.
    pub flavor: &'a DpuFlavor,
    /// The services, dependencies first, otherwise in the order of their names.
    pub services: Vec<Service<'a>>,
}

/// What is wrong with a deployment. Each message names the object, the field and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// References that are missing, not ready or do not fit.
    pub prerequisites: Vec<String>,
    /// Dependencies between services that cannot be satisfied.
    pub services: Vec<String>,
    /// Ports of the chain that lead nowhere.
    pub chain: Vec<String>,
    /// Sets that cannot be told apart or named.
    pub sets: Vec<String>,
}

impl Invalid {
    fn is_empty(&self) -> bool {
        self.prerequisites.is_empty()
            && self.services.is_empty()
            && self.chain.is_empty()
            && self.sets.is_empty()
    }
}

/// Checks a deployment.
///
/// # Errors
/// [`Invalid`] with everything that is wrong, in a stable order.
pub fn validate(observed: &Observed) -> Result<Validated<'_>, Invalid> {
    let deployment = &observed.deployment;
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let mut invalid = Invalid {
        prerequisites: Vec::new(),
        services: Vec::new(),
        chain: Vec::new(),
        sets: Vec::new(),
    };

    let owner = owner_value(namespace, name);
    if owner.len() > LABEL_VALUE_LENGTH_MAX {
        invalid.prerequisites.push(format!(
            "namespace and name of DPUDeployment {namespace}/{name} have {} characters together and at most {} fit into the \
             owner label: use a shorter name",
            owner.len() - 1,
            LABEL_VALUE_LENGTH_MAX - 1
        ));
    }
    let bfb = check_bfb(observed, namespace, &mut invalid.prerequisites);
    let flavor = check_flavor(observed, namespace, &mut invalid.prerequisites);
    let mut services = BTreeMap::new();
    for (key, reference) in &deployment.spec.services {
        let template = check_template(
            observed,
            namespace,
            key,
            reference,
            &mut invalid.prerequisites,
        );
        let configuration = check_configuration(
            observed,
            namespace,
            key,
            reference,
            &mut invalid.prerequisites,
        );
        if let (Some(template), Some(configuration)) = (template, configuration) {
            services.insert(
                key.as_str(),
                Service {
                    name: key,
                    reference,
                    template,
                    configuration,
                },
            );
        }
    }
    check_services(name, &deployment.spec.services, &mut invalid);
    check_dependencies(&deployment.spec.services, &mut invalid.services);
    check_sets(observed, &mut invalid.sets);
    check_ports(observed, &services, &mut invalid.chain);
    match (bfb, flavor) {
        (Some(bfb), Some(flavor)) if invalid.is_empty() => Ok(Validated {
            namespace,
            name,
            uid: deployment.metadata.uid.as_deref().unwrap_or_default(),
            owner,
            observed,
            bfb,
            flavor,
            services: in_dependency_order(services),
        }),
        _ => Err(invalid),
    }
}

fn check_bfb<'a>(
    observed: &'a Observed,
    namespace: &str,
    errors: &mut Vec<String>,
) -> Option<&'a Bfb> {
    let dpus = &observed.deployment.spec.dpus;
    let Some(name) = dpus.bfb.as_deref() else {
        errors.push(match &dpus.blue_field_software {
            Some(software) => format!(
                "spec.dpus.blueFieldSoftware {software} cannot be used: this version provisions from a BFB; set spec.dpus.bfb"
            ),
            None => "spec.dpus.bfb is not set: name the BFB to flash".to_owned(),
        });
        return None;
    };
    let Some(bfb) = &observed.bfb else {
        errors.push(missing("BFB", namespace, name, "spec.dpus.bfb"));
        return None;
    };
    let phase = bfb
        .status
        .as_ref()
        .map(|s| s.phase.to_string())
        .unwrap_or_default();
    if phase != "Ready" {
        let shown = if phase.is_empty() {
            "Initializing"
        } else {
            &phase
        };
        errors.push(format!(
            "BFB {namespace}/{name} is not ready yet: its phase is {shown}"
        ));
        return None;
    }
    Some(bfb)
}

fn check_flavor<'a>(
    observed: &'a Observed,
    namespace: &str,
    errors: &mut Vec<String>,
) -> Option<&'a DpuFlavor> {
    let dpus = &observed.deployment.spec.dpus;
    let Some(name) = dpus.flavor.as_deref() else {
        errors.push(match &dpus.flavor_template {
            Some(template) => format!(
                "spec.dpus.flavorTemplate {template} cannot be used: this version needs a DPUFlavor; set spec.dpus.flavor"
            ),
            None => "spec.dpus.flavor is not set: name the DPUFlavor to apply".to_owned(),
        });
        return None;
    };
    if observed.flavor.is_none() {
        errors.push(missing("DPUFlavor", namespace, name, "spec.dpus.flavor"));
    }
    observed.flavor.as_ref()
}

fn missing(kind: &str, namespace: &str, name: &str, field: &str) -> String {
    format!("{kind} {namespace}/{name} does not exist: create it, or correct {field}")
}

fn check_template<'a>(
    observed: &'a Observed,
    namespace: &str,
    key: &str,
    reference: &ServiceRef,
    errors: &mut Vec<String>,
) -> Option<&'a DpuServiceTemplate> {
    let name = &reference.service_template;
    let Some(template) = observed.templates.get(name) else {
        errors.push(missing(
            "DPUServiceTemplate",
            namespace,
            name,
            &format!("spec.services[{key}].serviceTemplate"),
        ));
        return None;
    };
    if template.spec.deployment_service_name != key {
        errors.push(wrong_service(
            "DPUServiceTemplate",
            namespace,
            name,
            key,
            &template.spec.deployment_service_name,
        ));
        return None;
    }
    let generation = template.metadata.generation;
    let status = template.status.as_ref();
    let conditions = status.and_then(|s| s.conditions.as_deref());
    if !is_true_for(conditions, READY, generation)
        || status.and_then(|s| s.observed_generation) != generation
    {
        let cause = conditions
            .unwrap_or_default()
            .iter()
            .find(|c| c.type_ != READY && c.status == "False" && !c.message.is_empty())
            .map(|c| format!(": {}", c.message))
            .unwrap_or_default();
        errors.push(format!(
            "DPUServiceTemplate {namespace}/{name} is not ready yet{cause}"
        ));
        return None;
    }
    if !follows_annotations(template) {
        errors.push(format!(
            "DPUServiceTemplate {namespace}/{name} is not ready yet: its annotations changed and its version constraints have not \
             been read since"
        ));
        return None;
    }
    Some(template)
}

fn check_configuration<'a>(
    observed: &'a Observed,
    namespace: &str,
    key: &str,
    reference: &ServiceRef,
    errors: &mut Vec<String>,
) -> Option<&'a DpuServiceConfiguration> {
    let name = &reference.service_configuration;
    let Some(configuration) = observed.configurations.get(name) else {
        let field = format!("spec.services[{key}].serviceConfiguration");
        errors.push(missing("DPUServiceConfiguration", namespace, name, &field));
        return None;
    };
    let found = &configuration.spec.deployment_service_name;
    if found != key {
        errors.push(wrong_service(
            "DPUServiceConfiguration",
            namespace,
            name,
            key,
            found,
        ));
        return None;
    }
    check_interfaces(configuration, namespace, errors);
    Some(configuration)
}

fn wrong_service(kind: &str, namespace: &str, name: &str, key: &str, found: &str) -> String {
    format!(
        "service in {kind} {namespace}/{name} doesn't match: its spec.deploymentServiceName is {found}, and service {key} of the \
         DPUDeployment refers to it"
    )
}

fn check_dependencies(services: &BTreeMap<String, ServiceRef>, errors: &mut Vec<String>) {
    let before = errors.len();
    for (key, service) in services {
        for dependency in service.depends_on.iter().flatten() {
            if &dependency.name == key {
                errors.push(format!("service {key} cannot depend on itself: remove it from spec.services[{key}].dependsOn"));
            } else if !services.contains_key(&dependency.name) {
                let known: Vec<&str> = services.keys().map(String::as_str).collect();
                errors.push(format!(
                    "service {key} depends on {}, which is not defined in spec.services (defined: {})",
                    dependency.name,
                    known.join(", ")
                ));
            }
        }
    }
    if errors.len() == before
        && let Some(cycle) = find_cycle(services)
    {
        errors.push(format!(
            "services depend on each other in a circle: {}; remove one of these entries from dependsOn",
            cycle.join(" -> ")
        ));
    }
}

/// The services of one cycle, starting and ending with its first name; an arrow means "depends on".
fn find_cycle(services: &BTreeMap<String, ServiceRef>) -> Option<Vec<&str>> {
    let mut finished = BTreeSet::new();
    for start in services.keys() {
        let mut path: Vec<&str> = Vec::new();
        if let Some(cycle) = walk(services, start, &mut path, &mut finished) {
            return Some(cycle);
        }
    }
    None
}

/// Depth is bounded by the number of services (50).
fn walk<'a>(
    services: &'a BTreeMap<String, ServiceRef>,
    at: &'a str,
    path: &mut Vec<&'a str>,
    finished: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if finished.contains(at) {
        return None;
    }
    if let Some(position) = path.iter().position(|name| *name == at) {
        let mut cycle = path.get(position..).unwrap_or_default().to_vec();
        cycle.push(at);
        return Some(cycle);
    }
    path.push(at);
    for dependency in services.get(at)?.depends_on.iter().flatten() {
        if let Some(cycle) = walk(services, &dependency.name, path, finished) {
            return Some(cycle);
        }
    }
    path.pop();
    finished.insert(at);
    None
}

fn in_dependency_order<'a>(mut waiting: BTreeMap<&'a str, Service<'a>>) -> Vec<Service<'a>> {
    let mut ordered: Vec<Service<'a>> = Vec::with_capacity(waiting.len());
    while let Some(name) = waiting
        .iter()
        .find(|(_, service)| service.dependencies().all(|d| !waiting.contains_key(d)))
        .map(|(name, _)| *name)
    {
        ordered.extend(waiting.remove(name));
    }
    ordered
}

fn check_ports(
    observed: &Observed,
    services: &BTreeMap<&str, Service<'_>>,
    errors: &mut Vec<String>,
) {
    let spec = &observed.deployment.spec;
    for (s, switch) in spec
        .service_chains
        .iter()
        .flat_map(|c| &c.switches)
        .enumerate()
    {
        for (p, port) in switch.ports.iter().enumerate() {
            let Some(port) = &port.service else { continue };
            let field = format!("spec.serviceChains.switches[{s}].ports[{p}].service");
            if !spec.services.contains_key(&port.name) {
                let known: Vec<&str> = spec.services.keys().map(String::as_str).collect();
                errors.push(format!(
                    "{field}.name: service {} is not defined in spec.services (defined: {})",
                    port.name,
                    known.join(", ")
                ));
                continue;
            }
            let Some(service) = services.get(port.name.as_str()) else {
                continue;
            };
            let known: Vec<&str> = service
                .configuration
                .spec
                .interfaces
                .iter()
                .flatten()
                .map(|i| i.name.as_str())
                .collect();
            if !known.contains(&port.interface.as_str()) {
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                errors.push(format!(
                    "{field}.interface: DPUServiceConfiguration {} has no interface {} (defined: {known})",
                    service.reference.service_configuration, port.interface
                ));
            }
        }
    }
}

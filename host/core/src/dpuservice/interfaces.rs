//! Interfaces of a service: the network annotation and the device resources of its pods.

use dpf_api::Quantity;
use dpf_api::keys::annotations::CONSUMED_BY;
use dpf_api::svc::{DpuService, DpuServiceInterface, DpuServiceNad, InterfaceType};
use kube::ResourceExt;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Annotation of pods that Multus reads.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// Switches the device of a DPUServiceNAD from scalable functions to trusted ones.
const USE_TRUSTED_SFS: &str = "dpuservicenad.svc.dpu.nvidia.com/use-trusted-sfs";

/// Why interfaces cannot be attached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceError {
    /// There is none of this name.
    #[error("DPUServiceInterface {name} does not exist in namespace {namespace}")]
    Missing {
        /// Its name.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// It is not an interface of a service.
    #[error("DPUServiceInterface {name} is not of type service")]
    NotOfService {
        /// Its name.
        name: String,
    },
    /// It belongs to pods of another service ID.
    #[error("DPUServiceInterface {name} has the serviceID {theirs:?}, the DPUService has {ours:?}")]
    OtherServiceId {
        /// Its name.
        name: String,
        /// Its service ID.
        theirs: String,
        /// The service ID of the DPUService.
        ours: String,
    },
    /// Another DPUService was first.
    #[error("DPUServiceInterface {name} is used by DPUService {consumer}")]
    Consumed {
        /// Its name.
        name: String,
        /// The other one.
        consumer: String,
    },
    /// The user's own annotation cannot be merged.
    #[error("serviceDaemonSet.annotations[{NETWORKS:?}] is not a JSON list of objects: {message}")]
    Annotation {
        /// What is wrong.
        message: String,
    },
}

/// What pods get because of their interfaces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Networks {
    /// Value of the network annotation; none without interfaces.
    pub annotation: Option<String>,
    /// Devices by resource name.
    pub resources: BTreeMap<String, Quantity>,
    /// Interfaces that still have to be marked as used.
    pub unmarked: Vec<String>,
}

/// Checks the interfaces of a service and makes of them what its pods need.
///
/// # Errors
/// [`InterfaceError`] for the first interface that cannot be attached.
pub fn networks(
    service: &DpuService,
    service_id: &str,
    interfaces: &BTreeMap<String, DpuServiceInterface>,
    nads: &[DpuServiceNad],
) -> Result<Networks, InterfaceError> {
    let mut networks = Networks::default();
    let names = service.spec.interfaces.as_deref().unwrap_or_default();
    if names.is_empty() {
        return Ok(networks);
    }
    let namespace = service.namespace().unwrap_or_default();
    let mut elements = Vec::new();
    let mut devices: BTreeMap<&str, u32> = BTreeMap::new();
    for name in names {
        let interface = interfaces
            .get(name)
            .ok_or_else(|| InterfaceError::Missing {
                name: name.clone(),
                namespace: namespace.clone(),
            })?;
        let element = check(service, service_id, name, interface)?;
        if !interface.annotations().contains_key(CONSUMED_BY) {
            networks.unmarked.push(name.clone());
        }
        if let Some(resource) = device(&element, &namespace, nads) {
            *devices.entry(resource).or_default() += 1;
        }
        elements.push(element);
    }
    let own = service
        .spec
        .service_daemon_set
        .as_ref()
        .and_then(|set| set.annotations.as_ref()?.get(NETWORKS));
    networks.annotation = Some(annotation(elements, own.map(String::as_str))?);
    networks.resources = devices
        .into_iter()
        .map(|(name, count)| (name.to_owned(), Quantity(count.to_string())))
        .collect();
    Ok(networks)
}

/// One entry of the network annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Element {
    name: String,
    namespace: Option<String>,
    interface: String,
}

fn check(
    service: &DpuService,
    service_id: &str,
    name: &str,
    interface: &DpuServiceInterface,
) -> Result<Element, InterfaceError> {
    let spec = &interface.spec.template.spec.template.spec;
    let block = spec
        .service
        .as_ref()
        .filter(|_| spec.interface_type == InterfaceType::Service)
        .ok_or_else(|| InterfaceError::NotOfService {
            name: name.to_owned(),
        })?;
    if block.service_id != service_id {
        return Err(InterfaceError::OtherServiceId {
            name: name.to_owned(),
            theirs: block.service_id.clone(),
            ours: service_id.to_owned(),
        });
    }
    if let Some(consumer) = interface
        .annotations()
        .get(CONSUMED_BY)
        .filter(|consumer| **consumer != service.name_any())
    {
        return Err(InterfaceError::Consumed {
            name: name.to_owned(),
            consumer: consumer.clone(),
        });
    }
    let (namespace, network) = match block.network.split_once('/') {
        Some((namespace, network)) => (Some(namespace.to_owned()), network),
        None => (None, block.network.as_str()),
    };
    Ok(Element {
        name: network.to_owned(),
        namespace,
        interface: block.interface_name.clone(),
    })
}

/// The device that a network needs, if a DPUServiceNAD made the network.
fn device(element: &Element, namespace: &str, nads: &[DpuServiceNad]) -> Option<&'static str> {
    let namespace = element.namespace.as_deref().unwrap_or(namespace);
    let nad = nads.iter().find(|nad| {
        nad.name_any() == element.name && nad.namespace().as_deref() == Some(namespace)
    })?;
    match nad.spec.resource_type.as_str() {
        "sf" if nad.annotations().contains_key(USE_TRUSTED_SFS) => Some("nvidia.com/bf_sf_trusted"),
        "sf" => Some("nvidia.com/bf_sf"),
        "vf" => Some("nvidia.com/bf_vf"),
        _ => None,
    }
}

/// Entries of the interfaces and of the user, joined by interface; a field that the user filled wins.
fn annotation(elements: Vec<Element>, own: Option<&str>) -> Result<String, InterfaceError> {
    let mut entries: Vec<Map<String, Value>> = Vec::new();
    for element in elements {
        let mut entry = Map::new();
        entry.insert("name".to_owned(), element.name.into());
        if let Some(namespace) = element.namespace {
            entry.insert("namespace".to_owned(), namespace.into());
        }
        entry.insert("interface".to_owned(), element.interface.into());
        entries.push(entry);
    }
    let malformed = |error: serde_json::Error| InterfaceError::Annotation {
        message: error.to_string(),
    };
    let own: Vec<Map<String, Value>> = match own.map(str::trim) {
        None | Some("") => Vec::new(),
        Some(text) => serde_json::from_str(text).map_err(malformed)?,
    };
    for theirs in own {
        let interface = text(&theirs, "interface").to_owned();
        let same = entries
            .iter_mut()
            .find(|entry| !interface.is_empty() && text(entry, "interface") == interface);
        match same {
            Some(entry) => entry.extend(
                theirs
                    .into_iter()
                    .filter(|(_, value)| *value != Value::Null && value.as_str() != Some("")),
            ),
            None => entries.push(theirs),
        }
    }
    for entry in &mut entries {
        entry.entry("cni-args").or_insert(Value::Null);
    }
    entries.sort_by(|a, b| {
        (text(a, "name"), text(a, "interface")).cmp(&(text(b, "name"), text(b, "interface")))
    });
    serde_json::to_string(&entries).map_err(malformed)
}

fn text<'a>(entry: &'a Map<String, Value>, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

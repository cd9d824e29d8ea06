//! Helm values of a service.

use super::interfaces::{NETWORKS, Networks};
use dpf_api::keys::labels;
use dpf_api::svc::DpuService;
use kube::ResourceExt;
use serde_json::{Map, Value, json};

/// Values of the chart: what the user wrote, below what the controller generates.
///
/// Maps merge; of two values for one key the generated one wins, except for `exposedPorts`, where the user's does.
#[must_use]
pub fn values(service: &DpuService, service_id: &str, networks: &Networks) -> Value {
    let written = service
        .spec
        .helm_chart
        .values
        .as_ref()
        .map_or_else(|| json!({}), |values| values.0.clone());
    let generated = json!({"serviceDaemonSet": daemon_set(service, service_id, networks)});
    let combined = merged(written, generated);
    match exposed_ports(service) {
        Some(exposed) => merged(exposed, combined),
        None => combined,
    }
}

fn daemon_set(service: &DpuService, service_id: &str, networks: &Networks) -> Value {
    let spec = service.spec.service_daemon_set.clone().unwrap_or_default();
    let mut labels = spec.labels.unwrap_or_default();
    labels.insert(labels::SERVICE.to_owned(), service_id.to_owned());
    let mut annotations = spec.annotations.unwrap_or_default();
    if let Some(value) = &networks.annotation {
        annotations.insert(NETWORKS.to_owned(), value.clone());
    }
    let mut resources = spec.resources.unwrap_or_default();
    resources.extend(networks.resources.clone());

    let mut fields = Map::new();
    if let Some(selector) = spec.node_selector {
        fields.insert("nodeSelector".to_owned(), json!(selector));
    }
    if let Some(strategy) = spec.update_strategy {
        fields.insert("updateStrategy".to_owned(), strategy);
    }
    fields.insert("labels".to_owned(), json!(labels));
    if !annotations.is_empty() {
        fields.insert("annotations".to_owned(), json!(annotations));
    }
    if !resources.is_empty() {
        fields.insert("resources".to_owned(), json!(resources));
    }
    Value::Object(fields)
}

fn exposed_ports(service: &DpuService) -> Option<Value> {
    let ports: Map<String, Value> = service
        .spec
        .config_ports
        .as_ref()?
        .ports
        .iter()
        .map(|port| (port.name.clone(), Value::Bool(true)))
        .collect();
    Some(json!({"exposedPorts": {
        "labels": {
            labels::DPUSERVICE_NAME: service.name_any(),
            labels::DPUSERVICE_NAMESPACE: service.namespace().unwrap_or_default(),
        },
        "ports": ports,
    }}))
}

/// `over` laid over `base`: maps merge, everything else is replaced.
fn merged(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (key, value) in over {
                let below = base.remove(&key);
                let value = match below {
                    Some(below) => merged(below, value),
                    None => value,
                };
                base.insert(key, value);
            }
            Value::Object(base)
        }
        (_, over) => over,
    }
}

//! What a vendor's plugin answers is input that nobody trusts.
//!
//! The engine has checked its form; here its meaning is checked. A plugin may change what a service does to itself. It may not
//! reach beyond: no interfaces but those the user's port selects, no manifest in another namespace, and none that belongs to the
//! whole cluster. What the user wrote is the user's right and is not judged here, only what the plugin added to it.

use dpf_stage::{ChainPort, ChainRequest, ChainResponse, MergeRequest, MergeResponse, PortSpec};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Kinds that belong to a whole cluster and that charts or people commonly write. The list serves a clear message; what a chart may
/// install is in any case bounded by the project of its Argo CD Application.
const CLUSTER_KINDS: [&str; 24] = [
    "APIService",
    "CSIDriver",
    "CertificateSigningRequest",
    "ClusterIssuer",
    "ClusterPolicy",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "DPUPlugin",
    "FlowSchema",
    "IngressClass",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "RuntimeClass",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
];
/// Longest value of a label.
const LABEL_VALUE_LENGTH_MAX: usize = 63;
/// Deepest nesting of values that is accepted; JSON readers stop at 128.
const DEPTH_MAX: usize = 64;

/// Checks merged values.
///
/// # Errors
/// What the plugin may not do, with the place.
pub fn check_values(request: &MergeRequest, response: &MergeResponse) -> Result<(), String> {
    let given = [&request.template_values, &request.configuration_values];
    for (name, answer) in [
        ("values", &response.values),
        ("configuration-values", &response.configuration_values),
    ] {
        let Some(answer) = answer else { continue };
        let judge = Judge {
            namespace: &request.deployment.namespace,
            given: &given,
        };
        judge.walk(answer, name, 0)?;
    }
    Ok(())
}

struct Judge<'a> {
    namespace: &'a str,
    given: &'a [&'a Option<Value>; 2],
}

impl Judge<'_> {
    fn walk(&self, value: &Value, path: &str, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!(
                "{} is nested deeper than {DEPTH_MAX} levels",
                shortened(path)
            ));
        }
        match value {
            Value::Object(fields) => {
                self.judge_manifest(value, fields, path)?;
                for (key, field) in fields {
                    self.walk(field, &format!("{path}.{key}"), depth + 1)?;
                }
                Ok(())
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, &format!("{path}[{index}]"), depth + 1)?;
                }
                Ok(())
            }
            Value::String(text) => self.judge_text(value, text, path, depth),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn judge_manifest(
        &self,
        value: &Value,
        fields: &Map<String, Value>,
        path: &str,
    ) -> Result<(), String> {
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let (Some(_), Some(kind)) = (text("apiVersion"), text("kind")) else {
            return Ok(());
        };
        let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str);
        self.judge(value, kind, namespace, path)
    }

    /// Manifests as text, as some charts take them.
    fn judge_text(
        &self,
        value: &Value,
        text: &str,
        path: &str,
        depth: usize,
    ) -> Result<(), String> {
        if !text.contains("apiVersion") || self.was_given(value) {
            return Ok(());
        }
        if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
            return self.walk(&inner, path, depth + 1);
        }
        // YAML, read line by line: what it hides from us, the chart's own renderer still sees.
        let after = |line: &str, key: &str| -> Option<String> {
            let rest = line.trim_start_matches([' ', '-', '"', '\'']);
            let rest = rest.strip_prefix(key)?.trim_start_matches(['"', '\'']);
            let found = rest.strip_prefix(':')?;
            let word = found.split('#').next().unwrap_or_default().trim();
            Some(word.trim_matches(['"', '\'']).to_owned())
        };
        for line in text.lines() {
            if let Some(kind) = after(line, "kind") {
                self.judge(value, &kind, None, path)?;
            }
            if let Some(namespace) = after(line, "namespace") {
                self.judge(value, "", Some(&namespace), path)?;
            }
        }
        Ok(())
    }

    fn judge(
        &self,
        value: &Value,
        kind: &str,
        namespace: Option<&str>,
        path: &str,
    ) -> Result<(), String> {
        let problem = if CLUSTER_KINDS.contains(&kind) {
            format!("adds a {kind}, which belongs to the whole cluster")
        } else if let Some(other) = namespace.filter(|n| !n.is_empty() && *n != self.namespace) {
            format!(
                "adds a manifest in namespace {}, and the deployment is in {}",
                shortened(other),
                self.namespace
            )
        } else {
            return Ok(());
        };
        if self.was_given(value) {
            return Ok(());
        }
        Err(format!("{} {problem}", shortened(path)))
    }

    fn was_given(&self, value: &Value) -> bool {
        let mut given = self.given.iter().filter_map(|given| given.as_ref());
        given.any(|given| contains(given, value, 0))
    }
}

/// Whether a document has this value somewhere.
fn contains(document: &Value, wanted: &Value, depth: usize) -> bool {
    depth <= 2 * DEPTH_MAX
        && (document == wanted
            || match document {
                Value::Object(fields) => fields.values().any(|v| contains(v, wanted, depth + 1)),
                Value::Array(items) => items.iter().any(|v| contains(v, wanted, depth + 1)),
                _ => false,
            })
}

/// Checks the switches of a chain: a port selects at least what the user's port says, so nothing beyond it.
///
/// # Errors
/// What the plugin may not do, with the place.
pub fn check_chain(request: &ChainRequest, response: &ChainResponse) -> Result<(), String> {
    let ports = |switch: usize| request.switches.get(switch).map(|s| s.ports.as_slice());
    for (s, switch) in response.switches.iter().enumerate() {
        for (p, port) in switch.ports.iter().enumerate() {
            let place = format!("switches[{s}].ports[{p}]");
            let asked = ports(s).and_then(|ports| ports.get(p));
            let asked = asked.ok_or_else(|| format!("{place} was not asked for"))?;
            check_port(request, asked, port).map_err(|problem| format!("{place} {problem}"))?;
        }
    }
    Ok(())
}

fn check_port(request: &ChainRequest, asked: &PortSpec, port: &ChainPort) -> Result<(), String> {
    use dpf_api::keys::labels::{INTERFACE, SERVICE};
    let required: BTreeMap<&str, &str> = match asked {
        PortSpec::Service {
            name, interface, ..
        } => {
            let service = request.services.iter().find(|s| s.name == *name);
            let id = service.map(|s| s.service_id.as_str()).unwrap_or_default();
            BTreeMap::from([(SERVICE, id), (INTERFACE, interface.as_str())])
        }
        PortSpec::ServiceInterface { match_labels, .. } => match_labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
    };
    for (key, value) in required {
        if port.match_labels.get(key).map(String::as_str) != Some(value) {
            return Err(format!(
                "does not select {key}={value}, so it would reach interfaces the user's port does not name"
            ));
        }
    }
    let pools = port.ipam.iter().flat_map(|ipam| &ipam.match_labels);
    for (key, value) in port.match_labels.iter().chain(pools) {
        if !is_label(key, value) {
            return Err(format!(
                "has {}={}, which is no label",
                shortened(key),
                shortened(value)
            ));
        }
    }
    Ok(())
}

fn is_label(key: &str, value: &str) -> bool {
    let name = |text: &str| {
        text.len() <= LABEL_VALUE_LENGTH_MAX
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let key = match key.split_once('/') {
        Some((prefix, rest)) => {
            let prefix_fits = prefix.len() <= 253
                && !prefix.is_empty()
                && prefix
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
            prefix_fits && name(rest)
        }
        None => name(key),
    };
    key && (value.is_empty() || name(value))
}

/// Names come from the plugin and end in a condition.
fn shortened(text: &str) -> String {
    const LENGTH: usize = 120;
    if text.chars().count() <= LENGTH {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LENGTH).collect();
    short.push_str("...");
    short
}

#[cfg(test)]
mod tests;

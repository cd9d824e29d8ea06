//! The status of a DPUPlugin.

use super::{Error, Registry};
use crate::kit::Context;
use dpf_api::keys::managers;
use dpf_api::plugin::{
    CIRCUIT_CLOSED, CIRCUIT_HALF_OPEN, CIRCUIT_OPEN, DpuPlugin, DpuPluginStatus, PluginDescriptor,
};
use dpf_core::dpuplugin::Progress;
use dpf_core::dpuplugin::status::conditions;
use dpf_engine::{Circuit, Descriptor};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

/// Longest text a plugin may say of itself in a status.
const TEXT_LENGTH_MAX: usize = 256;
/// Longest message of a fault in a status.
const MESSAGE_LENGTH_MAX: usize = 1024;

/// What is in use and whether it works.
pub(super) fn progress(registry: &Registry, name: &str) -> Progress {
    let loaded = registry.loaded(name);
    Progress {
        stopped: None,
        in_use: loaded.as_ref().map(|plugin| plugin.digest().to_owned()),
        circuit: loaded.map(|plugin| circuit(plugin.circuit()).to_owned()),
    }
}

/// The word for the state of a circuit.
pub(super) fn circuit(circuit: Circuit) -> &'static str {
    match circuit {
        Circuit::Closed => CIRCUIT_CLOSED,
        Circuit::Open { .. } => CIRCUIT_OPEN,
        Circuit::HalfOpen => CIRCUIT_HALF_OPEN,
    }
}

/// Writes the status where it differs from what the object carries.
pub(super) async fn write(
    context: &Context,
    plugin: &DpuPlugin,
    progress: &Progress,
    signed_by: Option<&str>,
) -> Result<(), Error> {
    let name = plugin.name_any();
    let standing = context.plugins.standing(&name);
    let loaded = context.plugins.loaded(&name);
    let mut last_fault = standing.last_fault;
    if let Some(fault) = &mut last_fault {
        fault.message = shortened(&fault.message, MESSAGE_LENGTH_MAX);
    }
    let desired = DpuPluginStatus {
        conditions: Some(conditions(plugin, progress, context.now())),
        observed_generation: plugin.metadata.generation,
        digest: progress.in_use.clone(),
        signed_by: signed_by.map(str::to_owned),
        descriptor: loaded.map(|loaded| describe(loaded.plugin().descriptor())),
        services: Some(i32::try_from(standing.services).unwrap_or(i32::MAX)),
        circuit: progress.circuit.clone(),
        last_fault,
    };
    let encode = |status: &DpuPluginStatus| serde_json::to_value(status).unwrap_or_default();
    let current = plugin.status.as_ref().map(encode).unwrap_or_default();
    let Some(fields) = changed(&current, encode(&desired)) else {
        return Ok(());
    };
    let api: Api<DpuPlugin> = Api::all(context.client.clone());
    let params = PatchParams {
        field_manager: Some(managers::DPUPLUGIN.to_owned()),
        ..PatchParams::default()
    };
    let body = json!({ "metadata": { "uid": plugin.metadata.uid }, "status": fields });
    match api.patch_status(&name, &params, &Patch::Merge(&body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(Error::Write {
            name,
            source: Box::new(source),
        }),
    }
}

/// The fields of a merge patch: those that differ, and null for those that are gone. None when nothing differs.
fn changed(current: &Value, desired: Value) -> Option<Value> {
    let Value::Object(mut fields) = desired else {
        return None;
    };
    let gone: Vec<String> = current
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys())
        .filter(|key| !fields.contains_key(*key))
        .cloned()
        .collect();
    fields.retain(|key, value| current.get(key) != Some(value));
    fields.extend(gone.into_iter().map(|key| (key, Value::Null)));
    for name in ["descriptor", "lastFault"] {
        if let Some(Value::Object(older)) = current.get(name)
            && let Some(Value::Object(newer)) = fields.get_mut(name)
        {
            // A merge patch merges: what the older one had and the newer has not is taken away.
            for key in older.keys() {
                newer.entry(key.clone()).or_insert(Value::Null);
            }
        }
    }
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// A plugin says about itself what it likes.
fn describe(descriptor: &Descriptor) -> PluginDescriptor {
    PluginDescriptor {
        name: shortened(&descriptor.name, TEXT_LENGTH_MAX),
        version: shortened(&descriptor.version, TEXT_LENGTH_MAX),
        vendor: shortened(&descriptor.vendor, TEXT_LENGTH_MAX),
        description: shortened(&descriptor.description, TEXT_LENGTH_MAX),
    }
}

fn shortened(text: &str, length: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .take(length)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_and_what_is_gone_is_cleared() {
        let current = json!({"digest": "a", "services": 1, "circuit": "Open"});
        assert_eq!(changed(&current, current.clone()), None);
        assert_eq!(
            changed(&current, json!({"digest": "b", "services": 1})),
            Some(json!({"digest": "b", "circuit": null}))
        );
        assert_eq!(
            changed(
                &json!({"lastFault": {"reason": "a", "service": "s"}}),
                json!({"lastFault": {"reason": "b"}})
            ),
            Some(json!({"lastFault": {"reason": "b", "service": null}}))
        );
    }
}

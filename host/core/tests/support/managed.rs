//! Managed fields, as an API server keeps them for one manager.

use dpf_api::keys::managers;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Records that the controller applied every field of the spec that the object has now.
pub fn record<K: Resource + Serialize>(object: &mut K) {
    let spec = serde_json::to_value(&*object).unwrap()["spec"].take();
    object.meta_mut().managed_fields = Some(vec![ManagedFieldsEntry {
        manager: Some(managers::DPUDEPLOYMENT.to_owned()),
        operation: Some("Apply".to_owned()),
        fields_v1: Some(FieldsV1(json!({ "f:spec": fields(&spec) }))),
        ..ManagedFieldsEntry::default()
    }]);
}

fn fields(value: &Value) -> Value {
    let fields = value.as_object().into_iter().flatten();
    let fields: Map<_, _> = fields
        .map(|(key, value)| (format!("f:{key}"), self::fields(value)))
        .collect();
    Value::Object(fields)
}

/// What server-side apply makes of an object: fields of others stay, fields that are applied no more go.
pub fn merged<K: Resource + Serialize + DeserializeOwned>(existing: &K, applied: &K) -> K {
    let mut recorded = serde_json::to_value(applied).unwrap();
    let before = serde_json::to_value(existing).unwrap();
    let entries = existing.meta().managed_fields.iter().flatten();
    let owned = entries
        .filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:spec"))
        .next()
        .cloned()
        .unwrap_or_default();
    let mut spec = before["spec"].clone();
    put(&mut spec, &recorded["spec"], &owned);
    recorded["metadata"]["managedFields"] = json!([{
        "manager": managers::DPUDEPLOYMENT, "operation": "Apply",
        "fieldsV1": { "f:spec": fields(&recorded["spec"]) }
    }]);
    recorded["spec"] = spec;
    serde_json::from_value(recorded).unwrap()
}

fn put(into: &mut Value, applied: &Value, owned: &Value) {
    let (Some(fields), Some(applied)) = (into.as_object_mut(), applied.as_object()) else {
        *into = applied.clone();
        return;
    };
    let gone = |key: &String| owned.get(format!("f:{key}")).is_some() && !applied.contains_key(key);
    fields.retain(|key, _| !gone(key));
    for (key, value) in applied {
        let owned = owned.get(format!("f:{key}")).unwrap_or(&Value::Null);
        put(fields.entry(key).or_insert(Value::Null), value, owned);
    }
}

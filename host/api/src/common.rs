//! Value types that several kinds share.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Amounts per resource name, for example `cpu` or `nvidia.com/sf`.
pub type ResourceList = BTreeMap<String, Quantity>;

/// A Kubernetes quantity as the user wrote it: `2`, `"500m"`, `"4Gi"`.
///
/// The API accepts an integer or a string; both are kept as text. Arithmetic is in `dpf-core`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Quantity(pub String);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            serde_json::Value::Number(number) => Ok(Self(number.to_string())),
            other => Err(serde::de::Error::custom(format!(
                "a quantity is a number or a string, not {other}"
            ))),
        }
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
        })
    }
}

/// A JSON object of open schema, such as Helm values; unknown fields are preserved by the API server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RawValues(pub serde_json::Value);

impl JsonSchema for RawValues {
    fn schema_name() -> Cow<'static, str> {
        "RawValues".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// Labels and annotations that a template puts on the objects made from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateMeta {
    /// Labels of the objects made from the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations of the objects made from the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The schema of `metav1.LabelSelector`, an atomic value under server-side apply.
#[must_use]
pub fn label_selector_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
            "matchExpressions": {
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string"},
                        "operator": {"type": "string"},
                        "values": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"}
                    }
                }
            }
        }
    })
}

/// The schema of the conditions every status carries (`metav1.Condition`).
#[must_use]
pub fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "reason": {
                    "type": "string", "maxLength": 1024, "minLength": 1,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
                },
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "type": {
                    "type": "string", "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
                }
            }
        }
    })
}

/// The schema of an integer or a percentage (`intstr.IntOrString`).
#[must_use]
pub fn int_or_string_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})
}

/// A Kubernetes object embedded as it is (`nodeSelector`, `updateStrategy`): checked where it is used.
#[must_use]
pub fn open_object_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// The schema of `corev1.NodeSelector`: terms are alternatives, the requirements of one term all hold.
#[must_use]
pub fn node_selector_schema(_: &mut SchemaGenerator) -> Schema {
    let requirement = serde_json::json!({
        "type": "array",
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "required": ["key", "operator"],
            "properties": {
                "key": {"type": "string"},
                "operator": {"type": "string"},
                "values": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"}
            }
        }
    });
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "required": ["nodeSelectorTerms"],
        "properties": {
            "nodeSelectorTerms": {
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "properties": {"matchExpressions": requirement, "matchFields": requirement}
                }
            }
        }
    })
}

/// Brings a derived CRD into the form that Kubernetes and our users expect.
///
/// * `helm.sh/resource-policy: keep`: uninstalling a chart never removes user data.
/// * `spec` stays optional in the schema as upstream has it: an object without it is accepted.
/// * no `nullable`: `null` means "not set" in Kubernetes, and the API server drops it.
pub(crate) fn finish_crd(crd: &mut CustomResourceDefinition) {
    crd.metadata
        .annotations
        .get_or_insert_default()
        .insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    for version in &mut crd.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        drop_nullable(root);
        for (name, kind) in [
            ("apiVersion", "Version of the schema of this object."),
            ("kind", "Kind of this object."),
        ] {
            let property = Props {
                type_: Some("string".to_owned()),
                description: Some(kind.to_owned()),
                ..Props::default()
            };
            root.properties
                .get_or_insert_default()
                .entry(name.to_owned())
                .or_insert(property);
        }
        let metadata = Props {
            type_: Some("object".to_owned()),
            ..Props::default()
        };
        root.properties
            .get_or_insert_default()
            .entry("metadata".to_owned())
            .or_insert(metadata);
        root.required = None;
    }
}

type Props = k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

fn drop_nullable(schema: &mut Props) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaPropsOrArray as OrArray, JSONSchemaPropsOrBool as OrBool,
    };
    schema.nullable = None;
    if let Some(words) = &mut schema.enum_ {
        words.retain(|word| !word.0.is_null());
    }
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        drop_nullable(property);
    }
    match schema.items.as_mut() {
        Some(OrArray::Schema(item)) => drop_nullable(item),
        Some(OrArray::Schemas(items)) => items.iter_mut().for_each(drop_nullable),
        None => {}
    }
    if let Some(OrBool::Schema(values)) = schema.additional_properties.as_mut() {
        drop_nullable(values);
    }
}

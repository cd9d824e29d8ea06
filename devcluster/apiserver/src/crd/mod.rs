//! CustomResourceDefinitions: defaults, validation, and the resources they define.

mod validate;

use serde_json::{Value, json};

use crate::jsonpath::Path;
use crate::object::{at, default_at, text_at};
use crate::registry::{Resource, ScalePaths};
use crate::schema::Schema;
use crate::table::columns;

pub use validate::{validate, validate_change};

/// The finalizer that holds a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Fills in names and conversion.
pub fn default_definition(object: &mut Value) {
    let kind = text_at(object, &["spec", "names", "kind"]).to_owned();
    if !kind.is_empty() {
        default_at(object, &["spec", "names", "singular"], kind.to_lowercase());
        default_at(
            object,
            &["spec", "names", "listKind"],
            format!("{kind}List"),
        );
    }
    default_at(object, &["spec", "conversion", "strategy"], "None");
}

/// The status a new definition starts with.
pub fn initial_status(object: &Value) -> Value {
    let storage = versions(object)
        .iter()
        .find(|v| v.get("storage") == Some(&Value::Bool(true)));
    let stored: Vec<&Value> = storage.and_then(|v| v.get("name")).into_iter().collect();
    json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored})
}

fn versions(object: &Value) -> &[Value] {
    at(object, &["spec", "versions"])
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn version_schema(version: &Value) -> Option<&Value> {
    at(version, &["schema", "openAPIV3Schema"])
}

/// The conditions and names of an accepted definition.
pub fn accept(object: &mut Value, conflict: Option<String>, now: &str) {
    let condition = |kind: &str, status: bool, reason: &str, message: &str| {
        let status = if status { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message})
    };
    let conditions = match conflict {
        None => vec![
            condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                true,
                "InitialNamesAccepted",
                "the initial names have been accepted",
            ),
        ],
        Some(why) => vec![
            condition("NamesAccepted", false, "KindConflict", &why),
            condition(
                "Established",
                false,
                "NotAccepted",
                "not all names are accepted",
            ),
        ],
    };
    let accepted = conditions.first().and_then(|c| c.get("status")) == Some(&"True".into());
    crate::object::set_at(object, &["status", "conditions"], conditions.into());
    if accepted {
        let names = at(object, &["spec", "names"]).cloned().unwrap_or_default();
        crate::object::set_at(object, &["status", "acceptedNames"], names);
    }
}

/// True when the definition has been accepted.
pub fn is_established(object: &Value) -> bool {
    let conditions = at(object, &["status", "conditions"]).and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| {
        c.get("type") == Some(&"Established".into()) && c.get("status") == Some(&"True".into())
    })
}

/// The resources an accepted definition serves.
pub fn resources(object: &Value) -> Vec<Resource> {
    let storage = versions(object)
        .iter()
        .find(|v| v.get("storage") == Some(&Value::Bool(true)));
    let storage = storage.map(|v| text_at(v, &["name"])).unwrap_or_default();
    let served = versions(object)
        .iter()
        .filter(|v| v.get("served") == Some(&Value::Bool(true)));
    served
        .map(|version| resource(object, version, storage))
        .collect()
}

fn resource(object: &Value, version: &Value, storage: &str) -> Resource {
    let names = |key: &str| text_at(object, &["spec", "names", key]).to_owned();
    let list = |key: &str| {
        let values = at(object, &["spec", "names", key]).and_then(Value::as_array);
        values
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let group = text_at(object, &["spec", "group"]);
    let kind = names("kind");
    let version_name = text_at(version, &["name"]);
    let scale = at(version, &["subresources", "scale"]).map(|scale| ScalePaths {
        spec: text_at(scale, &["specReplicasPath"])
            .trim_start_matches('.')
            .to_owned(),
        status: text_at(scale, &["statusReplicasPath"])
            .trim_start_matches('.')
            .to_owned(),
        selector: scale
            .get("labelSelectorPath")
            .and_then(Value::as_str)
            .map(|p| p.trim_start_matches('.').to_owned()),
    });
    let selectable = version.get("selectableFields").and_then(Value::as_array);
    let selectable = selectable
        .into_iter()
        .flatten()
        .filter_map(|f| Path::parse(text_at(f, &["jsonPath"]))?.dotted());
    let reversed: Vec<&str> = group.split('.').rev().collect();
    let deprecated = version.get("deprecated") == Some(&Value::Bool(true));
    let default_warning = format!("{group}/{version_name} {kind} is deprecated");
    let warning = version
        .get("deprecationWarning")
        .and_then(Value::as_str)
        .unwrap_or(&default_warning);
    Resource {
        group: group.to_owned(),
        version: version_name.to_owned(),
        list_kind: names("listKind"),
        plural: names("plural"),
        singular: names("singular"),
        short_names: list("shortNames"),
        categories: list("categories"),
        namespaced: text_at(object, &["spec", "scope"]) == "Namespaced",
        status: at(version, &["subresources", "status"]).is_some(),
        scale,
        schema: Schema::custom(version_schema(version).unwrap_or(&json!({"type": "object"}))),
        definition: format!("{}.{version_name}.{kind}", reversed.join(".")),
        columns: columns::custom(version.get("additionalPrinterColumns")),
        selectable: selectable.collect(),
        custom: true,
        storage_version: storage.to_owned(),
        deprecation: deprecated.then(|| warning.to_owned()),
        kind,
    }
}

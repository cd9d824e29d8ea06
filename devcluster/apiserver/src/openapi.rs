//! OpenAPI v3 documents: what kubectl needs for explain, validation and patches.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::builtin::definitions::definition;
use crate::discovery::GIT_VERSION;
use crate::error::ApiError;
use crate::registry::{Registry, Resource};
use crate::schema::types::REF_PREFIX;

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// `/openapi/v3`.
pub fn root(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (group, versions) in registry.groups() {
        for version in versions {
            let path = path_of(&group, &version);
            let url = format!("/openapi/v3/{path}?hash={}", registry.epoch());
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({ "paths": paths })
}

/// The document of one group and version.
pub fn document(registry: &Registry, path: &str) -> Result<Value, ApiError> {
    let served = registry.groups().into_iter().any(|(group, versions)| {
        versions
            .iter()
            .any(|version| path_of(&group, version) == path)
    });
    if !served {
        return Err(ApiError::no_such_path());
    }
    let mut paths = Map::new();
    let mut schemas = Map::new();
    let mut wanted = BTreeSet::from([STATUS.to_owned(), LIST_META.to_owned()]);
    for resource in registry
        .all()
        .filter(|r| path_of(&r.group, &r.version) == path)
    {
        add_paths(resource, &mut paths);
        add_schemas(resource, &mut schemas, &mut wanted);
    }
    add_definitions(&mut schemas, wanted);
    Ok(
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": paths, "components": {"schemas": schemas}}),
    )
}

/// The published schemas of everything that is served.
pub fn all_schemas(registry: &Registry) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut wanted = BTreeSet::from([STATUS.to_owned(), LIST_META.to_owned()]);
    for resource in registry.all() {
        add_schemas(resource, &mut schemas, &mut wanted);
    }
    add_definitions(&mut schemas, wanted);
    schemas
}

fn gvk(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn add_paths(resource: &Resource, paths: &mut Map<String, Value>) {
    let base = format!("/{}", path_of(&resource.group, &resource.version));
    let plural = &resource.plural;
    let collection = match resource.namespaced {
        true => format!("{base}/namespaces/{{namespace}}/{plural}"),
        false => format!("{base}/{plural}"),
    };
    let one = format!("{collection}/{{name}}");
    paths.insert(
        collection,
        operations(
            resource,
            &[
                ("get", "list"),
                ("post", "post"),
                ("delete", "deletecollection"),
            ],
        ),
    );
    let single = [
        ("get", "get"),
        ("put", "put"),
        ("patch", "patch"),
        ("delete", "delete"),
    ];
    paths.insert(one.clone(), operations(resource, &single));
    if resource.status {
        let change = [("get", "get"), ("put", "put"), ("patch", "patch")];
        paths.insert(format!("{one}/status"), operations(resource, &change));
    }
    if resource.namespaced {
        paths.insert(
            format!("{base}/{plural}"),
            operations(resource, &[("get", "list")]),
        );
    }
}

fn operations(resource: &Resource, methods: &[(&str, &str)]) -> Value {
    let reference = format!("{REF_PREFIX}{}", resource.definition);
    let mut out = Map::new();
    for (method, action) in methods {
        let content = json!({"application/json": {"schema": {"$ref": reference}}});
        let mut operation = json!({
            "responses": {"200": {"description": "OK", "content": content}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk(resource),
        });
        if let Some(map) = operation.as_object_mut() {
            if !matches!(*method, "get") {
                map.insert("parameters".into(), write_parameters());
            }
            if matches!(*method, "post" | "put" | "patch") {
                map.insert(
                    "requestBody".into(),
                    json!({"content": content_of(resource, method)}),
                );
            }
        }
        out.insert((*method).to_owned(), operation);
    }
    Value::Object(out)
}

fn content_of(resource: &Resource, method: &str) -> Value {
    let schema = json!({"schema": {"$ref": format!("{REF_PREFIX}{}", resource.definition)}});
    let media: &[&str] = match (method, resource.custom) {
        ("patch", true) => &[
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
        ],
        ("patch", false) => &[
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ],
        _ => &["application/json", "application/yaml"],
    };
    Value::Object(
        media
            .iter()
            .map(|m| ((*m).to_owned(), schema.clone()))
            .collect(),
    )
}

fn write_parameters() -> Value {
    let names = ["dryRun", "fieldManager", "fieldValidation", "force"];
    let parameter = |name: &&str| {
        let kind = if *name == "force" {
            "boolean"
        } else {
            "string"
        };
        json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
    };
    names.iter().map(parameter).collect()
}

fn add_schemas(
    resource: &Resource,
    schemas: &mut Map<String, Value>,
    wanted: &mut BTreeSet<String>,
) {
    let mut own = match resource.custom {
        true => resource.schema.root_value().clone(),
        false => definition(&resource.definition)
            .cloned()
            .unwrap_or_default(),
    };
    publish(&mut own, wanted);
    if let Some(map) = own.as_object_mut() {
        map.insert(
            "x-kubernetes-group-version-kind".into(),
            json!([gvk(resource)]),
        );
    }
    schemas.insert(resource.definition.clone(), own);
    let list_kind =
        json!({"group": resource.group, "version": resource.version, "kind": resource.list_kind});
    let list = json!({"type": "object", "required": ["items"], "x-kubernetes-group-version-kind": [list_kind],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "items": {"type": "array", "items": {"$ref": format!("{REF_PREFIX}{}", resource.definition)}},
            "metadata": {"$ref": format!("{REF_PREFIX}{LIST_META}")}}});
    schemas.insert(format!("{}List", resource.definition), list);
}

/// Adds every definition that is referred to, and those they refer to.
fn add_definitions(schemas: &mut Map<String, Value>, mut wanted: BTreeSet<String>) {
    while let Some(name) = wanted.pop_first() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(mut node) = definition(&name).cloned() else {
            continue;
        };
        publish(&mut node, &mut wanted);
        schemas.insert(name, node);
    }
}

/// Turns a schema into the published form: references beside other words are wrapped, merge keys are spelt out
/// for client-side patches. Collects the references.
fn publish(node: &mut Value, wanted: &mut BTreeSet<String>) {
    match node {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str).map(str::to_owned) {
                wanted.extend(reference.strip_prefix(REF_PREFIX).map(str::to_owned));
                if map.len() > 1 {
                    map.remove("$ref");
                    map.insert("allOf".into(), json!([{"$ref": reference}]));
                }
            }
            let keys = map
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array);
            let key = keys.and_then(|k| k.first()).cloned();
            match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("map") => {
                    map.insert("x-kubernetes-patch-strategy".into(), "merge".into());
                    map.extend(key.map(|key| ("x-kubernetes-patch-merge-key".to_owned(), key)));
                }
                Some("set") => {
                    map.insert("x-kubernetes-patch-strategy".into(), "merge".into());
                }
                _ => {}
            }
            map.values_mut().for_each(|child| publish(child, wanted));
        }
        Value::Array(list) => list.iter_mut().for_each(|child| publish(child, wanted)),
        _ => {}
    }
}

//! Discovery: which groups, versions and resources there are.

use serde_json::{Value, json};

use crate::builtin::kinds::{REVIEWS, Review};
use crate::registry::{Registry, Resource};

const CUSTOM_VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];
const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const CHANGE_VERBS: [&str; 3] = ["get", "patch", "update"];

/// The version whose behaviour was recorded and is followed.
pub const GIT_VERSION: &str = "v1.36.0+dpf-apiserver";

/// `/version`.
pub fn version() -> Value {
    json!({"major": "1", "minor": "36", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH)})
}

/// `/`.
pub fn root(registry: &Registry) -> Value {
    let mut paths: Vec<String> = [
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    .iter()
    .map(|p| (*p).to_owned())
    .collect();
    for (group, versions) in registry
        .groups()
        .iter()
        .filter(|(group, _)| !group.is_empty())
    {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{group}/{v}")));
    }
    paths.sort();
    json!({ "paths": paths })
}

/// `/api`.
pub fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}]})
}

fn group_entry(name: &str, versions: &[String]) -> Value {
    let full = |v: &String| json!({"groupVersion": format!("{name}/{v}"), "version": v});
    let list: Vec<Value> = versions.iter().map(full).collect();
    json!({"name": name, "preferredVersion": list.first(), "versions": list})
}

/// `/apis`.
pub fn groups(registry: &Registry) -> Value {
    let groups = registry.groups();
    let entries = groups
        .iter()
        .filter(|(g, _)| !g.is_empty())
        .map(|(g, v)| group_entry(g, v));
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": entries.collect::<Vec<_>>()})
}

/// `/apis/<group>`.
pub fn group(registry: &Registry, name: &str) -> Value {
    let versions = registry
        .groups()
        .into_iter()
        .find(|(g, _)| g == name)
        .map(|(_, v)| v)
        .unwrap_or_default();
    let mut out = group_entry(name, &versions);
    if let Some(map) = out.as_object_mut() {
        map.insert("kind".into(), "APIGroup".into());
        map.insert("apiVersion".into(), "v1".into());
    }
    out
}

/// A subresource: name, group, version and kind it speaks, verbs.
struct Sub {
    name: &'static str,
    kind: (String, String, String),
    verbs: Vec<&'static str>,
    foreign: bool,
}

fn subresources(resource: &Resource) -> Vec<Sub> {
    let own = || {
        (
            resource.group.clone(),
            resource.version.clone(),
            resource.kind.clone(),
        )
    };
    let foreign = |group: &str, version: &str, kind: &str| {
        (group.to_owned(), version.to_owned(), kind.to_owned())
    };
    let mut out = Vec::new();
    if resource.is("", "Pod") {
        out.push(Sub {
            name: "binding",
            kind: foreign("", "v1", "Binding"),
            verbs: vec!["create"],
            foreign: false,
        });
        let kind = foreign("policy", "v1", "Eviction");
        out.push(Sub {
            name: "eviction",
            kind,
            verbs: vec!["create"],
            foreign: true,
        });
    }
    if resource.is("", "Pod") {
        out.push(Sub {
            name: "ephemeralcontainers",
            kind: own(),
            verbs: CHANGE_VERBS.to_vec(),
            foreign: false,
        });
        out.push(Sub {
            name: "log",
            kind: own(),
            verbs: vec!["get"],
            foreign: false,
        });
    }
    if resource.is("", "ServiceAccount") {
        out.push(Sub {
            name: "token",
            kind: foreign("authentication.k8s.io", "v1", "TokenRequest"),
            verbs: vec!["create"],
            foreign: true,
        });
    }
    if resource.is("", "Namespace") {
        out.push(Sub {
            name: "finalize",
            kind: own(),
            verbs: vec!["update"],
            foreign: false,
        });
    }
    if resource.status {
        out.push(Sub {
            name: "status",
            kind: own(),
            verbs: CHANGE_VERBS.to_vec(),
            foreign: false,
        });
    }
    if resource.scale.is_some() {
        let kind = foreign("autoscaling", "v1", "Scale");
        out.push(Sub {
            name: "scale",
            kind,
            verbs: CHANGE_VERBS.to_vec(),
            foreign: true,
        });
    }
    out
}

fn verbs(resource: &Resource) -> Vec<&'static str> {
    match resource.custom {
        true => CUSTOM_VERBS.to_vec(),
        false if resource.is("", "Namespace") => VERBS
            .iter()
            .copied()
            .filter(|v| *v != "deletecollection")
            .collect(),
        false => VERBS.to_vec(),
    }
}

fn hash(resource: &Resource) -> String {
    use base64::Engine as _;
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(format!(
        "{}/{}/{}",
        resource.group, resource.storage_version, resource.kind
    ));
    base64::engine::general_purpose::STANDARD.encode(digest.get(..8).unwrap_or_default())
}

/// `/api/v1` or `/apis/<group>/<version>`.
pub fn resources(registry: &Registry, group: &str, version: &str) -> Value {
    let mut entries = Vec::new();
    for resource in registry
        .all()
        .filter(|r| r.group == group && r.version == version)
    {
        let mut entry = json!({"name": resource.plural, "singularName": resource.singular,
            "namespaced": resource.namespaced, "kind": resource.kind, "verbs": verbs(resource),
            "storageVersionHash": hash(resource)});
        if let Some(map) = entry.as_object_mut() {
            if !resource.short_names.is_empty() {
                map.insert("shortNames".into(), resource.short_names.clone().into());
            }
            if !resource.categories.is_empty() {
                map.insert("categories".into(), resource.categories.clone().into());
            }
        }
        entries.push(entry);
        for sub in subresources(resource) {
            let mut entry = json!({"name": format!("{}/{}", resource.plural, sub.name), "singularName": "",
                "namespaced": resource.namespaced, "kind": sub.kind.2, "verbs": sub.verbs});
            if let Some(map) = entry.as_object_mut().filter(|_| sub.foreign) {
                map.insert("group".into(), sub.kind.0.into());
                map.insert("version".into(), sub.kind.1.into());
            }
            entries.push(entry);
        }
    }
    for review in reviews(group, version) {
        entries.push(
            json!({"name": review.plural, "singularName": review.kind.to_lowercase(),
            "namespaced": review.namespaced, "kind": review.kind, "verbs": ["create"]}),
        );
    }
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries})
}

fn reviews<'a>(
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'static Review> + use<'a> {
    REVIEWS
        .iter()
        .filter(move |r| r.group == group && version == "v1")
}

/// Aggregated discovery: everything in one answer.
pub fn aggregated(registry: &Registry, core: bool, version: &str) -> Value {
    let mut items = Vec::new();
    for (group, versions) in registry
        .groups()
        .iter()
        .filter(|(group, _)| group.is_empty() == core)
    {
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| {
                json!({"version": version, "freshness": "Current",
                    "resources": aggregated_resources(registry, group, version)})
            })
            .collect();
        items.push(json!({"metadata": {"name": group}, "versions": versions}));
    }
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items})
}

fn aggregated_resources(registry: &Registry, group: &str, version: &str) -> Vec<Value> {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let mut out = Vec::new();
    for resource in registry
        .all()
        .filter(|r| r.group == group && r.version == version)
    {
        let subs: Vec<Value> = subresources(resource)
            .into_iter()
            .map(|sub| {
                let (group, version, name) = &sub.kind;
                json!({"subresource": sub.name, "responseKind": kind(group, version, name), "verbs": sub.verbs})
            })
            .collect();
        let mut entry = json!({"resource": resource.plural, "responseKind": kind(group, version, &resource.kind),
            "scope": scope(resource.namespaced), "singularResource": resource.singular, "verbs": verbs(resource)});
        if let Some(map) = entry.as_object_mut() {
            let lists = [
                ("shortNames", &resource.short_names),
                ("categories", &resource.categories),
            ];
            for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
                map.insert(key.into(), list.clone().into());
            }
            if !subs.is_empty() {
                map.insert("subresources".into(), subs.into());
            }
        }
        out.push(entry);
    }
    for review in reviews(group, version) {
        out.push(
            json!({"resource": review.plural, "responseKind": kind(group, version, review.kind),
            "scope": scope(review.namespaced), "singularResource": review.kind.to_lowercase(),
            "verbs": ["create"]}),
        );
    }
    out
}

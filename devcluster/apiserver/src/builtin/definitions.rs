//! Schemas of the built-in kinds, taken from the types of `k8s-openapi`, with the list and map types added that
//! JSON Schema cannot say.

use std::sync::OnceLock;

use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, coordination,
    core, discovery, events, networking, node, policy, rbac, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

macro_rules! register {
    ($generator:ident: $($kind:ty),* $(,)?) => { $( let _ = $generator.subschema_for::<$kind>(); )* };
}

/// All definitions by their OpenAPI name.
pub fn definitions() -> &'static Map<String, Value> {
    static DEFINITIONS: OnceLock<Map<String, Value>> = OnceLock::new();
    DEFINITIONS.get_or_init(build)
}

/// One definition by its OpenAPI name.
pub fn definition(name: &str) -> Option<&'static Value> {
    definitions().get(name)
}

fn build() -> Map<String, Value> {
    let settings =
        SchemaSettings::default().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    register!(generator:
        core::v1::Namespace, core::v1::ConfigMap, core::v1::Secret, core::v1::ServiceAccount, core::v1::Node,
        core::v1::Pod, core::v1::Service, core::v1::Endpoints, core::v1::Event, core::v1::PersistentVolumeClaim,
        core::v1::PersistentVolume, core::v1::ResourceQuota, core::v1::LimitRange, core::v1::PodTemplate,
        core::v1::ReplicationController, events::v1::Event,
        apps::v1::Deployment, apps::v1::DaemonSet, apps::v1::ReplicaSet, apps::v1::StatefulSet,
        apps::v1::ControllerRevision, batch::v1::Job, batch::v1::CronJob, coordination::v1::Lease,
        rbac::v1::Role, rbac::v1::RoleBinding, rbac::v1::ClusterRole, rbac::v1::ClusterRoleBinding,
        discovery::v1::EndpointSlice, policy::v1::PodDisruptionBudget, policy::v1::Eviction,
        autoscaling::v1::Scale, autoscaling::v2::HorizontalPodAutoscaler,
        networking::v1::Ingress, networking::v1::IngressClass, networking::v1::NetworkPolicy,
        scheduling::v1::PriorityClass, storage::v1::StorageClass, node::v1::RuntimeClass,
        admissionregistration::v1::ValidatingWebhookConfiguration,
        admissionregistration::v1::MutatingWebhookConfiguration,
        admissionregistration::v1::ValidatingAdmissionPolicy,
        admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        authentication::v1::TokenReview, authentication::v1::SelfSubjectReview,
        authorization::v1::SelfSubjectAccessReview, authorization::v1::SelfSubjectRulesReview,
        authorization::v1::SubjectAccessReview, authorization::v1::LocalSubjectAccessReview,
        apiextensions::v1::CustomResourceDefinition, meta::v1::ObjectMeta, meta::v1::ListMeta, meta::v1::Status,
        meta::v1::DeleteOptions,
    );
    let mut all = generator.take_definitions(true);
    annotate(&mut all);
    all
}

const CORE: &str = "io.k8s.api.core.v1.";

/// Definitions whose values are replaced as a whole by server-side apply.
const ATOMIC: &[&str] = &[
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    "io.k8s.api.core.v1.ObjectReference",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.TypedLocalObjectReference",
    "io.k8s.api.core.v1.SecretReference",
    "io.k8s.api.core.v1.SecretKeySelector",
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    "io.k8s.api.core.v1.ObjectFieldSelector",
    "io.k8s.api.core.v1.ResourceFieldSelector",
    "io.k8s.api.core.v1.NodeSelector",
    "io.k8s.api.core.v1.NodeSelectorTerm",
    "io.k8s.api.core.v1.TopologySelectorTerm",
    "io.k8s.api.rbac.v1.RoleRef",
    "io.k8s.api.rbac.v1.Subject",
];

/// Lists merged by key: definition (of the core group when it has no dot), field, keys.
const KEYED: &[(&str, &[&str], &[&str])] = &[
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        &["ownerReferences"],
        &["uid"],
    ),
    ("Container", &["ports"], &["containerPort", "protocol"]),
    ("Container", &["env"], &["name"]),
    ("Container", &["volumeDevices"], &["devicePath"]),
    ("Container", &["volumeMounts"], &["mountPath"]),
    (
        "EphemeralContainer",
        &["ports"],
        &["containerPort", "protocol"],
    ),
    ("EphemeralContainer", &["env"], &["name"]),
    ("EphemeralContainer", &["volumeMounts"], &["mountPath"]),
    ("ContainerStatus", &["volumeMounts"], &["mountPath"]),
    (
        "PodSpec",
        &[
            "containers",
            "initContainers",
            "ephemeralContainers",
            "volumes",
            "imagePullSecrets",
            "resourceClaims",
            "schedulingGates",
        ],
        &["name"],
    ),
    ("PodSpec", &["hostAliases"], &["ip"]),
    (
        "PodSpec",
        &["topologySpreadConstraints"],
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("PodStatus", &["hostIPs", "podIPs"], &["ip"]),
    ("PodStatus", &["resourceClaimStatuses"], &["name"]),
    ("ServiceSpec", &["ports"], &["port", "protocol"]),
    ("ServiceAccount", &["secrets"], &["name"]),
    ("NodeStatus", &["addresses"], &["type"]),
    ("ResourceRequirements", &["claims"], &["name"]),
    (
        "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
        &["webhooks"],
        &["name"],
    ),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
        &["webhooks"],
        &["name"],
    ),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicySpec",
        &["matchConditions", "variables"],
        &["name"],
    ),
];

/// Lists that are sets.
const SETS: &[(&str, &str)] = &[
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        "finalizers",
    ),
    ("io.k8s.api.core.v1.NodeSpec", "podCIDRs"),
    ("io.k8s.api.discovery.v1.Endpoint", "addresses"),
];

/// Maps replaced as a whole.
const ATOMIC_MAPS: &[(&str, &str)] = &[
    ("io.k8s.api.core.v1.PodSpec", "nodeSelector"),
    ("io.k8s.api.core.v1.ServiceSpec", "selector"),
];

/// Definitions that hold anything.
const OPEN: &[&str] = &[
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
];

fn annotate(all: &mut Map<String, Value>) {
    for name in OPEN {
        extend(
            all.get_mut(*name),
            "x-kubernetes-preserve-unknown-fields",
            json!(true),
        );
    }
    if let Some(Value::Object(json)) = OPEN.first().and_then(|name| all.get_mut(*name)) {
        json.remove("type");
    }
    for name in ATOMIC {
        extend(all.get_mut(*name), "x-kubernetes-map-type", json!("atomic"));
    }
    for (owner, fields, keys) in KEYED {
        let owner = if owner.contains('.') {
            (*owner).to_owned()
        } else {
            format!("{CORE}{owner}")
        };
        for field in *fields {
            let node = property(all, &owner, field);
            extend(node, "x-kubernetes-list-type", json!("map"));
            extend(
                property(all, &owner, field),
                "x-kubernetes-list-map-keys",
                json!(keys),
            );
        }
    }
    for (owner, field) in SETS {
        extend(
            property(all, owner, field),
            "x-kubernetes-list-type",
            json!("set"),
        );
    }
    for (owner, field) in ATOMIC_MAPS {
        extend(
            property(all, owner, field),
            "x-kubernetes-map-type",
            json!("atomic"),
        );
    }
    for node in all.values_mut() {
        if let Some(Value::Array(required)) = node.get_mut("required") {
            required.retain(|name| name != "metadata");
        }
    }
    let statuses: Vec<String> = all
        .keys()
        .filter(|k| k.ends_with("Status"))
        .cloned()
        .collect();
    for owner in statuses {
        if let Some(node) = property(all, &owner, "conditions").filter(|n| n.get("items").is_some())
        {
            extend(Some(node), "x-kubernetes-list-type", json!("map"));
            extend(
                property(all, &owner, "conditions"),
                "x-kubernetes-list-map-keys",
                json!(["type"]),
            );
        }
    }
    for owner in ["Container", "EphemeralContainer", "ServiceSpec"] {
        let port = if owner == "ServiceSpec" {
            "ServicePort"
        } else {
            "ContainerPort"
        };
        extend(
            property(all, &format!("{CORE}{port}"), "protocol"),
            "default",
            json!("TCP"),
        );
    }
}

fn property<'a>(
    all: &'a mut Map<String, Value>,
    owner: &str,
    field: &str,
) -> Option<&'a mut Value> {
    all.get_mut(owner)?.get_mut("properties")?.get_mut(field)
}

fn extend(node: Option<&mut Value>, key: &str, value: Value) {
    if let Some(map) = node.and_then(Value::as_object_mut) {
        map.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotated_fields_exist() {
        let all = definitions();
        for (owner, fields, _) in KEYED {
            let owner = if owner.contains('.') {
                (*owner).to_owned()
            } else {
                format!("{CORE}{owner}")
            };
            for field in *fields {
                let list = &all[&owner]["properties"][field];
                assert_eq!(list["x-kubernetes-list-type"], "map", "{owner} {field}");
            }
        }
        for name in ATOMIC {
            assert_eq!(all[*name]["x-kubernetes-map-type"], "atomic", "{name}");
        }
    }
}

//! The table of built-in resources.

/// One built-in resource in one version.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// API group; empty for core.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural name, as in URLs.
    pub plural: &'static str,
    /// Short names kubectl accepts.
    pub short: &'static [&'static str],
    /// Categories kubectl accepts.
    pub categories: &'static [&'static str],
    /// True when objects live in namespaces.
    pub namespaced: bool,
    /// True when there is a status subresource.
    pub status: bool,
    /// True when there is a scale subresource.
    pub scale: bool,
    /// OpenAPI name of the schema.
    pub definition: &'static str,
}

const NONE: &[&str] = &[];
const ALL: &[&str] = &["all"];
const API: &[&str] = &["api-extensions"];

macro_rules! kind {
    ($group:literal $version:literal $kind:literal $plural:literal $short:expr, $categories:expr, $scope:ident
     $($flag:ident)* : $package:literal) => {
        Kind {
            group: $group,
            version: $version,
            kind: $kind,
            plural: $plural,
            short: $short,
            categories: $categories,
            namespaced: kind!(@scope $scope),
            status: kind!(@has status $($flag)*),
            scale: kind!(@has scale $($flag)*),
            definition: concat!("io.k8s.", $package, ".", $version, ".", $kind),
        }
    };
    (@scope ns) => { true };
    (@scope cluster) => { false };
    (@has status status $($rest:ident)*) => { true };
    (@has scale scale $($rest:ident)*) => { true };
    (@has $want:ident $other:ident $($rest:ident)*) => { kind!(@has $want $($rest)*) };
    (@has $want:ident) => { false };
}

/// Every built-in resource that is stored.
pub const KINDS: &[Kind] = &[
    kind!("" "v1" "ConfigMap" "configmaps" &["cm"], NONE, ns: "api.core"),
    kind!("" "v1" "Endpoints" "endpoints" &["ep"], NONE, ns: "api.core"),
    kind!("" "v1" "Event" "events" &["ev"], NONE, ns: "api.core"),
    kind!("" "v1" "LimitRange" "limitranges" &["limits"], NONE, ns: "api.core"),
    kind!("" "v1" "Namespace" "namespaces" &["ns"], NONE, cluster status: "api.core"),
    kind!("" "v1" "Node" "nodes" &["no"], NONE, cluster status: "api.core"),
    kind!("" "v1" "PersistentVolumeClaim" "persistentvolumeclaims" &["pvc"], NONE, ns status: "api.core"),
    kind!("" "v1" "PersistentVolume" "persistentvolumes" &["pv"], NONE, cluster status: "api.core"),
    kind!("" "v1" "Pod" "pods" &["po"], ALL, ns status: "api.core"),
    kind!("" "v1" "PodTemplate" "podtemplates" NONE, NONE, ns: "api.core"),
    kind!("" "v1" "ReplicationController" "replicationcontrollers" &["rc"], ALL, ns status scale: "api.core"),
    kind!("" "v1" "ResourceQuota" "resourcequotas" &["quota"], NONE, ns status: "api.core"),
    kind!("" "v1" "Secret" "secrets" NONE, NONE, ns: "api.core"),
    kind!("" "v1" "ServiceAccount" "serviceaccounts" &["sa"], NONE, ns: "api.core"),
    kind!("" "v1" "Service" "services" &["svc"], ALL, ns status: "api.core"),
    kind!("apps" "v1" "ControllerRevision" "controllerrevisions" NONE, NONE, ns: "api.apps"),
    kind!("apps" "v1" "DaemonSet" "daemonsets" &["ds"], ALL, ns status: "api.apps"),
    kind!("apps" "v1" "Deployment" "deployments" &["deploy"], ALL, ns status scale: "api.apps"),
    kind!("apps" "v1" "ReplicaSet" "replicasets" &["rs"], ALL, ns status scale: "api.apps"),
    kind!("apps" "v1" "StatefulSet" "statefulsets" &["sts"], ALL, ns status scale: "api.apps"),
    kind!("events.k8s.io" "v1" "Event" "events" &["ev"], NONE, ns: "api.events"),
    kind!("autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers" &["hpa"], ALL, ns status:
        "api.autoscaling"),
    kind!("batch" "v1" "CronJob" "cronjobs" &["cj"], ALL, ns status: "api.batch"),
    kind!("batch" "v1" "Job" "jobs" NONE, ALL, ns status: "api.batch"),
    kind!("networking.k8s.io" "v1" "IngressClass" "ingressclasses" NONE, NONE, cluster: "api.networking"),
    kind!("networking.k8s.io" "v1" "Ingress" "ingresses" &["ing"], NONE, ns status: "api.networking"),
    kind!("networking.k8s.io" "v1" "NetworkPolicy" "networkpolicies" &["netpol"], NONE, ns: "api.networking"),
    kind!("policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" &["pdb"], NONE, ns status: "api.policy"),
    kind!("rbac.authorization.k8s.io" "v1" "ClusterRoleBinding" "clusterrolebindings" NONE, NONE, cluster:
        "api.rbac"),
    kind!("rbac.authorization.k8s.io" "v1" "ClusterRole" "clusterroles" NONE, NONE, cluster: "api.rbac"),
    kind!("rbac.authorization.k8s.io" "v1" "RoleBinding" "rolebindings" NONE, NONE, ns: "api.rbac"),
    kind!("rbac.authorization.k8s.io" "v1" "Role" "roles" NONE, NONE, ns: "api.rbac"),
    kind!("storage.k8s.io" "v1" "StorageClass" "storageclasses" &["sc"], NONE, cluster: "api.storage"),
    kind!("admissionregistration.k8s.io" "v1" "MutatingWebhookConfiguration" "mutatingwebhookconfigurations" NONE,
        API, cluster: "api.admissionregistration"),
    kind!("admissionregistration.k8s.io" "v1" "ValidatingAdmissionPolicy" "validatingadmissionpolicies" NONE, API,
        cluster status: "api.admissionregistration"),
    kind!("admissionregistration.k8s.io" "v1" "ValidatingAdmissionPolicyBinding"
        "validatingadmissionpolicybindings" NONE, API, cluster: "api.admissionregistration"),
    kind!("admissionregistration.k8s.io" "v1" "ValidatingWebhookConfiguration" "validatingwebhookconfigurations"
        NONE, API, cluster: "api.admissionregistration"),
    kind!("apiextensions.k8s.io" "v1" "CustomResourceDefinition" "customresourcedefinitions" &["crd", "crds"], API,
        cluster status: "apiextensions-apiserver.pkg.apis.apiextensions"),
    kind!("scheduling.k8s.io" "v1" "PriorityClass" "priorityclasses" &["pc"], NONE, cluster: "api.scheduling"),
    kind!("coordination.k8s.io" "v1" "Lease" "leases" NONE, NONE, ns: "api.coordination"),
    kind!("node.k8s.io" "v1" "RuntimeClass" "runtimeclasses" NONE, NONE, cluster: "api.node"),
    kind!("discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" NONE, NONE, ns: "api.discovery"),
];

/// A resource that is answered on create and never stored.
#[derive(Debug, Clone, Copy)]
pub struct Review {
    /// API group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural name.
    pub plural: &'static str,
    /// True when it is asked inside a namespace.
    pub namespaced: bool,
}

/// The questions about identity and rights.
pub const REVIEWS: &[Review] = &[
    Review {
        group: "authentication.k8s.io",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        namespaced: false,
    },
    Review {
        group: "authentication.k8s.io",
        kind: "TokenReview",
        plural: "tokenreviews",
        namespaced: false,
    },
    Review {
        group: "authorization.k8s.io",
        kind: "LocalSubjectAccessReview",
        plural: "localsubjectaccessreviews",
        namespaced: true,
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        namespaced: false,
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        namespaced: false,
    },
    Review {
        group: "authorization.k8s.io",
        kind: "SubjectAccessReview",
        plural: "subjectaccessreviews",
        namespaced: false,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_schema() {
        for kind in KINDS {
            let found = crate::builtin::definitions::definition(kind.definition).is_some();
            assert!(found, "{} has no definition {}", kind.kind, kind.definition);
        }
    }
}

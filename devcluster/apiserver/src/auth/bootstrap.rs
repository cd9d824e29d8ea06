//! The roles every cluster has, as far as people bind them or kubectl needs them.

use serde_json::{Value, json};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const CREATE: &[&str] = &["create"];
const ALL: &[&str] = &["*"];

/// Objects that may be seen: group and resources.
const VIEW: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "bindings",
            "configmaps",
            "endpoints",
            "events",
            "limitranges",
            "namespaces",
            "namespaces/status",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "pods/log",
            "pods/status",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "replicationcontrollers/status",
            "resourcequotas",
            "resourcequotas/status",
            "serviceaccounts",
            "services",
            "services/status",
        ],
    ),
    (
        "apps",
        &[
            "controllerrevisions",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
    ),
    (
        "autoscaling",
        &[
            "horizontalpodautoscalers",
            "horizontalpodautoscalers/status",
        ],
    ),
    (
        "batch",
        &["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
    ),
    ("discovery.k8s.io", &["endpointslices"]),
    (
        "networking.k8s.io",
        &["ingresses", "ingresses/status", "networkpolicies"],
    ),
    (
        "policy",
        &["poddisruptionbudgets", "poddisruptionbudgets/status"],
    ),
];

/// Objects that may be changed: group and resources.
const EDIT: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "events",
            "persistentvolumeclaims",
            "pods",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ],
    ),
    (
        "apps",
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets"]),
];

const RBAC: &str = "rbac.authorization.k8s.io";

fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": resources})
}

fn rules(verbs: &[&str], table: &[(&str, &[&str])]) -> Vec<Value> {
    table
        .iter()
        .map(|(group, resources)| rule(verbs, group, resources))
        .collect()
}

fn paths(list: &[&str]) -> Value {
    json!({"verbs": ["get"], "nonResourceURLs": list})
}

fn meta(name: &str, labels: &[&str]) -> Value {
    let mut map = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    for label in labels {
        if let Some(map) = map.as_object_mut() {
            map.insert(format!("{RBAC}/{label}"), "true".into());
        }
    }
    json!({"name": name, "labels": map,
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}})
}

fn role(name: &str, labels: &[&str], rules: Vec<Value>) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta(name, labels),
        "rules": rules})
}

/// A role made of all roles with a label. The rules are filled in by the job that keeps aggregated roles.
fn aggregated(name: &str, labels: &[&str], from: &str) -> Value {
    let selector = json!({"matchLabels": {format!("{RBAC}/{from}"): "true"}});
    let mut out = role(name, labels, Vec::new());
    crate::object::set_at(
        &mut out,
        &["aggregationRule"],
        json!({"clusterRoleSelectors": [selector]}),
    );
    out
}

fn binding(name: &str, groups: &[&str]) -> Value {
    let subjects: Vec<Value> = groups
        .iter()
        .map(|group| json!({"kind": "Group", "apiGroup": RBAC, "name": group}))
        .collect();
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": meta(name, &[]),
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}, "subjects": subjects})
}

/// The cluster roles.
pub fn cluster_roles() -> Vec<Value> {
    let mut edit = rules(WRITE, EDIT);
    edit.push(rule(
        READ,
        "",
        &[
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "secrets",
            "services/proxy",
        ],
    ));
    edit.push(rule(&["impersonate"], "", &["serviceaccounts"]));
    edit.push(rule(
        CREATE,
        "",
        &["serviceaccounts/token", "pods/eviction"],
    ));
    let mut change_and_read = WRITE.to_vec();
    change_and_read.extend(READ);
    let admin = vec![
        rule(
            CREATE,
            "authorization.k8s.io",
            &["localsubjectaccessreviews"],
        ),
        rule(&change_and_read, RBAC, &["rolebindings", "roles"]),
    ];
    let everything = json!({"verbs": ["*"], "nonResourceURLs": ["*"]});
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    vec![
        role("cluster-admin", &[], vec![rule(ALL, "*", ALL), everything]),
        aggregated("admin", &[], "aggregate-to-admin"),
        aggregated("edit", &["aggregate-to-admin"], "aggregate-to-edit"),
        aggregated("view", &["aggregate-to-edit"], "aggregate-to-view"),
        role("system:aggregate-to-admin", &["aggregate-to-admin"], admin),
        role("system:aggregate-to-edit", &["aggregate-to-edit"], edit),
        role(
            "system:aggregate-to-view",
            &["aggregate-to-view"],
            rules(READ, VIEW),
        ),
        role(
            "system:basic-user",
            &[],
            vec![
                rule(
                    CREATE,
                    "authorization.k8s.io",
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                ),
                rule(CREATE, "authentication.k8s.io", &["selfsubjectreviews"]),
            ],
        ),
        role("system:discovery", &[], vec![paths(&discovery)]),
        role(
            "system:public-info-viewer",
            &[],
            vec![paths(&[
                "/healthz",
                "/livez",
                "/readyz",
                "/version",
                "/version/",
            ])],
        ),
    ]
}

/// Who has them from the start.
pub fn cluster_role_bindings() -> Vec<Value> {
    use super::identity::{AUTHENTICATED, MASTERS, UNAUTHENTICATED};
    vec![
        binding("cluster-admin", &[MASTERS]),
        binding("system:basic-user", &[AUTHENTICATED]),
        binding("system:discovery", &[AUTHENTICATED]),
        binding(
            "system:public-info-viewer",
            &[AUTHENTICATED, UNAUTHENTICATED],
        ),
    ]
}

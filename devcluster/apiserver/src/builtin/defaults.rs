//! Defaults a real API server writes into built-in kinds, and the admission steps every cluster has.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::object::{at, child_map, default_at, set_at, text_at};

/// Fills in what clients may leave out. Whoever writes the object owns these values.
pub fn apply(kind: &str, object: &mut Value) {
    match kind {
        "Namespace" => namespace_label(object),
        "Event" => event(object),
        "Secret" => secret(object),
        "Pod" => {
            if let Some(spec) = object.get_mut("spec") {
                pod_spec(spec);
                default_at(spec, &["enableServiceLinks"], true);
            }
        }
        "Service" => service(object),
        "Deployment" | "DaemonSet" | "StatefulSet" | "ReplicaSet" => workload(kind, object),
        "Job" => job(object),
        "CronJob" => cron_job(object),
        "PersistentVolumeClaim" => default_at(object, &["spec", "volumeMode"], "Filesystem"),
        "RoleBinding" | "ClusterRoleBinding" => binding(object),
        "CustomResourceDefinition" => crate::crd::default_definition(object),
        _ => {}
    }
    condition_times(kind, object);
}

/// What admission and allocation add to a new object. Nobody owns these values.
pub fn admit(kind: &str, object: &mut Value) {
    match kind {
        "Namespace" => {
            default_at(object, &["spec", "finalizers"], json!(["kubernetes"]));
            namespace_label(object);
            set_at(object, &["status"], json!({"phase": "Active"}));
        }
        "Node" => {
            node_taint(object);
            node_status(object);
        }
        "Pod" => {
            if let Some(spec) = object.get_mut("spec") {
                admit_pod_spec(spec);
            }
            let class = quality_of_service(object);
            set_at(
                object,
                &["status"],
                json!({"phase": "Pending", "qosClass": class}),
            );
        }
        "Service" => allocate_addresses(object),
        "PersistentVolumeClaim" => set_at(object, &["status"], json!({"phase": "Pending"})),
        "CustomResourceDefinition" => {
            let status = crate::crd::initial_status(object);
            set_at(object, &["status"], status);
        }
        "ReplicaSet" => set_at(object, &["status"], json!({"replicas": 0})),
        "StatefulSet" => set_at(
            object,
            &["status"],
            json!({"replicas": 0, "availableReplicas": 0}),
        ),
        "DaemonSet" => {
            let counts = json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0,
                "numberReady": 0});
            set_at(object, &["status"], counts);
        }
        "PodDisruptionBudget" => {
            let counts = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
            set_at(object, &["status"], counts);
        }
        "Job" => {
            job_selector(object);
            set_at(object, &["status"], json!({}));
        }
        "Deployment" | "CronJob" => set_at(object, &["status"], json!({})),
        _ => {}
    }
}

/// A job finds its pods by its own uid, unless it says otherwise.
fn job_selector(object: &mut Value) {
    if at(object, &["spec", "manualSelector"]) == Some(&Value::Bool(true)) {
        return;
    }
    let uid = crate::object::uid(object).to_owned();
    let name = crate::object::name(object).to_owned();
    let labels = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    for (key, value) in labels {
        let path = ["spec", "template", "metadata", "labels", key];
        set_at(object, &path, value.as_str().into());
    }
    let wanted = json!({"batch.kubernetes.io/controller-uid": uid});
    set_at(object, &["spec", "selector", "matchLabels"], wanted);
}

fn namespace_label(object: &mut Value) {
    let name = crate::object::name(object).to_owned();
    if !name.is_empty() {
        set_at(
            object,
            &["metadata", "labels", "kubernetes.io/metadata.name"],
            name.into(),
        );
    }
}

/// Fields of events that are always written.
fn event(object: &mut Value) {
    default_at(object, &["source"], json!({}));
    for key in ["reportingComponent", "reportingInstance"] {
        default_at(object, &[key], "");
    }
    for key in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        default_at(object, &[key], Value::Null);
    }
}

/// The parts of a node's status that are always written.
fn node_status(object: &mut Value) {
    default_at(
        object,
        &["status", "daemonEndpoints", "kubeletEndpoint", "Port"],
        0,
    );
    let names = [
        "architecture",
        "bootID",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "kubeletVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    ];
    for name in names {
        default_at(object, &["status", "nodeInfo", name], "");
    }
}

fn secret(object: &mut Value) {
    let strings = object.as_object_mut().and_then(|o| o.remove("stringData"));
    if let (Some(Value::Object(strings)), Some(map)) = (strings, object.as_object_mut())
        && let Some(data) = child_map(map, "data")
    {
        for (key, value) in strings {
            let encoded = base64::engine::general_purpose::STANDARD
                .encode(value.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }
    default_at(object, &["type"], "Opaque");
}

/// A node is tainted until somebody reports it ready.
fn node_taint(object: &mut Value) {
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let mut taints = at(object, &["spec", "taints"])
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if !taints.iter().any(|t| t.get("key") == taint.get("key")) {
        taints.push(taint);
    }
    set_at(object, &["spec", "taints"], taints.into());
}

/// What admission adds: the default ServiceAccount and tolerations, and no priority.
fn admit_pod_spec(spec: &mut Value) {
    default_at(spec, &["serviceAccountName"], "default");
    let account = spec.get("serviceAccountName").cloned().unwrap_or_default();
    default_at(spec, &["serviceAccount"], account);
    default_at(spec, &["priority"], 0);
    default_at(spec, &["preemptionPolicy"], "PreemptLowerPriority");
    let mut tolerations = spec
        .get("tolerations")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let covers = |t: &Value| {
            let matches_key = t
                .get("key")
                .and_then(Value::as_str)
                .is_none_or(|k| k == key);
            matches_key && matches!(text_at(t, &["effect"]), "" | "NoExecute")
        };
        if !tolerations.iter().any(covers) {
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    set_at(spec, &["tolerations"], tolerations.into());
}

fn quality_of_service(pod: &Value) -> &'static str {
    let containers = at(pod, &["spec", "containers"])
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let has = |c: &Value, key: &str| {
        at(c, &["resources", key])
            .and_then(Value::as_object)
            .is_some_and(|m| !m.is_empty())
    };
    let guaranteed = |c: &Value| {
        let limits = at(c, &["resources", "limits"]);
        let requests = at(c, &["resources", "requests"]);
        let both = |m: &Value| m.get("cpu").is_some() && m.get("memory").is_some();
        limits.is_some_and(both) && requests.is_none_or(|r| Some(r) == limits)
    };
    if containers
        .iter()
        .all(|c| !has(c, "limits") && !has(c, "requests"))
    {
        "BestEffort"
    } else if containers.iter().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Defaults of a pod spec, wherever it stands.
pub fn pod_spec(spec: &mut Value) {
    default_at(spec, &["restartPolicy"], "Always");
    default_at(spec, &["terminationGracePeriodSeconds"], 30);
    default_at(spec, &["dnsPolicy"], "ClusterFirst");
    default_at(spec, &["securityContext"], json!({}));
    default_at(spec, &["schedulerName"], "default-scheduler");
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items_mut(spec, list) {
            container_defaults(container);
        }
    }
    for volume in items_mut(spec, "volumes") {
        volume_defaults(volume);
    }
}

fn items_mut<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    value
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn container_defaults(container: &mut Value) {
    default_at(
        container,
        &["terminationMessagePath"],
        "/dev/termination-log",
    );
    default_at(container, &["terminationMessagePolicy"], "File");
    default_at(container, &["resources"], json!({}));
    let image = text_at(container, &["image"]);
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
    default_at(
        container,
        &["imagePullPolicy"],
        if latest { "Always" } else { "IfNotPresent" },
    );
    for port in items_mut(container, "ports") {
        default_at(port, &["protocol"], "TCP");
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|p| p.is_object()) {
            let numbers = [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ];
            for (key, value) in numbers {
                default_at(probe, &[key], value);
            }
            if let Some(get) = probe.get_mut("httpGet") {
                default_at(get, &["path"], "/");
                default_at(get, &["scheme"], "HTTP");
            }
        }
    }
}

fn volume_defaults(volume: &mut Value) {
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(source) = volume.get_mut(source).filter(|s| s.is_object()) {
            default_at(source, &["defaultMode"], 420);
        }
    }
    if let Some(path) = volume.get_mut("hostPath").filter(|s| s.is_object()) {
        default_at(path, &["type"], "");
    }
}

fn service(object: &mut Value) {
    default_at(object, &["spec", "type"], "ClusterIP");
    default_at(object, &["spec", "sessionAffinity"], "None");
    if text_at(object, &["spec", "type"]) != "ExternalName" {
        default_at(object, &["spec", "internalTrafficPolicy"], "Cluster");
    }
    if let Some(spec) = object.get_mut("spec") {
        for port in items_mut(spec, "ports") {
            default_at(port, &["protocol"], "TCP");
            let number = port.get("port").cloned().unwrap_or_default();
            default_at(port, &["targetPort"], number);
        }
    }
}

fn allocate_addresses(object: &mut Value) {
    default_at(object, &["status", "loadBalancer"], json!({}));
    if text_at(object, &["spec", "type"]) == "ExternalName" {
        return;
    }
    default_at(object, &["spec", "ipFamilyPolicy"], "SingleStack");
    default_at(object, &["spec", "ipFamilies"], json!(["IPv4"]));
    if at(object, &["spec", "clusterIP"]).is_none() {
        let address = cluster_ip(
            crate::object::namespace(object),
            crate::object::name(object),
        );
        set_at(object, &["spec", "clusterIP"], address.into());
    }
    let address = at(object, &["spec", "clusterIP"])
        .cloned()
        .unwrap_or_default();
    default_at(object, &["spec", "clusterIPs"], Value::Array(vec![address]));
}

/// An address of 10.96.0.0/12 derived from the name, so that the same service always gets the same one.
fn cluster_ip(namespace: &str, name: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(format!("{namespace}/{name}"));
    let byte = |i: usize| digest.get(i).copied().unwrap_or(1);
    format!(
        "10.{}.{}.{}",
        96 + byte(0) % 16,
        byte(1),
        byte(2).clamp(1, 254)
    )
}

fn workload(kind: &str, object: &mut Value) {
    let spec = &mut *object;
    if kind != "DaemonSet" {
        default_at(spec, &["spec", "replicas"], 1);
    }
    match kind {
        "Deployment" => {
            default_at(spec, &["spec", "strategy", "type"], "RollingUpdate");
            if text_at(spec, &["spec", "strategy", "type"]) == "RollingUpdate" {
                default_at(
                    spec,
                    &["spec", "strategy", "rollingUpdate", "maxUnavailable"],
                    "25%",
                );
                default_at(
                    spec,
                    &["spec", "strategy", "rollingUpdate", "maxSurge"],
                    "25%",
                );
            }
            default_at(spec, &["spec", "revisionHistoryLimit"], 10);
            default_at(spec, &["spec", "progressDeadlineSeconds"], 600);
        }
        "DaemonSet" => {
            default_at(spec, &["spec", "updateStrategy", "type"], "RollingUpdate");
            if text_at(spec, &["spec", "updateStrategy", "type"]) == "RollingUpdate" {
                default_at(
                    spec,
                    &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"],
                    1,
                );
                default_at(
                    spec,
                    &["spec", "updateStrategy", "rollingUpdate", "maxSurge"],
                    0,
                );
            }
            default_at(spec, &["spec", "revisionHistoryLimit"], 10);
        }
        "StatefulSet" => {
            default_at(spec, &["spec", "podManagementPolicy"], "OrderedReady");
            default_at(spec, &["spec", "updateStrategy", "type"], "RollingUpdate");
            if text_at(spec, &["spec", "updateStrategy", "type"]) == "RollingUpdate" {
                default_at(
                    spec,
                    &["spec", "updateStrategy", "rollingUpdate", "partition"],
                    0,
                );
            }
            default_at(spec, &["spec", "revisionHistoryLimit"], 10);
        }
        _ => {}
    }
    template(object, &["spec", "template"]);
}

fn template(object: &mut Value, path: &[&str]) {
    let pointer: String = path.iter().map(|p| format!("/{p}")).collect();
    if let Some(spec) = object.pointer_mut(&format!("{pointer}/spec")) {
        pod_spec(spec);
    }
}

fn job(object: &mut Value) {
    for (key, value) in [("parallelism", 1), ("completions", 1), ("backoffLimit", 6)] {
        default_at(object, &["spec", key], value);
    }
    default_at(object, &["spec", "completionMode"], "NonIndexed");
    default_at(object, &["spec", "suspend"], false);
    default_at(
        object,
        &["spec", "podReplacementPolicy"],
        "TerminatingOrFailed",
    );
    template(object, &["spec", "template"]);
}

fn cron_job(object: &mut Value) {
    default_at(object, &["spec", "concurrencyPolicy"], "Allow");
    default_at(object, &["spec", "suspend"], false);
    default_at(object, &["spec", "successfulJobsHistoryLimit"], 3);
    default_at(object, &["spec", "failedJobsHistoryLimit"], 1);
    template(object, &["spec", "jobTemplate", "spec", "template"]);
}

fn binding(object: &mut Value) {
    default_at(
        object,
        &["roleRef", "apiGroup"],
        "rbac.authorization.k8s.io",
    );
    for subject in items_mut(object, "subjects") {
        if matches!(text_at(subject, &["kind"]), "User" | "Group") {
            default_at(subject, &["apiGroup"], "rbac.authorization.k8s.io");
        }
    }
}

/// Times the original always writes, as null when unset.
fn condition_times(kind: &str, object: &mut Value) {
    let keys: &[&str] = match kind {
        "Pod" => &["lastProbeTime", "lastTransitionTime"],
        "Node" => &["lastHeartbeatTime", "lastTransitionTime"],
        _ => return,
    };
    let Some(status) = object.get_mut("status") else {
        return;
    };
    for condition in items_mut(status, "conditions").filter_map(Value::as_object_mut) {
        for key in keys {
            condition.entry(*key).or_insert(Value::Null);
        }
    }
}

/// Drops empty labels, annotations, finalizers and owner references, as typed metadata does.
pub fn tidy_metadata(meta: &mut Map<String, Value>) {
    for key in [
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "managedFields",
    ] {
        let empty = match meta.get(key) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Null) => true,
            _ => false,
        };
        if empty {
            meta.remove(key);
        }
    }
    meta.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
}

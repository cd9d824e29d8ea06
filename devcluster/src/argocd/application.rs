//! `Application` and `AppProject`, as far as a DPUService uses them.

use super::IN_CLUSTER;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
#[cfg(test)]
use kube::core::ObjectMeta;
use kube::{CustomResource, ResourceExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What to deploy where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "Application",
    namespaced,
    schema = "disabled",
    status = "ApplicationStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationSpec {
    /// Project, which limits what may be deployed where.
    pub project: String,
    /// The chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The cluster and namespace.
    pub destination: Destination,
}

/// A chart and its values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// Repository.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Name of the chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<String>,
    /// Path in the repository, where the chart has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Version of the chart.
    pub target_revision: String,
    /// Settings of Helm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helm: Option<Helm>,
}

impl Source {
    /// The chart: its name, or the last part of its path.
    #[must_use]
    pub fn chart_name(&self) -> String {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let path = filled(&self.path).unwrap_or_default();
        let last = path.trim_end_matches('/').rsplit('/').next();
        filled(&self.chart).unwrap_or_else(|| last.unwrap_or_default().to_owned())
    }
}

/// Settings of Helm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Helm {
    /// Name of the release; the name of the Application when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_name: Option<String>,
    /// Values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values_object: Option<Value>,
}

/// Where to deploy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// Name of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// URL of the cluster, where it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl Destination {
    /// Name of the cluster; the management cluster has a well-known URL, too.
    #[must_use]
    pub fn cluster(&self) -> &str {
        let name = self.name.as_deref().filter(|name| !name.is_empty());
        match (name, self.server.as_deref()) {
            (Some(name), _) => name,
            (None, Some("https://kubernetes.default.svc")) => IN_CLUSTER,
            (None, _) => "",
        }
    }

    /// Namespace, `default` when unset.
    #[must_use]
    pub fn namespace(&self) -> String {
        let namespace = self.namespace.clone();
        namespace.unwrap_or_else(|| "default".to_owned())
    }
}

/// What became of it. Kept as JSON: the real status is large, and ours is written, hardly read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApplicationStatus(pub Value);

impl ApplicationStatus {
    /// Whether `other` differs in nothing but times.
    #[must_use]
    pub fn says_the_same(&self, other: Option<&Self>) -> bool {
        let Some(other) = other else { return false };
        ["sync", "health", "resources"]
            .iter()
            .all(|field| self.0.get(field) == other.0.get(field))
            && self.messages() == other.messages()
    }

    fn messages(&self) -> Vec<&Value> {
        let conditions = self.0.get("conditions").and_then(Value::as_array);
        let conditions = conditions.into_iter().flatten();
        conditions.filter_map(|c| c.get("message")).collect()
    }
}

/// How a deployment went.
#[derive(Debug)]
pub enum Outcome {
    /// It is not known what should be deployed.
    Unknown(String),
    /// The destination does not accept it.
    Refused(String),
    /// It is there.
    Deployed(Box<DaemonSet>),
}

impl Outcome {
    /// The status that says so.
    #[must_use]
    pub fn status(&self, application: &Application, now: Timestamp) -> ApplicationStatus {
        let source = application.spec.source.clone().unwrap_or_default();
        let revision = source.target_revision;
        let problem = |type_: &str, message: &str| json!([{"type": type_, "message": message, "lastTransitionTime": now}]);
        let status = match self {
            Self::Unknown(message) => json!({
                "sync": {"status": "Unknown"}, "health": {"status": "Degraded", "message": message},
                "conditions": problem("ComparisonError", message), "resources": null,
            }),
            Self::Refused(message) => json!({
                "sync": {"status": "OutOfSync", "revision": revision},
                "health": {"status": "Missing", "message": message},
                "conditions": problem("SyncError", message), "resources": null,
            }),
            Self::Deployed(set) => {
                let health = health(set);
                json!({
                    "sync": {"status": "Synced", "revision": revision}, "health": health,
                    "conditions": [],
                    "resources": [{
                        "group": "apps", "version": "v1", "kind": "DaemonSet", "status": "Synced", "health": health,
                        "namespace": set.namespace(), "name": set.name_any()
                    }],
                })
            }
        };
        let mut status = status;
        if let Some(sync) = status.get_mut("sync").and_then(Value::as_object_mut) {
            // What this answer is about: one about a former chart or former values does not count.
            sync.insert(
                "comparedTo".to_owned(),
                json!({"source": application.spec.source}),
            );
        }
        if let Some(fields) = status.as_object_mut() {
            // Absent, so that it compares equal to what an API server kept of it.
            fields.retain(|_, value| !value.is_null());
            fields.insert("sourceType".to_owned(), json!("Helm"));
            fields.insert("reconciledAt".to_owned(), json!(now));
        }
        ApplicationStatus(status)
    }
}

/// Healthy when every pod that should run does, in the newest version unless pods are only replaced by hand.
fn health(set: &DaemonSet) -> Value {
    let status = set.status.clone().unwrap_or_default();
    let desired = status.desired_number_scheduled;
    if status.observed_generation != set.metadata.generation {
        return json!({"status": "Progressing", "message": "the DaemonSet was changed and not looked at yet"});
    }
    let strategy = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref());
    let by_hand = strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete");
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let available = status.number_available.unwrap_or(0);
    if !by_hand && updated < desired {
        return json!({"status": "Progressing", "message": format!("{updated} of {desired} pods are of the newest version")});
    }
    if available < desired {
        return json!({"status": "Progressing", "message": format!("{available} of {desired} pods are available")});
    }
    json!({"status": "Healthy"})
}

/// CustomResourceDefinitions of Argo CD, without a schema of their own.
///
/// The status is no subresource: as in the real ones, a client that writes the whole object writes the status, too.
#[must_use]
pub fn crds() -> Vec<Value> {
    let crd = |kind: &str, plural: &str, short: &[&str], columns: Value| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.argoproj.io")},
            "spec": {
                "group": "argoproj.io", "scope": "Namespaced",
                "names": {
                    "kind": kind, "listKind": format!("{kind}List"), "plural": plural,
                    "singular": kind.to_lowercase(), "shortNames": short
                },
                "versions": [{
                    "name": "v1alpha1", "served": true, "storage": true, "subresources": {},
                    "schema": {"openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true
                    }},
                    "additionalPrinterColumns": columns
                }]
            }
        })
    };
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    let columns = json!([
        column("Sync Status", ".status.sync.status"),
        column("Health Status", ".status.health.status"),
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    ]);
    vec![
        crd("Application", "applications", &["app", "apps"], columns),
        crd(
            "AppProject",
            "appprojects",
            &["appproj", "appprojs"],
            json!([]),
        ),
    ]
}

/// Metadata of an Application.
#[cfg(test)]
pub fn named(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::from_value;

    fn set(status: Value) -> DaemonSet {
        from_value(json!({"metadata": {"name": "x", "generation": 2}, "spec": {
            "selector": {}, "template": {}, "updateStrategy": {"type": "RollingUpdate"}
        }, "status": status}))
        .unwrap()
    }

    fn counted(generation: i64, desired: i32, updated: i32, available: i32) -> Value {
        json!({
            "observedGeneration": generation, "desiredNumberScheduled": desired, "updatedNumberScheduled": updated,
            "numberAvailable": available, "currentNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0
        })
    }

    #[test]
    fn health_follows_the_daemon_set() {
        for (status, expected) in [
            (counted(1, 0, 0, 0), "Progressing"),
            (counted(2, 0, 0, 0), "Healthy"),
            (counted(2, 4, 3, 4), "Progressing"),
            (counted(2, 4, 4, 3), "Progressing"),
            (counted(2, 4, 4, 4), "Healthy"),
        ] {
            assert_eq!(health(&set(status.clone()))["status"], expected, "{status}");
        }
    }

    #[test]
    fn a_status_that_only_ages_is_not_written_again() {
        let application = Application {
            metadata: named("ns", "a"),
            spec: ApplicationSpec::default(),
            status: None,
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = Outcome::Unknown("no".to_owned()).status(&application, at(1));
        let second = Outcome::Unknown("no".to_owned()).status(&application, at(2));
        let other = Outcome::Unknown("other".to_owned()).status(&application, at(2));
        assert!(second.says_the_same(Some(&first)));
        assert!(!other.says_the_same(Some(&first)));
        assert!(!first.says_the_same(None));
    }

    #[test]
    fn a_chart_is_named_or_the_last_part_of_the_path() {
        let source = |chart: Option<&str>, path: Option<&str>| Source {
            chart: chart.map(str::to_owned),
            path: path.map(str::to_owned),
            ..Source::default()
        };
        assert_eq!(source(Some("a"), Some("x/b")).chart_name(), "a");
        assert_eq!(source(None, Some("x/b/")).chart_name(), "b");
        assert_eq!(source(Some(""), None).chart_name(), "");
    }
}

//! `Application` and `AppProject` of Argo CD, as far as they are written or read here.

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What Argo CD deploys where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "Application",
    namespaced,
    schema = "disabled",
    status = "ApplicationStatus",
    derive = "Default",
    derive = "PartialEq"
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
    /// When it is deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_policy: Option<SyncPolicy>,
}

/// A chart and its values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// Repository; without `oci://`.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Name of the chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<String>,
    /// Path below the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Version of the chart.
    pub target_revision: String,
    /// Settings of Helm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helm: Option<Helm>,
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
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

/// When it is deployed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncPolicy {
    /// By itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automated: Option<Automated>,
}

/// Deploys by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Automated {
    /// Deletes what the chart no longer renders.
    pub prune: bool,
    /// Reverts changes by others.
    pub self_heal: bool,
}

/// How far Argo CD is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApplicationStatus {
    /// Whether the cluster holds what the chart renders.
    pub sync: Sync,
    /// Whether it works.
    pub health: Health,
    /// What went wrong.
    pub conditions: Option<Vec<Problem>>,
}

/// Whether the cluster holds what the chart renders.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sync {
    /// `Synced`, `OutOfSync` or `Unknown`.
    pub status: String,
    /// What was compared.
    pub compared_to: Option<ComparedTo>,
}

/// What Argo CD compared the cluster with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComparedTo {
    /// The chart.
    pub source: Option<Source>,
}

/// Whether it works.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// `Healthy`, `Progressing`, `Degraded`, `Missing` or `Unknown`.
    pub status: String,
    /// Why.
    pub message: Option<String>,
}

/// A condition of an Application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// For example `ComparisonError`.
    #[serde(rename = "type")]
    pub type_: String,
    /// What a person should know.
    pub message: String,
}

/// What may be deployed where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "AppProject",
    namespaced,
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct AppProjectSpec {
    /// Repositories.
    pub source_repos: Vec<String>,
    /// Clusters and namespaces.
    pub destinations: Vec<Destination>,
    /// Kinds without namespace.
    pub cluster_resource_whitelist: Vec<GroupKind>,
    /// Namespaces of Applications.
    pub source_namespaces: Vec<String>,
    /// Reports what no Application owns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orphaned_resources: Option<Value>,
}

/// A kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupKind {
    /// Its group.
    pub group: String,
    /// Its name.
    pub kind: String,
}

//! The Argo CD objects of a service.

use super::argo::{
    AppProject, AppProjectSpec, Application, ApplicationSpec, Automated, Destination, GroupKind,
    Helm, Source, SyncPolicy,
};
use super::identity::{IN_CLUSTER, application_name};
use crate::fanout::ClusterKey;
use dpf_api::keys::{finalizers, labels};
use dpf_api::svc::DpuService;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Project of Applications for DPU clusters.
const PROJECT_DPU: &str = "doca-platform-project-dpu";
/// Project of Applications for the management cluster.
const PROJECT_HOST: &str = "doca-platform-project-host";

/// Where a service runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The management cluster.
    InCluster,
    /// A DPU cluster.
    Dpu(ClusterKey),
}

impl Target {
    /// The name that Argo CD has for the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::InCluster => IN_CLUSTER,
            Self::Dpu(key) => &key.name,
        }
    }

    fn project(&self) -> &'static str {
        match self {
            Self::InCluster => PROJECT_HOST,
            Self::Dpu(_) => PROJECT_DPU,
        }
    }
}

/// The Application of a service for one target.
#[must_use]
pub fn application(
    service: &DpuService,
    target: &Target,
    values: Value,
    operator_namespace: &str,
) -> Application {
    let namespace = service.namespace().unwrap_or_default();
    let source = &service.spec.helm_chart.source;
    let url = &source.repo_url;
    let mut labels = BTreeMap::from([
        (labels::CLUSTER.to_owned(), target.name().to_owned()),
        (labels::DPUSERVICE_NAME.to_owned(), service.name_any()),
        (labels::DPUSERVICE_NAMESPACE.to_owned(), namespace.clone()),
    ]);
    if let Target::Dpu(key) = target {
        labels.insert(labels::CLUSTER_NAMESPACE.to_owned(), key.namespace.clone());
    }
    let filled = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    Application {
        metadata: ObjectMeta {
            name: Some(application_name(target.name(), &service.name_any())),
            namespace: Some(operator_namespace.to_owned()),
            labels: Some(labels),
            finalizers: Some(vec![finalizers::ARGO_RESOURCES.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: ApplicationSpec {
            project: target.project().to_owned(),
            source: Some(Source {
                repo_url: url.strip_prefix("oci://").unwrap_or(url).to_owned(),
                chart: filled(&source.chart),
                path: filled(&source.path),
                target_revision: source.version.clone(),
                helm: Some(Helm {
                    release_name: filled(&source.release_name),
                    values_object: Some(values),
                }),
            }),
            destination: Destination {
                name: target.name().to_owned(),
                namespace,
            },
            sync_policy: Some(SyncPolicy {
                automated: Some(Automated {
                    prune: true,
                    self_heal: true,
                }),
            }),
        },
        status: None,
    }
}

/// The project of a target; that of the DPU clusters allows all of them.
#[must_use]
pub fn project(target: &Target, clusters: &[ClusterKey], operator_namespace: &str) -> AppProject {
    let names: Vec<&str> = match target {
        Target::InCluster => vec![IN_CLUSTER],
        Target::Dpu(_) => clusters.iter().map(|key| key.name.as_str()).collect(),
    };
    let any = || "*".to_owned();
    AppProject {
        metadata: ObjectMeta {
            name: Some(target.project().to_owned()),
            namespace: Some(operator_namespace.to_owned()),
            ..ObjectMeta::default()
        },
        spec: AppProjectSpec {
            source_repos: vec![any()],
            destinations: names
                .into_iter()
                .map(|name| Destination {
                    name: name.to_owned(),
                    namespace: any(),
                })
                .collect(),
            cluster_resource_whitelist: vec![GroupKind {
                group: any(),
                kind: any(),
            }],
            source_namespaces: vec![operator_namespace.to_owned()],
            orphaned_resources: Some(json!({})),
        },
    }
}

//! What a service depends on. Reads only.

use super::ServiceError;
use crate::fanout::list_clusters;
use crate::kit::remote::key_of;
use crate::kit::{Context, explain};
use dpf_api::keys::labels;
use dpf_api::provisioning::DpuCluster;
use dpf_api::svc::{DpuService, DpuServiceInterface, DpuServiceNad};
use dpf_core::dpuservice::argo::Application;
use dpf_core::fanout::ClusterKey;
use dpf_core::selectors::matches;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;

/// Secrets with this label are copied to DPU clusters.
pub(super) const PULL_SECRET_LABEL: &str = "dpu.nvidia.com/image-pull-secret";

/// The world of one service.
pub(super) struct Observed {
    pub(super) clusters: Vec<DpuCluster>,
    pub(super) applications: Vec<Application>,
    /// Interfaces that the service names, and those that say it uses them.
    pub(super) interfaces: BTreeMap<String, DpuServiceInterface>,
    pub(super) nads: Vec<DpuServiceNad>,
    pub(super) pull_secrets: Vec<Secret>,
}

impl Observed {
    pub(super) fn keys(&self) -> Vec<ClusterKey> {
        self.clusters.iter().map(key_of).collect()
    }

    pub(super) fn selected(&self, service: &DpuService) -> Vec<ClusterKey> {
        let selector = service.spec.dpu_cluster_selector.as_ref();
        self.clusters
            .iter()
            .filter(|cluster| matches(selector, cluster.metadata.labels.as_ref()))
            .map(key_of)
            .collect()
    }
}

pub(super) async fn observe(
    context: &Context,
    service: &DpuService,
) -> Result<Observed, ServiceError> {
    let client = &context.client;
    let namespace = service.namespace().unwrap_or_default();
    let applications: Api<Application> =
        Api::namespaced(client.clone(), &context.settings.operator_namespace);
    let of_service = format!(
        "{}={},{}={namespace}",
        labels::DPUSERVICE_NAME,
        service.name_any(),
        labels::DPUSERVICE_NAMESPACE
    );
    let of_service = ListParams::default().labels(&of_service);
    let pull_secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let labelled = ListParams::default().labels(PULL_SECRET_LABEL);
    let interfaces: Api<DpuServiceInterface> = Api::namespaced(client.clone(), &namespace);
    let nads: Api<DpuServiceNad> = Api::all(client.clone());
    let everything = ListParams::default();
    let wired = service.spec.interfaces.is_some();

    let (clusters, applications, pull_secrets, interfaces, nads) = tokio::join!(
        list_clusters(context),
        applications.list(&of_service),
        pull_secrets.list(&labelled),
        interfaces.list(&everything),
        async {
            if wired {
                nads.list(&everything).await.map(|l| l.items)
            } else {
                Ok(Vec::new())
            }
        },
    );
    let applications = applications.map_err(|error| {
        let missing = matches!(&error, kube::Error::Api(status) if status.code == 404);
        ServiceError::Read {
            what: "Applications",
            message: if missing {
                "the cluster has no kind Application: install Argo CD".to_owned()
            } else {
                explain(&error)
            },
        }
    })?;
    let read = |what: &'static str| {
        move |error: kube::Error| ServiceError::Read {
            what,
            message: explain(&error),
        }
    };
    Ok(Observed {
        clusters: clusters?,
        applications: applications.items,
        pull_secrets: pull_secrets.map_err(read("image pull Secrets"))?.items,
        interfaces: interfaces
            .map_err(read("DPUServiceInterfaces"))?
            .items
            .into_iter()
            .map(|interface| (interface.name_any(), interface))
            .collect(),
        nads: nads.map_err(read("DPUServiceNADs"))?,
    })
}

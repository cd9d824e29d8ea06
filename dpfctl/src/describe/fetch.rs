//! Reads what the tree shows: one LIST per kind.

use anyhow::{Context as _, anyhow};
use dpf_api::{operator, provisioning, svc};
use kube::api::{Api, ApiResource, ListParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Client, ResourceExt};

/// The objects of one moment. Kinds that are not installed are empty.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// DPFOperatorConfig: the root, if there is one.
    pub config: Option<DynamicObject>,
    /// DPUDeployments that were asked for.
    pub deployments: Vec<DynamicObject>,
    /// DPUServiceChains.
    pub chains: Vec<DynamicObject>,
    /// DPUServiceInterfaces.
    pub interfaces: Vec<DynamicObject>,
    /// DPUSets.
    pub sets: Vec<DynamicObject>,
    /// BFBs.
    pub bfbs: Vec<DynamicObject>,
    /// DPUs.
    pub dpus: Vec<DynamicObject>,
    /// DPUServiceTemplates.
    pub templates: Vec<DynamicObject>,
    /// DPUServices.
    pub services: Vec<DynamicObject>,
    /// Argo CD Applications.
    pub applications: Vec<DynamicObject>,
}

/// Which DPUDeployments.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this name.
    pub name: Option<String>,
    /// Only in this namespace.
    pub namespace: Option<String>,
}

/// Lists everything the tree of the deployments in `scope` may need.
///
/// # Errors
/// When the cluster does not answer, does not have our kinds, or has no such deployment.
pub async fn observe(client: &Client, scope: &Scope) -> anyhow::Result<Observed> {
    let deployments = list(client, svc::GROUP, "DPUDeployment")
        .await?
        .ok_or_else(|| {
            anyhow!(
                "this cluster does not know DPUDeployments: install the CustomResourceDefinitions (deploy/crds), \
             or point --kubeconfig at the management cluster"
            )
        })?;
    let mut deployments: Vec<_> = deployments
        .into_iter()
        .filter(|d| scope.name.as_ref().is_none_or(|name| d.name_any() == *name))
        .filter(|d| scope.namespace.is_none() || d.namespace() == scope.namespace)
        .collect();
    if let (Some(name), true) = (&scope.name, deployments.is_empty()) {
        let place = scope.namespace.as_ref().map_or_else(
            || "any namespace".to_owned(),
            |namespace| format!("namespace {namespace}"),
        );
        return Err(anyhow!(
            "there is no DPUDeployment {name} in {place}; list them with: kubectl get dpudeployments -A"
        ));
    }
    deployments.sort_by_key(|d| (d.namespace(), d.name_any()));
    let optional = async |group, kind| -> anyhow::Result<Vec<DynamicObject>> {
        Ok(list(client, group, kind).await?.unwrap_or_default())
    };
    Ok(Observed {
        deployments,
        config: optional(operator::GROUP, "DPFOperatorConfig").await?.pop(),
        chains: optional(svc::GROUP, "DPUServiceChain").await?,
        interfaces: optional(svc::GROUP, "DPUServiceInterface").await?,
        sets: optional(provisioning::GROUP, "DPUSet").await?,
        bfbs: optional(provisioning::GROUP, "BFB").await?,
        dpus: optional(provisioning::GROUP, "DPU").await?,
        templates: optional(svc::GROUP, "DPUServiceTemplate").await?,
        services: optional(svc::GROUP, "DPUService").await?,
        applications: optional("argoproj.io", "Application").await?,
    })
}

/// All objects of a kind; `None` when the cluster does not know the kind.
async fn list(
    client: &Client,
    group: &str,
    kind: &str,
) -> anyhow::Result<Option<Vec<DynamicObject>>> {
    let gvk = GroupVersionKind::gvk(group, "v1alpha1", kind);
    let resource =
        ApiResource::from_gvk_with_plural(&gvk, &format!("{}s", kind.to_ascii_lowercase()));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    match api.list(&ListParams::default()).await {
        Ok(found) => Ok(Some(found.items)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!(
                "failed to list {}.{group}; check that the server of the kubeconfig is running",
                resource.plural
            )
        }),
    }
}

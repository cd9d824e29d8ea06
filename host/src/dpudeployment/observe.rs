//! Reads a deployment, what it refers to and what it owns.

use super::child::Child;
use super::error::Error;
use super::strays::{Strays, is_owned};
use dpf_api::keys::labels::{OWNED_BY_DPUDEPLOYMENT, owner_value};
use dpf_api::svc::DpuDeployment;
use dpf_core::dpudeployment::marks::mark_label;
use dpf_core::dpudeployment::{Marked, Observed};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;

trait Readable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
}
impl<K> Readable for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
{
}

/// Reads everything a pass needs, straight from the API server; nothing if the deployment is gone.
pub(super) async fn observe(
    client: &Client,
    deployment: &DpuDeployment,
    strays: &Strays,
) -> Result<Option<Observed>, Error> {
    let namespace = deployment.namespace().unwrap_or_default();
    let reader = Reader {
        client,
        namespace: &namespace,
    };
    let name = deployment.name_any();
    // The watch may lag behind: what is written must follow from what is.
    let Some(deployment) = reader.get::<DpuDeployment>(&name).await? else {
        return Ok(None);
    };
    let owned = ListParams::default().labels(&format!(
        "{OWNED_BY_DPUDEPLOYMENT}={}",
        owner_value(&namespace, &name)
    ));
    let marked = ListParams::default().labels(&mark_label(&namespace, &name));
    let dpus = &deployment.spec.dpus;
    let (bfb, flavor) = (
        reader.get_named(dpus.bfb.as_deref()).await?,
        reader.get_named(dpus.flavor.as_deref()).await?,
    );
    let mut templates = BTreeMap::new();
    let mut configurations = BTreeMap::new();
    for service in deployment.spec.services.values() {
        if let Some(template) = reader.get(&service.service_template).await? {
            templates.insert(service.service_template.clone(), template);
        }
        if let Some(configuration) = reader.get(&service.service_configuration).await? {
            configurations.insert(service.service_configuration.clone(), configuration);
        }
    }
    Ok(Some(Observed {
        bfb,
        flavor,
        templates,
        configurations,
        marked: Marked {
            bfbs: reader.list(&marked).await?,
            flavors: reader.list(&marked).await?,
            templates: reader.list(&marked).await?,
            configurations: reader.list(&marked).await?,
        },
        services: reader.children(&owned, &deployment, strays).await?,
        interfaces: reader.children(&owned, &deployment, strays).await?,
        chains: reader.children(&owned, &deployment, strays).await?,
        sets: reader.children(&owned, &deployment, strays).await?,
        // A set passes its own labels on to its DPUs.
        dpus: reader.list(&owned).await?,
        deployment,
    }))
}

struct Reader<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl Reader<'_> {
    async fn get<K: Readable>(&self, name: &str) -> Result<Option<K>, Error> {
        Api::<K>::namespaced(self.client.clone(), self.namespace)
            .get_opt(name)
            .await
            .map_err(|source| Error::Read {
                what: format!("{} {}/{name}", K::kind(&()), self.namespace),
                source: Box::new(source),
            })
    }

    async fn get_named<K: Readable>(&self, name: Option<&str>) -> Result<Option<K>, Error> {
        match name {
            Some(name) => self.get(name).await,
            None => Ok(None),
        }
    }

    /// Those with the label of the deployment, and those that lost it.
    async fn children<K: Child>(
        &self,
        labelled: &ListParams,
        deployment: &DpuDeployment,
        strays: &Strays,
    ) -> Result<Vec<K>, Error> {
        let mut children: Vec<K> = self.list(labelled).await?;
        let owner = (self.namespace.to_owned(), deployment.name_any());
        for name in strays.names::<K>(&owner) {
            if children.iter().any(|child| child.name_any() == name) {
                continue;
            }
            match self.get::<K>(&name).await? {
                Some(child) if is_owned(&child, deployment.metadata.uid.as_deref()) => {
                    children.push(child);
                }
                _ => strays.forget(&owner, K::KIND, &name),
            }
        }
        Ok(children)
    }

    async fn list<K: Readable>(&self, params: &ListParams) -> Result<Vec<K>, Error> {
        let list = Api::<K>::namespaced(self.client.clone(), self.namespace)
            .list(params)
            .await;
        list.map(|list| list.items).map_err(|source| Error::Read {
            what: format!("the {} of namespace {}", K::plural(&()), self.namespace),
            source: Box::new(source),
        })
    }
}

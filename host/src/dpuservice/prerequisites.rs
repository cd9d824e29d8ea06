//! What must be there before Argo CD can deploy: projects, cluster Secrets, namespaces, image pull Secrets.

use super::observe::{Observed, PULL_SECRET_LABEL};
use crate::fanout::ensure_namespace;
use crate::kit::remote::{CALL_TIMEOUT, key_of};
use crate::kit::{Connection, Context, WriteError, apply, delete, explain};
use dpf_api::keys::managers;
use dpf_api::provisioning::DpuCluster;
use dpf_api::svc::DpuService;
use dpf_core::dpuservice::argo::AppProject;
use dpf_core::dpuservice::{Target, project};
use dpf_core::drift::metadata_drifted;
use futures::future::join_all;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Argo CD finds its clusters by this label.
const CLUSTER_SECRET_LABEL: (&str, &str) = ("argocd.argoproj.io/secret-type", "cluster");

/// What is prepared.
pub(super) struct Prepared {
    /// What failed.
    pub(super) problems: Vec<String>,
    /// Names of the clusters where it failed.
    pub(super) unusable: BTreeSet<String>,
}

/// Prepares all targets at the same time; one that fails delays no other.
pub(super) async fn prepare(
    context: &Context,
    service: &DpuService,
    observed: &Observed,
) -> Prepared {
    let in_cluster = service.spec.deploy_in_cluster == Some(true);
    let keys = observed.keys();
    let target = match keys.first() {
        Some(key) if !in_cluster => Some(Target::Dpu(key.clone())),
        _ if in_cluster => Some(Target::InCluster),
        _ => None,
    };
    let mut prepared = Prepared {
        problems: Vec::new(),
        unusable: BTreeSet::new(),
    };
    if let Some(target) = target {
        let desired = project(&target, &keys, &context.settings.operator_namespace);
        if let Err(error) = ensure_project(context, desired).await {
            prepared.problems.push(error);
        }
    }
    if in_cluster {
        return prepared;
    }
    let selected: BTreeSet<_> = observed.selected(service).into_iter().collect();
    let clusters: Vec<&DpuCluster> = observed
        .clusters
        .iter()
        .filter(|cluster| selected.contains(&key_of(cluster)))
        .collect();
    let results = join_all(clusters.iter().map(|cluster| {
        let work = prepare_cluster(context, service, cluster, &observed.pull_secrets);
        async move {
            tokio::time::timeout(CALL_TIMEOUT, work)
                .await
                .unwrap_or_else(|_| {
                    Err(format!(
                        "no answer within {} seconds",
                        CALL_TIMEOUT.as_secs()
                    ))
                })
        }
    }))
    .await;
    for (cluster, result) in clusters.iter().zip(results) {
        if let Err(problem) = result {
            prepared
                .problems
                .push(format!("DPUCluster {}: {problem}", key_of(cluster)));
            prepared.unusable.insert(cluster.name_any());
        }
    }
    prepared
}

/// Removes the copies of image pull Secrets when no DPUService of the namespace is left to need them.
pub(super) async fn clean_up(
    context: &Context,
    service: &DpuService,
    observed: &Observed,
) -> Vec<String> {
    let namespace = service.namespace().unwrap_or_default();
    let services: Api<DpuService> = Api::namespaced(context.client.clone(), &namespace);
    let others = match services.list(&ListParams::default()).await {
        Ok(list) => list,
        Err(error) => return vec![format!("failed to list DPUServices: {}", explain(&error))],
    };
    if others
        .iter()
        .any(|other| other.metadata.deletion_timestamp.is_none())
    {
        return Vec::new();
    }
    let results = join_all(observed.clusters.iter().map(|cluster| async {
        let connection = connect(context, cluster).await?;
        let copied = mirror(&connection.client, &namespace, &[]);
        tokio::time::timeout(CALL_TIMEOUT, copied)
            .await
            .unwrap_or_else(|_| {
                Err(format!(
                    "no answer within {} seconds",
                    CALL_TIMEOUT.as_secs()
                ))
            })
    }))
    .await;
    observed
        .clusters
        .iter()
        .zip(results)
        .filter_map(|(cluster, result)| {
            Some(format!("DPUCluster {}: {}", key_of(cluster), result.err()?))
        })
        .collect()
}

async fn ensure_project(context: &Context, desired: AppProject) -> Result<(), String> {
    let namespace = &context.settings.operator_namespace;
    let api: Api<AppProject> = Api::namespaced(context.client.clone(), namespace);
    let observed = api.get_opt(&desired.name_any()).await.map_err(|error| {
        format!(
            "failed to read AppProject {}: {}",
            desired.name_any(),
            explain(&error)
        )
    })?;
    if observed.is_some_and(|observed| observed.spec == desired.spec) {
        return Ok(());
    }
    apply(&context.client, managers::DPUSERVICE, &desired)
        .await
        .map(|_| ())
        .map_err(|error| error.message())
}

async fn connect(context: &Context, cluster: &DpuCluster) -> Result<Connection, String> {
    let key = key_of(cluster);
    context
        .dpu_clusters
        .connection(
            &key.namespace,
            &key.name,
            cluster.spec.kubeconfig.as_deref(),
        )
        .await
        .map_err(|error| error.to_string())
}

async fn prepare_cluster(
    context: &Context,
    service: &DpuService,
    cluster: &DpuCluster,
    pull_secrets: &[Secret],
) -> Result<(), String> {
    let connection = connect(context, cluster).await?;
    ensure_cluster_secret(context, cluster, &connection.kubeconfig).await?;
    let namespace = service.namespace().unwrap_or_default();
    ensure_namespace(&connection.client, &namespace)
        .await
        .map_err(|error| error.message())?;
    mirror(&connection.client, &namespace, pull_secrets).await
}

/// Tells Argo CD how to reach the cluster, in the Secret that already does or in a new one.
async fn ensure_cluster_secret(
    context: &Context,
    cluster: &DpuCluster,
    kubeconfig: &Kubeconfig,
) -> Result<(), String> {
    let namespace = &context.settings.operator_namespace;
    let name = cluster.name_any();
    let data = cluster_secret(&name, kubeconfig)
        .ok_or("its kubeconfig names no server, or no user that Argo CD could be")?;
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let selector = format!("{}={}", CLUSTER_SECRET_LABEL.0, CLUSTER_SECRET_LABEL.1);
    let existing = api
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(|error| {
            format!(
                "failed to list cluster Secrets of Argo CD: {}",
                explain(&error)
            )
        })?;
    let same_name = |secret: &&Secret| {
        let data = secret.data.as_ref();
        data.and_then(|d| d.get("name"))
            .is_some_and(|value| value.0 == name.as_bytes())
    };
    let existing = existing.items.iter().find(same_name);
    if existing.is_some_and(|secret| secret.data.as_ref() == Some(&data)) {
        return Ok(());
    }
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(
                existing.map_or_else(|| format!("{name}-argocd-cluster"), ResourceExt::name_any),
            ),
            namespace: Some(namespace.clone()),
            labels: Some(BTreeMap::from([(
                CLUSTER_SECRET_LABEL.0.to_owned(),
                CLUSTER_SECRET_LABEL.1.to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..Secret::default()
    };
    apply(&context.client, managers::DPUSERVICE, &secret)
        .await
        .map(|_| ())
        .map_err(|error| error.message())
}

/// The data of a cluster Secret from a kubeconfig; credentials go from one Secret into another and nowhere else.
fn cluster_secret(name: &str, kubeconfig: &Kubeconfig) -> Option<BTreeMap<String, ByteString>> {
    let cluster = kubeconfig.clusters.first()?.cluster.as_ref()?;
    let server = cluster.server.clone()?;
    let user = kubeconfig.auth_infos.first()?.auth_info.as_ref()?;
    let user = serde_json::to_value(user).ok()?;
    let mut tls = serde_json::Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            tls.insert(key.to_owned(), value);
        }
    };
    put(
        "caData",
        cluster
            .certificate_authority_data
            .clone()
            .map(Value::String),
    );
    put("certData", user.get("client-certificate-data").cloned());
    put("keyData", user.get("client-key-data").cloned());
    put(
        "insecure",
        cluster
            .insecure_skip_tls_verify
            .filter(|skip| *skip)
            .map(Value::Bool),
    );
    let mut config = json!({"tlsClientConfig": tls});
    if let (Some(token), Some(fields)) = (user.get("token"), config.as_object_mut()) {
        fields.insert("bearerToken".to_owned(), token.clone());
    }
    let text = |value: String| ByteString(value.into_bytes());
    Some(BTreeMap::from([
        ("name".to_owned(), text(name.to_owned())),
        ("server".to_owned(), text(server)),
        ("config".to_owned(), text(config.to_string())),
    ]))
}

/// Makes the labelled Secrets of a namespace in a DPU cluster equal to `sources`.
async fn mirror(client: &Client, namespace: &str, sources: &[Secret]) -> Result<(), String> {
    let message = |error: WriteError| error.message();
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let copies = api
        .list(&ListParams::default().labels(PULL_SECRET_LABEL))
        .await
        .map_err(|error| format!("failed to list image pull Secrets: {}", explain(&error)))?;
    for source in sources {
        let desired = Secret {
            metadata: ObjectMeta {
                name: source.metadata.name.clone(),
                namespace: Some(namespace.to_owned()),
                labels: source.metadata.labels.clone(),
                ..ObjectMeta::default()
            },
            type_: source.type_.clone(),
            data: source.data.clone(),
            immutable: source.immutable,
            string_data: None,
        };
        let same = copies.iter().any(|copy| {
            copy.name_any() == desired.name_any()
                && copy.data == desired.data
                && copy.type_ == desired.type_
                && !metadata_drifted(managers::DPUSERVICE, &desired.metadata, &copy.metadata)
        });
        if !same {
            apply(client, managers::DPUSERVICE, &desired)
                .await
                .map_err(message)?;
        }
    }
    for copy in &copies {
        if !sources
            .iter()
            .any(|source| source.name_any() == copy.name_any())
        {
            delete(client, copy).await.map_err(message)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argo_gets_the_credentials_of_the_kubeconfig() {
        let token = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n\
                     users: [{name: u, user: {token: t}}]\n";
        let certificate = "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority-data: Y2E=}}]\n\
                           users: [{name: u, user: {client-certificate-data: Yw==, client-key-data: aw==}}]\n";
        for (kubeconfig, server, config) in [
            (
                token,
                "http://127.0.0.1:1",
                json!({"bearerToken": "t", "tlsClientConfig": {}}),
            ),
            (
                certificate,
                "https://h",
                json!({"tlsClientConfig": {"caData": "Y2E=", "certData": "Yw==", "keyData": "aw=="}}),
            ),
        ] {
            let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
            let data = cluster_secret("c", &kubeconfig).unwrap();
            assert_eq!(data["name"].0, b"c");
            assert_eq!(data["server"].0, server.as_bytes());
            assert_eq!(
                serde_json::from_slice::<Value>(&data["config"].0).unwrap(),
                config
            );
        }
    }
}

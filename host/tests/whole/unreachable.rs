//! Deletion while a DPU cluster does not answer.

use crate::world::{INVENTORY, NAME, NAMESPACE, PATIENCE, World};
use dpf_api::conditions::dpudeployment as types;
use dpf_api::provisioning::DpuSet;
use dpf_api::svc::{DpuDeployment, DpuServiceChain};
use dpf_core::dpuservice::argo::Application;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use std::time::{Duration, Instant};

/// What is in the cluster that does not answer is waited for by name; what Argo CD removes, goes; the sets stay until the others
/// are gone.
#[tokio::test]
async fn a_cluster_that_does_not_answer_is_named_and_the_rest_goes() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(dir.path()).await;
    world.apply_example().await;
    world.start_host().await;
    world.converge().await;
    world.cluster.close_dpu_cluster().await;
    let client = world.cluster.host.clone();
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    deployments
        .delete(NAME, &DeleteParams::default())
        .await
        .unwrap();

    let applications: Api<Application> = Api::namespaced(client.clone(), INVENTORY);
    let started = Instant::now();
    loop {
        let conditions = world.conditions().await;
        let told = |type_: &str| {
            let condition = conditions.iter().find(|c| c.type_ == type_);
            condition.map(|c| c.message.clone()).unwrap_or_default()
        };
        let named = [
            types::DPUSERVICECHAINS_RECONCILED,
            types::DPUSERVICEINTERFACES_RECONCILED,
            types::DPUSERVICES_RECONCILED,
        ];
        let named = named
            .iter()
            .all(|type_| told(type_).contains("DPUCluster dpf-operator-system/"));
        let left = applications
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        if named && left.is_empty() {
            break;
        }
        if started.elapsed() > PATIENCE {
            panic!("{conditions:#?}\n{} Applications are left", left.len());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let chains: Api<DpuServiceChain> = Api::namespaced(client.clone(), NAMESPACE);
    let sets: Api<DpuSet> = Api::namespaced(client, NAMESPACE);
    assert_eq!(
        chains
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    let sets = sets.list(&ListParams::default()).await.unwrap().items;
    assert!(
        sets.len() == 2
            && sets
                .iter()
                .all(|set| set.metadata.deletion_timestamp.is_none())
    );
    world.stop().await;
}

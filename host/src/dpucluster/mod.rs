//! Controller of DPUCluster: is the cluster there, and does it answer.
//!
//! ```text
//!  Pending ──> Creating ──> Ready <──> NotReady
//! ```

use crate::kit::write_whole_status;
use crate::kit::{
    self, Context, Failure, Next, Shutdown, add_finalizer, explain, remove_finalizer,
    run as run_controller,
};
use dpf_api::conditions::{READY, dpucluster as types};
use dpf_api::keys::{finalizers, managers};
use dpf_api::provisioning::{Dpu, DpuCluster, DpuClusterPhase, DpuClusterStatus};
use dpf_core::conditions::Conditions;
use dpf_core::dpucluster::assigned;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use std::sync::Arc;
use std::time::Duration;

/// How often a cluster that answers is asked again.
const HEALTHY: Duration = Duration::from_secs(60);
/// How often one that does not is asked again.
const UNHEALTHY: Duration = Duration::from_secs(5);
/// A cluster that does not answer within this time is not ready.
const ANSWER: Duration = Duration::from_secs(5);

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let client = context.client.clone();
    let controller = Controller::new(
        Api::<DpuCluster>::all(client.clone()),
        watcher::Config::default(),
    );
    let controller =
        controller.watches(Api::<Dpu>::all(client), watcher::Config::default(), |dpu| {
            let cluster = dpu.spec.cluster?;
            Some(ObjectRef::new(cluster.name.as_deref()?).within(cluster.namespace.as_deref()?))
        });
    run_controller(controller, context, shutdown, reconcile).await;
}

async fn reconcile(cluster: Arc<DpuCluster>, context: Arc<Context>) -> Result<Next, Failure> {
    let cluster = cluster.as_ref();
    let client = &context.client;
    if cluster.metadata.deletion_timestamp.is_some() {
        remove_finalizer(
            client,
            managers::DPUCLUSTER,
            cluster,
            finalizers::DPUCLUSTER,
        )
        .await?;
        return Ok(Next::OnEvent);
    }
    if add_finalizer(
        client,
        managers::DPUCLUSTER,
        cluster,
        finalizers::DPUCLUSTER,
    )
    .await?
    {
        return Ok(Next::OnEvent);
    }
    let dpus: Vec<Dpu> = kit::list(client, None).await?;
    let mut status = cluster.status.clone().unwrap_or_default();
    status.nodes_count = i32::try_from(assigned(cluster, &dpus)).ok();
    let generation = cluster.metadata.generation.unwrap_or_default();
    let mut conditions =
        Conditions::new(status.conditions.as_deref(), &[], generation, context.now());
    let next = examine(&context, cluster, &mut status, &mut conditions).await;
    status.conditions = Some(conditions.into_list());
    write_whole_status(&context, managers::DPUCLUSTER, cluster, &status, &[]).await?;
    Ok(next)
}

/// Asks the cluster for its version.
async fn examine(
    context: &Context,
    cluster: &DpuCluster,
    status: &mut DpuClusterStatus,
    conditions: &mut Conditions,
) -> Next {
    let was_usable = matches!(
        status.phase,
        DpuClusterPhase::Ready | DpuClusterPhase::NotReady
    );
    let without = if was_usable {
        DpuClusterPhase::NotReady
    } else {
        DpuClusterPhase::Creating
    };
    if cluster.spec.kubeconfig.as_deref().is_none_or(str::is_empty) {
        status.phase = without;
        let message = if cluster.spec.type_ == "static" {
            "spec.kubeconfig is not set: name a Secret with key admin.conf in the namespace of the DPUCluster".to_owned()
        } else {
            format!(
                "the manager of type {} has not set spec.kubeconfig",
                cluster.spec.type_
            )
        };
        conditions.put(types::CREATED, "False", "EmptyKubeconfig", &message);
        conditions.put(READY, "False", "EmptyKubeconfig", &message);
        return Next::OnEvent;
    }
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let connection = context
        .dpu_clusters
        .client(&namespace, &name, cluster.spec.kubeconfig.as_deref())
        .await;
    let client = match connection {
        Ok(client) => client,
        Err(error) => {
            use crate::kit::Classified as _;
            status.phase = without;
            let message = crate::kit::in_one_line(&error);
            conditions.put(types::CREATED, "False", error.reason(), &message);
            conditions.put(READY, "False", error.reason(), &message);
            return Next::After(UNHEALTHY);
        }
    };
    conditions.put(types::CREATED, "True", types::CREATED, "");
    match tokio::time::timeout(ANSWER, client.apiserver_version()).await {
        Ok(Ok(version)) => {
            status.phase = DpuClusterPhase::Ready;
            status.version = Some(version.git_version);
            conditions.put(READY, "True", "HealthCheckPassed", "");
            Next::After(HEALTHY)
        }
        failed => {
            let cause = match failed {
                Ok(Err(error)) => explain(&error),
                _ => format!("no answer within {} s", ANSWER.as_secs()),
            };
            status.phase = if was_usable {
                DpuClusterPhase::NotReady
            } else {
                DpuClusterPhase::Creating
            };
            let message = format!("the API server of the cluster cannot be used: {cause}");
            conditions.put(READY, "False", "HealthCheckFailed", &message);
            Next::After(UNHEALTHY)
        }
    }
}

//! What a user does to a running deployment besides changing its spec: edits a referenced object and waits at once, edits
//! children by hand, changes what cannot be changed in place.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

use anyhow::{Context, ensure};
use dpf_api::conditions::dpunode;
use dpf_api::keys::labels;
use dpf_api::provisioning::DpuSet;
use dpf_api::svc::{
    DpuDeployment, DpuService, DpuServiceChain, DpuServiceConfiguration, DpuServiceInterface,
};
use dpf_tests::journal::Journal;
use dpf_tests::{Demo, eventually, has_kubectl, manifests};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Not the namespace of the operator, and not that of the example either.
const NAMESPACE: &str = "team-a";
const NAME: &str = "producer-consumer";
const SERVICE: &str = "producer";
/// Edits that are waited for, one after the other.
const EDITS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_running_deployment_follows_its_references_and_keeps_its_children() {
    let demo = Demo::start(&[]).await.unwrap();
    if let Err(error) = all(&demo).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

async fn all(demo: &Demo) -> anyhow::Result<()> {
    let client = demo.client().await?;
    let text = serde_json::to_string(&manifests("examples/producer-consumer")?)?;
    let elsewhere: Vec<Value> =
        serde_json::from_str(&text.replace("customer-namespace", NAMESPACE))?;
    demo.apply(&elsewhere).await?;
    demo.rolled_out(NAME, NAMESPACE)
        .await
        .context("in a namespace of its own")?;
    // In place, so that each edit takes a moment and no node is disturbed.
    configure(
        &client,
        json!({"upgradePolicy": {"applyNodeEffect": false}}),
    )
    .await?;
    api::<DpuDeployment>(&client)
        .patch(
            NAME,
            &PatchParams::default(),
            &Patch::Merge(
                json!({"spec": {"serviceChains": {"upgradePolicy": {"applyNodeEffect": false}}}}),
            ),
        )
        .await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    ready_tells_the_truth(demo, &client)
        .await
        .context("waiting right after an edit")?;
    manual_edits_are_reverted(&client)
        .await
        .context("manual edits")?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    labels_taken_away(&client)
        .await
        .context("labels taken away")?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    hosts_in_turn(demo, &client)
        .await
        .context("one host after the other")?;
    a_service_leaves(demo, &client)
        .await
        .context("a service leaves")?;
    another_virtual_network(&client)
        .await
        .context("another virtual network")
}

fn api<K>(client: &Client) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Changes the configuration of the service; the object afterwards.
async fn configure(client: &Client, spec: Value) -> anyhow::Result<DpuServiceConfiguration> {
    let change = json!({ "spec": spec });
    let configurations = api::<DpuServiceConfiguration>(client);
    Ok(configurations
        .patch(SERVICE, &PatchParams::default(), &Patch::Merge(change))
        .await?)
}

/// The one object of a kind that belongs to the service, or to the deployment where the kind has no service.
async fn only<K>(client: &Client) -> anyhow::Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let objects = api::<K>(client).list(&ListParams::default()).await?;
    let mut objects = objects.items.into_iter().filter(|object| {
        let service = object.labels().get(labels::DPUDEPLOYMENT_SERVICE);
        service.is_none_or(|service| service == SERVICE)
            && object.meta().deletion_timestamp.is_none()
    });
    let first = objects.next();
    let more = objects.count();
    ensure!(more == 0, "{} more {}", more, K::plural(&()));
    first.with_context(|| format!("no {}", K::kind(&())))
}

/// `kubectl wait` and `dpfctl wait` in the moment after an edit of a referenced object.
async fn ready_tells_the_truth(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    for edit in 0..EDITS {
        let value = format!("edit-{edit}");
        let journal =
            Journal::start(client, "svc.dpu.nvidia.com", "DPUDeployment", NAMESPACE).await?;
        let changed = configure(
            client,
            json!({"serviceConfiguration": {"serviceDaemonSet": {"annotations": {"example.com/edit": value}}}}),
        )
        .await?;
        let generation = changed.metadata.generation.unwrap_or_default();
        if has_kubectl() {
            let target = format!("dpudeployment/{NAME}");
            demo.kubectl_ok(&[
                "wait",
                "--for=condition=Ready",
                &target,
                "-n",
                NAMESPACE,
                "--timeout=180s",
            ])
            .await?;
            let deployment = api::<DpuDeployment>(client).get(NAME).await?;
            if speaks_of(&deployment) < generation {
                // The controller had not seen the edit; the status says of which generation it speaks.
                eprintln!("kubectl wait returned before the controller saw the edit");
            } else {
                runs(client, &value).await.context("kubectl wait")?;
            }
        }
        demo.rolled_out(NAME, NAMESPACE).await?;
        runs(client, &value).await.context("dpfctl wait")?;
        // The first status about the new generation says that it is not rolled out.
        let entries = journal.entries()?;
        let about_the_edit = entries.iter().find(|entry| {
            let deployment = serde_json::to_value(&entry.object).unwrap_or_default();
            let deployment = serde_json::from_value::<DpuDeployment>(deployment);
            deployment.is_ok_and(|deployment| speaks_of(&deployment) == generation)
        });
        let first = about_the_edit.context("no status speaks of the edit")?;
        ensure!(first.ready() == "False", "{}", first.line());
    }
    Ok(())
}

/// The generation of the configuration that the status of the deployment speaks of.
fn speaks_of(deployment: &DpuDeployment) -> i64 {
    let status = deployment.status.clone().unwrap_or_default();
    let mut dependencies = status.observed_dependencies.into_iter().flatten();
    let configuration =
        dependencies.find(|d| d.kind == "DPUServiceConfiguration" && d.name == SERVICE);
    configuration.and_then(|d| d.generation).unwrap_or_default()
}

/// The service has the annotation, and is ready with it.
async fn runs(client: &Client, value: &str) -> anyhow::Result<()> {
    let service: DpuService = only(client).await?;
    let annotations = service.spec.service_daemon_set.and_then(|d| d.annotations);
    let annotations = annotations.unwrap_or_default();
    ensure!(
        annotations
            .get("example.com/edit")
            .is_some_and(|v| v == value),
        "{annotations:?}"
    );
    let conditions = service
        .status
        .and_then(|s| s.conditions)
        .unwrap_or_default();
    let ready = conditions.iter().find(|c| c.type_ == "Ready");
    let ready = ready.context("no Ready")?;
    ensure!(
        ready.status == "True" && ready.observed_generation == service.metadata.generation,
        "{ready:?}"
    );
    Ok(())
}

/// What the deployment wrote comes back, in the same object; what it did not write stays.
async fn manual_edits_are_reverted(client: &Client) -> anyhow::Result<()> {
    let edit = json!({"spec": {"serviceDaemonSet": {"annotations": {"sre.nvidia.com/page": "edited"}},
        "helmChart": {"source": {"version": "v9.9.9"}}}});
    reverted::<DpuService>(client, edit).await?;
    let edit = json!({"spec": {"template": {"spec": {"template": {"spec": {"service": {"network": "edited"}}}}}}});
    reverted::<DpuServiceInterface>(client, edit).await?;
    let edit = json!({"spec": {"template": {"spec": {"template": {"spec": {"switches": [{"ports": [
        {"serviceInterface": {"matchLabels": {"edited": "yes"}}}]}]}}}}}});
    reverted::<DpuServiceChain>(client, edit).await
}

async fn reverted<K>(client: &Client, edit: Value) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let before: K = only(client).await?;
    let spec = |object: &K| serde_json::to_value(object).map(|mut object| object["spec"].take());
    let children = api::<K>(client);
    let person = PatchParams {
        field_manager: Some("kubectl-edit".to_owned()),
        ..PatchParams::default()
    };
    let name = before.name_any();
    let mut edit = edit;
    edit["metadata"] = json!({"labels": {"example.com/mine": "yes"}});
    let edited = children.patch(&name, &person, &Patch::Merge(&edit)).await?;
    ensure!(
        spec(&edited)? != spec(&before)?,
        "the edit changed nothing: {edit}"
    );
    eventually(&format!("{} is as it was", K::kind(&())), || async {
        let now = children.get(&name).await?;
        ensure!(now.uid() == before.uid(), "it is another object");
        let (now_spec, before_spec) = (spec(&now)?, spec(&before)?);
        ensure!(
            now_spec == before_spec,
            "{now_spec}\ninstead of\n{before_spec}"
        );
        ensure!(
            now.labels().contains_key("example.com/mine"),
            "a label of somebody else went"
        );
        Ok(())
    })
    .await
}

/// Children whose names are not those of their present version lose the label by which they are found. They get it back, and
/// no second one is made.
async fn labels_taken_away(client: &Client) -> anyhow::Result<()> {
    labelled_again::<DpuService>(client).await?;
    labelled_again::<DpuServiceInterface>(client).await?;
    labelled_again::<DpuServiceChain>(client).await?;
    labelled_again::<DpuSet>(client).await
}

async fn labelled_again<K>(client: &Client) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let children = api::<K>(client);
    let all = async || -> anyhow::Result<BTreeMap<String, (Option<String>, bool)>> {
        let list = children.list(&ListParams::default()).await?;
        let row = |child: K| {
            let labelled = child.labels().contains_key(labels::OWNED_BY_DPUDEPLOYMENT);
            (child.name_any(), (child.uid(), labelled))
        };
        Ok(list.items.into_iter().map(row).collect())
    };
    let before = all().await?;
    for name in before.keys() {
        let gone = json!({"metadata": {"labels": {labels::OWNED_BY_DPUDEPLOYMENT: null}}});
        let changed = children
            .patch(name, &PatchParams::default(), &Patch::Merge(&gone))
            .await?;
        ensure!(
            !changed
                .labels()
                .contains_key(labels::OWNED_BY_DPUDEPLOYMENT)
        );
    }
    eventually(
        &format!("the {} have their label again", K::plural(&())),
        || async {
            let now = all().await?;
            ensure!(now == before, "{now:#?}\ninstead of\n{before:#?}");
            Ok(())
        },
    )
    .await
}

/// With `maxUnavailableDPUNodes: 1` a change that disturbs takes one host after the other, and all of them.
async fn hosts_in_turn(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let config = json!({
        "apiVersion": "operator.dpu.nvidia.com/v1alpha1", "kind": "DPFOperatorConfig",
        "metadata": {"name": "dpfoperatorconfig", "namespace": "dpf-operator-system"},
        "spec": {"provisioningController": {"maxUnavailableDPUNodes": 1}},
    });
    demo.apply(&[config]).await?;
    let hosts = Journal::start(client, "provisioning.dpu.nvidia.com", "DPUNode", "").await?;
    configure(
        client,
        json!({"upgradePolicy": {"applyNodeEffect": true},
            "serviceConfiguration": {"serviceDaemonSet": {"annotations": {"example.com/edit": "in-turn"}}}}),
    )
    .await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    runs(client, "in-turn").await?;
    let began = in_turn(&hosts)?;
    ensure!(began.len() == 4, "disturbed: {:?}", began.keys());
    // The next steps have no use for patience.
    configure(client, json!({"upgradePolicy": {"applyNodeEffect": false}})).await?;
    Ok(())
}

/// When the effect on each host began, if never two hosts were disturbed at the same time.
fn in_turn(hosts: &Journal) -> anyhow::Result<BTreeMap<String, Timestamp>> {
    let (mut disturbed, mut began) = (BTreeSet::new(), BTreeMap::new());
    for entry in hosts.entries()? {
        let host = entry.object.name_any();
        let conditions = entry.object.data.pointer("/status/conditions");
        let mut conditions = conditions.and_then(Value::as_array).into_iter().flatten();
        let in_force = conditions
            .find(|c| c["type"] == dpunode::NODE_EFFECT_IN_PROGRESS && c["status"] == "True");
        if let Some(condition) = in_force {
            let since = condition["lastTransitionTime"].as_str().unwrap_or_default();
            began.insert(host.clone(), since.parse().context("lastTransitionTime")?);
            disturbed.insert(host);
        } else {
            disturbed.remove(&host);
        }
        ensure!(disturbed.len() <= 1, "at the same time: {disturbed:?}");
    }
    Ok(began)
}

/// A service that is removed goes host by host, and its objects when the last host was told.
async fn a_service_leaves(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let services = Journal::start(client, "svc.dpu.nvidia.com", "DPUService", NAMESPACE).await?;
    let hosts = Journal::start(client, "provisioning.dpu.nvidia.com", "DPUNode", "").await?;
    let without = json!({"spec": {
        "services": {"consumer": null},
        "serviceChains": {"switches": [{"ports": [{"service": {"name": SERVICE, "interface": "app-iface"}}]}]},
    }});
    let deployments = api::<DpuDeployment>(client);
    deployments
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&without))
        .await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    eventually("nothing of the consumer is left", || async {
        let mut left = names_of::<DpuService>(client).await?;
        left.extend(names_of::<DpuServiceInterface>(client).await?);
        ensure!(left.len() == 2, "{left:?}");
        let configurations = api::<DpuServiceConfiguration>(client);
        let configuration = configurations.get("consumer").await?;
        ensure!(configuration.finalizers().is_empty(), "it is marked still");
        Ok(())
    })
    .await?;
    let began = in_turn(&hosts)?;
    ensure!(began.len() == 4, "disturbed: {:?}", began.keys());
    let going = services.entries()?.into_iter().find_map(|entry| {
        let meta = entry.object.metadata;
        meta.deletion_timestamp.map(|time| time.0)
    });
    let going = going.context("the service went without an event")?;
    ensure!(
        began.values().all(|began| *began <= going),
        "it went at {going}, before the last host was told: {began:?}"
    );
    Ok(())
}

async fn names_of<K>(client: &Client) -> anyhow::Result<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let objects = api::<K>(client).list(&ListParams::default()).await?;
    Ok(objects.items.iter().map(ResourceExt::name_any).collect())
}

/// The schema refuses another network in place, so the interface is replaced.
async fn another_virtual_network(client: &Client) -> anyhow::Result<()> {
    let before: DpuServiceInterface = only(client).await?;
    let changed = json!({"interfaces": [{"name": "app-iface", "network": "mynad", "virtualNetwork": "blue"}]});
    configure(client, changed).await?;
    // Nobody here serves the network, so that the interface does not get ready; it is there, and the old one is not.
    let after = eventually("the interface is replaced", || async {
        let interface: DpuServiceInterface = only(client).await?;
        let template = interface.spec.template.spec.template.spec.service.clone();
        let network = template.and_then(|template| template.virtual_network);
        ensure!(network.as_deref() == Some("blue"), "{network:?}");
        Ok(interface)
    })
    .await?;
    ensure!(before.uid() != after.uid(), "it was changed in place");
    let service: DpuService = only(client).await?;
    ensure!(
        service.spec.interfaces == Some(vec![after.name_any()]),
        "{:?}",
        service.spec.interfaces
    );
    Ok(())
}

//! Dependencies and templates of the user's page, with the real plugins: who is created when, and what is rendered.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

use anyhow::{Context, ensure};
use dpf_api::svc::{DpuDeployment, DpuService, DpuServiceConfiguration};
use dpf_tests::journal::{Journal, What};
use dpf_tests::{Demo, eventually, manifests};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

const NAMESPACE: &str = "customer-namespace";
const NAME: &str = "producer-consumer";
const DELIMITERS: &str = "svc.dpu.nvidia.com/template-delimiter";
/// Jinja, as the chart of a service without dependencies may want it.
const JINJA: &str = "{% for peer in peers %}{{ peer.name | default('none') }}{% endfor %}";

/// The example with three services in a row: producer, then link-observer with delimiters of its own, then consumer.
fn with_dependencies() -> anyhow::Result<Vec<Value>> {
    let mut all = manifests("examples/producer-consumer")?;
    let mut observer = find(&mut all, "DPUServiceTemplate", "producer")?.clone();
    observer["metadata"]["name"] = json!("link-observer");
    observer["spec"]["deploymentServiceName"] = json!("link-observer");
    let producer = find(&mut all, "DPUServiceConfiguration", "producer")?;
    producer["spec"]["serviceConfiguration"]["helmChart"]["values"] = json!({"text": JINJA});
    let consumer = find(&mut all, "DPUServiceConfiguration", "consumer")?;
    consumer["spec"]["serviceConfiguration"]["helmChart"]["values"]["other-service"] = json!({
        "name": "{{ .Services.producer.Name }}",
        "namespace": "{{ .Services.producer.Namespace }}",
        "observer": "at {{ (index .Services \"link-observer\").Name }}",
    });
    let services = &mut find(&mut all, "DPUDeployment", NAME)?["spec"]["services"];
    services["consumer"]["dependsOn"] = json!([{"name": "producer"}, {"name": "link-observer"}]);
    services["link-observer"] = json!({
        "serviceTemplate": "link-observer", "serviceConfiguration": "link-observer",
        "dependsOn": [{"name": "producer"}],
    });
    let configuration = json!({
        "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "DPUServiceConfiguration",
        "metadata": {"name": "link-observer", "namespace": NAMESPACE, "annotations": {DELIMITERS: "[[,]]"}},
        "spec": {
            "deploymentServiceName": "link-observer",
            "serviceConfiguration": {"helmChart": {"values": {
                "peer": "[[ .Services.producer.Name ]]", "text": JINJA
            }}},
        },
    });
    // The deployment is the last file.
    let last = all.len().saturating_sub(1);
    all.splice(last..last, [observer, configuration]);
    Ok(all)
}

fn find<'a>(all: &'a mut [Value], kind: &str, name: &str) -> anyhow::Result<&'a mut Value> {
    all.iter_mut()
        .find(|manifest| manifest["kind"] == kind && manifest["metadata"]["name"] == name)
        .with_context(|| format!("no {kind} {name} in the example"))
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_are_awaited_and_their_names_rendered() {
    let demo = Demo::start(&[]).await.unwrap();
    if let Err(error) = dependencies(&demo).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

async fn dependencies(demo: &Demo) -> anyhow::Result<()> {
    let client = demo.client().await?;
    let journal = Journal::start(&client, "svc.dpu.nvidia.com", "DPUService", "").await?;
    demo.apply(&with_dependencies()?).await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    created_in_order(&journal)?;
    rendered(&client).await.context("after the start")?;
    reaches_argo(&client).await?;
    renamed_dependency(demo, &client).await?;
    malformed_delimiters(&client).await?;
    other_delimiters(demo, &client).await
}

/// Each service appears only after the ones it depends on were Ready.
fn created_in_order(journal: &Journal) -> anyhow::Result<()> {
    let entries = journal.entries()?;
    let first = |service: &str, fits: &dyn Fn(&dpf_tests::journal::Entry) -> bool| {
        let label = "svc.dpu.nvidia.com/dpudeployment-service";
        entries
            .iter()
            .position(|e| e.object.labels().get(label).is_some_and(|s| s == service) && fits(e))
            .with_context(|| format!("{service}: {entries:#?}"))
    };
    for (dependent, dependency) in [
        ("link-observer", "producer"),
        ("consumer", "producer"),
        ("consumer", "link-observer"),
    ] {
        let created = first(dependent, &|e| e.what == What::Added)?;
        let ready = first(dependency, &|e| e.ready() == "True")?;
        ensure!(
            ready < created,
            "{dependent} was created before {dependency} was Ready: {entries:#?}"
        );
    }
    Ok(())
}

async fn service(client: &Client, key: &str) -> anyhow::Result<DpuService> {
    let selector = format!("svc.dpu.nvidia.com/dpudeployment-service={key}");
    let services = Api::<DpuService>::namespaced(client.clone(), NAMESPACE)
        .list(&ListParams::default().labels(&selector))
        .await?
        .items;
    ensure!(
        services.len() == 1,
        "one {key}: {:?}",
        services
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>()
    );
    services.into_iter().next().context("none")
}

async fn values(client: &Client, key: &str) -> anyhow::Result<Value> {
    let service = service(client, key).await?;
    Ok(service.spec.helm_chart.values.context("no values")?.0)
}

async fn rendered(client: &Client) -> anyhow::Result<()> {
    let producer = service(client, "producer").await?.name_any();
    let observer = service(client, "link-observer").await?.name_any();
    let consumer = values(client, "consumer").await?;
    ensure!(
        consumer["other-service"]
            == json!({"name": producer, "namespace": NAMESPACE, "observer": format!("at {observer}")}),
        "{consumer:#}"
    );
    ensure!(
        consumer["worker"]["parallelization"] == 10,
        "the rest of the values is merged as ever: {consumer:#}"
    );
    let of_observer = values(client, "link-observer").await?;
    ensure!(
        of_observer["peer"] == producer && of_observer["text"] == JINJA,
        "{of_observer:#}"
    );
    let of_producer = values(client, "producer").await?;
    ensure!(of_producer["text"] == JINJA, "{of_producer:#}");
    Ok(())
}

/// What is rendered is what Argo CD installs.
async fn reaches_argo(client: &Client) -> anyhow::Result<()> {
    let producer = service(client, "producer").await?.name_any();
    let consumer = service(client, "consumer").await?.name_any();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "argoproj.io",
        "v1alpha1",
        "Application",
    ));
    let selector = format!("dpu.nvidia.com/dpuservice-name={consumer}");
    let applications = Api::<DynamicObject>::all_with(client.clone(), &resource)
        .list(&ListParams::default().labels(&selector))
        .await?;
    let names: Vec<_> = applications
        .iter()
        .filter_map(|a| {
            a.data
                .pointer("/spec/source/helm/valuesObject/other-service/name")
        })
        .collect();
    ensure!(names == [&json!(producer)], "{names:?}");
    Ok(())
}

/// A new revision of the producer has a new name; those that name it follow.
async fn renamed_dependency(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let before = service(client, "producer").await?.name_any();
    let change = json!({"spec": {"serviceConfiguration": {"serviceDaemonSet": {"annotations": {"sre.nvidia.com/page": "true"}}}}});
    Api::<DpuServiceConfiguration>::namespaced(client.clone(), NAMESPACE)
        .patch("producer", &PatchParams::default(), &Patch::Merge(change))
        .await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    eventually("names follow the new revision", || async {
        let after = service(client, "producer").await?.name_any();
        ensure!(after != before, "still {before}");
        rendered(client).await
    })
    .await
}

/// Wrong delimiters are said to be wrong, instead of being replaced by others.
async fn malformed_delimiters(client: &Client) -> anyhow::Result<()> {
    let configurations: Api<DpuServiceConfiguration> = Api::namespaced(client.clone(), NAMESPACE);
    let annotate = async |value: &str| {
        let change = json!({"metadata": {"annotations": {DELIMITERS: value}}});
        configurations
            .patch(
                "link-observer",
                &PatchParams::default(),
                &Patch::Merge(change),
            )
            .await
    };
    annotate("[[").await?;
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    eventually("the delimiters are reported", || async {
        let status = deployments.get(NAME).await?.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let found = conditions.iter().any(|c| {
            c.status == "False"
                && c.message.contains(DELIMITERS)
                && c.message.contains("link-observer")
        });
        ensure!(found, "{conditions:#?}");
        Ok(())
    })
    .await?;
    annotate("[[,]]").await?;
    eventually("the deployment is Ready again", || async {
        let status = deployments.get(NAME).await?.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let ready = conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        ensure!(ready, "{conditions:#?}");
        Ok(())
    })
    .await
}

/// An annotation moves no generation, and still the values are rendered anew: `Ready` is False with the first status that speaks of
/// it, and who waits is not told before the new revision runs.
async fn other_delimiters(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let deployments: Api<DpuDeployment> = Api::namespaced(client.clone(), NAMESPACE);
    let before = speaks_of(&deployments.get(NAME).await?)?;
    let name_before = service(client, "link-observer").await?.name_any();
    let journal = Journal::start(client, "svc.dpu.nvidia.com", "DPUDeployment", NAMESPACE).await?;
    let change = json!({"metadata": {"annotations": {DELIMITERS: "##,##"}}});
    Api::<DpuServiceConfiguration>::namespaced(client.clone(), NAMESPACE)
        .patch(
            "link-observer",
            &PatchParams::default(),
            &Patch::Merge(change),
        )
        .await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    let now = service_that_stays(client).await?;
    ensure!(now != name_before, "no new revision");
    let values = values(client, "link-observer").await?;
    ensure!(
        values["peer"] == "[[ .Services.producer.Name ]]",
        "{values:#}"
    );
    for entry in journal.entries()? {
        let deployment = serde_json::from_value(serde_json::to_value(&entry.object)?)?;
        if speaks_of(&deployment)? != before {
            ensure!(entry.ready() == "False", "{}", entry.line());
            return Ok(());
        }
    }
    anyhow::bail!("no status speaks of the annotation")
}

/// The older revision goes after `Ready`.
async fn service_that_stays(client: &Client) -> anyhow::Result<String> {
    eventually("the older revision is gone", || async {
        Ok(service(client, "link-observer").await?.name_any())
    })
    .await
}

/// The digest of the annotations that the status of the deployment speaks of.
fn speaks_of(deployment: &DpuDeployment) -> anyhow::Result<Option<String>> {
    let status = deployment.status.clone().context("no status")?;
    let mut dependencies = status.observed_dependencies.into_iter().flatten();
    let configuration = dependencies
        .find(|d| d.kind == "DPUServiceConfiguration" && d.name == "link-observer")
        .context("the status does not speak of it")?;
    Ok(configuration.metadata_digest)
}

//! Wrong input: each mistake is answered with a condition or an admission error that names the object, the field and what to do,
//! and nothing that runs is touched.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]

use anyhow::{Context, ensure};
use dpf_api::provisioning::{Dpu, DpuSet};
use dpf_api::svc::{
    DpuDeployment, DpuService, DpuServiceChain, DpuServiceConfiguration, DpuServiceInterface,
    DpuServiceTemplate,
};
use dpf_tests::{Demo, eventually};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;

const NAMESPACE: &str = "customer-namespace";
const NAME: &str = "producer-consumer";

trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Debug
    + Serialize
{
}
impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Serialize
{
}

/// Name, uid and generation of all objects of a kind: a touched spec changes the generation.
async fn fingerprint<K: Kind>(
    client: &Client,
) -> anyhow::Result<BTreeMap<String, (Option<String>, Option<i64>)>> {
    let objects = Api::<K>::namespaced(client.clone(), NAMESPACE)
        .list(&ListParams::default())
        .await?;
    Ok(objects
        .into_iter()
        .map(|o| {
            (
                format!("{}/{}", K::kind(&()), o.name_any()),
                (o.uid(), o.meta().generation),
            )
        })
        .collect())
}

async fn everything_that_runs(
    client: &Client,
) -> anyhow::Result<BTreeMap<String, (Option<String>, Option<i64>)>> {
    let mut all = fingerprint::<DpuService>(client).await?;
    all.extend(fingerprint::<DpuServiceInterface>(client).await?);
    all.extend(fingerprint::<DpuServiceChain>(client).await?);
    all.extend(fingerprint::<DpuSet>(client).await?);
    all.extend(fingerprint::<Dpu>(client).await?);
    Ok(all)
}

async fn condition(client: &Client, type_: &str) -> anyhow::Result<(String, String)> {
    let deployment = Api::<DpuDeployment>::namespaced(client.clone(), NAMESPACE)
        .get(NAME)
        .await?;
    let conditions = deployment
        .status
        .and_then(|s| s.conditions)
        .unwrap_or_default();
    let condition = conditions
        .into_iter()
        .find(|c| c.type_ == type_)
        .with_context(|| format!("no condition {type_}"))?;
    Ok((condition.status, condition.message))
}

async fn wait_for_ready(client: &Client) -> anyhow::Result<()> {
    eventually("the deployment is Ready", || async {
        let (status, message) = condition(client, "Ready").await?;
        ensure!(status == "True", "{message}");
        Ok(())
    })
    .await
}

async fn merge<K: Kind>(client: &Client, name: &str, patch: &Value) -> anyhow::Result<()> {
    Api::<K>::namespaced(client.clone(), NAMESPACE)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// Makes a mistake, waits until the condition says all of `texts`, checks that nothing was touched, and takes it back.
async fn mistake<K: Kind>(
    client: &Client,
    name: &str,
    (wrong, right): (Value, Value),
    (type_, texts): (&str, &[&str]),
) -> anyhow::Result<()> {
    wait_for_ready(client).await?;
    let before = everything_that_runs(client).await?;
    merge::<K>(client, name, &wrong).await?;
    eventually(&format!("{type_} tells about {wrong}"), || async {
        let (status, message) = condition(client, type_).await?;
        ensure!(status == "False", "{type_} is {status}: {message}");
        for text in texts {
            ensure!(
                message.contains(text),
                "{type_} does not say {text:?}: {message}"
            );
        }
        Ok(())
    })
    .await?;
    let (ready, _) = condition(client, "Ready").await?;
    ensure!(ready == "False", "Ready is {ready} in spite of {wrong}");
    let after = everything_that_runs(client).await?;
    ensure!(
        before == after,
        "{wrong} touched what runs:\nbefore {before:#?}\nafter {after:#?}"
    );
    merge::<K>(client, name, &right).await
}

#[tokio::test]
async fn every_mistake_is_explained_and_touches_nothing() {
    let demo = Demo::start(&["examples/producer-consumer"]).await.unwrap();
    let client = demo.client().await.unwrap();
    if let Err(error) = mistakes(&client).await {
        panic!("{error:#}\n{}", demo.log());
    }
    if let Err(error) = annotations(&demo, &client).await {
        panic!("{error:#}\n{}", demo.log());
    }
    if let Err(error) = refused_at_admission(&client).await {
        panic!("{error:#}\n{}", demo.log());
    }
}

async fn mistakes(client: &Client) -> anyhow::Result<()> {
    let consumer =
        |field: &str, value: &str| json!({"spec": {"services": {"consumer": {field: value}}}});
    mistake::<DpuDeployment>(
        client,
        NAME,
        (
            consumer("serviceTemplate", "nope"),
            consumer("serviceTemplate", "consumer"),
        ),
        (
            "PrerequisitesReady",
            &[
                "DPUServiceTemplate customer-namespace/nope",
                "spec.services[consumer].serviceTemplate",
            ],
        ),
    )
    .await?;
    mistake::<DpuDeployment>(
        client,
        NAME,
        (
            consumer("serviceTemplate", "producer"),
            consumer("serviceTemplate", "consumer"),
        ),
        (
            "PrerequisitesReady",
            &[
                "DPUServiceTemplate customer-namespace/producer doesn't match",
                "service consumer",
            ],
        ),
    )
    .await?;
    mistake::<DpuDeployment>(
        client,
        NAME,
        (
            json!({"spec": {"dpus": {"flavor": "nope"}}}),
            json!({"spec": {"dpus": {"flavor": NAME}}}),
        ),
        (
            "PrerequisitesReady",
            &[
                "DPUFlavor customer-namespace/nope does not exist",
                "spec.dpus.flavor",
            ],
        ),
    )
    .await?;
    let needs = |cpu: u32, memory: &str| json!({"spec": {"resourceRequirements": {"cpu": cpu, "memory": memory}}});
    mistake::<DpuServiceTemplate>(
        client,
        "consumer",
        (needs(40, "100Gi"), needs(2, "4Gi")),
        (
            "ResourceFittingReady",
            &["not enough resources", "cpu: 29", "memory: 89Gi"],
        ),
    )
    .await?;
    let constraint =
        |value: Value| json!({"metadata": {"annotations": {"dpu.nvidia.com/doca-version": value}}});
    mistake::<DpuServiceTemplate>(
        client,
        "producer",
        (constraint(json!(">= 3.0")), constraint(Value::Null)),
        (
            "VersionMatchingReady",
            &["version constraint for 'dpu.nvidia.com/doca-version' found in DPUServiceTemplate 'producer' is not satisfied by the version '2.9.0' found in the given BFB"],
        ),
    )
    .await?;
    wrong_chains(client).await?;
    wrong_dependencies(client).await
}

/// Annotations move no generation. An edit of one is seen all the same, by the condition and by `dpfctl wait`.
async fn annotations(demo: &Demo, client: &Client) -> anyhow::Result<()> {
    let annotated = |key: &str, value: Value| json!({"metadata": {"annotations": {key: value}}});
    let constraint = |value: &str| annotated("dpu.nvidia.com/doca-version", json!(value));
    let nothing = annotated("dpu.nvidia.com/doca-version", Value::Null);
    let before = everything_that_runs(client).await?;
    for fits in [">= 2.0", ">= 2.1"] {
        merge::<DpuServiceTemplate>(client, "producer", &constraint(fits)).await?;
        demo.rolled_out(NAME, NAMESPACE).await?;
    }
    merge::<DpuServiceTemplate>(client, "producer", &constraint("< 2.9")).await?;
    waits(demo)
        .await
        .context("a constraint that does not fit")?;
    mistake_now(
        client,
        "VersionMatchingReady",
        &["DPUServiceTemplate 'producer' is not satisfied", "2.9.0"],
    )
    .await?;
    // What the chart asks for is read again.
    merge::<DpuServiceTemplate>(client, "producer", &nothing).await?;
    demo.rolled_out(NAME, NAMESPACE).await?;

    const DELIMITERS: &str = "svc.dpu.nvidia.com/template-delimiter";
    let malformed = annotated(DELIMITERS, json!("[["));
    merge::<DpuServiceConfiguration>(client, "consumer", &malformed).await?;
    waits(demo).await.context("malformed delimiters")?;
    mistake_now(
        client,
        "DPUServicesReconciled",
        &[DELIMITERS, "DPUServiceConfiguration/consumer", "[["],
    )
    .await?;
    let nothing = annotated(DELIMITERS, Value::Null);
    merge::<DpuServiceConfiguration>(client, "consumer", &nothing).await?;
    demo.rolled_out(NAME, NAMESPACE).await?;
    let after = everything_that_runs(client).await?;
    ensure!(
        before == after,
        "annotations touched what runs:\nbefore {before:#?}\nafter {after:#?}"
    );
    Ok(())
}

/// `dpfctl wait`, called in the moment of an edit that cannot be rolled out, does not say that it is.
async fn waits(demo: &Demo) -> anyhow::Result<()> {
    let target = format!("dpudeployment/{NAME}");
    let arguments = ["wait", &target, "-n", NAMESPACE, "--timeout", "2s"];
    let output = demo.dpfctl(&arguments).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && said.contains("is not rolled out"),
        "{said}"
    );
    Ok(())
}

/// The condition is False with these texts, and so is Ready.
async fn mistake_now(client: &Client, type_: &str, texts: &[&str]) -> anyhow::Result<()> {
    eventually(&format!("{type_} tells"), || async {
        let (status, message) = condition(client, type_).await?;
        let told = texts.iter().all(|text| message.contains(text));
        ensure!(status == "False" && told, "{status}: {message}");
        let (ready, _) = condition(client, "Ready").await?;
        ensure!(ready == "False", "Ready is {ready}");
        Ok(())
    })
    .await
}

async fn wrong_chains(client: &Client) -> anyhow::Result<()> {
    let chain = |service: &str, interface: &str| {
        json!({"spec": {"serviceChains": {"switches": [{"ports": [
            {"service": {"name": "producer", "interface": "app-iface"}},
            {"service": {"name": service, "interface": interface}}
        ]}]}}})
    };
    for (service, interface, says) in [
        (
            "nobody",
            "app-iface",
            [
                "switches[0].ports[1].service.name",
                "nobody",
                "consumer, producer",
            ],
        ),
        (
            "consumer",
            "no-iface",
            [
                "switches[0].ports[1].service.interface",
                "no-iface",
                "app-iface",
            ],
        ),
    ] {
        mistake::<DpuDeployment>(
            client,
            NAME,
            (chain(service, interface), chain("consumer", "app-iface")),
            ("DPUServiceChainsReconciled", &says),
        )
        .await?;
    }
    Ok(())
}

async fn wrong_dependencies(client: &Client) -> anyhow::Result<()> {
    let depends = |consumer: Value, producer: Value| json!({"spec": {"services": {"consumer": {"dependsOn": consumer}, "producer": {"dependsOn": producer}}}});
    let on = |name: &str| json!([{"name": name}]);
    mistake::<DpuDeployment>(
        client,
        NAME,
        (
            depends(on("producer"), on("consumer")),
            depends(Value::Null, Value::Null),
        ),
        (
            "DPUServicesReconciled",
            &["consumer -> producer -> consumer"],
        ),
    )
    .await?;
    mistake::<DpuDeployment>(
        client,
        NAME,
        (
            depends(on("nobody"), Value::Null),
            depends(Value::Null, Value::Null),
        ),
        (
            "DPUServicesReconciled",
            &["service consumer depends on nobody"],
        ),
    )
    .await?;
    // A template is only rendered for a service with dependencies; both changes together are the mistake.
    let values = |value: Value| json!({"spec": {"serviceConfiguration": {"helmChart": {"values": {"peer": value}}}}});
    wait_for_ready(client).await?;
    merge::<DpuDeployment>(client, NAME, &depends(on("producer"), Value::Null)).await?;
    mistake::<DpuServiceConfiguration>(
        client,
        "consumer",
        (
            values(json!("{{ .Services.producer.Name")),
            values(Value::Null),
        ),
        ("DPUServicesReconciled", &["consumer", "line"]),
    )
    .await?;
    merge::<DpuDeployment>(client, NAME, &depends(Value::Null, Value::Null)).await?;
    wait_for_ready(client).await
}

/// The API server refuses what the schema can tell.
async fn refused_at_admission(client: &Client) -> anyhow::Result<()> {
    let deployments: Api<kube::core::DynamicObject> = Api::namespaced_with(
        client.clone(),
        NAMESPACE,
        &kube::core::ApiResource::erase::<DpuDeployment>(&()),
    );
    let valid = deployments.get(NAME).await?;
    let refuse =
        async |change: fn(&mut kube::core::DynamicObject), texts: &[&str]| -> anyhow::Result<()> {
            let mut object = kube::core::DynamicObject {
                metadata: Default::default(),
                ..valid.clone()
            };
            object.metadata.name = Some("refused".to_owned());
            if let Some(fields) = object.data.as_object_mut() {
                fields.remove("status");
            }
            change(&mut object);
            let Err(kube::Error::Api(status)) =
                deployments.create(&PostParams::default(), &object).await
            else {
                anyhow::bail!("accepted, although it should say {texts:?}");
            };
            for text in texts {
                ensure!(
                    status.message.contains(text),
                    "does not say {text:?}: {}",
                    status.message
                );
            }
            Ok(())
        };
    refuse(
        |o| o.metadata.name = Some("a-name-of-more-than-20-characters".to_owned()),
        &["20 chars"],
    )
    .await?;
    refuse(
        |o| {
            o.data["spec"]["serviceChains"] =
                json!([{"ports": [{"service": {"name": "producer", "interface": "app-iface"}}]}])
        },
        &["spec.serviceChains", "object"],
    )
    .await?;
    refuse(
        |o| o.data["spec"]["dpus"]["dpuSets"][1]["nameSuffix"] = json!("dpuset1"),
        &["nameSuffix", "unique"],
    )
    .await?;
    refuse(
        |o| o.data["spec"]["services"] = json!({}),
        &["spec.services"],
    )
    .await?;
    refuse(
        |o| {
            o.data["spec"]["serviceChains"]["switches"][0]["ports"][0]["serviceInterface"] =
                json!({"matchLabels": {"a": "b"}})
        },
        &["exactly one of service or serviceInterface"],
    )
    .await
}

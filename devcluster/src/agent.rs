//! The agents of the DPUs: interfaces and chains of their node are taken, reported on, and released.
//!
//! Nothing is wired. What is checked is what an agent can tell without a switch: every port of a chain selects exactly
//! one ready interface of its node.

use crate::kit::{Failed, While, optional, run};
use dpf_api::conditions::{READY, per_node, reasons};
use dpf_api::keys::finalizers;
use dpf_api::svc::{ServiceChain, ServiceInterface};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Runs until `stop`.
pub async fn simulate(client: Client, stop: CancellationToken) {
    tokio::join!(
        interfaces(client.clone(), stop.clone()),
        chains(client, stop)
    );
}

async fn interfaces(client: Client, stop: CancellationToken) {
    let everything = watcher::Config::default;
    let api: Api<ServiceInterface> = Api::all(client.clone());
    let controller = Controller::new(api, everything());
    let known = controller.store();
    let nodes: Api<Node> = Api::all(client.clone());
    let controller = controller.watches(nodes, everything(), move |node| {
        on_node(&known, &node.name_any(), |i: &ServiceInterface| {
            i.spec.node.as_deref()
        })
    });
    run(controller, Arc::new(client), stop, reconcile_interface).await;
}

async fn chains(client: Client, stop: CancellationToken) {
    let everything = watcher::Config::default;
    let api: Api<ServiceChain> = Api::all(client.clone());
    let controller = Controller::new(api, everything());
    let (on_nodes, on_interfaces) = (controller.store(), controller.store());
    let nodes: Api<Node> = Api::all(client.clone());
    let interfaces: Api<ServiceInterface> = Api::all(client.clone());
    let node_of = |chain: &ServiceChain| chain.spec.node.clone();
    let controller = controller
        .watches(nodes, everything(), move |node| {
            on_node(&on_nodes, &node.name_any(), |c: &ServiceChain| {
                c.spec.node.as_deref()
            })
        })
        .watches(interfaces, everything(), move |interface| {
            let all = on_interfaces.state();
            let concerned = all.iter().filter(|chain| {
                chain.namespace() == interface.namespace() && node_of(chain) == interface.spec.node
            });
            concerned
                .map(|chain| ObjectRef::from_obj(chain.as_ref()))
                .collect::<Vec<_>>()
        });
    run(controller, Arc::new(client), stop, reconcile_chain).await;
}

fn on_node<K>(known: &Store<K>, node: &str, of: impl Fn(&K) -> Option<&str>) -> Vec<ObjectRef<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let all = known.state();
    let there = all.iter().filter(|object| of(object) == Some(node));
    there
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

async fn reconcile_interface(
    interface: Arc<ServiceInterface>,
    client: Arc<Client>,
) -> Result<(), Failed> {
    let node = interface.spec.node.as_deref().unwrap_or_default();
    if !take(
        interface.as_ref(),
        node,
        finalizers::SERVICEINTERFACE,
        &client,
    )
    .await?
    {
        return Ok(());
    }
    let before = interface
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref());
    let type_ = per_node::SERVICEINTERFACE_RECONCILED;
    let after = report(
        type_,
        &Ok(()),
        interface.metadata.generation,
        before,
        Timestamp::now(),
    );
    write(interface.as_ref(), before, &after, &client).await
}

async fn reconcile_chain(chain: Arc<ServiceChain>, client: Arc<Client>) -> Result<(), Failed> {
    let node = chain.spec.node.as_deref().unwrap_or_default();
    if !take(chain.as_ref(), node, finalizers::SERVICECHAIN, &client).await? {
        return Ok(());
    }
    let namespace = chain.namespace().unwrap_or_default();
    let interfaces: Api<ServiceInterface> = Api::namespaced(client.as_ref().clone(), &namespace);
    let interfaces = interfaces
        .list(&Default::default())
        .await
        .during(|| format!("list interfaces of {namespace}"))?;
    let result = resolve(&chain, &interfaces.items);
    let before = chain.status.as_ref().and_then(|s| s.conditions.as_deref());
    let type_ = per_node::SERVICECHAIN_RECONCILED;
    let after = report(
        type_,
        &result,
        chain.metadata.generation,
        before,
        Timestamp::now(),
    );
    write(chain.as_ref(), before, &after, &client).await
}

/// Adds the finalizer, or removes it from what is being deleted; true when there is work to do.
///
/// The agent of a node that never joined does not run. One whose Node was removed still does, and releases its objects.
async fn take<K>(object: &K, node: &str, finalizer: &str, client: &Client) -> Result<bool, Failed>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let held = object.finalizers().iter().any(|f| f == finalizer);
    let leaving = object.meta().deletion_timestamp.is_some();
    let mut wanted: Vec<String> = object.finalizers().to_vec();
    match (leaving, held) {
        (true, false) => return Ok(false),
        (false, true) => return exists(node, client).await,
        (true, true) => wanted.retain(|f| f != finalizer),
        (false, false) => {
            if !exists(node, client).await? {
                return Ok(false);
            }
            wanted.push(finalizer.to_owned());
        }
    }
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({"metadata": {
        "finalizers": wanted, "resourceVersion": object.resource_version()
    }});
    let patched = api
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    optional(patched)
        .during(|| format!("write finalizers of {} {namespace}/{name}", K::kind(&())))?;
    // What was patched comes back as an event.
    Ok(false)
}

async fn exists(node: &str, client: &Client) -> Result<bool, Failed> {
    let nodes: Api<Node> = Api::all(client.clone());
    let found = nodes.get_metadata_opt(node).await;
    Ok(found.during(|| format!("read node {node}"))?.is_some())
}

/// Whether every port selects exactly one ready interface of the node; what is wrong otherwise.
fn resolve(chain: &ServiceChain, interfaces: &[ServiceInterface]) -> Result<(), Vec<String>> {
    let node = chain.spec.node.as_deref().unwrap_or_default();
    let namespace = chain.namespace().unwrap_or_default();
    let mut wrong = Vec::new();
    let ports = chain.spec.switches.iter().flat_map(|s| &s.ports);
    for port in ports {
        let labels = &port.service_interface.match_labels;
        let selects = |interface: &&ServiceInterface| {
            interface.spec.node == chain.spec.node
                && labels
                    .iter()
                    .all(|(k, v)| interface.labels().get(k) == Some(v))
        };
        let found: Vec<_> = interfaces.iter().filter(selects).collect();
        let text: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let text = text.join(",");
        match found.as_slice() {
            [one] if is_ready(one) => {}
            [one] => wrong.push(format!("interface {namespace}/{} is not ready", one.name_any())),
            [] => wrong.push(format!(
                "no ServiceInterface in namespace {namespace} on node {node} has the labels {text}"
            )),
            many => wrong.push(format!(
                "{} ServiceInterfaces in namespace {namespace} on node {node} have the labels {text}, and a port takes one",
                many.len()
            )),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn is_ready(interface: &ServiceInterface) -> bool {
    let conditions = interface
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_ref());
    let generation = interface.metadata.generation;
    conditions.is_some_and(|list| {
        let mut list = list.iter().filter(|c| c.type_ == READY);
        list.any(|c| c.status == "True" && c.observed_generation == generation)
    })
}

/// The condition of the one step there is, and the summary.
fn report(
    type_: &str,
    result: &Result<(), Vec<String>>,
    generation: Option<i64>,
    before: Option<&[Condition]>,
    now: Timestamp,
) -> Vec<Condition> {
    let make = |type_: &str, problem: Option<(&str, String)>| {
        let status = if problem.is_none() { "True" } else { "False" };
        let (reason, message) = problem.unwrap_or((reasons::SUCCESS, String::new()));
        let mut same = before.unwrap_or_default().iter();
        let same = same.find(|c| c.type_ == type_ && c.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: same.map_or(Time(now), |c| c.last_transition_time.clone()),
        }
    };
    let problem = result.as_ref().err();
    let step = problem.map(|wrong| {
        (
            reasons::ERROR,
            format!("Error occurred: {}", wrong.join("; ")),
        )
    });
    let summary = problem.map(|_| {
        let message = format!("The following conditions are not ready:\n* {type_}");
        (reasons::PENDING, message)
    });
    vec![make(READY, summary), make(type_, step)]
}

async fn write<K>(
    object: &K,
    before: Option<&[Condition]>,
    after: &[Condition],
    client: &Client,
) -> Result<(), Failed>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    if before == Some(after) {
        return Ok(());
    }
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let status = json!({"status": {
        "conditions": after, "observedGeneration": object.meta().generation
    }});
    let patched = api
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await;
    optional(patched).during(|| format!("write status of {} {namespace}/{name}", K::kind(&())))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value};

    fn interface(name: &str, node: &str, ready: bool, labels: Value) -> ServiceInterface {
        let status = if ready { "True" } else { "False" };
        from_value(json!({
            "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "ServiceInterface",
            "metadata": {"name": name, "namespace": "ns", "generation": 1, "labels": labels},
            "spec": {"node": node, "interfaceType": "service",
                "service": {"serviceID": "s", "network": "mynad", "interfaceName": "app-iface"}},
            "status": {"conditions": [{"type": "Ready", "status": status, "reason": "Success", "message": "",
                "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
        }))
        .unwrap()
    }

    fn chain() -> ServiceChain {
        from_value(json!({
            "apiVersion": "svc.dpu.nvidia.com/v1alpha1", "kind": "ServiceChain",
            "metadata": {"name": "c", "namespace": "ns", "generation": 4},
            "spec": {"node": "n1", "switches": [{"ports": [
                {"serviceInterface": {"matchLabels": {"a": "1"}}}, {"serviceInterface": {"matchLabels": {"b": "1"}}}
            ]}]}
        }))
        .unwrap()
    }

    #[test]
    fn every_port_needs_exactly_one_ready_interface_of_its_node() {
        let a = interface("a", "n1", true, json!({"a": "1"}));
        let b = interface("b", "n1", true, json!({"b": "1"}));
        let elsewhere = interface("b2", "n2", true, json!({"b": "1"}));
        assert_eq!(
            resolve(&chain(), &[a.clone(), b.clone(), elsewhere.clone()]),
            Ok(())
        );
        let missing = resolve(&chain(), &[a.clone(), elsewhere]).unwrap_err();
        assert!(
            missing[0].starts_with("no ServiceInterface") && missing[0].contains("b=1"),
            "{missing:?}"
        );
        let second = interface("b3", "n1", true, json!({"b": "1"}));
        let two = resolve(&chain(), &[a.clone(), b, second]).unwrap_err();
        assert!(two[0].starts_with("2 ServiceInterfaces"), "{two:?}");
        let unready = interface("b", "n1", false, json!({"b": "1"}));
        let unready = resolve(&chain(), &[a, unready]).unwrap_err();
        assert_eq!(unready, ["interface ns/b is not ready"]);
    }

    #[test]
    fn transitions_keep_their_time_until_the_status_changes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let wrong = Err(vec!["no".to_owned()]);
        let first = report("X", &wrong, Some(1), None, at(1));
        assert_eq!(
            (first[1].status.as_str(), first[1].reason.as_str()),
            ("False", "Error")
        );
        assert_eq!(first[0].reason, "Pending");
        let second = report("X", &wrong, Some(2), Some(&first), at(2));
        assert_eq!(
            second[0].last_transition_time,
            first[0].last_transition_time
        );
        assert_eq!(second[0].observed_generation, Some(2));
        let third = report("X", &Ok(()), Some(2), Some(&second), at(3));
        assert_eq!(third[0].last_transition_time, Time(at(3)));
        assert_eq!(third[1].reason, "Success");
    }
}

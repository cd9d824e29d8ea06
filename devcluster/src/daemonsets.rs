//! The DaemonSet controller: one Pod per matching Node.
//!
//! What it is not: there is no scheduler behind it, so taints are ignored, as charts for DPUs tolerate everything.

use crate::kit::{Failed, While, optional, run, suffix};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Label of pods: digest of the template they were made from.
const REVISION: &str = "controller-revision-hash";

/// Runs until `stop`.
pub async fn simulate(client: Client, stop: CancellationToken) {
    let everything = watcher::Config::default;
    let sets: Api<DaemonSet> = Api::all(client.clone());
    let pods: Api<Pod> = Api::all(client.clone());
    let nodes: Api<Node> = Api::all(client.clone());
    let controller = Controller::new(sets, everything()).owns(pods, everything());
    let known = controller.store();
    let controller = controller.watches(nodes, everything(), move |_| {
        let all = known.state();
        all.iter()
            .map(|set| ObjectRef::from_obj(set.as_ref()))
            .collect::<Vec<_>>()
    });
    run(controller, Arc::new(client), stop, reconcile).await;
}

async fn reconcile(set: Arc<DaemonSet>, client: Arc<Client>) -> Result<(), Failed> {
    // Pods of a deleted set go with it: the API server collects what has no owner.
    if set.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let namespace = set.namespace().unwrap_or_default();
    let name = set.name_any();
    let nodes: Api<Node> = Api::all(client.as_ref().clone());
    let pods: Api<Pod> = Api::namespaced(client.as_ref().clone(), &namespace);
    let sets: Api<DaemonSet> = Api::namespaced(client.as_ref().clone(), &namespace);
    let all = ListParams::default();
    let nodes = nodes
        .list(&all)
        .await
        .during(|| "list nodes".to_owned())?
        .items;
    let found = pods
        .list(&all)
        .await
        .during(|| format!("list pods of {namespace}"))?;
    let mine = |pod: &Pod| {
        pod.owner_references()
            .iter()
            .any(|o| Some(&o.uid) == set.metadata.uid.as_ref())
    };
    let found: Vec<Pod> = found.items.into_iter().filter(mine).collect();
    let plan = plan(&set, &nodes, &found);
    for pod in &plan.delete {
        let gone = optional(pods.delete(pod, &DeleteParams::default()).await);
        gone.during(|| format!("delete pod {namespace}/{pod}"))?;
    }
    for pod in &plan.create {
        pods.create(&PostParams::default(), pod)
            .await
            .during(|| format!("create pod {namespace}/{}", pod.name_any()))?;
    }
    if set.status.as_ref() != Some(&plan.status) {
        let status = json!({"status": plan.status});
        sets.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .during(|| format!("write status of DaemonSet {namespace}/{name}"))?;
    }
    Ok(())
}

/// What to do for a DaemonSet.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    create: Vec<Pod>,
    delete: Vec<String>,
    status: DaemonSetStatus,
}

fn plan(set: &DaemonSet, nodes: &[Node], pods: &[Pod]) -> Plan {
    let spec = set.spec.clone().unwrap_or_default();
    let template = spec.template.spec.clone().unwrap_or_default();
    let revision = suffix(&[&json!(spec.template).to_string()], 10);
    let replace = spec
        .update_strategy
        .and_then(|strategy| strategy.type_)
        .is_none_or(|type_| type_ != "OnDelete");
    let mut plan = Plan::default();
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        number_unavailable: Some(0),
        number_available: Some(0),
        updated_number_scheduled: Some(0),
        ..DaemonSetStatus::default()
    };
    let mut by_node: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in pods {
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        by_node
            .entry(node.unwrap_or_default())
            .or_default()
            .push(pod);
    }
    let bump = |count: &mut Option<i32>| *count = Some(count.unwrap_or(0) + 1);
    for node in nodes.iter().filter(|node| matches(&template, node)) {
        status.desired_number_scheduled += 1;
        let name = node.name_any();
        let mut present = by_node.remove(name.as_str()).unwrap_or_default();
        // Two pods on one node would be a mistake of an earlier pass: the first by name stays.
        present.sort_by_key(|pod| pod.name_any());
        let mut present = present.into_iter();
        let Some(pod) = present.next() else {
            plan.create.push(new_pod(set, &name, &revision));
            bump(&mut status.number_unavailable);
            continue;
        };
        plan.delete.extend(present.map(Pod::name_any));
        status.current_number_scheduled += 1;
        let current = pod.labels().get(REVISION) == Some(&revision);
        let leaving = pod.metadata.deletion_timestamp.is_some();
        if current {
            bump(&mut status.updated_number_scheduled);
        } else if replace && !leaving {
            plan.delete.push(pod.name_any());
        }
        if is_ready(pod) && !leaving {
            status.number_ready += 1;
            bump(&mut status.number_available);
        } else {
            bump(&mut status.number_unavailable);
        }
    }
    let elsewhere = by_node.into_values().flatten();
    for pod in elsewhere.filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        status.number_misscheduled += 1;
        plan.delete.push(pod.name_any());
    }
    plan.status = status;
    plan
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|list| {
        list.iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
    })
}

fn new_pod(set: &DaemonSet, node: &str, revision: &str) -> Pod {
    let uid = set.uid().unwrap_or_default();
    let template = set.spec.as_ref().map(|s| s.template.clone());
    let template = template.unwrap_or_default();
    let mut pod = Pod {
        metadata: template.metadata.unwrap_or_default(),
        spec: template.spec,
        status: None,
    };
    let suffix = suffix(&[&uid, node, revision], 5);
    pod.metadata.name = Some(format!("{}-{suffix}", set.name_any()));
    pod.metadata.namespace = set.namespace();
    pod.labels_mut()
        .insert(REVISION.to_owned(), revision.to_owned());
    pod.metadata.owner_references = Some(vec![OwnerReference {
        api_version: DaemonSet::api_version(&()).into_owned(),
        kind: DaemonSet::kind(&()).into_owned(),
        name: set.name_any(),
        uid,
        controller: Some(true),
        block_owner_deletion: Some(true),
    }]);
    pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
    pod
}

/// Whether a pod of this spec may run on the node: plain selector and required affinity.
fn matches(spec: &PodSpec, node: &Node) -> bool {
    let plain = spec.node_selector.iter().flatten();
    let labels = node.labels();
    if !plain
        .into_iter()
        .all(|(key, value)| labels.get(key) == Some(value))
    {
        return false;
    }
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| {
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    required.is_none_or(|selector| {
        let mut terms = selector.node_selector_terms.iter();
        terms.any(|term| term_matches(term, node))
    })
}

/// An empty term matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let label = |r: &NodeSelectorRequirement| requirement(r, node.labels().get(&r.key));
    let name = Some(node.name_any());
    let field =
        |r: &NodeSelectorRequirement| r.key == "metadata.name" && requirement(r, name.as_ref());
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(label)
        && fields.iter().all(field)
}

fn requirement(requirement: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &String| text.parse::<i64>().ok();
    let bound = values.first().and_then(number);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => value
            .and_then(number)
            .zip(bound)
            .is_some_and(|(v, b)| v > b),
        "Lt" => value
            .and_then(number)
            .zip(bound)
            .is_some_and(|(v, b)| v < b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value};

    fn set(selector: Value) -> DaemonSet {
        from_value(json!({
            "metadata": {"name": "producer", "namespace": "customer", "uid": "u1", "generation": 3},
            "spec": {
                "selector": {"matchLabels": {"app": "producer"}},
                "template": {
                    "metadata": {"labels": {"app": "producer"}},
                    "spec": {
                        "containers": [{"name": "c", "image": "i"}],
                        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}
                    }
                }
            }
        }))
        .unwrap()
    }

    fn node(name: &str, labels: Value) -> Node {
        from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
    }

    fn terms(key: &str, operator: &str, values: Value) -> Value {
        json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]})
    }

    fn run_on(pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        let ready =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        pod.status = from_value(ready).unwrap();
        pod
    }

    #[test]
    fn one_pod_per_matching_node_and_then_nothing_to_do() {
        let set = set(terms("version", "In", json!(["a"])));
        let nodes = [
            node("n1", json!({"version": "a"})),
            node("n2", json!({"version": "b"})),
            node("n3", json!({"version": "a"})),
        ];
        let first = plan(&set, &nodes, &[]);
        let on: Vec<_> = first
            .create
            .iter()
            .map(|p| p.spec.clone().unwrap().node_name.unwrap())
            .collect();
        assert_eq!(on, ["n1", "n3"]);
        assert_eq!(first.status.desired_number_scheduled, 2);
        let running: Vec<_> = first.create.iter().map(run_on).collect();
        let second = plan(&set, &nodes, &running);
        assert!(second.create.is_empty() && second.delete.is_empty());
        assert_eq!(second.status.number_ready, 2);
        assert_eq!(second.status.updated_number_scheduled, Some(2));
        assert_eq!(second.status.number_unavailable, Some(0));
        assert_eq!(second.status.observed_generation, Some(3));
    }

    #[test]
    fn pods_leave_nodes_that_no_longer_match_or_exist() {
        let set = set(terms("version", "In", json!(["a"])));
        let before = [
            node("n1", json!({"version": "a"})),
            node("n2", json!({"version": "a"})),
        ];
        let pods: Vec<_> = plan(&set, &before, &[]).create.iter().map(run_on).collect();
        let after = [node("n1", json!({"version": "b"}))];
        let plan = plan(&set, &after, &pods);
        let mut names: Vec<_> = pods.iter().map(Pod::name_any).collect();
        names.sort();
        let mut deleted = plan.delete.clone();
        deleted.sort();
        assert_eq!(deleted, names);
        assert_eq!(plan.status.desired_number_scheduled, 0);
        assert_eq!(plan.status.number_misscheduled, 2);
    }

    #[test]
    fn a_new_template_replaces_pods_unless_told_not_to() {
        let mut changed = set(terms("version", "Exists", json!([])));
        let nodes = [node("n1", json!({"version": "a"}))];
        let pods: Vec<_> = plan(&changed, &nodes, &[])
            .create
            .iter()
            .map(run_on)
            .collect();
        let spec = changed.spec.as_mut().unwrap();
        spec.template.metadata.get_or_insert_default().annotations =
            Some([("a".to_owned(), "b".to_owned())].into());
        assert_eq!(plan(&changed, &nodes, &pods).delete, [pods[0].name_any()]);
        let on_delete = json!({"type": "OnDelete"});
        changed.spec.as_mut().unwrap().update_strategy = from_value(on_delete).unwrap();
        let kept = plan(&changed, &nodes, &pods);
        assert!(kept.delete.is_empty());
        assert_eq!(kept.status.updated_number_scheduled, Some(0));
    }

    #[test]
    fn operators_of_node_selectors() {
        let subject = node("n1", json!({"version": "a", "cores": "16"}));
        for (selector, expected) in [
            (terms("version", "NotIn", json!(["a"])), false),
            (terms("other", "NotIn", json!(["a"])), true),
            (terms("other", "DoesNotExist", json!([])), true),
            (terms("cores", "Gt", json!(["8"])), true),
            (terms("cores", "Lt", json!(["8"])), false),
            (json!({"nodeSelectorTerms": [{}]}), false),
            (
                json!({"nodeSelectorTerms": [{"matchFields":
                [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]}),
                true,
            ),
        ] {
            let spec = set(selector.clone()).spec.unwrap().template.spec.unwrap();
            assert_eq!(matches(&spec, &subject), expected, "{selector}");
        }
    }
}

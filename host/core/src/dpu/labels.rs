//! Labels of the node that a DPU becomes.

use dpf_api::keys::{annotations, labels};
use dpf_api::provisioning::Dpu;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A merge patch of a node, if it needs one.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeLabelChange {
    /// The patch.
    pub patch: Value,
}

/// Labels that the node of a DPU has.
#[must_use]
pub fn desired_node_labels(dpu: &Dpu) -> BTreeMap<String, String> {
    let mut desired = dpu
        .spec
        .cluster
        .as_ref()
        .and_then(|cluster| cluster.node_labels.clone())
        .unwrap_or_default();
    desired
        .entry(labels::NODE_HOST.to_owned())
        .or_insert_with(|| dpu.spec.dpu_node_name.clone());
    desired
}

/// What has to change on the node: labels that are missing or differ, and those that were written before and are not
/// wanted any more. Labels of others stay.
#[must_use]
pub fn node_label_change(dpu: &Dpu, node: &Node) -> Option<NodeLabelChange> {
    let desired = desired_node_labels(dpu);
    let record = node
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(annotations::LAST_APPLIED_LABELS));
    let applied: BTreeMap<String, String> = record
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let empty = BTreeMap::new();
    let current = node.metadata.labels.as_ref().unwrap_or(&empty);
    let mut changes = serde_json::Map::new();
    for (key, value) in &desired {
        if current.get(key) != Some(value) {
            changes.insert(key.clone(), json!(value));
        }
    }
    for key in applied.keys() {
        if !desired.contains_key(key) && current.contains_key(key) {
            changes.insert(key.clone(), Value::Null);
        }
    }
    if changes.is_empty() && record.is_some() && applied == desired {
        return None;
    }
    let encoded = serde_json::to_string(&desired).unwrap_or_default();
    Some(NodeLabelChange {
        patch: json!({"metadata": {
            "labels": changes,
            "annotations": {annotations::LAST_APPLIED_LABELS: encoded},
        }}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::provisioning::ClusterAssignment;

    fn dpu(pairs: &[(&str, &str)]) -> Dpu {
        let mut dpu = Dpu::default();
        dpu.spec.dpu_node_name = "worker1".to_owned();
        dpu.spec.cluster = Some(ClusterAssignment {
            node_labels: Some(
                pairs
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
            ),
            ..ClusterAssignment::default()
        });
        dpu
    }

    /// What a merge patch does to the labels and annotations of a node.
    fn patched(node: &Node, change: &NodeLabelChange) -> Node {
        let mut node = node.clone();
        for (field, map) in [
            ("labels", node.metadata.labels.get_or_insert_default()),
            (
                "annotations",
                node.metadata.annotations.get_or_insert_default(),
            ),
        ] {
            for (key, value) in change.patch["metadata"][field].as_object().unwrap() {
                match value.as_str() {
                    Some(text) => map.insert(key.clone(), text.to_owned()),
                    None => map.remove(key),
                };
            }
        }
        node
    }

    #[test]
    fn labels_come_and_go_and_those_of_others_stay() {
        let mut node = Node::default();
        node.metadata.labels = Some(BTreeMap::from([("mine".to_owned(), "1".to_owned())]));
        let first = dpu(&[("a", "1"), ("b", "1")]);
        let node = patched(&node, &node_label_change(&first, &node).unwrap());
        assert_eq!(node_label_change(&first, &node), None);
        let second = dpu(&[("a", "2")]);
        let change = node_label_change(&second, &node).unwrap();
        assert_eq!(
            change.patch["metadata"]["labels"],
            json!({"a": "2", "b": null})
        );
        let node = patched(&node, &change);
        assert_eq!(node_label_change(&second, &node), None);
        let labels = node.metadata.labels.unwrap();
        assert_eq!(labels["mine"], "1");
        assert_eq!(labels[super::labels::NODE_HOST], "worker1");
    }

    #[test]
    fn a_label_that_somebody_changed_is_written_again() {
        let dpu = dpu(&[("a", "1")]);
        let node = patched(
            &Node::default(),
            &node_label_change(&dpu, &Node::default()).unwrap(),
        );
        let mut changed = node;
        changed
            .metadata
            .labels
            .as_mut()
            .unwrap()
            .insert("a".to_owned(), "x".to_owned());
        let change = node_label_change(&dpu, &changed).unwrap();
        assert_eq!(change.patch["metadata"]["labels"], json!({"a": "1"}));
    }
}

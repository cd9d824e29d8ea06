//! From the tree to JSON or YAML.

use super::tree::{Node, Row};
use serde_json::{Map, Value, json};

/// Objects by kind, each with metadata and conditions, and under `tree` what hangs below what.
///
/// The keys by kind are those other tools already read; `tree` carries the edges that such a list loses.
///
/// # Errors
/// When the encoder refuses.
pub fn encode(roots: &[Node], yaml: bool) -> anyhow::Result<String> {
    let mut document = Map::new();
    for root in roots {
        collect(root, &mut document);
    }
    let tree: Vec<_> = roots.iter().flat_map(edges).collect();
    document.insert("tree".to_owned(), Value::Array(tree));
    if yaml {
        return Ok(serde_saphyr::to_string(&document)?);
    }
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}

fn collect(node: &Node, document: &mut Map<String, Value>) {
    if let Row::Object(object) = &node.row {
        let key = format!("{}s", object.kind.to_lowercase());
        let entry = json!({
            "metadata": object.metadata,
            "typeMeta": {"apiVersion": object.api_version, "kind": object.kind},
            "conditions": object.conditions,
        });
        let list = document.entry(key).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            // A BFB hangs below every set that uses it, and is listed once.
            if !list.contains(&entry) {
                list.push(entry);
            }
        }
    }
    for child in &node.children {
        collect(child, document);
    }
}

/// Headers are for people: their children move up.
fn edges(node: &Node) -> Vec<Value> {
    let children: Vec<_> = node.children.iter().flat_map(edges).collect();
    match &node.row {
        Row::Object(object) => vec![json!({
            "kind": object.kind,
            "namespace": object.namespace(),
            "name": object.name(),
            "ready": object.ready().map(|ready| ready.status.clone()),
            "children": children,
        })],
        Row::Header(_) | Row::Group(_) => children,
    }
}

//! Planned changes as operations of a transaction.

use super::mirror::Snapshot;
use crate::core::desired::DesiredPort;
use crate::core::names;
use crate::core::plan::{Action, PortChange};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Operations of one transaction; none for changes of flows, which are not in the database.
#[must_use]
pub fn operations(action: &Action, node: &str, snapshot: &Snapshot) -> Vec<Value> {
    match action {
        Action::AddBridge {
            name,
            datapath_type,
        } => add_bridge(name, datapath_type, node),
        Action::SecureBridge { name } => vec![json!({
            "op": "update", "table": "Bridge", "where": [["name", "==", name]], "row": {"fail_mode": "secure"}
        })],
        Action::AddPorts(ports) => {
            let each = ports.iter().enumerate();
            each.flat_map(|(index, port)| add_port(index, port))
                .collect()
        }
        Action::ChangePort(change) => change_port(change),
        Action::DeletePort { bridge, name } => match snapshot.port_rows.get(name) {
            // Rows that nothing refers to are removed by the database.
            Some(id) => vec![json!({
                "op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]],
                "mutations": [["ports", "delete", ["set", [["uuid", id]]]]]
            })],
            None => Vec::new(),
        },
        Action::ChangeFlows(_) => Vec::new(),
    }
}

fn map(pairs: &BTreeMap<String, String>) -> Value {
    json!(["map", pairs.iter().collect::<Vec<_>>()])
}

fn add_bridge(name: &str, datapath_type: &str, node: &str) -> Vec<Value> {
    let owner = BTreeMap::from([(names::AGENT.to_owned(), node.to_owned())]);
    vec![
        json!({"op": "insert", "table": "Interface", "uuid-name": "inside",
            "row": {"name": name, "type": "internal"}}),
        json!({"op": "insert", "table": "Port", "uuid-name": "local",
            "row": {"name": name, "interfaces": ["set", [["named-uuid", "inside"]]]}}),
        json!({"op": "insert", "table": "Bridge", "uuid-name": "bridge", "row": {
            "name": name, "datapath_type": datapath_type, "fail_mode": "secure",
            "ports": ["set", [["named-uuid", "local"]]], "external_ids": map(&owner)
        }}),
        json!({"op": "mutate", "table": "Open_vSwitch", "where": [],
            "mutations": [["bridges", "insert", ["set", [["named-uuid", "bridge"]]]]]}),
    ]
}

fn add_port(index: usize, port: &DesiredPort) -> Vec<Value> {
    let (interface, row) = (format!("interface{index}"), format!("port{index}"));
    let mut fields = json!({
        "name": port.name, "type": port.type_, "options": map(&port.options),
        "external_ids": map(&port.interface_ids)
    });
    if let (Some(mtu), Some(fields)) = (port.mtu_request, fields.as_object_mut()) {
        fields.insert("mtu_request".to_owned(), json!(mtu));
    }
    let bridge = json!([["name", "==", port.bridge]]);
    vec![
        // Without the bridge the port would be lost without a word.
        json!({"op": "wait", "table": "Bridge", "where": bridge, "columns": ["name"], "until": "==",
            "rows": [{"name": port.bridge}], "timeout": 0}),
        json!({"op": "insert", "table": "Interface", "uuid-name": interface, "row": fields}),
        json!({"op": "insert", "table": "Port", "uuid-name": row, "row": {
            "name": port.name, "interfaces": ["set", [["named-uuid", interface]]],
            "external_ids": map(&port.port_ids)
        }}),
        json!({"op": "mutate", "table": "Bridge", "where": bridge,
            "mutations": [["ports", "insert", ["set", [["named-uuid", row]]]]]}),
    ]
}

fn change_port(change: &PortChange) -> Vec<Value> {
    let PortChange {
        name,
        options,
        interface_ids,
        port_ids,
        remove_interface_ids,
        remove_port_ids,
    } = change;
    let none = BTreeSet::new();
    let interface = [
        mutations("options", options, &none),
        mutations("external_ids", interface_ids, remove_interface_ids),
    ];
    let tables = [
        ("Interface", interface.concat()),
        ("Port", mutations("external_ids", port_ids, remove_port_ids)),
    ];
    let changed = tables
        .into_iter()
        .filter(|(_, mutations)| !mutations.is_empty());
    let mutate = |(table, mutations): (&str, Vec<Value>)| json!({"op": "mutate", "table": table, "where": [["name", "==", name]], "mutations": mutations});
    changed.map(mutate).collect()
}

/// Insertion alone keeps a value that is there already, so it is deleted first.
fn mutations(
    column: &str,
    set: &BTreeMap<String, String>,
    remove: &BTreeSet<String>,
) -> Vec<Value> {
    let mut mutations = Vec::new();
    let keys: Vec<_> = set.keys().chain(remove).collect();
    if !keys.is_empty() {
        mutations.push(json!([column, "delete", ["set", keys]]));
    }
    if !set.is_empty() {
        mutations.push(json!([column, "insert", map(set)]));
    }
    mutations
}

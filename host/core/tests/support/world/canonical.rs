//! Two states are compared without the names that were generated.

use dpf_core::dpudeployment::Observed;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

const VERSION: &str = "svc.dpu.nvidia.com/dpuservice-version";
const CHAIN_VERSION: &str = "svc.dpu.nvidia.com/dpuservicechain-version";

/// What exists, with the generated names replaced by what they stand for.
///
/// The digest of a service in `rendered` has generated names of other services in it, and so has that of a chain it
/// may take part in: they are replaced, too. That they are right is what an empty plan says.
pub fn canonical(
    observed: &Observed,
    rendered: &BTreeSet<String>,
) -> BTreeMap<String, serde_json::Value> {
    let mut names: Vec<(String, String)> = Vec::new();
    let mut digests: BTreeSet<String> = BTreeSet::new();
    let mut digest_of = |digest: &String, of_rendered: bool| {
        if of_rendered {
            digests.insert(digest.clone());
            return "<digest>".to_owned();
        }
        digest.clone()
    };
    let mut objects: Vec<(String, serde_json::Value)> = Vec::new();
    let mut add = |identity: String, name: Option<String>, mut value: serde_json::Value| {
        let metadata = value["metadata"].as_object_mut().unwrap();
        metadata.retain(|key, _| {
            ["name", "labels", "annotations", "ownerReferences"].contains(&key.as_str())
        });
        value.as_object_mut().unwrap().remove("status");
        names.extend(name.map(|name| (name, identity.clone())));
        objects.push((identity, value));
    };
    for service in &observed.services {
        let key = &service.labels()["svc.dpu.nvidia.com/dpudeployment-service"];
        let digest = digest_of(&service.annotations()[VERSION], rendered.contains(key));
        let identity = format!("<service {key} {digest}>");
        add(
            identity,
            Some(service.name_any()),
            serde_json::to_value(service).unwrap(),
        );
    }
    for interface in &observed.interfaces {
        let key = &interface.labels()["svc.dpu.nvidia.com/dpudeployment-service"];
        let own = interface
            .spec
            .template
            .spec
            .template
            .spec
            .service
            .as_ref()
            .unwrap();
        let digest = digest_of(&interface.annotations()[VERSION], rendered.contains(key));
        let identity = format!("<interface {key} {} {digest}>", own.interface_name);
        add(
            identity,
            Some(interface.name_any()),
            serde_json::to_value(interface).unwrap(),
        );
    }
    for chain in &observed.chains {
        let digest = digest_of(&chain.annotations()[CHAIN_VERSION], !rendered.is_empty());
        add(
            format!("<chain {digest}>"),
            Some(chain.name_any()),
            serde_json::to_value(chain).unwrap(),
        );
    }
    for set in &observed.sets {
        add(
            format!("<set {}>", set.name_any()),
            None,
            serde_json::to_value(set).unwrap(),
        );
    }
    names.extend(
        digests
            .into_iter()
            .map(|digest| (digest, "<digest>".to_owned())),
    );
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let mut all = BTreeMap::new();
    for (identity, value) in objects {
        let mut text = value.to_string();
        for (name, stands_for) in &names {
            text = text.replace(name, stands_for);
        }
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        sort_texts(&mut value);
        assert!(
            all.insert(identity.clone(), value).is_none(),
            "{identity} exists twice"
        );
    }
    all
}

/// Lists of names are sorted by name, so after the names were replaced they are sorted again.
fn sort_texts(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(list) => {
            list.iter_mut().for_each(sort_texts);
            if list.iter().all(serde_json::Value::is_string) {
                list.sort_by_key(ToString::to_string);
            }
        }
        serde_json::Value::Object(map) => map.values_mut().for_each(sort_texts),
        _ => {}
    }
}

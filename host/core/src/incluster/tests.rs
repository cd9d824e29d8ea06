use super::*;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json};

const NAMESPACE: &str = "customer-namespace";
const DEPLOYMENT: &str = "producer-consumer";
const OWNER: &str = "customer-namespace_producer-consumer";
/// The key of service `observer`, as the system we can take over from computes it.
const KEY: &str = "svc.dpu.nvidia.com/dpuservice-in-cluster-version-71aa5e755a";
const INVENTORY: &str = "inventory";

fn object<K: DeserializeOwned>(value: Value) -> Arc<K> {
    Arc::new(from_value(value).unwrap())
}

/// Objects of all kinds, as JSON so that a test reads like a manifest.
#[derive(Clone, Debug)]
struct World {
    node: Value,
    hosts: Vec<Value>,
    devices: Vec<Value>,
    deployments: Vec<Value>,
    services: Vec<Value>,
    sets: Vec<Value>,
    maintenances: Vec<Value>,
}

fn all<K: DeserializeOwned>(values: &[Value]) -> Vec<Arc<K>> {
    values.iter().cloned().map(object).collect()
}

impl World {
    fn plan(&self) -> Plan {
        plan(&Observed {
            node: &object::<Node>(self.node.clone()),
            dpu_nodes: &all(&self.hosts),
            devices: &all(&self.devices),
            deployments: &all(&self.deployments),
            services: &all(&self.services),
            sets: &all(&self.sets),
            maintenances: &all(&self.maintenances),
            inventory: INVENTORY,
        })
    }

    fn apply(&mut self, plan: &Plan) {
        for (key, value) in &plan.labels {
            let labels = self.node["metadata"]["labels"].as_object_mut().unwrap();
            match value {
                Some(value) => labels.insert(key.clone(), json!(value)),
                None => labels.remove(key),
            };
        }
        for release in &plan.releases {
            let object = self
                .maintenances
                .iter_mut()
                .find(|m| m["metadata"]["name"] == *release.name)
                .unwrap();
            let list = object["spec"]["requestor"].as_array_mut().unwrap();
            list.retain(|r| !release.requestors.iter().any(|gone| r == gone));
        }
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.node["metadata"]["labels"].get(key)?.as_str()
    }
}

fn service(name: &str, created: u32) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": NAMESPACE, "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z"),
            "labels": {"svc.dpu.nvidia.com/owned-by-dpudeployment": OWNER}
        },
        "spec": {"helmChart": {"source": {"repoURL": "oci://a/b", "version": "1"}}, "deployInCluster": true}
    })
}

fn set(key: &str, value: &str) -> Value {
    json!({
        "metadata": {
            "name": "producer-consumer-s", "namespace": NAMESPACE,
            "labels": {"svc.dpu.nvidia.com/owned-by-dpudeployment": OWNER}
        },
        "spec": {"dpuTemplate": {"spec": {"dpuFlavor": "f", "cluster": {"nodeLabels": {key: value}}}}}
    })
}

fn maintenance(name: &str, applied: bool, requestors: &[&str]) -> Value {
    json!({
        "metadata": {"name": name, "namespace": INVENTORY},
        "spec": {"dpuNodeName": "w1", "requestor": requestors},
        "status": {"conditions": [{
            "type": "NodeEffectApplied", "status": if applied { "True" } else { "False" }, "reason": "r", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"
        }]}
    })
}

fn requestor(service: &str) -> String {
    format!("{OWNER}_{service}")
}

/// One host in rack a with one card, and a deployment with one in-cluster service on it.
fn world() -> World {
    World {
        node: json!({"metadata": {"name": "w1", "labels": {"other": "stays"}}}),
        hosts: vec![json!({
            "metadata": {"name": "w1", "namespace": INVENTORY, "labels": {"rack": "a", "size": "7"}},
            "spec": {"dpus": [{"name": "D1"}]}, "status": {"kubeNodeRef": "w1"}
        })],
        devices: vec![json!({
            "metadata": {
                "name": "d1", "namespace": INVENTORY,
                "labels": {"provisioning.dpu.nvidia.com/dpudevice-pciAddress": "0000-0e-00"}
            },
            "spec": {"serialNumber": "s"}
        })],
        deployments: vec![json!({
            "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE},
            "spec": {"services": {}, "dpus": {"dpuSets": [{"nameSuffix": "s"}]}}
        })],
        services: vec![service("observer-bbbbb", 1)],
        sets: vec![set(KEY, "observer-bbbbb")],
        maintenances: vec![],
    }
}

/// The same, while the second revision replaces the first.
fn rollout() -> World {
    let mut world = world();
    world.node["metadata"]["labels"][KEY] = json!("observer-bbbbb");
    world.services[0]["spec"]["paused"] = json!(true);
    world.services.push(service("observer-ccccc", 2));
    world.sets = vec![set(KEY, "observer-ccccc")];
    world
}

fn labels(pairs: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
        .collect()
}

#[test]
fn the_first_label_needs_no_node_effect() {
    let plan = world().plan();
    assert_eq!(plan.labels, labels(&[(KEY, Some("observer-bbbbb"))]));
    assert!(plan.releases.is_empty());
}

#[test]
fn a_revision_is_replaced_only_under_a_node_effect_in_force() {
    let mut world = rollout();
    assert_eq!(world.plan(), Plan::default(), "no maintenance");
    let next = requestor("observer-ccccc");
    world.maintenances = vec![maintenance("m", false, &["w1-d1", &next])];
    assert_eq!(world.plan(), Plan::default(), "not in force yet");
    world.maintenances = vec![maintenance("m", true, &["w1-d1", "stranger", &next])];
    let plan = world.plan();
    assert_eq!(plan.labels, labels(&[(KEY, Some("observer-ccccc"))]));
    world.apply(&plan);
    let left = &world.maintenances[0]["spec"]["requestor"];
    assert_eq!(*left, json!(["w1-d1", "stranger"]), "others stay");
    assert_eq!(world.plan(), Plan::default());
}

#[test]
fn maintenances_of_other_hosts_do_not_count() {
    let next = requestor("observer-ccccc");
    for (pointer, value) in [
        ("/spec/dpuNodeName", "w2"),
        ("/metadata/namespace", "elsewhere"),
    ] {
        let mut world = rollout();
        world.maintenances = vec![maintenance("m", true, &[&next])];
        *world.maintenances[0].pointer_mut(pointer).unwrap() = json!(value);
        assert_eq!(world.plan(), Plan::default(), "{pointer}");
    }
}

#[test]
fn several_services_are_released_together_and_services_on_dpus_by_others() {
    let mut world = rollout();
    world.services.push(service("tracer-ddddd", 3));
    let mut on_dpus = service("normal-fffff", 4);
    on_dpus["spec"]["deployInCluster"] = json!(false);
    world.services.push(on_dpus);
    let asking = ["observer-ccccc", "tracer-ddddd", "normal-fffff"].map(requestor);
    let asking: Vec<&str> = asking.iter().map(String::as_str).collect();
    world.maintenances = vec![maintenance("m", true, &asking)];
    let plan = world.plan();
    assert_eq!(plan.labels.len(), 2);
    assert!(plan.labels.values().flatten().any(|v| v == "tracer-ddddd"));
    assert_eq!(plan.releases[0].requestors, asking[..2]);
}

#[test]
fn hosts_match_the_whole_selector() {
    let pci = "provisioning.dpu.nvidia.com/dpudevice-pciAddress";
    let expression = |key: &str, operator: &str, values: Value| json!({"nodeSelector": {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}});
    for (set, expected) in [
        (json!({}), true),
        (
            json!({"nodeSelector": {"matchLabels": {"rack": "a", "size": "7"}}}),
            true,
        ),
        (
            json!({"nodeSelector": {"matchLabels": {"rack": "a", "size": "8"}}}),
            false,
        ),
        (
            json!({"dpuNodeSelector": {"matchLabels": {"rack": "b"}}}),
            false,
        ),
        (expression("rack", "In", json!(["a", "b"])), true),
        (expression("rack", "NotIn", json!(["a"])), false),
        (expression("absent", "Exists", json!(null)), false),
        (json!({"dpuSelector": {pci: "0000:0e:00.0"}}), true),
        (json!({"dpuSelector": {pci: "0000-1a-00"}}), false),
        (
            json!({"dpuDeviceSelector": {"matchLabels": {pci: "0000:0e:00.0"}}}),
            true,
        ),
        (
            json!({"dpuDeviceSelector": {"matchLabels": {"absent": "x"}}}),
            false,
        ),
        (
            json!({"nodeSelector": {"matchLabels": {"rack": "b"}}, "dpuSelector": {pci: "0000-0e-00"}}),
            false,
        ),
    ] {
        let mut world = world();
        world.deployments[0]["spec"]["dpus"]["dpuSets"][0] = set.clone();
        world.deployments[0]["spec"]["dpus"]["dpuSets"][0]["nameSuffix"] = json!("s");
        let found = world.plan().labels.contains_key(KEY);
        assert_eq!(found, expected, "{set}");
        world.node["metadata"]["labels"][KEY] = json!("observer-bbbbb");
        let expected = if expected {
            labels(&[])
        } else {
            labels(&[(KEY, None)])
        };
        assert_eq!(world.plan().labels, expected, "stays or goes: {set}");
    }
}

#[test]
fn only_hosts_of_both_namespaces_that_are_this_node_count() {
    for (pointer, value, expected) in [
        ("/metadata/namespace", json!(INVENTORY), true),
        ("/metadata/namespace", json!("elsewhere"), false),
        ("/status/kubeNodeRef", json!("w2"), false),
        ("/status/kubeNodeRef", json!(null), false),
    ] {
        let mut world = world();
        *world.hosts[0].pointer_mut(pointer).unwrap() = value.clone();
        let found = world.plan().labels.contains_key(KEY);
        assert_eq!(found, expected, "{pointer} {value}");
    }
    let mut world = world();
    world.hosts[0]["metadata"]["namespace"] = json!(NAMESPACE);
    assert!(
        world.plan().labels.contains_key(KEY),
        "beside the deployment"
    );
}

#[test]
fn labels_go_with_their_deployment_and_with_their_service() {
    let mut world = world();
    world.node["metadata"]["labels"][KEY] = json!("observer-bbbbb");
    assert!(world.plan().labels.is_empty());
    let mut terminating = world.clone();
    terminating.deployments[0]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(terminating.plan().labels, labels(&[(KEY, None)]));
    world.services.clear();
    assert_eq!(world.plan().labels, labels(&[(KEY, None)]));
}

#[test]
fn a_label_of_a_revision_that_is_gone_disturbs_nobody_when_replaced() {
    let mut world = world();
    world.node["metadata"]["labels"][KEY] = json!("observer-zzzzz");
    assert_eq!(
        world.plan().labels,
        labels(&[(KEY, Some("observer-bbbbb"))])
    );
    let mut going = service("observer-zzzzz", 0);
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    world.services.push(going);
    assert_eq!(world.plan(), Plan::default(), "its pods may still run");
}

#[test]
fn a_new_host_gets_the_current_revision() {
    let mut world = rollout();
    world.node["metadata"]["labels"] = json!({});
    assert_eq!(world.plan().labels[KEY].as_deref(), Some("observer-ccccc"));
    world.sets = vec![set(KEY, "observer-bbbbb")];
    assert_eq!(
        world.plan().labels[KEY].as_deref(),
        Some("observer-bbbbb"),
        "after a revert the older one is current"
    );
    world.sets.clear();
    assert_eq!(world.plan().labels[KEY].as_deref(), Some("observer-ccccc"));
}

#[test]
fn of_two_revisions_that_ask_the_current_one_runs() {
    let mut world = rollout();
    let asking = ["observer-bbbbb", "observer-ccccc"].map(requestor);
    let asking: Vec<&str> = asking.iter().map(String::as_str).collect();
    world.maintenances = vec![maintenance("m", true, &asking)];
    let plan = world.plan();
    assert_eq!(plan.labels, labels(&[(KEY, Some("observer-ccccc"))]));
    assert_eq!(plan.releases[0].requestors, asking);
}

#[test]
fn what_is_being_deleted_gets_nothing_and_holds_nothing() {
    let mut world = world();
    world.maintenances = vec![maintenance("m", true, &[&requestor("observer-bbbbb")])];
    let mut node = world.clone();
    node.node["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(node.plan(), Plan::default());
    world.services[0]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let plan = world.plan();
    assert!(plan.labels.is_empty());
    assert_eq!(plan.releases.len(), 1);
}

#[test]
fn services_without_owner_are_nobodys() {
    let mut world = world();
    world.services[0]["metadata"]["labels"] = json!({});
    assert_eq!(world.plan(), Plan::default());
    world.services[0]["metadata"]["labels"] =
        json!({"svc.dpu.nvidia.com/owned-by-dpudeployment": "another_deployment"});
    assert_eq!(
        world.plan(),
        Plan::default(),
        "an owner in another namespace"
    );
}

#[test]
fn hosts_outside_the_cluster_wait_for_no_service_in_it() {
    let world = rollout();
    let object: Arc<DpuNodeMaintenance> = object(maintenance(
        "m",
        true,
        &["w1-d1", &requestor("observer-ccccc")],
    ));
    let services = all(&world.services);
    let release = |host: &Value| {
        release_nodeless(&object, &all(std::slice::from_ref(host)), &services)
            .map(|release| release.requestors)
    };
    assert_eq!(release(&world.hosts[0]), None);
    let mut nodeless = world.hosts[0].clone();
    nodeless["status"] = json!({});
    assert_eq!(release(&nodeless), Some(vec![requestor("observer-ccccc")]));
    nodeless["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "w1", "uid": "u"}]);
    assert_eq!(release(&nodeless), None, "it will be a node");
}

/// Some of everything, wrong and right.
fn any_world() -> impl Strategy<Value = World> {
    let names = [
        "observer-bbbbb",
        "observer-ccccc",
        "tracer-ddddd",
        "tracer-fffff",
    ];
    let subset = |most: usize| proptest::sample::subsequence(names.to_vec(), 0..=most);
    (
        subset(4),
        subset(2),
        subset(1),
        proptest::option::of(proptest::sample::select(names.to_vec())),
        proptest::option::of(subset(4)),
        any::<(bool, bool, bool)>(),
    )
        .prop_map(
            |(alive, going, paused, labelled, asking, (applied, matching, terminating))| {
                let mut world = world();
                world.services = alive
                    .iter()
                    .zip(1..)
                    .map(|(name, created)| {
                        let mut service = service(name, created);
                        service["spec"]["paused"] = json!(paused.contains(name));
                        if going.contains(name) {
                            service["metadata"]["deletionTimestamp"] =
                                json!("2026-01-01T00:00:00Z");
                        }
                        service
                    })
                    .collect();
                if let Some(name) = labelled {
                    world.node["metadata"]["labels"][KEY] = json!(name);
                }
                if let Some(asking) = asking {
                    let mut list: Vec<String> = asking.iter().map(|name| requestor(name)).collect();
                    list.push("w1-d1".to_owned());
                    let list: Vec<&str> = list.iter().map(String::as_str).collect();
                    world.maintenances = vec![
                        maintenance("m1", applied, &list),
                        maintenance("m2", !applied, &list[..1]),
                    ];
                }
                if !matching {
                    world.hosts[0]["metadata"]["labels"]["rack"] = json!("b");
                }
                world.deployments[0]["spec"]["dpus"]["dpuSets"][0]["nodeSelector"] =
                    json!({"matchLabels": {"rack": "a"}});
                if terminating {
                    world.deployments[0]["metadata"]["deletionTimestamp"] =
                        json!("2026-01-01T00:00:00Z");
                }
                world
            },
        )
}

proptest! {
    #[test]
    fn laws(world in any_world()) {
        let plan = world.plan();

        let mut reversed = world.clone();
        reversed.services.reverse();
        reversed.maintenances.reverse();
        prop_assert_eq!(&plan, &reversed.plan(), "order does not matter");

        let mut applied = world.clone();
        applied.apply(&plan);
        prop_assert_eq!(applied.plan(), Plan::default(), "one pass is enough");
        prop_assert_eq!(applied.label("other"), Some("stays"));

        let runs = |key: &str| applied.label(key).map(str::to_owned);
        let names: Vec<&str> =
            world.services.iter().filter_map(|s| s["metadata"]["name"].as_str()).collect();
        let deployment = &world.deployments[0]["metadata"];
        let matching = world.hosts[0]["metadata"]["labels"]["rack"] == "a";
        if !matching || deployment.get("deletionTimestamp").is_some() {
            prop_assert_eq!(runs(KEY), None, "no label where nothing may run");
        } else if let Some(before) = world.label(KEY).filter(|name| {
            names.contains(name) && name.starts_with("observer")
        }) {
            let after = runs(KEY);
            let asked = after.as_ref().is_some_and(|after| plan.releases.iter()
                .any(|release| release.requestors.contains(&requestor(after))));
            prop_assert!(
                after.as_deref() == Some(before) || asked,
                "{before} was replaced by {after:?} although no node effect asked for it"
            );
        }
        for release in &plan.releases {
            for gone in &release.requestors {
                let name = gone.strip_prefix(OWNER).and_then(|rest| rest.strip_prefix('_'));
                prop_assert!(name.is_some_and(|name| names.contains(&name)), "{gone} is a stranger");
            }
        }
    }
}

use super::argo::{Application, ApplicationStatus, ComparedTo, Health, Sync};
use super::interfaces::NETWORKS;
use super::*;
use crate::conditions::is_true;
use crate::fanout::ClusterKey;
use dpf_api::conditions::{READY, dpuservice as types};
use dpf_api::keys::annotations::{ARGO_SKIP_RECONCILE, CONSUMED_BY};
use dpf_api::keys::finalizers;
use dpf_api::svc::{
    ConfigPort, ConfigPorts, DpuService, DpuServiceInterface, DpuServiceNad, ServiceDaemonSet,
    ServiceDef,
};
use dpf_api::{Quantity, RawValues};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn service() -> DpuService {
    let mut service = DpuService::default();
    service.metadata.name = Some("s".to_owned());
    service.metadata.namespace = Some("ns".to_owned());
    service.metadata.generation = Some(1);
    service.spec.service_id = Some("id".to_owned());
    let source = &mut service.spec.helm_chart.source;
    source.repo_url = "oci://h/charts".to_owned();
    source.chart = Some("c".to_owned());
    source.path = Some(String::new());
    source.version = "1.0.0".to_owned();
    service
}

fn cluster(name: &str) -> ClusterKey {
    ClusterKey {
        namespace: "cns".to_owned(),
        name: name.to_owned(),
    }
}

fn made(service: &DpuService, name: &str) -> Application {
    let values = values(service, "id", &Networks::default());
    application(service, &Target::Dpu(cluster(name)), values, "op")
}

#[test]
fn an_application_has_the_published_form() {
    let made = serde_json::to_value(made(&service(), "a")).unwrap();
    assert_eq!(
        made["metadata"],
        json!({
            "name": "a-s", "namespace": "op",
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
            "labels": {
                "dpu.nvidia.com/cluster": "a", "dpu.nvidia.com/cluster-namespace": "cns",
                "dpu.nvidia.com/dpuservice-name": "s", "dpu.nvidia.com/dpuservice-namespace": "ns"
            }
        })
    );
    assert_eq!(
        made["spec"],
        json!({
            "project": "doca-platform-project-dpu",
            "source": {
                "repoURL": "h/charts", "chart": "c", "targetRevision": "1.0.0",
                "helm": {"valuesObject": {"serviceDaemonSet": {"labels": {"svc.dpu.nvidia.com/service": "id"}}}}
            },
            "destination": {"name": "a", "namespace": "ns"},
            "syncPolicy": {"automated": {"prune": true, "selfHeal": true}}
        })
    );
    let host = application(&service(), &Target::InCluster, json!({}), "op");
    assert_eq!(
        (host.name_any().as_str(), host.spec.project.as_str()),
        ("in-cluster-s", "doca-platform-project-host")
    );
    let project = project(
        &Target::Dpu(cluster("a")),
        &[cluster("a"), cluster("b")],
        "op",
    );
    assert_eq!(project.spec.destinations.len(), 2);
}

#[test]
fn long_names_are_cut_and_stay_distinct() {
    let long = "x".repeat(63);
    let a = application_name(&long, "a");
    assert_eq!(a.len(), 63);
    assert_ne!(a, application_name(&long, "b"));
    assert_eq!(a, application_name(&long, "a"));
    assert_eq!(application_name("c", "s"), "c-s");
}

#[test]
fn a_service_id_is_derived_when_none_is_given() {
    let mut service = service();
    assert_eq!(service_id(&service), "id");
    service.spec.service_id = None;
    let derived = service_id(&service);
    assert!(
        derived.len() == 10
            && derived
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    );
    service.metadata.namespace = Some("other".to_owned());
    assert_ne!(service_id(&service), derived);
}

#[test]
fn generated_values_win_and_exposed_ports_do_not() {
    let mut service = service();
    service.spec.helm_chart.values = Some(RawValues(json!({
        "serviceDaemonSet": {
            "updateStrategy": {"type": "RollingUpdate"}, "labels": {"mine": "1"}, "annotations": {"b": "2"},
            "nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "mine", "operator": "Exists"}]}]}
        },
        "image": {"tag": "x"}, "list": [1, 2],
        "exposedPorts": {"ports": {"p": false}}
    })));
    // Revisions separate by it: one that the chart brings would let the pods of both run everywhere.
    let selector = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "version", "operator": "In", "values": ["s"]}]}]});
    service.spec.service_daemon_set = Some(ServiceDaemonSet {
        node_selector: Some(serde_json::from_value(selector.clone()).unwrap()),
        update_strategy: Some(json!({"type": "OnDelete"})),
        annotations: Some([("a".to_owned(), "1".to_owned())].into()),
        resources: Some([("cpu".to_owned(), Quantity("2".to_owned()))].into()),
        ..ServiceDaemonSet::default()
    });
    service.spec.config_ports = Some(ConfigPorts {
        service_type: "NodePort".to_owned(),
        ports: ["p", "q"]
            .map(|name| ConfigPort {
                name: name.to_owned(),
                ..ConfigPort::default()
            })
            .to_vec(),
    });
    let networks = Networks {
        resources: [("nvidia.com/bf_sf".to_owned(), Quantity("1".to_owned()))].into(),
        ..Networks::default()
    };
    assert_eq!(
        values(&service, "id", &networks),
        json!({
            "serviceDaemonSet": {
                "updateStrategy": {"type": "OnDelete"},
                "nodeSelector": selector,
                "labels": {"mine": "1", "svc.dpu.nvidia.com/service": "id"},
                "annotations": {"a": "1", "b": "2"},
                "resources": {"cpu": "2", "nvidia.com/bf_sf": "1"}
            },
            "image": {"tag": "x"}, "list": [1, 2],
            "exposedPorts": {
                "labels": {"dpu.nvidia.com/dpuservice-name": "s", "dpu.nvidia.com/dpuservice-namespace": "ns"},
                "ports": {"p": false, "q": true}
            }
        })
    );
}

fn interface(name: &str, network: &str) -> (String, DpuServiceInterface) {
    let mut interface = DpuServiceInterface::default();
    interface.metadata.name = Some(name.to_owned());
    interface.spec.template.spec.template.spec.service = Some(ServiceDef {
        service_id: "id".to_owned(),
        network: network.to_owned(),
        interface_name: format!("{name}_if"),
        virtual_network: None,
    });
    (name.to_owned(), interface)
}

fn nad(name: &str, resource_type: &str) -> DpuServiceNad {
    let mut nad = DpuServiceNad::default();
    nad.metadata.name = Some(name.to_owned());
    nad.metadata.namespace = Some("ns".to_owned());
    nad.spec.resource_type = resource_type.to_owned();
    nad
}

fn attached(
    service: &DpuService,
    interfaces: &BTreeMap<String, DpuServiceInterface>,
) -> Result<Networks, InterfaceError> {
    networks(
        service,
        "id",
        interfaces,
        &[nad("net", "sf"), nad("other", "veth")],
    )
}

#[test]
fn interfaces_become_networks_and_devices() {
    let mut service = service();
    service.spec.interfaces = Some(vec!["b".to_owned(), "a".to_owned(), "c".to_owned()]);
    let mut all: BTreeMap<_, _> = [
        interface("a", "net"),
        interface("b", "ns/net"),
        interface("c", "other"),
    ]
    .into();
    all.get_mut("a").unwrap().metadata.annotations =
        Some([(CONSUMED_BY.to_owned(), "s".to_owned())].into());
    service.spec.service_daemon_set = Some(ServiceDaemonSet {
        annotations: Some(
            [(
                NETWORKS.to_owned(),
                json!([{"name": "", "interface": "a_if", "cni-args": {}}, {"name": "z", "interface": "own"}]).to_string(),
            )]
            .into(),
        ),
        ..ServiceDaemonSet::default()
    });
    let made = attached(&service, &all).unwrap();
    let entries: Value = serde_json::from_str(made.annotation.as_deref().unwrap()).unwrap();
    assert_eq!(
        entries,
        json!([
            {"name": "net", "interface": "a_if", "cni-args": {}},
            {"name": "net", "namespace": "ns", "interface": "b_if", "cni-args": null},
            {"name": "other", "interface": "c_if", "cni-args": null},
            {"name": "z", "interface": "own", "cni-args": null}
        ])
    );
    assert_eq!(
        made.resources,
        [("nvidia.com/bf_sf".to_owned(), Quantity("2".to_owned()))].into()
    );
    assert_eq!(made.unmarked, ["b", "c"]);
}

#[test]
fn interfaces_that_cannot_be_attached() {
    let mut service = service();
    assert_eq!(
        attached(&service, &BTreeMap::new()),
        Ok(Networks::default())
    );
    service.spec.interfaces = Some(vec!["a".to_owned()]);
    let all = |change: fn(&mut DpuServiceInterface)| {
        let (name, mut interface) = interface("a", "net");
        change(&mut interface);
        BTreeMap::from([(name, interface)])
    };
    for (interfaces, expected) in [
        (BTreeMap::new(), "does not exist"),
        (
            all(|i| i.spec.template.spec.template.spec.service = None),
            "not of type service",
        ),
        (
            all(|i| {
                i.spec
                    .template
                    .spec
                    .template
                    .spec
                    .service
                    .as_mut()
                    .unwrap()
                    .service_id = "x".to_owned()
            }),
            "has the serviceID",
        ),
        (
            all(|i| {
                i.metadata.annotations = Some([(CONSUMED_BY.to_owned(), "t".to_owned())].into())
            }),
            "is used by DPUService t",
        ),
    ] {
        let message = attached(&service, &interfaces).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    service.spec.service_daemon_set = Some(ServiceDaemonSet {
        annotations: Some([(NETWORKS.to_owned(), "mynet@eth0".to_owned())].into()),
        ..ServiceDaemonSet::default()
    });
    let message = attached(&service, &all(|_| {})).unwrap_err().to_string();
    assert!(message.contains("not a JSON list"), "{message}");
}

#[test]
fn plans() {
    let known = [cluster("a")];
    let mut service = service();
    let desired = [made(&service, "a")];
    assert_eq!(
        plan(&service, &desired, &[], &known),
        [Action::Apply(Box::new(desired[0].clone()))]
    );
    assert_eq!(plan(&service, &desired, &desired, &known), []);

    let mut skipped = desired[0].clone();
    skipped.metadata.annotations =
        Some([(ARGO_SKIP_RECONCILE.to_owned(), "true".to_owned())].into());
    let skipped = [skipped];
    assert!(matches!(
        plan(&service, &desired, &skipped, &known)[..],
        [Action::Resume(_)]
    ));

    // A cluster that was deselected still runs Argo CD's clean-up; one that is gone does not.
    assert!(matches!(
        plan(&service, &[], &desired, &known)[..],
        [Action::Delete(_)]
    ));
    assert!(matches!(
        plan(&service, &[], &desired, &[])[..],
        [Action::Delete(_), Action::Orphan(_)]
    ));

    service.spec.paused = Some(true);
    assert!(matches!(
        plan(&service, &[], &desired, &known)[..],
        [Action::Pause(_)]
    ));
    assert_eq!(plan(&service, &[], &skipped, &known), []);
    service.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert!(matches!(
        plan(&service, &[], &skipped, &known)[..],
        [Action::Resume(_), Action::Delete(_)]
    ));
    let mut leaving = desired[0].clone();
    leaving.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(plan(&service, &[], &[leaving.clone()], &known), []);
    leaving.metadata.finalizers = Some(vec![finalizers::ARGO_RESOURCES.to_owned()]);
    assert!(matches!(
        plan(&service, &[], &[leaving], &[])[..],
        [Action::Orphan(_)]
    ));
}

fn answered(
    application: &Application,
    sync: &str,
    health: &str,
    compared: Option<&Application>,
) -> Application {
    let mut application = application.clone();
    application.status = Some(ApplicationStatus {
        sync: Sync {
            status: sync.to_owned(),
            compared_to: compared.map(|c| ComparedTo {
                source: c.spec.source.clone(),
            }),
        },
        health: Health {
            status: health.to_owned(),
            message: None,
        },
        conditions: None,
    });
    application
}

#[test]
fn readiness_is_what_argo_says_about_the_current_chart() {
    let service = service();
    let desired = made(&service, "a");
    let mut former = service.clone();
    former.spec.helm_chart.source.version = "0.9.0".to_owned();
    let former = made(&former, "a");
    for (observed, ready, part) in [
        (vec![], false, "does not exist yet"),
        (vec![desired.clone()], false, "not yet deployed"),
        (
            vec![answered(&desired, "OutOfSync", "Healthy", None)],
            false,
            "sync OutOfSync",
        ),
        (
            vec![answered(&desired, "Synced", "Progressing", None)],
            false,
            "health Progressing",
        ),
        (
            vec![answered(&former, "Synced", "Healthy", None)],
            false,
            "has not looked",
        ),
        (
            vec![answered(&desired, "Synced", "Healthy", Some(&former))],
            false,
            "has not looked",
        ),
        (
            vec![answered(&desired, "Synced", "Healthy", Some(&desired))],
            true,
            "",
        ),
        (
            vec![answered(&desired, "Synced", "Healthy", None)],
            true,
            "",
        ),
    ] {
        let list = conditions(
            &service,
            Facts {
                interfaces: Some(&[]),
                prerequisites: Some(&[]),
                applications: Some(&[]),
                config_ports: Some(&[]),
                desired: Some(std::slice::from_ref(&desired)),
                observed: &observed,
                now: Timestamp::UNIX_EPOCH,
            },
        );
        assert_eq!(is_true(Some(&list), READY), ready, "{list:?}");
        let condition = list
            .iter()
            .find(|c| c.type_ == types::APPLICATIONS_READY)
            .unwrap();
        assert!(condition.message.contains(part), "{}", condition.message);
    }
}

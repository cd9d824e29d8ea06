//! What every chart for DPUs renders: one DaemonSet.

use super::application::Application;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};

/// Label of what was deployed: name of the Application.
pub const INSTANCE: &str = "argocd.argoproj.io/instance";
/// Label of pods: name of the release.
const RELEASE: &str = "app.kubernetes.io/instance";

/// Name of the release: the one the user chose, or the Application's.
#[must_use]
pub fn release(application: &Application) -> String {
    let helm = application
        .spec
        .source
        .as_ref()
        .and_then(|s| s.helm.as_ref());
    helm.and_then(|helm| helm.release_name.clone())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| application.name_any())
}

/// The DaemonSet of an Application.
///
/// # Errors
/// One sentence for people when the values do not make a DaemonSet.
pub fn daemon_set(application: &Application) -> Result<DaemonSet, String> {
    let release = release(application);
    let source = application.spec.source.clone().unwrap_or_default();
    let values = source.helm.as_ref().and_then(|h| h.values_object.clone());
    let values = values.unwrap_or_default();
    let empty = Value::Object(Map::new());
    let service = values.get("serviceDaemonSet").unwrap_or(&empty);
    let object = |field: &str| match service.get(field) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(other) => Err(format!(
            "values: serviceDaemonSet.{field} must be an object, not {other}"
        )),
    };
    let mut labels = object("labels")?;
    labels.insert(RELEASE.to_owned(), json!(release));
    let selector = object("nodeSelector")?;
    let affinity = if selector.is_empty() {
        json!({})
    } else {
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}})
    };
    let strategy = object("updateStrategy")?;
    let strategy = if strategy.is_empty() {
        json!({"type": "RollingUpdate"})
    } else {
        Value::Object(strategy)
    };
    let chart = source.chart_name();
    // The build of a semantic version follows a plus sign, which neither labels nor tags of images may have.
    let version = source
        .target_revision
        .trim_start_matches('v')
        .replace('+', "_");
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {
            "name": release, "namespace": application.spec.destination.namespace(),
            "labels": {INSTANCE: application.name_any(), RELEASE: release, "helm.sh/chart": format!("{chart}-{version}")}
        },
        "spec": {
            "selector": {"matchLabels": {RELEASE: release}},
            "updateStrategy": strategy,
            "template": {
                "metadata": {"labels": labels, "annotations": object("annotations")?},
                "spec": {
                    "affinity": affinity,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [{
                        "name": chart, "image": format!("registry.invalid/{chart}:{version}"),
                        "resources": {"limits": object("resources")?, "requests": object("resources")?}
                    }]
                }
            }
        }
    });
    serde_json::from_value(set)
        .map_err(|error| format!("values: serviceDaemonSet makes no DaemonSet: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::application::{ApplicationSpec, Destination, Helm, Source, named};
    use super::*;

    fn application(values: Value, release: Option<&str>) -> Application {
        Application {
            metadata: named("dpf-operator-system", "cluster-producer-abcde"),
            spec: ApplicationSpec {
                source: Some(Source {
                    path: Some("producer".to_owned()),
                    target_revision: "v0.0.1".to_owned(),
                    helm: Some(Helm {
                        release_name: release.map(str::to_owned),
                        values_object: Some(values),
                    }),
                    ..Source::default()
                }),
                destination: Destination {
                    name: Some("cluster".to_owned()),
                    namespace: Some("customer".to_owned()),
                    server: None,
                },
                ..ApplicationSpec::default()
            },
            status: None,
        }
    }

    #[test]
    fn the_build_of_a_version_fits_into_a_label() {
        let mut application = application(json!({}), None);
        if let Some(source) = &mut application.spec.source {
            source.target_revision = "v1.0.0+r7".to_owned();
        }
        let set = daemon_set(&application).unwrap();
        let label = set.metadata.labels.unwrap().remove("helm.sh/chart");
        assert_eq!(label.as_deref(), Some("producer-1.0.0_r7"));
    }

    #[test]
    fn pods_carry_what_the_values_say() {
        let selector = json!({"nodeSelectorTerms": [{"matchExpressions":
            [{"key": "k", "operator": "In", "values": ["v"]}]}]});
        let values = json!({"serviceDaemonSet": {
            "labels": {"svc.dpu.nvidia.com/service": "id"}, "annotations": {"page": "false"},
            "nodeSelector": selector, "resources": {"nvidia.com/sf": "1"}, "updateStrategy": {"type": "OnDelete"}
        }});
        let set = daemon_set(&application(values, Some(""))).unwrap();
        assert_eq!(set.name_any(), "cluster-producer-abcde");
        assert_eq!(set.namespace().as_deref(), Some("customer"));
        let value = json!(set.spec.unwrap());
        let template = &value["template"];
        assert_eq!(
            template["metadata"]["labels"]["svc.dpu.nvidia.com/service"],
            "id"
        );
        assert_eq!(template["metadata"]["annotations"]["page"], "false");
        let required = &template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(*required, selector);
        assert_eq!(
            template["spec"]["containers"][0]["image"],
            "registry.invalid/producer:0.0.1"
        );
        assert_eq!(
            template["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/sf"],
            "1"
        );
        assert_eq!(value["updateStrategy"]["type"], "OnDelete");
    }

    #[test]
    fn values_that_make_no_daemon_set_are_named() {
        let wrong = json!({"serviceDaemonSet": {"labels": ["a"]}});
        let message = daemon_set(&application(wrong, None)).unwrap_err();
        assert!(message.contains("serviceDaemonSet.labels"), "{message}");
        let release = daemon_set(&application(json!({}), Some("mine"))).unwrap();
        assert_eq!(release.name_any(), "mine");
    }
}

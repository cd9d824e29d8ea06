//! What an empty object of a built-in kind looks like to field ownership.
//!
//! Fields that are structs (not pointers) in the original types exist in every object, so that creating an object
//! never makes its writer the owner of, say, `spec` itself, only of what is inside.

use serde_json::{Value, json};

/// The empty object of a kind.
pub fn empty_object(kind: &str) -> Value {
    let template = || json!({"metadata": {}, "spec": {"containers": null}});
    match kind {
        "Deployment" => {
            json!({"metadata": {}, "spec": {"strategy": {}, "template": template()}, "status": {}})
        }
        "DaemonSet" | "StatefulSet" => {
            json!({"metadata": {}, "spec": {"updateStrategy": {}, "template": template()}, "status": {}})
        }
        "ReplicaSet" | "Job" => {
            json!({"metadata": {}, "spec": {"template": template()}, "status": {}})
        }
        "CronJob" => {
            json!({"metadata": {}, "spec": {"jobTemplate": {"metadata": {}, "spec": {"template": template()}}}, "status": {}})
        }
        "Pod" => json!({"metadata": {}, "spec": {"containers": null}, "status": {}}),
        "Event" => {
            json!({"metadata": {}, "involvedObject": {}, "source": {}, "regarding": {}, "deprecatedSource": {}})
        }
        "PersistentVolumeClaim" => json!({"metadata": {}, "spec": {"resources": {}}, "status": {}}),
        "Node" => json!({"metadata": {}, "spec": {},
            "status": {"daemonEndpoints": {"kubeletEndpoint": {}}, "nodeInfo": {}}}),
        "Service" => json!({"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}}),
        "CustomResourceDefinition" => {
            json!({"metadata": {}, "spec": {"names": {}, "versions": null}, "status": {"acceptedNames": {}}})
        }
        "EndpointSlice" => {
            json!({"metadata": {}, "addressType": "", "endpoints": null, "ports": null})
        }
        "Role" | "ClusterRole" => json!({"metadata": {}, "rules": null}),
        "RoleBinding" | "ClusterRoleBinding" => json!({"metadata": {}, "roleRef": {}}),
        "ConfigMap" | "Secret" | "ServiceAccount" | "Endpoints" | "PriorityClass"
        | "StorageClass" | "ControllerRevision" => json!({"metadata": {}}),
        _ => json!({"metadata": {}, "spec": {}, "status": {}}),
    }
}

//! What an effect does to a host, and how it is undone.
//!
//! What was changed on the node is recorded in an annotation of the node, written in the same patch, so that exactly that
//! is undone: a node that somebody else cordoned stays cordoned.

use crate::kit::{self, Context, Failure, patch_metadata};
use dpf_api::keys::{annotations, managers};
use dpf_api::provisioning::{DpuNode, DpuNodeMaintenance, NodeEffect};
use dpf_core::dpunodemaintenance::{Kind, effective, kind};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{EvictParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How far an effect is.
pub(super) enum Progress {
    /// It is in force.
    Done,
    /// Not yet.
    Waiting {
        /// For what.
        message: String,
        /// Whether to look again soon; else an event tells.
        poll: bool,
    },
    /// It cannot be.
    Impossible {
        /// Why, and what to do.
        message: String,
    },
}

impl Progress {
    fn waiting(message: impl Into<String>) -> Self {
        Self::Waiting {
            message: message.into(),
            poll: true,
        }
    }
}

/// Puts the effect in force. Repeatable at any time.
pub(super) async fn apply(
    context: &Context,
    object: &DpuNodeMaintenance,
    node: &DpuNode,
) -> Result<Progress, Failure> {
    let effect = effective(object.spec.node_effect.as_ref());
    let kube_node = node
        .status
        .as_ref()
        .and_then(|s| s.kube_node_ref.as_deref());
    match kind(&effect) {
        None | Some(Kind::NoEffect) => Ok(Progress::Done),
        Some(Kind::Hold) => hold(context, object).await,
        Some(Kind::CustomAction) => custom_action(context, object, &effect).await,
        Some(which @ (Kind::Taint | Kind::CustomLabel | Kind::Drain)) => {
            let Some(name) = kube_node else {
                // There is nothing that pods run on: nothing to disturb.
                return Ok(Progress::Done);
            };
            let Some(found) = read_node(context, name).await? else {
                return Ok(Progress::Impossible {
                    message: format!("Node {name} of DPUNode {} does not exist", node.name_any()),
                });
            };
            change_node(context, object, &found, which, &effect).await?;
            if which == Kind::Drain {
                drain(context, name).await
            } else {
                Ok(Progress::Done)
            }
        }
    }
}

async fn read_node(context: &Context, name: &str) -> Result<Option<Node>, Failure> {
    let nodes: Api<Node> = Api::all(context.client.clone());
    nodes.get_opt(name).await.map_err(|source| {
        Failure::Read(kit::ReadError::Get {
            kind: "Node".to_owned(),
            name: name.to_owned(),
            source: Box::new(source),
        })
    })
}

async fn patch_node(context: &Context, name: &str, patch: &Value) -> Result<(), Failure> {
    let nodes: Api<Node> = Api::all(context.client.clone());
    let params = PatchParams {
        field_manager: Some(managers::DPUNODEMAINTENANCE.to_owned()),
        ..PatchParams::default()
    };
    match nodes.patch(name, &params, &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(Failure::Write(kit::WriteError::Refused {
            verb: "patch",
            kind: "Node".to_owned(),
            name: name.to_owned(),
            source: Box::new(source),
        })),
    }
}

type Record = BTreeMap<String, Value>;

fn record_of(node: &Node) -> Record {
    node.annotations()
        .get(annotations::NODE_EFFECT_RECORD)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn encode(record: &Record) -> Value {
    if record.is_empty() {
        Value::Null
    } else {
        json!(serde_json::to_string(record).unwrap_or_default())
    }
}

/// Taint, labels or cordon, with the record of what was changed, in one patch.
async fn change_node(
    context: &Context,
    object: &DpuNodeMaintenance,
    node: &Node,
    which: Kind,
    effect: &NodeEffect,
) -> Result<(), Failure> {
    let mut record = record_of(node);
    if record.contains_key(&object.name_any()) {
        return Ok(());
    }
    let taints = node
        .spec
        .as_ref()
        .and_then(|s| s.taints.clone())
        .unwrap_or_default();
    let unschedulable = node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true);
    let (changed, mut patch) = match which {
        Kind::Taint => {
            let taint = effect.taint.clone().unwrap_or_default();
            if taints.iter().any(|t| t.key == taint.key) {
                (json!({}), json!({}))
            } else {
                let mut all = json!(taints);
                if let Some(list) = all.as_array_mut() {
                    list.push(json!(taint));
                }
                (
                    json!({"taint": taint.key}),
                    json!({"spec": {"taints": all}}),
                )
            }
        }
        Kind::CustomLabel => {
            let wanted = effect.custom_label.clone().unwrap_or_default();
            // What was there before is put back.
            let before: BTreeMap<&String, Option<&String>> = wanted
                .keys()
                .map(|key| (key, node.labels().get(key)))
                .collect();
            (
                json!({"labels": before}),
                json!({"metadata": {"labels": wanted}}),
            )
        }
        _ if unschedulable => (json!({}), json!({})),
        _ => (
            json!({"cordon": true}),
            json!({"spec": {"unschedulable": true}}),
        ),
    };
    record.insert(object.name_any(), changed);
    merge_record(&mut patch, node, &record);
    patch_node(context, &node.name_any(), &patch).await
}

fn merge_record(patch: &mut Value, node: &Node, record: &Record) {
    if let Some(fields) = patch.as_object_mut() {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert(
                "annotations".to_owned(),
                json!({annotations::NODE_EFFECT_RECORD: encode(record)}),
            );
            // Two effects on one node must not lose each other's record.
            metadata.insert(
                "resourceVersion".to_owned(),
                json!(node.metadata.resource_version),
            );
        }
    }
}

/// Evicts what may be evicted; PodDisruptionBudgets are the API server's to honour.
async fn drain(context: &Context, node: &str) -> Result<Progress, Failure> {
    let pods: Api<Pod> = Api::all(context.client.clone());
    let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let list = pods
        .list(&on_node)
        .await
        .map_err(|source| kit::ReadError::List {
            kind: "Pod".to_owned(),
            source: Box::new(source),
        })?;
    let mut left = Vec::new();
    for pod in list.items.iter().filter(|pod| is_evictable(pod, node)) {
        let name = pod.name_any();
        let namespace = pod.namespace().unwrap_or_default();
        left.push(format!("{namespace}/{name}"));
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
        match api.evict(&name, &EvictParams::default()).await {
            Ok(_) => {}
            // Its budget does not allow it now, or it is gone.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 429) => {}
            Err(source) => {
                return Err(Failure::Write(kit::WriteError::Refused {
                    verb: "evict",
                    kind: "Pod".to_owned(),
                    name: format!("{namespace}/{name}"),
                    source: Box::new(source),
                }));
            }
        }
    }
    if left.is_empty() {
        return Ok(Progress::Done);
    }
    left.sort();
    let shown: Vec<&str> = left.iter().take(10).map(String::as_str).collect();
    Ok(Progress::waiting(format!(
        "{} pod(s) are still on Node {node}: {}",
        left.len(),
        shown.join(", ")
    )))
}

fn is_evictable(pod: &Pod, node: &str) -> bool {
    let here = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(node);
    let finished = pod
        .status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
    let by_daemon_set = pod.owner_references().iter().any(|o| o.kind == "DaemonSet");
    let mirror = pod
        .annotations()
        .contains_key("kubernetes.io/config.mirror");
    here && !finished && !by_daemon_set && !mirror
}

async fn hold(context: &Context, object: &DpuNodeMaintenance) -> Result<Progress, Failure> {
    let key = annotations::WAIT_FOR_EXTERNAL_NODEEFFECT;
    match object
        .annotations()
        .get(key)
        .map(|v| v.trim().to_ascii_lowercase())
        .as_deref()
    {
        Some("false" | "f" | "0") => Ok(Progress::Done),
        Some("true") => Ok(Progress::Waiting {
            message: format!("waiting for somebody to set annotation {key}=false on this object"),
            poll: false,
        }),
        _ => {
            let patch = json!({"annotations": {key: "true"}});
            patch_metadata(&context.client, managers::DPUNODEMAINTENANCE, object, patch).await?;
            Ok(Progress::Waiting {
                message: format!(
                    "waiting for somebody to set annotation {key}=false on this object"
                ),
                poll: false,
            })
        }
    }
}

/// Runs the pod in a ConfigMap to completion, as a job named like the object and owned by it.
async fn custom_action(
    context: &Context,
    object: &DpuNodeMaintenance,
    effect: &NodeEffect,
) -> Result<Progress, Failure> {
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let existing: Option<Job> = kit::get(&context.client, &namespace, &name).await?;
    if let Some(job) = existing {
        return Ok(job_progress(&job));
    }
    let source = effect.custom_action.clone().unwrap_or_default();
    let Some(map) = kit::get::<ConfigMap>(&context.client, &namespace, &source).await? else {
        return Ok(Progress::waiting(format!(
            "ConfigMap {namespace}/{source} does not exist"
        )));
    };
    let text = map
        .data
        .unwrap_or_default()
        .into_iter()
        .find(|(key, _)| key.contains("yaml"))
        .map(|(_, text)| text);
    let pod = match text.as_deref().map(serde_saphyr::from_str::<Pod>) {
        Some(Ok(pod)) => pod,
        Some(Err(error)) => {
            return Ok(Progress::Impossible {
                message: format!("ConfigMap {namespace}/{source} holds no Pod: {error}"),
            });
        }
        None => {
            return Ok(Progress::Impossible {
                message: format!("ConfigMap {namespace}/{source} has no key that contains yaml"),
            });
        }
    };
    let mut spec = pod.spec.unwrap_or_default();
    spec.restart_policy = Some("Never".to_owned());
    let job = Job {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace),
            owner_references: Some(vec![owner(object)]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            template: PodTemplateSpec {
                metadata: None,
                spec: Some(spec),
            },
            ..JobSpec::default()
        }),
        status: None,
    };
    kit::apply(&context.client, managers::DPUNODEMAINTENANCE, &job).await?;
    Ok(Progress::waiting(
        "the job of the custom action was started",
    ))
}

fn owner(object: &DpuNodeMaintenance) -> OwnerReference {
    OwnerReference {
        api_version: "provisioning.dpu.nvidia.com/v1alpha1".to_owned(),
        kind: "DPUNodeMaintenance".to_owned(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn job_progress(job: &Job) -> Progress {
    let has = |type_: &str| {
        job.status
            .as_ref()
            .and_then(|s| s.conditions.as_ref())
            .is_some_and(|c| c.iter().any(|c| c.type_ == type_ && c.status == "True"))
    };
    if has("Complete") {
        Progress::Done
    } else if has("Failed") {
        Progress::Waiting {
            message: format!(
                "Job {} failed: look at its pod, then delete the job to have it run again",
                job.name_any()
            ),
            poll: true,
        }
    } else {
        Progress::waiting(format!("Job {} is running", job.name_any()))
    }
}

/// Undoes exactly what was recorded. Repeatable at any time.
pub(super) async fn undo(
    context: &Context,
    object: &DpuNodeMaintenance,
    node: Option<&DpuNode>,
) -> Result<(), Failure> {
    let Some(name) = node
        .and_then(|n| n.status.as_ref())
        .and_then(|s| s.kube_node_ref.clone())
    else {
        return Ok(());
    };
    let Some(found) = read_node(context, &name).await? else {
        return Ok(());
    };
    let mut record = record_of(&found);
    let Some(changed) = record.remove(&object.name_any()) else {
        return Ok(());
    };
    let mut patch = json!({});
    if let Some(key) = changed.get("taint").and_then(Value::as_str) {
        let taints = found
            .spec
            .as_ref()
            .and_then(|s| s.taints.clone())
            .unwrap_or_default();
        let rest: Vec<_> = taints.into_iter().filter(|t| t.key != key).collect();
        patch = json!({"spec": {"taints": rest}});
    }
    if let Some(before) = changed.get("labels") {
        patch = json!({"metadata": {"labels": before}});
    }
    if changed.get("cordon").is_some() {
        patch = json!({"spec": {"unschedulable": null}});
    }
    merge_record(&mut patch, &found, &record);
    patch_node(context, &name, &patch).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PodSpec, PodStatus};

    #[test]
    fn daemons_and_finished_pods_stay() {
        let pod = |owner: &str, phase: &str, node: &str| Pod {
            metadata: ObjectMeta {
                owner_references: Some(vec![OwnerReference {
                    kind: owner.to_owned(),
                    ..OwnerReference::default()
                }]),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                node_name: Some(node.to_owned()),
                ..PodSpec::default()
            }),
            status: Some(PodStatus {
                phase: Some(phase.to_owned()),
                ..PodStatus::default()
            }),
        };
        for (pod, evicted) in [
            (pod("ReplicaSet", "Running", "w"), true),
            (pod("DaemonSet", "Running", "w"), false),
            (pod("Job", "Succeeded", "w"), false),
            (pod("ReplicaSet", "Running", "other"), false),
        ] {
            assert_eq!(is_evictable(&pod, "w"), evicted);
        }
    }
}

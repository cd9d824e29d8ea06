//! From objects to a tree: what hangs below what, equal ready siblings merged.

use super::fetch::Observed;
use super::object::{
    Condition, application_conditions, bfb_conditions, conditions, dpu_conditions, label, text,
};
use dpf_api::keys::labels;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::{DynamicObject, ObjectMeta};

/// A row of the tree and what hangs below it.
#[derive(Clone, Debug)]
pub struct Node {
    /// What the row stands for.
    pub row: Row,
    /// What hangs below it, in the order of the rows.
    pub children: Vec<Node>,
}

/// What a row stands for.
#[derive(Clone, Debug)]
pub enum Row {
    /// A plural that only announces what follows.
    Header(&'static str),
    /// An object.
    Object(Box<Object>),
    /// Several objects that are ready for the same reason.
    Group(Group),
}

/// An object of the cluster.
#[derive(Clone, Debug)]
pub struct Object {
    /// Kind.
    pub kind: &'static str,
    /// `group/version`.
    pub api_version: &'static str,
    /// Name, namespace, labels and the rest.
    pub metadata: ObjectMeta,
    /// Conditions, those of foreign kinds translated.
    pub conditions: Vec<Condition>,
}

/// Several objects in one row.
#[derive(Clone, Debug)]
pub struct Group {
    /// Kind of the members.
    pub kind: &'static str,
    /// Namespace of the members.
    pub namespace: String,
    /// Their names, sorted.
    pub names: Vec<String>,
    /// The condition they share; the oldest transition of all.
    pub ready: Condition,
}

const SVC: &str = "svc.dpu.nvidia.com/v1alpha1";
const PROVISIONING: &str = "provisioning.dpu.nvidia.com/v1alpha1";
const OPERATOR: &str = "operator.dpu.nvidia.com/v1alpha1";
const ARGO: &str = "argoproj.io/v1alpha1";

impl Object {
    fn new(kind: &'static str, api_version: &'static str, object: &DynamicObject) -> Self {
        Self {
            kind,
            api_version,
            metadata: object.metadata.clone(),
            conditions: conditions(object),
        }
    }

    fn with(self, conditions: Vec<Condition>) -> Self {
        Self { conditions, ..self }
    }

    /// The summary condition.
    #[must_use]
    pub fn ready(&self) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.type_ == "Ready")
    }

    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Namespace of the object.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn leaf(self) -> Node {
        self.over(Vec::new())
    }

    fn over(self, children: Vec<Node>) -> Node {
        Node {
            row: Row::Object(Box::new(self)),
            children,
        }
    }
}

/// The tree below the DPFOperatorConfig, or one tree per deployment where there is none.
///
/// `merge` turns equal ready siblings into one row; `now` stands in for transitions without a time.
#[must_use]
pub fn build(observed: &Observed, now: Timestamp, merge: bool) -> Vec<Node> {
    let deployments = observed.deployments.iter();
    let deployments: Vec<_> = deployments.map(|d| deployment(observed, d)).collect();
    let mut roots = match &observed.config {
        Some(config) => {
            let root = Object::new("DPFOperatorConfig", OPERATOR, config);
            vec![root.over(header("DPUDeployments", deployments))]
        }
        None => deployments,
    };
    for root in &mut roots {
        sort(root);
        if merge {
            merge_ready(root, now);
        }
    }
    roots
}

fn deployment(observed: &Observed, deployment: &DynamicObject) -> Node {
    let namespace = deployment.namespace().unwrap_or_default();
    let owner = labels::owner_value(&namespace, &deployment.name_any());
    let owned = |object: &&DynamicObject| {
        object.namespace().as_deref() == Some(namespace.as_str())
            && label(object, labels::OWNED_BY_DPUDEPLOYMENT) == owner
    };
    let leaves = |kind, objects: &[DynamicObject]| -> Vec<Node> {
        let mine = objects.iter().filter(owned);
        mine.map(|o| Object::new(kind, SVC, o).leaf()).collect()
    };
    let sets = observed.sets.iter().filter(owned);
    let sets = sets.map(|set| dpu_set(observed, set)).collect();
    let referenced = deployment.data.pointer("/spec/services");
    let referenced: Vec<&str> = referenced
        .and_then(serde_json::Value::as_object)
        .into_iter()
        .flat_map(|services| services.values())
        .filter_map(|service| service.get("serviceTemplate")?.as_str())
        .collect();
    let templates = observed.templates.iter().filter(|template| {
        template.namespace().as_deref() == Some(namespace.as_str())
            && referenced.contains(&template.name_any().as_str())
    });
    let templates = templates.map(|t| Object::new("DPUServiceTemplate", SVC, t).leaf());
    let services = observed.services.iter().filter(owned);
    let services = services.map(|s| service(observed, s)).collect();
    let mut below_services = header("DPUServiceTemplates", templates.collect());
    below_services.extend(header("DPUServices", services));

    let mut children = header(
        "DPUServiceChains",
        leaves("DPUServiceChain", &observed.chains),
    );
    children.extend(header(
        "DPUServiceInterfaces",
        leaves("DPUServiceInterface", &observed.interfaces),
    ));
    children.extend(header("DPUSets", sets));
    children.extend(header("Services", below_services));
    Object::new("DPUDeployment", SVC, deployment).over(children)
}

fn dpu_set(observed: &Observed, set: &DynamicObject) -> Node {
    let namespace = set.namespace().unwrap_or_default();
    let image = text(set, "/spec/dpuTemplate/spec/bfb/name");
    let bfbs = observed.bfbs.iter().filter(|bfb| {
        bfb.namespace().as_deref() == Some(namespace.as_str()) && bfb.name_any() == image
    });
    let mut children: Vec<_> = bfbs
        .map(|bfb| {
            Object::new("BFB", PROVISIONING, bfb)
                .with(bfb_conditions(bfb))
                .leaf()
        })
        .collect();
    let dpus = observed.dpus.iter().filter(|dpu| {
        label(dpu, labels::DPUSET_NAME) == set.name_any()
            && label(dpu, labels::DPUSET_NAMESPACE) == namespace
    });
    let dpus = dpus.map(|dpu| {
        Object::new("DPU", PROVISIONING, dpu)
            .with(dpu_conditions(dpu))
            .leaf()
    });
    children.extend(header("DPUs", dpus.collect()));
    Object::new("DPUSet", PROVISIONING, set).over(children)
}

/// The Applications of a service are of interest only while it is not ready.
fn service(observed: &Observed, service: &DynamicObject) -> Node {
    let row = Object::new("DPUService", SVC, service);
    let namespace = service.namespace().unwrap_or_default();
    let children = match row.ready() {
        Some(ready) if ready.is_true() => Vec::new(),
        _ => {
            let applications = observed.applications.iter().filter(|application| {
                label(application, labels::DPUSERVICE_NAME) == service.name_any()
                    && label(application, labels::DPUSERVICE_NAMESPACE) == namespace
            });
            applications
                .map(|application| {
                    Object::new("Application", ARGO, application)
                        .with(application_conditions(application))
                        .leaf()
                })
                .collect()
        }
    };
    row.over(children)
}

/// A header over `children`, or nothing when there are none.
fn header(title: &'static str, children: Vec<Node>) -> Vec<Node> {
    if children.is_empty() {
        return Vec::new();
    }
    let row = Row::Header(title);
    vec![Node { row, children }]
}

/// What siblings are ordered by: the text of their row.
fn order(node: &Node) -> String {
    match &node.row {
        Row::Header(title) => (*title).to_owned(),
        Row::Object(object) => format!("{}/{}/{}", object.kind, object.name(), object.namespace()),
        Row::Group(group) => format!("{} {}", group.names.len(), group.kind),
    }
}

fn sort(node: &mut Node) {
    node.children.iter_mut().for_each(sort);
    node.children.sort_by_key(order);
}

/// Kinds that stay apart: each of them has a story of its own below it.
const NEVER_MERGED: [&str; 2] = ["DPUDeployment", "DPUSet"];

fn merge_ready(node: &mut Node, now: Timestamp) {
    for child in &mut node.children {
        merge_ready(child, now);
    }
    let mut rest: Vec<Node> = Vec::new();
    let mut groups: Vec<(Group, Node)> = Vec::new();
    for child in std::mem::take(&mut node.children) {
        match mergeable(&child, now) {
            None => rest.push(child),
            Some(one) => match groups.iter_mut().find(|(group, _)| joins(group, &one)) {
                None => groups.push((one, child)),
                Some((group, _)) => {
                    group.names.extend(one.names);
                    let older = one.ready.last_transition_time;
                    if older < group.ready.last_transition_time {
                        group.ready.last_transition_time = older;
                    }
                }
            },
        }
    }
    let groups = groups.into_iter().map(|(group, only)| {
        if group.names.len() == 1 {
            return only;
        }
        let row = Row::Group(group);
        let children = Vec::new();
        Node { row, children }
    });
    node.children = groups.chain(rest).collect();
    node.children.sort_by_key(order);
}

fn joins(group: &Group, one: &Group) -> bool {
    group.kind == one.kind
        && group.namespace == one.namespace
        && group.ready.reason == one.ready.reason
}

/// The node as a group of one, if it may share a row with others.
fn mergeable(node: &Node, now: Timestamp) -> Option<Group> {
    let Row::Object(object) = &node.row else {
        return None;
    };
    let ready = object.ready().filter(|ready| ready.is_true())?;
    if NEVER_MERGED.contains(&object.kind) || object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    if !object.conditions.iter().all(Condition::is_true) || node.children.iter().any(is_open) {
        return None;
    }
    let mut ready = ready.clone();
    ready.last_transition_time.get_or_insert(now);
    Some(Group {
        kind: object.kind,
        namespace: object.namespace().to_owned(),
        names: vec![object.name().to_owned()],
        ready,
    })
}

fn is_open(node: &Node) -> bool {
    let open = match &node.row {
        Row::Object(object) => object.ready().is_some_and(|ready| !ready.is_true()),
        Row::Header(_) | Row::Group(_) => false,
    };
    open || node.children.iter().any(is_open)
}

//! Which resources the server serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::builtin::kinds::{KINDS, Kind};
use crate::error::Subject;
use crate::schema::Schema;
use crate::table::columns::Column;

/// Where a scale subresource finds its numbers; dotted paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// Wanted replicas.
    pub spec: String,
    /// Actual replicas.
    pub status: String,
    /// Label selector as text.
    pub selector: Option<String>,
}

/// One resource in one version.
#[derive(Debug)]
pub struct Resource {
    /// API group; empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind of one object.
    pub kind: String,
    /// Kind of a list.
    pub list_kind: String,
    /// Plural name, as in URLs.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// True when objects live in namespaces.
    pub namespaced: bool,
    /// True when there is a status subresource.
    pub status: bool,
    /// The scale subresource, when there is one.
    pub scale: Option<ScalePaths>,
    /// The schema.
    pub schema: Schema,
    /// OpenAPI name of the schema.
    pub definition: String,
    /// Columns of the table form.
    pub columns: Vec<Column>,
    /// Paths a field selector may name beside name and namespace.
    pub selectable: Vec<String>,
    /// True for kinds defined by a CRD.
    pub custom: bool,
    /// Version objects are stored in (same as `version` for built-in kinds).
    pub storage_version: String,
    /// A text for people when the version is deprecated.
    pub deprecation: Option<String>,
}

/// Where objects are stored: group and plural, without the version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorageKey(pub String, pub String);

impl Resource {
    /// `group/version`, or just the version for core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Where the objects are stored.
    pub fn storage(&self) -> StorageKey {
        let group = if self.is_new_event() { "" } else { &self.group };
        StorageKey(group.to_owned(), self.plural.clone())
    }

    /// True for the second face of events.
    pub fn is_new_event(&self) -> bool {
        self.group == "events.k8s.io"
    }

    /// True for a core kind.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    /// For errors about the resource.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            group: &self.group,
            kind: &self.plural,
        }
    }

    /// For errors about an object.
    pub fn kind_subject(&self) -> Subject<'_> {
        Subject {
            group: &self.group,
            kind: &self.kind,
        }
    }

    /// True when `metadata.generation` counts changes of the spec.
    pub fn has_generation(&self) -> bool {
        self.custom
            || matches!(
                self.kind.as_str(),
                "Deployment"
                    | "DaemonSet"
                    | "StatefulSet"
                    | "ReplicaSet"
                    | "Job"
                    | "CronJob"
                    | "PodDisruptionBudget"
                    | "CustomResourceDefinition"
                    | "Pod"
                    | "Ingress"
                    | "NetworkPolicy"
                    | "ReplicationController"
                    | "ValidatingAdmissionPolicy"
                    | "EndpointSlice"
            )
    }

    /// True when a PUT of an object that does not exist creates it.
    pub fn allows_create_on_update(&self) -> bool {
        let kinds = ["Lease", "Endpoints", "Event", "LimitRange", "Service"];
        !self.custom
            && (self.group == "rbac.authorization.k8s.io" || kinds.contains(&self.kind.as_str()))
    }

    /// True when an update may leave out the resource version.
    pub fn allows_unconditional_update(&self) -> bool {
        !self.custom
            && !matches!(
                self.kind.as_str(),
                "Lease" | "CustomResourceDefinition" | "PodDisruptionBudget"
            )
    }

    /// What the original says about a field that cannot be selected by.
    pub fn not_selectable(&self, field: &str) -> String {
        let own_words = matches!(
            (self.group.as_str(), self.kind.as_str()),
            (
                "",
                "Pod"
                    | "Node"
                    | "Namespace"
                    | "Secret"
                    | "Service"
                    | "Event"
                    | "ReplicationController"
            ) | ("events.k8s.io", _)
        );
        match (self.group.as_str(), self.kind.as_str()) {
            ("batch", "Job") => format!("field label {field:?} not supported for Job"),
            _ if self.custom || own_words => format!("field label not supported: {field}"),
            _ => format!(
                "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            ),
        }
    }

    fn builtin(kind: &Kind) -> Self {
        let scale = kind.scale.then(|| ScalePaths {
            spec: "spec.replicas".into(),
            status: "status.replicas".into(),
            selector: None,
        });
        let lists = |list: &[&str]| {
            list.iter()
                .map(|s| (*s).to_owned())
                .collect::<Vec<String>>()
        };
        Self {
            group: kind.group.into(),
            version: kind.version.into(),
            kind: kind.kind.into(),
            list_kind: format!("{}List", kind.kind),
            plural: kind.plural.into(),
            singular: kind.kind.to_lowercase(),
            short_names: lists(kind.short),
            categories: lists(kind.categories),
            namespaced: kind.namespaced,
            status: kind.status,
            scale,
            schema: Schema::builtin(kind.definition),
            definition: kind.definition.into(),
            columns: crate::table::columns::builtin(kind.group, kind.kind),
            selectable: selectable(kind.group, kind.kind),
            custom: false,
            storage_version: kind.version.into(),
            deprecation: None,
        }
    }
}

/// Fields of built-in kinds a field selector may name.
fn selectable(group: &str, kind: &str) -> Vec<String> {
    let paths: &[&str] = match (group, kind) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Namespace") => &["status.phase"],
        ("", "Secret") => &["type"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "type",
        ],
        ("apps", "ReplicaSet") | ("", "ReplicationController") => &["status.replicas"],
        ("batch", "Job") => &["status.successful"],
        _ => &[],
    };
    paths.iter().map(|p| (*p).to_owned()).collect()
}

/// All served resources.
#[derive(Debug, Default)]
pub struct Registry {
    by_path: BTreeMap<(String, String, String), Arc<Resource>>,
    builtin_order: Vec<(String, String, String)>,
    epoch: u64,
}

impl Registry {
    /// The built-in resources.
    pub fn builtin() -> Self {
        let mut registry = Self::default();
        for kind in KINDS {
            let resource = Resource::builtin(kind);
            let key = (
                resource.group.clone(),
                resource.version.clone(),
                resource.plural.clone(),
            );
            registry.builtin_order.push(key.clone());
            registry.by_path.insert(key, Arc::new(resource));
        }
        registry
    }

    /// The resource at group, version and plural.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// The resource of a kind.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.by_path
            .values()
            .find(|r| r.group == group && r.version == version && r.kind == kind)
    }

    /// A resource stored under a key, in its storage version when it is served.
    pub fn by_storage(&self, key: &StorageKey) -> Option<&Arc<Resource>> {
        let mut all = self
            .by_path
            .values()
            .filter(|r| r.group == key.0 && r.plural == key.1);
        let first = all.next()?;
        if first.version == first.storage_version {
            return Some(first);
        }
        Some(
            all.find(|r| r.version == r.storage_version)
                .unwrap_or(first),
        )
    }

    /// All resources: built-in ones in their order, then the custom ones by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let builtin = self
            .builtin_order
            .iter()
            .filter_map(|key| self.by_path.get(key));
        builtin.chain(self.by_path.values().filter(|r| r.custom))
    }

    /// The groups with their served versions, the preferred one first.
    pub fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        let mut add = |group: &str, version: &str| {
            match groups.iter_mut().find(|(name, _)| name == group) {
                Some((_, versions)) if !versions.iter().any(|v| v == version) => {
                    versions.push(version.to_owned())
                }
                Some(_) => {}
                None => groups.push((group.to_owned(), vec![version.to_owned()])),
            };
        };
        for resource in self.all() {
            add(&resource.group, &resource.version);
        }
        for review in crate::builtin::kinds::REVIEWS {
            add(review.group, "v1");
        }
        for (_, versions) in &mut groups {
            versions.sort_by(|a, b| version_rank(b).cmp(&version_rank(a)).then(a.cmp(b)));
        }
        groups
    }

    /// Counts the changes of what is served.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Replaces the resources a CRD defines.
    pub fn set_custom(&mut self, group: &str, plural: &str, resources: Vec<Resource>) {
        self.epoch += 1;
        self.by_path
            .retain(|_, r| !(r.custom && r.group == group && r.plural == plural));
        for resource in resources {
            let key = (
                resource.group.clone(),
                resource.version.clone(),
                resource.plural.clone(),
            );
            self.by_path.insert(key, Arc::new(resource));
        }
    }
}

/// Orders versions as Kubernetes does: v2 before v1 before v1beta2 before v1alpha1 before anything else.
pub fn version_rank(version: &str) -> (u8, u64, u64) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (major, tail) = rest.split_at(digits);
    let Ok(major) = major.parse::<u64>() else {
        return (0, 0, 0);
    };
    if tail.is_empty() {
        return (3, major, 0);
    }
    for (word, rank) in [("beta", 2), ("alpha", 1)] {
        if let Some(Ok(minor)) = tail.strip_prefix(word).map(str::parse::<u64>) {
            return (rank, major, minor);
        }
    }
    (0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::version_rank;

    #[test]
    fn versions_are_ordered() {
        let order = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "foo1",
        ];
        let mut sorted = order;
        sorted.reverse();
        sorted.sort_by_key(|v| std::cmp::Reverse(version_rank(v)));
        assert_eq!(sorted, order);
    }
}

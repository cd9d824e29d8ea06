//! The roles and bindings of a cluster, ready to be asked.

use std::sync::Arc;

use serde_json::{Value, json};

use super::ask::{About, Ask, Objects};
use super::identity::{MASTERS, User, account_of};
use crate::object::{name, namespace, text_at};

/// One rule of a role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    paths: Vec<String>,
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let list = value.get(key).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn covers(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    /// Reads a `PolicyRule`.
    pub fn read(rule: &Value) -> Self {
        Self {
            verbs: texts(rule, "verbs"),
            groups: texts(rule, "apiGroups"),
            resources: texts(rule, "resources"),
            names: texts(rule, "resourceNames"),
            paths: texts(rule, "nonResourceURLs"),
        }
    }

    fn allows(&self, ask: &Ask) -> bool {
        covers(&self.verbs, &ask.verb)
            && match &ask.about {
                About::Path(path) => self.paths.iter().any(|p| path_fits(p, path)),
                About::Objects(objects) => self.covers_objects(objects),
            }
    }

    fn covers_objects(&self, objects: &Objects) -> bool {
        let any = format!("*/{}", objects.subresource);
        let resource = covers(&self.resources, &objects.qualified())
            || (!objects.subresource.is_empty() && self.resources.contains(&any));
        let named = self.names.is_empty() || self.names.contains(&objects.name);
        covers(&self.groups, &objects.group) && resource && named
    }

    fn to_json(&self) -> Value {
        let mut out = json!({ "verbs": self.verbs });
        let lists = [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ];
        if let Some(map) = out.as_object_mut() {
            for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
                map.insert(key.to_owned(), json!(list));
            }
        }
        out
    }
}

fn path_fits(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

#[derive(Debug)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

impl Subject {
    fn is(&self, user: &User) -> bool {
        match self.kind.as_str() {
            "User" => self.name == user.name,
            "Group" => user.is_in(&self.name),
            "ServiceAccount" => {
                account_of(&user.name) == Some((self.namespace.as_str(), self.name.as_str()))
            }
            _ => false,
        }
    }

    /// As the reason of an answer names it.
    fn display(&self) -> String {
        match self.kind.as_str() {
            "ServiceAccount" => format!("ServiceAccount \"{}/{}\"", self.name, self.namespace),
            kind => format!("{kind} {:?}", self.name),
        }
    }
}

/// A binding with the rules of its role.
#[derive(Debug)]
struct Binding {
    /// None for a ClusterRoleBinding.
    namespace: Option<String>,
    name: String,
    role: String,
    subjects: Vec<Subject>,
    /// None when the role does not exist.
    rules: Option<Arc<[Rule]>>,
}

/// The answer to a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why; may be empty.
    pub reason: String,
}

/// Every binding of a cluster.
#[derive(Debug, Default)]
pub struct Policy {
    bindings: Vec<Binding>,
}

/// The objects a policy is made of.
pub struct Sources {
    /// Roles of namespaces.
    pub roles: Vec<Value>,
    /// Roles of the cluster.
    pub cluster_roles: Vec<Value>,
    /// Bindings in namespaces.
    pub role_bindings: Vec<Value>,
    /// Bindings of the cluster.
    pub cluster_role_bindings: Vec<Value>,
}

impl Policy {
    /// Puts roles and bindings together.
    pub fn new(sources: &Sources) -> Self {
        let rules = |role: &Value| -> Arc<[Rule]> {
            let list = role.get("rules").and_then(Value::as_array);
            list.into_iter().flatten().map(Rule::read).collect()
        };
        let role = |binding: &Value| {
            let wanted = text_at(binding, &["roleRef", "name"]);
            let found = match text_at(binding, &["roleRef", "kind"]) {
                "ClusterRole" => sources.cluster_roles.iter().find(|r| name(r) == wanted),
                _ => sources
                    .roles
                    .iter()
                    .find(|r| name(r) == wanted && namespace(r) == namespace(binding)),
            };
            found.map(rules)
        };
        let cluster = sources.cluster_role_bindings.iter().map(|b| (None, b));
        let local = sources
            .role_bindings
            .iter()
            .map(|b| (Some(namespace(b).to_owned()), b));
        let bindings = cluster.chain(local).map(|(namespace, binding)| Binding {
            namespace,
            name: name(binding).to_owned(),
            role: format!(
                "{} {:?}",
                text_at(binding, &["roleRef", "kind"]),
                text_at(binding, &["roleRef", "name"])
            ),
            subjects: subjects(binding),
            rules: role(binding),
        });
        Self {
            bindings: bindings.collect(),
        }
    }

    /// The bindings of a user that count in a namespace (empty for none), each with the subject that is the user.
    fn bindings_of<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Binding, &'a Subject)> {
        self.bindings
            .iter()
            .filter(move |b| b.namespace.as_deref().is_none_or(|n| n == namespace))
            .filter_map(|b| Some((b, b.subjects.iter().find(|s| s.is(user))?)))
    }

    /// Whether a user may do something.
    pub fn decide(&self, user: &User, ask: &Ask) -> Decision {
        if user.is_in(MASTERS) {
            return Decision {
                allowed: true,
                reason: String::new(),
            };
        }
        let namespace = match &ask.about {
            About::Objects(objects) => objects.namespace.as_str(),
            About::Path(_) => "",
        };
        let mut missing = Vec::new();
        for (binding, subject) in self.bindings_of(user, namespace) {
            match &binding.rules {
                None => missing.push(format!("{} not found", missing_role(&binding.role))),
                Some(rules) if rules.iter().any(|rule| rule.allows(ask)) => {
                    return Decision {
                        allowed: true,
                        reason: binding.reason(subject),
                    };
                }
                Some(_) => {}
            }
        }
        let reason = match missing.as_slice() {
            [] => String::new(),
            [only] => format!("RBAC: {only}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        };
        Decision {
            allowed: false,
            reason,
        }
    }

    /// All rules that count for a user in a namespace: about objects, and about paths.
    pub fn rules_of(&self, user: &User, namespace: &str) -> (Vec<Value>, Vec<Value>) {
        let (mut objects, mut paths) = (Vec::new(), Vec::new());
        for (binding, _) in self.bindings_of(user, namespace) {
            for rule in binding.rules.iter().flat_map(|rules| rules.iter()) {
                if !rule.resources.is_empty() {
                    let rule = Rule {
                        paths: Vec::new(),
                        ..rule.clone()
                    };
                    objects.push(rule.to_json());
                }
                if !rule.paths.is_empty() {
                    paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths}));
                }
            }
        }
        (objects, paths)
    }
}

/// `clusterrole.rbac.authorization.k8s.io "x"`.
fn missing_role(role: &str) -> String {
    let (kind, name) = role.split_once(' ').unwrap_or((role, ""));
    format!("{}.rbac.authorization.k8s.io {name}", kind.to_lowercase())
}

impl Binding {
    fn reason(&self, subject: &Subject) -> String {
        let binding = match &self.namespace {
            None => format!("ClusterRoleBinding {:?}", self.name),
            Some(namespace) => format!("RoleBinding \"{}/{namespace}\"", self.name),
        };
        format!(
            "RBAC: allowed by {binding} of {} to {}",
            self.role,
            subject.display()
        )
    }
}

fn subjects(binding: &Value) -> Vec<Subject> {
    let list = binding.get("subjects").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|subject| {
            let text = |key: &str| text_at(subject, &[key]).to_owned();
            Subject {
                kind: text("kind"),
                name: text("name"),
                namespace: match text("namespace") {
                    empty if empty.is_empty() => namespace(binding).to_owned(),
                    own => own,
                },
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let role = |name: &str, rules: Value| json!({"metadata": {"name": name, "namespace": "a"}, "rules": rules});
        let bind = |name: &str, kind: &str, role: &str, subject: Value| {
            json!({"metadata": {"name": name, "namespace": "a"},
                "roleRef": {"kind": kind, "name": role}, "subjects": [subject]})
        };
        let robot = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "a"});
        let pods = json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/status"]},
            {"verbs": ["*"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"]}]);
        let paths = json!([{"verbs": ["get"], "nonResourceURLs": ["/metrics", "/debug/*"]}]);
        Policy::new(&Sources {
            roles: vec![role("pods", pods.clone())],
            cluster_roles: vec![role("paths", paths), role("pods-everywhere", pods)],
            role_bindings: vec![
                bind("b", "Role", "pods", robot.clone()),
                bind(
                    "lost",
                    "Role",
                    "none",
                    json!({"kind": "User", "name": "eve"}),
                ),
            ],
            cluster_role_bindings: vec![
                bind("p", "ClusterRole", "paths", robot),
                bind(
                    "g",
                    "ClusterRole",
                    "pods-everywhere",
                    json!({"kind": "Group", "name": "crew"}),
                ),
            ],
        })
    }

    fn about(verb: &str, resource: &str, namespace: &str, name: &str) -> Ask {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let own = str::to_owned;
        Ask::objects(
            verb,
            Objects {
                group: String::new(),
                resource: own(resource),
                subresource: own(subresource),
                namespace: own(namespace),
                name: own(name),
            },
        )
    }

    #[test]
    fn bindings_give_rights() {
        let policy = policy();
        let robot = User::service_account("a", "robot");
        let crew = User::new("bob", ["crew".to_owned()]);
        let may = |user: &User, ask: Ask| policy.decide(user, &ask).allowed;
        assert!(may(&robot, about("list", "pods", "a", "")));
        assert!(may(&robot, about("get", "nodes/status", "a", "n")));
        assert!(!may(&robot, about("list", "pods", "b", "")));
        assert!(!may(&robot, about("delete", "pods", "a", "p")));
        assert!(!may(&robot, about("get", "pods/log", "a", "p")));
        assert!(may(&robot, about("delete", "configmaps", "a", "mine")));
        assert!(!may(&robot, about("delete", "configmaps", "a", "other")));
        assert!(!may(&robot, about("list", "configmaps", "a", "")));
        assert!(may(&crew, about("list", "pods", "", "")));
        let path = |path: &str| Ask {
            verb: "get".into(),
            about: About::Path(path.into()),
        };
        assert!(may(&robot, path("/debug/x")) && !may(&robot, path("/debu")));
        assert!(!may(&crew, path("/metrics")));
        assert!(may(&User::admin(), about("delete", "nodes", "", "n")));
        let decision = policy.decide(&crew, &about("list", "pods", "", ""));
        assert_eq!(
            decision.reason,
            "RBAC: allowed by ClusterRoleBinding \"g\" of ClusterRole \"pods-everywhere\" to Group \"crew\""
        );
        let eve = policy.decide(&User::new("eve", []), &about("get", "pods", "a", "p"));
        assert_eq!(
            eve.reason,
            "RBAC: role.rbac.authorization.k8s.io \"none\" not found"
        );
    }
}

//! What a request wants to do, in the words of RBAC.

use serde_json::Value;

use crate::object::text_at;
use crate::request::{ApiRequest, Method};

/// A wish: a verb, and the objects or the path it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// `get`, `list`, `create`, ...
    pub verb: String,
    /// What it is about.
    pub about: About,
}

/// What a wish is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Objects.
    Objects(Objects),
    /// A path that is not about objects, like `/healthz`.
    Path(String),
}

/// Objects a wish is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Objects {
    /// API group; empty for core.
    pub group: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Namespace; empty for all, and for cluster-scoped objects.
    pub namespace: String,
    /// Name, or empty for all.
    pub name: String,
}

impl Objects {
    /// `resource` or `resource/subresource`.
    pub fn qualified(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            sub => format!("{}/{sub}", self.resource),
        }
    }
}

impl Ask {
    /// A wish about objects.
    pub fn objects(verb: &str, objects: Objects) -> Self {
        Self {
            verb: verb.to_owned(),
            about: About::Objects(objects),
        }
    }

    /// The wish of a request. It is read from the path alone, so that nobody learns from a refusal what there is.
    pub fn of(request: &ApiRequest) -> Self {
        let parts: Vec<&str> = request.path.iter().map(String::as_str).collect();
        let objects = match parts.as_slice() {
            ["api", _, first, rest @ ..] => Some(objects("", first, rest)),
            ["apis", group, _, first, rest @ ..] => Some(objects(group, first, rest)),
            _ => None,
        };
        match objects {
            Some(mut objects) => {
                let verb = verb(request, !objects.name.is_empty());
                if matches!(verb, "list" | "watch" | "deletecollection") {
                    // A rule for one name also lets its owner watch this one name.
                    objects.name = selected_name(request).unwrap_or(objects.name);
                }
                Self::objects(verb, objects)
            }
            None => {
                let verb = match request.method {
                    Method::Get => "get",
                    Method::Head => "head",
                    Method::Post => "post",
                    Method::Put => "put",
                    Method::Patch => "patch",
                    Method::Delete => "delete",
                };
                Self {
                    verb: verb.to_owned(),
                    about: About::Path(format!("/{}", parts.join("/"))),
                }
            }
        }
    }

    /// The wish an access review asks about.
    pub fn of_review(spec: &Value) -> Option<Self> {
        if let Some(path) = spec.get("nonResourceAttributes").filter(|p| p.is_object()) {
            return Some(Self {
                verb: text_at(path, &["verb"]).to_owned(),
                about: About::Path(text_at(path, &["path"]).to_owned()),
            });
        }
        let wanted = spec.get("resourceAttributes").filter(|a| a.is_object())?;
        let text = |key: &str| text_at(wanted, &[key]).to_owned();
        let objects = Objects {
            group: text("group"),
            resource: text("resource"),
            subresource: text("subresource"),
            namespace: text("namespace"),
            name: text("name"),
        };
        Some(Self::objects(&text("verb"), objects))
    }

    /// Why the wish is refused, as the original words it.
    pub fn refusal(&self, user: &str) -> String {
        let verb = &self.verb;
        match &self.about {
            About::Path(path) => format!("User {user:?} cannot {verb} path {path:?}"),
            About::Objects(objects) => {
                let place = match objects.namespace.as_str() {
                    "" => "at the cluster scope".to_owned(),
                    namespace => format!("in the namespace {namespace:?}"),
                };
                format!(
                    "User {user:?} cannot {verb} resource {:?} in API group {:?} {place}",
                    objects.qualified(),
                    objects.group
                )
            }
        }
    }
}

fn selected_name(request: &ApiRequest) -> Option<String> {
    let mut parts = request.param("fieldSelector")?.split(',');
    parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        (key == "metadata.name").then(|| value.to_owned())
    })
}

fn verb(request: &ApiRequest, named: bool) -> &'static str {
    match request.method {
        Method::Get | Method::Head if request.flag("watch") => "watch",
        Method::Get | Method::Head if named => "get",
        Method::Get | Method::Head => "list",
        Method::Post => "create",
        Method::Put => "update",
        Method::Patch => "patch",
        Method::Delete if named => "delete",
        Method::Delete => "deletecollection",
    }
}

fn objects(group: &str, first: &str, rest: &[&str]) -> Objects {
    let own = |text: &str| text.to_owned();
    let (namespace, resource, rest) = match (first, rest) {
        ("namespaces", [namespace, sub @ ("status" | "finalize")]) => {
            return Objects {
                group: own(group),
                resource: own(first),
                subresource: own(sub),
                namespace: own(namespace),
                name: own(namespace),
            };
        }
        ("namespaces", [namespace, resource, rest @ ..]) => (*namespace, *resource, rest),
        // A namespace is an object in itself.
        ("namespaces", [name]) => (*name, first, rest),
        _ => ("", first, rest),
    };
    Objects {
        group: own(group),
        resource: own(resource),
        subresource: rest.get(1).map(|s| own(s)).unwrap_or_default(),
        namespace: own(namespace),
        name: rest.first().map(|s| own(s)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::identity::{Caller, Impersonation};

    fn ask(method: Method, target: &str) -> (String, String) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (path, query) = ApiRequest::parse_target(path, Some(query));
        let request = ApiRequest {
            method,
            path,
            query,
            accept: String::new(),
            content_type: String::new(),
            user_agent: String::new(),
            body: Default::default(),
            caller: Caller::Nobody,
            impersonation: Impersonation::default(),
        };
        let ask = Ask::of(&request);
        let about = match ask.about {
            About::Path(path) => path,
            About::Objects(o) => {
                format!("{}|{}|{}|{}", o.group, o.namespace, o.qualified(), o.name)
            }
        };
        (ask.verb, about)
    }

    #[test]
    fn requests_are_wishes() {
        let cases = [
            (Method::Get, "/api/v1/pods", "list", "||pods|"),
            (
                Method::Get,
                "/api/v1/namespaces/a/pods?watch=true",
                "watch",
                "|a|pods|",
            ),
            (
                Method::Get,
                "/api/v1/namespaces/a/pods/p/log",
                "get",
                "|a|pods/log|p",
            ),
            (
                Method::Post,
                "/api/v1/namespaces/a/pods/p/eviction",
                "create",
                "|a|pods/eviction|p",
            ),
            (
                Method::Get,
                "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dp",
                "list",
                "|a|pods|p",
            ),
            (
                Method::Delete,
                "/apis/apps/v1/namespaces/a/deployments",
                "deletecollection",
                "apps|a|deployments|",
            ),
            (
                Method::Patch,
                "/api/v1/namespaces/a",
                "patch",
                "|a|namespaces|a",
            ),
            (
                Method::Put,
                "/api/v1/namespaces/a/finalize",
                "update",
                "|a|namespaces/finalize|a",
            ),
            (Method::Get, "/apis/apps/v1", "get", "/apis/apps/v1"),
            (Method::Get, "/healthz", "get", "/healthz"),
        ];
        for (method, target, verb, about) in cases {
            assert_eq!(
                ask(method, target),
                (verb.to_owned(), about.to_owned()),
                "{target}"
            );
        }
    }
}

//! What a URL path means.

use std::sync::Arc;

use crate::builtin::kinds::{REVIEWS, Review};
use crate::error::ApiError;
use crate::registry::{Registry, Resource};

/// The thing a path leads to.
#[derive(Debug, Clone)]
pub enum Target {
    /// `/healthz` and friends, and perhaps one check of theirs.
    Health(&'static str, Option<String>),
    /// `/metrics`.
    Metrics,
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/version`.
    Version,
    /// `/`: the list of paths.
    Root,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/<group>`.
    Group(String),
    /// `/api/v1` or `/apis/<group>/<version>`.
    Resources(String, String),
    /// `/openapi/v3`.
    OpenApiRoot,
    /// `/openapi/v3/<group version path>`.
    OpenApi(String),
    /// A question, answered on create.
    Review(&'static Review, Option<String>),
    /// Objects of a resource.
    Objects(ObjectTarget),
}

/// Objects of a resource: all, those of a namespace, or one.
#[derive(Debug, Clone)]
pub struct ObjectTarget {
    /// The resource.
    pub resource: Arc<Resource>,
    /// The namespace in the path.
    pub namespace: Option<String>,
    /// The name in the path.
    pub name: Option<String>,
    /// The subresource in the path.
    pub subresource: Option<String>,
}

/// Finds what a path leads to.
pub fn route(path: &[String], registry: &Registry) -> Result<Target, ApiError> {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [] => Ok(Target::Root),
        ["healthz", rest @ ..] => health("healthz", rest),
        ["livez", rest @ ..] => health("livez", rest),
        ["readyz", rest @ ..] => health("readyz", rest),
        ["metrics"] => Ok(Target::Metrics),
        ["openapi", "v2"] => Ok(Target::OpenApiV2),
        ["version"] => Ok(Target::Version),
        ["api"] => Ok(Target::CoreVersions),
        ["apis"] => Ok(Target::Groups),
        ["openapi", "v3"] => Ok(Target::OpenApiRoot),
        ["openapi", "v3", rest @ ..] => Ok(Target::OpenApi(rest.join("/"))),
        ["api", version, rest @ ..] => group_version("", version, rest, registry),
        ["apis", group] => match registry.groups().iter().any(|(name, _)| name == group) {
            true => Ok(Target::Group((*group).to_owned())),
            false => Err(ApiError::no_such_path()),
        },
        ["apis", group, version, rest @ ..] => group_version(group, version, rest, registry),
        _ => Err(ApiError::no_such_path()),
    }
}

fn health(probe: &'static str, rest: &[&str]) -> Result<Target, ApiError> {
    match rest {
        [] => Ok(Target::Health(probe, None)),
        [check] if crate::health::CHECKS.contains(check) => {
            Ok(Target::Health(probe, Some((*check).to_owned())))
        }
        _ => Err(ApiError::no_such_path()),
    }
}

fn group_version(
    group: &str,
    version: &str,
    rest: &[&str],
    registry: &Registry,
) -> Result<Target, ApiError> {
    if rest.is_empty() {
        let served = registry
            .groups()
            .iter()
            .any(|(name, v)| name == group && v.iter().any(|v| v == version));
        return match served {
            true => Ok(Target::Resources(group.to_owned(), version.to_owned())),
            false => Err(ApiError::no_such_path()),
        };
    }
    let resource = |plural: &str| registry.get(group, version, plural).cloned();
    let review = |plural: &str| {
        REVIEWS
            .iter()
            .find(|r| r.group == group && r.plural == plural && version == "v1")
    };
    let own = |text: &&str| Some((*text).to_owned());
    // `namespaces/x/y` is the resource y in namespace x, except for subresources of the namespace itself.
    if let ["namespaces", namespace, plural, tail @ ..] = rest
        && !(group.is_empty() && matches!(*plural, "status" | "finalize") && tail.is_empty())
    {
        if let Some(review) = review(plural).filter(|r| r.namespaced && tail.is_empty()) {
            return Ok(Target::Review(review, own(namespace)));
        }
        let resource = resource(plural)
            .filter(|r| r.namespaced)
            .ok_or_else(ApiError::no_such_path)?;
        return objects(resource, own(namespace), tail);
    }
    let Some((plural, tail)) = rest.split_first() else {
        return Err(ApiError::no_such_path());
    };
    if let Some(review) = review(plural).filter(|r| !r.namespaced && tail.is_empty()) {
        return Ok(Target::Review(review, None));
    }
    let resource = resource(plural).ok_or_else(ApiError::no_such_path)?;
    if resource.namespaced && !tail.is_empty() {
        return Err(ApiError::no_such_path());
    }
    objects(resource, None, tail)
}

fn objects(
    resource: Arc<Resource>,
    namespace: Option<String>,
    tail: &[&str],
) -> Result<Target, ApiError> {
    let (name, subresource) = match tail {
        [] => (None, None),
        [name] => (Some((*name).to_owned()), None),
        [name, sub] => (Some((*name).to_owned()), Some((*sub).to_owned())),
        _ => return Err(ApiError::no_such_path()),
    };
    if let Some(sub) = subresource.as_deref() {
        let known = match sub {
            "status" => resource.status,
            "scale" => resource.scale.is_some(),
            "finalize" => resource.is("", "Namespace"),
            "eviction"
            | "binding"
            | "log"
            | "exec"
            | "attach"
            | "portforward"
            | "ephemeralcontainers" => resource.is("", "Pod"),
            "token" => resource.is("", "ServiceAccount"),
            _ => false,
        };
        if !known {
            return Err(ApiError::no_such_path());
        }
    }
    Ok(Target::Objects(ObjectTarget {
        resource,
        namespace,
        name,
        subresource,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str) -> Result<Target, ApiError> {
        let (segments, _) = crate::request::ApiRequest::parse_target(path, None);
        route(&segments, &Registry::builtin())
    }

    #[test]
    fn paths_lead_where_they_should() {
        let Ok(Target::Objects(t)) = find("/api/v1/namespaces/a/pods/p/status") else {
            panic!("no pod")
        };
        assert_eq!(
            (t.resource.kind.as_str(), t.namespace.as_deref()),
            ("Pod", Some("a"))
        );
        assert_eq!(
            (t.name.as_deref(), t.subresource.as_deref()),
            (Some("p"), Some("status"))
        );
        let Ok(Target::Objects(t)) = find("/api/v1/namespaces/a/status") else {
            panic!("no namespace")
        };
        assert_eq!(
            (t.resource.kind.as_str(), t.name.as_deref()),
            ("Namespace", Some("a"))
        );
        let Ok(Target::Objects(t)) = find("/api/v1/namespaces/a") else {
            panic!("no namespace")
        };
        assert_eq!(t.name.as_deref(), Some("a"));
        assert!(matches!(find("/apis/apps/v1"), Ok(Target::Resources(..))));
        for nowhere in [
            "/apis/none/v1",
            "/api/v1/pods/p",
            "/api/v1/gadgets",
            "/x",
            "/api/v1/nodes/n/scale",
        ] {
            assert!(find(nowhere).is_err_and(|e| e.plain), "{nowhere}");
        }
    }
}

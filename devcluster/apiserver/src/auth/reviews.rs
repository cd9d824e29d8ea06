//! Questions about identity and rights.

use serde_json::{Value, json};

use super::ask::{About, Ask};
use super::identity::User;
use super::policy::{Decision, Policy};
use crate::object::{at, text_at};

/// The `status` of an answered question about rights.
pub fn decision_status(decision: &Decision) -> Value {
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        crate::object::set_at(&mut status, &["reason"], decision.reason.as_str().into());
    }
    status
}

/// The user a `SubjectAccessReview` asks about.
pub fn subject(spec: &Value) -> User {
    let groups = spec.get("groups").and_then(Value::as_array);
    User {
        name: text_at(spec, &["user"]).to_owned(),
        uid: text_at(spec, &["uid"]).to_owned(),
        groups: groups
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        extra: Default::default(),
    }
}

/// What is wrong with a question about rights; None when nothing is.
pub fn fault(kind: &str, spec: &Value) -> Option<(&'static str, String)> {
    let has = |key: &str| spec.get(key).is_some_and(Value::is_object);
    let both = "cannot be specified in combination with resourceAttributes";
    match (has("resourceAttributes"), has("nonResourceAttributes")) {
        (true, true) => {
            return Some((
                "spec.nonResourceAttributes",
                format!("Invalid value: {both}"),
            ));
        }
        (false, false) => {
            let detail =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Some((
                "spec.resourceAttributes",
                format!("Invalid value: null: {detail}"),
            ));
        }
        _ => {}
    }
    let nobody = text_at(spec, &["user"]).is_empty()
        && at(spec, &["groups"])
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty);
    if kind != "SelfSubjectAccessReview" && nobody {
        let detail = "at least one of user or group must be specified";
        return Some(("spec.user", format!("Invalid value: \"\": {detail}")));
    }
    None
}

/// The rules of a user, as `kubectl auth can-i --list` shows them.
pub fn rules_status(policy: &Policy, user: &User, namespace: &str, everything: bool) -> Value {
    let (mut objects, mut paths) = policy.rules_of(user, namespace);
    if everything && objects.is_empty() {
        objects.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    json!({"resourceRules": objects, "nonResourceRules": paths, "incomplete": false})
}

/// Who somebody is, as the API writes it.
pub fn user_info(user: &User) -> Value {
    let mut out = json!({"username": user.name, "groups": user.groups});
    if let Some(map) = out.as_object_mut() {
        if !user.uid.is_empty() {
            map.insert("uid".into(), user.uid.as_str().into());
        }
        if !user.extra.is_empty() {
            map.insert("extra".into(), json!(user.extra));
        }
    }
    out
}

/// The wish of a review inside a namespace: `LocalSubjectAccessReview` may only ask about its own.
pub fn local_fault(ask: &Ask, namespace: &str) -> bool {
    match &ask.about {
        About::Objects(objects) => objects.namespace != namespace,
        About::Path(_) => true,
    }
}

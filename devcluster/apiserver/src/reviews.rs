//! Questions about identity and rights. Everything is allowed: rights are not enforced.

use serde_json::{Value, json};

use crate::builtin::kinds::Review;
use crate::object::{copy_key, set_at, text_at};
use crate::options::Token;
use crate::request::User;

/// The question with its answer in `status`.
pub fn answer(
    review: &Review,
    namespace: Option<&str>,
    body: Value,
    user: &User,
    tokens: &[Token],
) -> Value {
    let mut out =
        json!({"kind": review.kind, "apiVersion": format!("{}/v1", review.group), "metadata": {}});
    copy_key(&body, &mut out, "spec");
    if let Some(namespace) = namespace {
        set_at(&mut out, &["metadata", "namespace"], namespace.into());
    }
    let status = match review.kind {
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        "SelfSubjectReview" => json!({"userInfo": {"username": user.name, "groups": user.groups}}),
        "TokenReview" => {
            let secret = text_at(&body, &["spec", "token"]);
            match tokens.iter().find(|t| t.secret == secret) {
                Some(token) => json!({"authenticated": true,
                    "user": {"username": token.user, "groups": token.groups}}),
                None => json!({"user": {}, "error": "the token is not known"}),
            }
        }
        _ => json!({"allowed": true, "reason": "rights are not enforced"}),
    };
    set_at(&mut out, &["status"], status);
    out
}

//! Who sends a request and whether it may be fulfilled; the questions people ask about that; tokens.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Store, format_time};
use crate::auth::ask::{About, Objects};
use crate::auth::identity::{Impersonation, MASTERS};
use crate::auth::policy::{Decision, Policy, Sources};
use crate::auth::token::{Claims, ISSUER};
use crate::auth::{Ask, Caller, User, reviews};
use crate::builtin::kinds::Review;
use crate::error::{ApiError, FieldError, Subject};
use crate::fields::managed::Managed;
use crate::object::{self, copy_key, set_at, text_at};
use crate::registry::StorageKey;
use crate::request::ApiRequest;
use crate::router::ObjectTarget;
use crate::schema::types::{REF_PREFIX, Type};
use crate::selector::Selector;

/// Group of roles and bindings.
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";
/// How long a token lasts when the request does not say.
const TOKEN_SECONDS: i64 = 3600;
/// The shortest life of a token.
const TOKEN_SECONDS_MIN: i64 = 600;
/// Key under which a user's token is named.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

impl Store {
    /// The user a request comes from, after impersonation.
    pub(super) fn identify(
        &mut self,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<User, ApiError> {
        let user = match &request.caller {
            Caller::Known(user) => user.clone(),
            Caller::Token(token) => {
                self.owner_of(token, now)
                    .ok_or_else(ApiError::unauthorized)?
                    .0
            }
            Caller::Nobody if self.config.anonymous || is_public(&request.path) => {
                User::anonymous()
            }
            Caller::Nobody => return Err(ApiError::unauthorized()),
        };
        if request.impersonation.is_empty() {
            return Ok(user);
        }
        if request.impersonation.user.is_empty() {
            let why = "requested impersonation without impersonating a user";
            return Err(ApiError::internal(why));
        }
        for ask in impersonation_asks(&request.impersonation) {
            self.authorize(&user, &ask)?;
        }
        Ok(request.impersonation.user())
    }

    /// The owner of a bearer token, and for whom the token is.
    fn owner_of(&self, token: &str, now: Timestamp) -> Option<(User, Vec<String>)> {
        let known = self
            .config
            .tokens
            .iter()
            .find(|t| same_secret(&t.secret, token));
        if let Some(known) = known {
            let user = User::new(known.user.clone(), known.groups.iter().cloned());
            return Some((user, vec![ISSUER.to_owned()]));
        }
        let claims = self.signer.read(token)?;
        let account = self.account(&claims.namespace, &claims.name)?;
        if object::uid(&account) != claims.uid || claims.expires <= now.as_second() {
            return None;
        }
        let mut user = User::service_account(&claims.namespace, &claims.name);
        user.uid = claims.uid;
        user.extra
            .insert(CREDENTIAL_ID.into(), vec![format!("JTI={}", claims.id)]);
        Some((user, claims.audiences))
    }

    fn account(&self, namespace: &str, name: &str) -> Option<Value> {
        let accounts = self.registry.get("", "v1", "serviceaccounts")?;
        let key = super::lookup::key_of(accounts, namespace, name);
        self.get(&key).map(|a| a.head().clone())
    }

    /// Refuses what a user may not do.
    pub(super) fn authorize(&mut self, user: &User, ask: &Ask) -> Result<(), ApiError> {
        if self.is_free(user) {
            return Ok(());
        }
        let decision = self.policy().decide(user, ask);
        if decision.allowed {
            return Ok(());
        }
        let mut why = ask.refusal(&user.name);
        if !decision.reason.is_empty() {
            why = format!("{why}: {}", decision.reason);
        }
        let (subject, name) = match &ask.about {
            About::Path(_) => (("", ""), ""),
            About::Objects(o) => ((o.group.as_str(), o.resource.as_str()), o.name.as_str()),
        };
        let subject = Subject {
            group: subject.0,
            kind: subject.1,
        };
        Err(ApiError::forbidden(subject, name, why, Vec::new()))
    }

    /// True for users no role is looked up for.
    fn is_free(&self, user: &User) -> bool {
        !self.config.rbac || user.is_in(MASTERS) || (self.config.anonymous && user.is_anonymous())
    }

    /// Roles and bindings as they are now.
    fn policy(&mut self) -> Arc<Policy> {
        if let Some(policy) = &self.policy {
            return Arc::clone(policy);
        }
        let all = |plural: &str| -> Vec<Value> {
            let Some(resource) = self.registry.get(RBAC, "v1", plural) else {
                return Vec::new();
            };
            let found = self.select(resource, None, &Selector::default());
            found.iter().map(|(_, object)| object.value()).collect()
        };
        let policy = Arc::new(Policy::new(&Sources {
            roles: all("roles"),
            cluster_roles: all("clusterroles"),
            role_bindings: all("rolebindings"),
            cluster_role_bindings: all("clusterrolebindings"),
        }));
        self.policy = Some(Arc::clone(&policy));
        policy
    }

    fn decide(&mut self, user: &User, ask: &Ask) -> Decision {
        if self.is_free(user) {
            return Decision {
                allowed: true,
                reason: String::new(),
            };
        }
        self.policy().decide(user, ask)
    }

    /// Answers a question about identity or rights.
    pub(super) fn review(
        &mut self,
        review: &Review,
        namespace: Option<&str>,
        body: &Value,
        user: &User,
        manager: &str,
        now: Timestamp,
    ) -> Result<Value, ApiError> {
        let spec = body.get("spec").cloned().unwrap_or_default();
        let status = match review.kind {
            "SelfSubjectRulesReview" => {
                let namespace = text_at(&spec, &["namespace"]);
                if namespace.is_empty() {
                    return Err(ApiError::bad_request("no namespace on request"));
                }
                let everything = self.is_free(user);
                reviews::rules_status(&self.policy(), user, namespace, everything)
            }
            "SelfSubjectReview" => json!({"userInfo": reviews::user_info(user)}),
            "TokenReview" => self.review_token(&spec, now),
            _ => {
                let decision = self.review_access(review, namespace, &spec, user)?;
                reviews::decision_status(&decision)
            }
        };
        let version = format!("{}/v1", review.group);
        let mut out = json!({"kind": review.kind, "apiVersion": version, "metadata": {}});
        if let Some(namespace) = namespace {
            set_at(&mut out, &["metadata", "namespace"], namespace.into());
        }
        copy_key(body, &mut out, "spec");
        let node = json!({"$ref": format!("{REF_PREFIX}io.k8s.api.{}.v1.{}",
            review.group.trim_end_matches(".k8s.io"), review.kind)});
        let manager = crate::fields::managed::Manager {
            name: manager.to_owned(),
            operation: crate::fields::managed::Operation::Update,
            api_version: version,
            subresource: String::new(),
        };
        let empty = json!({"metadata": {}, "spec": {}});
        let own =
            Managed::default().update(&empty, &out, &manager, Type::of(&node), &format_time(now));
        super::create::set_managed(&mut out, &own);
        set_at(&mut out, &["status"], status);
        Ok(out)
    }

    fn review_token(&self, spec: &Value, now: Timestamp) -> Value {
        let wanted: Vec<&str> = spec
            .get("audiences")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let unknown = json!({"user": {}, "error": "[invalid bearer token, token lookup failed]"});
        let Some((user, audiences)) = self.owner_of(text_at(spec, &["token"]), now) else {
            return unknown;
        };
        let shared: Vec<&String> = match wanted.is_empty() {
            true => audiences.iter().filter(|a| *a == ISSUER).collect(),
            false => audiences
                .iter()
                .filter(|a| wanted.contains(&a.as_str()))
                .collect(),
        };
        if shared.is_empty() {
            return unknown;
        }
        json!({"authenticated": true, "user": reviews::user_info(&user), "audiences": shared})
    }

    fn review_access(
        &mut self,
        review: &Review,
        namespace: Option<&str>,
        spec: &Value,
        user: &User,
    ) -> Result<Decision, ApiError> {
        let invalid = |field: &str, message: String| {
            let subject = Subject {
                group: review.group,
                kind: review.kind,
            };
            let fault = FieldError {
                reason: "FieldValueInvalid",
                field: field.to_owned(),
                message,
            };
            ApiError::invalid(subject, "", &[fault])
        };
        if let Some((field, message)) = reviews::fault(review.kind, spec) {
            return Err(invalid(field, message));
        }
        let Some(ask) = Ask::of_review(spec) else {
            return Err(ApiError::bad_request("nothing was asked"));
        };
        if let Some(namespace) = namespace
            && reviews::local_fault(&ask, namespace)
        {
            let own = text_at(spec, &["resourceAttributes", "namespace"]);
            let detail = format!("Invalid value: {own:?}: must match metadata.namespace");
            return Err(invalid("spec.resourceAttributes.namespace", detail));
        }
        let asked = match review.kind {
            "SelfSubjectAccessReview" => user.clone(),
            _ => reviews::subject(spec),
        };
        Ok(self.decide(&asked, &ask))
    }

    /// Hands out a token of a ServiceAccount.
    pub(super) fn issue_token(
        &mut self,
        target: &ObjectTarget,
        body: &Value,
        now: Timestamp,
    ) -> Result<Value, ApiError> {
        let key = target.key()?;
        let account = self.existing(&target.resource, &key)?;
        let spec = body.get("spec").cloned().unwrap_or_else(|| json!({}));
        let seconds = spec
            .get("expirationSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(TOKEN_SECONDS);
        let fault = match seconds {
            s if s < TOKEN_SECONDS_MIN => Some("may not specify a duration less than 10 minutes"),
            s if s > 1 << 32 => Some("may not specify a duration larger than 2^32 seconds"),
            _ => None,
        };
        if let Some(fault) = fault {
            let subject = Subject {
                group: "authentication.k8s.io",
                kind: "TokenRequest",
            };
            let error = FieldError::invalid("spec.expirationSeconds", &seconds.into(), fault);
            return Err(ApiError::invalid(subject, "", &[error]));
        }
        let audiences = spec.get("audiences").and_then(Value::as_array);
        let mut audiences: Vec<String> = audiences
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        if audiences.is_empty() {
            audiences.push(ISSUER.to_owned());
        }
        let issued = now.as_second();
        let claims = Claims {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: object::uid(account.head()).to_owned(),
            id: self.ids.uid(),
            audiences: audiences.clone(),
            issued,
            expires: issued + seconds,
        };
        let ends = Timestamp::from_second(claims.expires).unwrap_or(now);
        let mut spec = spec;
        set_at(&mut spec, &["audiences"], json!(audiences));
        set_at(&mut spec, &["expirationSeconds"], seconds.into());
        object::default_at(&mut spec, &["boundObjectRef"], Value::Null);
        let metadata = json!({"name": key.name, "namespace": key.namespace,
            "creationTimestamp": format_time(now)});
        Ok(
            json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": metadata,
            "spec": spec,
            "status": {"token": self.signer.sign(&claims), "expirationTimestamp": format_time(ends)}}),
        )
    }

    /// Writes the rules of roles that are made of other roles.
    pub(super) fn aggregate_roles(&mut self) {
        let Some(resource) = self.registry.get(RBAC, "v1", "clusterroles").cloned() else {
            return;
        };
        let all = self.select(&resource, None, &Selector::default());
        let roles: Vec<_> = all.into_iter().map(|(k, o)| (k, o.value())).collect();
        for (key, role) in &roles {
            let selectors = object::at(role, &["aggregationRule", "clusterRoleSelectors"])
                .and_then(Value::as_array);
            let Some(selectors) = selectors else { continue };
            let mut rules: Vec<Value> = Vec::new();
            for selector in selectors {
                let selector = Selector::of_object(selector);
                let parts = roles
                    .iter()
                    .filter(|(k, part)| k != key && selector.matches_labels(part));
                for rule in parts.flat_map(|(_, part)| rules_of(part)) {
                    if !rules.contains(rule) {
                        rules.push(rule.clone());
                    }
                }
            }
            if rules_of(role) != rules.as_slice() {
                let mut role = role.clone();
                set_at(&mut role, &["rules"], rules.into());
                self.put(key, role);
            }
        }
    }
}

fn rules_of(role: &Value) -> &[Value] {
    role.get("rules")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Where roles of the cluster are stored.
pub(super) fn cluster_roles() -> StorageKey {
    StorageKey(RBAC.to_owned(), "clusterroles".to_owned())
}

/// Paths everybody may see.
fn is_public(path: &[String]) -> bool {
    let first = path.first().map(String::as_str);
    matches!(first, Some("healthz" | "livez" | "readyz" | "version"))
}

/// What somebody must be allowed to do before acting as somebody else.
fn impersonation_asks(wanted: &Impersonation) -> Vec<Ask> {
    let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let objects = Objects {
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Ask::objects("impersonate", objects)
    };
    let mut out = vec![match crate::auth::identity::account_of(&wanted.user) {
        Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name),
        None => ask("", "users", "", "", &wanted.user),
    }];
    out.extend(wanted.groups.iter().map(|g| ask("", "groups", "", "", g)));
    let group = "authentication.k8s.io";
    if !wanted.uid.is_empty() {
        out.push(ask(group, "uids", "", "", &wanted.uid));
    }
    for (key, values) in &wanted.extra {
        out.extend(values.iter().map(|v| ask(group, "userextras", key, "", v)));
    }
    out
}

/// Compares without telling by its duration where the difference is.
fn same_secret(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |difference, (x, y)| difference | (x ^ y))
            == 0
}

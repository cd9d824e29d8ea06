//! From a request to the function that answers it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::create::Written;
use super::delete::{DeleteOptions, answer};
use super::lookup::shown;
use super::write::{WriteOptions, read_body, read_body_of};
use super::{Reply, Store};
use crate::accept::{Accepted, Shape, wants_aggregated};
use crate::auth::Ask;
use crate::error::ApiError;
use crate::object::{self, text_at};
use crate::registry::Resource;
use crate::request::{ApiRequest, Method};
use crate::response::Response;
use crate::router::{ObjectTarget, Target, route};
use crate::table::{RowObject, partial, table};
use crate::{discovery, openapi, swagger};

/// A body in the encoding the client wants.
pub(super) fn encode(status: u16, body: &Value, accepted: Accepted) -> Response {
    if accepted.yaml {
        match serde_saphyr::to_string(body) {
            Ok(text) => return Response::bytes(status, "application/yaml", text.into_bytes()),
            Err(error) => tracing::warn!(%error, "failed to write YAML, answering with JSON"),
        }
    }
    Response::json(status, body)
}

impl Store {
    pub(super) fn dispatch(
        &mut self,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<Reply, ApiError> {
        let user = self.identify(request, now)?;
        self.authorize(&user, &Ask::of(request))?;
        let target = route(&request.path, &self.registry)?;
        let response = match target {
            Target::Objects(target) => return self.objects(&target, request, now),
            Target::Review(review, namespace) => {
                only(request.method == Method::Post)?;
                let body = read_body(request)?;
                let manager = request.field_manager();
                let answer =
                    self.review(review, namespace.as_deref(), &body, &user, &manager, now)?;
                Response::json(201, &answer)
            }
            other => {
                only(matches!(request.method, Method::Get | Method::Head))?;
                self.describe(&other, request)?
            }
        };
        Ok(Reply::Response(response))
    }

    /// Answers about the API itself.
    fn describe(&self, target: &Target, request: &ApiRequest) -> Result<Response, ApiError> {
        let registry = &self.registry;
        let aggregated = wants_aggregated(&request.accept);
        Ok(match target {
            Target::Health(probe, check) => {
                let verbose = request.param("verbose").is_some() && check.is_none();
                Response::text(200, &crate::health::report(probe, verbose))
            }
            Target::Metrics => Response::text(200, &self.metrics()),
            Target::OpenApiV2 if swagger::wants_protobuf(&request.accept) => {
                let body = swagger::encode(&swagger::document(registry));
                Response::bytes(200, swagger::PROTOBUF, body)
            }
            Target::OpenApiV2 => Response::json(200, &swagger::document(registry)),
            Target::Version => Response::json(200, &discovery::version()),
            Target::Root => Response::json(200, &discovery::root(registry)),
            Target::CoreVersions | Target::Groups if aggregated.is_some() => {
                let version = aggregated.unwrap_or("v2");
                let core = matches!(target, Target::CoreVersions);
                let body = discovery::aggregated(registry, core, version);
                let media = format!(
                    "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                );
                Response::bytes(200, &media, body.to_string().into_bytes())
            }
            Target::CoreVersions => Response::json(200, &discovery::core_versions()),
            Target::Groups => Response::json(200, &discovery::groups(registry)),
            Target::Group(group) => Response::json(200, &discovery::group(registry, group)),
            Target::Resources(group, version) => {
                Response::json(200, &discovery::resources(registry, group, version))
            }
            Target::OpenApiRoot => Response::json(200, &openapi::root(registry)),
            Target::OpenApi(path) => Response::json(200, &openapi::document(registry, path)?),
            Target::Objects(_) | Target::Review(..) => return Err(ApiError::no_such_path()),
        })
    }

    /// How many objects there are, in the form Prometheus reads.
    fn metrics(&self) -> String {
        let mut out = String::from(
            "# HELP apiserver_resource_objects Number of stored objects of each resource\n\
             # TYPE apiserver_resource_objects gauge\n",
        );
        for (storage, bucket) in &self.buckets {
            let (group, resource) = (&storage.0, &storage.1);
            let count = bucket.objects.len();
            out.push_str(&format!(
                "apiserver_resource_objects{{group=\"{group}\",resource=\"{resource}\"}} {count}\n"
            ));
        }
        out
    }

    fn objects(
        &mut self,
        target: &ObjectTarget,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<Reply, ApiError> {
        let accepted = Accepted::parse(&request.accept, target.resource.custom)?;
        let include = RowObject::parse(request.param("includeObject"));
        let resource = &target.resource;
        let reading = matches!(request.method, Method::Get | Method::Head);
        if reading && request.flag("watch") && target.subresource.is_none() {
            return Ok(Reply::Watch(Box::new(
                self.begin_watch(target, request, accepted)?,
            )));
        }
        if reading && target.name.is_none() {
            let page = self.page(target, request)?;
            return Ok(Reply::Response(super::list::render(
                resource, &page, accepted, include, now,
            )));
        }
        if let Some(sub @ ("log" | "exec" | "attach" | "portforward")) =
            target.subresource.as_deref()
        {
            return self.kubelet(target, sub).map(Reply::Response);
        }
        let (status, body, warnings) = match request.method {
            Method::Get | Method::Head => (200, self.read(target)?, Vec::new()),
            Method::Delete => {
                return self
                    .delete_request(target, request, accepted, now)
                    .map(Reply::Response);
            }
            Method::Post | Method::Put | Method::Patch => {
                let options = WriteOptions::read(request, now)?;
                let written = self.write(target, request, &options, now)?;
                (
                    if written.created { 201 } else { 200 },
                    written.object,
                    written.warnings,
                )
            }
        };
        let mut warnings = warnings;
        warnings.extend(resource.deprecation.clone());
        let response = single(status, resource, &body, accepted, include, now);
        Ok(Reply::Response(response.with_warnings(warnings)))
    }

    fn read(&self, target: &ObjectTarget) -> Result<Value, ApiError> {
        let stored = self.existing(&target.resource, &target.key()?)?;
        let object = shown(&target.resource, &stored);
        match target.subresource.as_deref() {
            Some("scale") => Ok(super::scale::scale_of(&target.resource, &object)),
            Some("eviction" | "binding" | "finalize" | "token") => {
                Err(ApiError::method_not_allowed())
            }
            _ => Ok(object),
        }
    }

    /// What only a kubelet could answer: there is none.
    fn kubelet(&self, target: &ObjectTarget, what: &str) -> Result<Response, ApiError> {
        let key = target.key()?;
        let pod = self.existing(&target.resource, &key)?.value();
        let name = &key.name;
        match text_at(&pod, &["spec", "nodeName"]) {
            "" if what == "log" => Ok(Response::text(200, "")),
            "" => Err(ApiError::bad_request(format!(
                "pod {name} does not have a host assigned"
            ))),
            node => Err(ApiError::internal(format!(
                "no kubelet answers on node {node:?}: the embedded API server runs no containers"
            ))),
        }
    }

    fn write(
        &mut self,
        target: &ObjectTarget,
        request: &ApiRequest,
        options: &WriteOptions,
        now: Timestamp,
    ) -> Result<Written, ApiError> {
        match (request.method, target.subresource.as_deref()) {
            (Method::Post, None) if target.name.is_none() => {
                let body = read_body_of(request, target.resource.custom)?;
                self.create(&target.resource, target.namespace.as_deref(), body, options)
            }
            (Method::Post, Some("eviction")) => self.evict(target, request, options),
            (Method::Post, Some("token")) => Ok(Written {
                object: self.issue_token(target, &read_body(request)?, now)?,
                created: true,
                warnings: Vec::new(),
            }),
            (Method::Post, Some("binding")) => self.bind(target, request, options),
            (Method::Post, _) => Err(ApiError::method_not_allowed()),
            (_, Some("scale")) => self.write_scale(target, request, options),
            (_, Some("eviction" | "binding" | "log" | "token")) => {
                Err(ApiError::method_not_allowed())
            }
            (Method::Put, _) => {
                target.required_name()?;
                let body = read_body_of(request, target.resource.custom)?;
                self.replace(target, body, options)
            }
            _ => self.patch(target, request, options),
        }
    }

    fn delete_request(
        &mut self,
        target: &ObjectTarget,
        request: &ApiRequest,
        accepted: Accepted,
        now: Timestamp,
    ) -> Result<Response, ApiError> {
        only(target.subresource.is_none())?;
        let options = WriteOptions::read(request, now)?;
        let options = DeleteOptions::read(request, &options)?;
        let resource = &target.resource;
        if target.name.is_some() {
            let deleted = self.delete(resource, &target.key()?, &options)?;
            return Ok(encode(200, &answer(resource, deleted), accepted));
        }
        only(!resource.is("", "Namespace"))?;
        let page = self.page(target, request)?;
        for (key, _) in &page.objects {
            self.delete(resource, key, &options)?;
        }
        let plain = Accepted {
            shape: Shape::Plain,
            ..accepted
        };
        Ok(super::list::render(
            resource,
            &page,
            plain,
            RowObject::None,
            now,
        ))
    }

    /// Evicts a pod unless a disruption budget forbids it.
    fn evict(
        &mut self,
        target: &ObjectTarget,
        request: &ApiRequest,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let body = read_body(request)?;
        let key = target.key()?;
        let pod = self.existing(&target.resource, &key)?;
        if let Some(budget) = self.blocking_budget(&key.namespace, pod.head()) {
            let why = "Cannot evict pod as it would violate the pod's disruption budget.";
            let mut error = ApiError::too_many_requests(why);
            let message = format!("The disruption budget {budget} allows no disruption now");
            error.details =
                Some(json!({"causes": [{"reason": "DisruptionBudget", "message": message}]}));
            return Err(error);
        }
        let grace =
            object::at(&body, &["deleteOptions", "gracePeriodSeconds"]).and_then(Value::as_i64);
        let delete = DeleteOptions {
            grace_seconds: grace,
            dry_run: options.dry_run,
            now: options.now.clone(),
            ..DeleteOptions::default()
        };
        self.delete(&Arc::clone(&target.resource), &key, &delete)?;
        let object =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
        Ok(Written {
            object,
            created: true,
            warnings: Vec::new(),
        })
    }

    fn blocking_budget(&self, namespace: &str, pod: &Value) -> Option<String> {
        let budgets = self.registry.get("policy", "v1", "poddisruptionbudgets")?;
        let all = self.select(
            budgets,
            Some(namespace),
            &crate::selector::Selector::default(),
        );
        let labels = object::meta(pod).get("labels");
        let blocks = |budget: &Value| {
            let wanted =
                object::at(budget, &["spec", "selector", "matchLabels"]).and_then(Value::as_object);
            let selected = wanted
                .into_iter()
                .flatten()
                .all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v));
            let allowed = object::at(budget, &["status", "disruptionsAllowed"])
                .and_then(Value::as_i64)
                .unwrap_or(0);
            selected && allowed <= 0
        };
        all.into_iter()
            .find(|(_, budget)| blocks(&budget.value()))
            .map(|(key, _)| key.name)
    }

    /// Binds a pod to a node.
    fn bind(
        &mut self,
        target: &ObjectTarget,
        request: &ApiRequest,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let body = read_body(request)?;
        let key = target.key()?;
        let stored = self.existing(&target.resource, &key)?;
        let old = stored.value();
        let mut new = old.clone();
        object::set_at(
            &mut new,
            &["spec", "nodeName"],
            text_at(&body, &["target", "name"]).into(),
        );
        let manager = options.updater(&target.resource, "");
        let change = super::update::Change {
            resource: &target.resource,
            key,
            old,
            new,
            subresource: "",
            warnings: Vec::new(),
        };
        self.change(change, options, &manager)?;
        let object =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
        Ok(Written {
            object,
            created: true,
            warnings: Vec::new(),
        })
    }
}

fn only(allowed: bool) -> Result<(), ApiError> {
    if allowed {
        Ok(())
    } else {
        Err(ApiError::method_not_allowed())
    }
}

/// One object in the form the client wants.
fn single(
    status: u16,
    resource: &Resource,
    object: &Value,
    accepted: Accepted,
    include: RowObject,
    now: Timestamp,
) -> Response {
    let is_own_kind = text_at(object, &["kind"]) == resource.kind;
    let body = match accepted.shape {
        Shape::Table if is_own_kind => {
            let metadata = json!({"resourceVersion": object::meta_str(object, "resourceVersion")});
            table(&resource.columns, &[object], metadata, include, true, now)
        }
        Shape::Partial if is_own_kind => partial(object),
        _ => return encode(status, object, accepted),
    };
    encode(status, &body, accepted)
}

//! Reading many objects.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::lookup::shown;
use super::stored::type_prefix;
use super::write::options_of;
use super::{ObjectKey, Store, Stored};
use crate::accept::{Accepted, Shape};
use crate::error::{ApiError, FieldError};
use crate::object;
use crate::registry::Resource;
use crate::request::{ApiRequest, Method};
use crate::response::Response;
use crate::router::ObjectTarget;
use crate::selector::Selector;
use crate::table::{RowObject, partial, table};
use jiff::Timestamp;

/// The selector of a request; a name in the path counts as one.
pub(super) fn selector_of(
    target: &ObjectTarget,
    request: &ApiRequest,
) -> Result<Selector, ApiError> {
    let named = target
        .name
        .as_ref()
        .map(|name| format!("metadata.name={name}"));
    let fields = named.as_deref().or_else(|| request.param("fieldSelector"));
    Selector::parse(request.param("labelSelector"), fields, &target.resource)
}

/// The `resourceVersion` parameter.
pub(super) fn version_param(request: &ApiRequest) -> Result<Option<u64>, ApiError> {
    match request.param("resourceVersion") {
        None | Some("") => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(ApiError::bad_request(format!(
                "invalid resource version: resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \
                 \"{text}\": invalid syntax"
            ))),
        },
    }
}

/// Where a paged list goes on.
struct Continue {
    revision: u64,
    after: (String, String),
}

impl Continue {
    fn encode(&self) -> String {
        let token = json!({"v": "meta.k8s.io/v1", "rv": self.revision, "ns": self.after.0, "name": self.after.1});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    fn decode(text: &str) -> Result<Self, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let token = bytes.and_then(|b| serde_json::from_slice::<Value>(&b).ok());
        let read = |token: &Value| {
            let field = |key: &str| token.get(key).and_then(Value::as_str).map(str::to_owned);
            Some(Self {
                revision: token.get("rv")?.as_u64()?,
                after: (field("ns")?, field("name")?),
            })
        };
        token
            .as_ref()
            .and_then(read)
            .ok_or_else(|| ApiError::bad_request("continue key is not valid: illegal base64 data"))
    }
}

/// The combinations of list parameters that make no sense.
fn check_list_options(request: &ApiRequest) -> Result<(), ApiError> {
    let text = |name: &str| request.param(name).unwrap_or_default();
    let mut faults = Vec::new();
    let matching = text("resourceVersionMatch");
    let mut forbid = |field: &str, detail: &str| faults.push(FieldError::forbidden(field, detail));
    if !matching.is_empty() {
        let field = "resourceVersionMatch";
        if text("resourceVersion").is_empty() {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            forbid(field, detail);
        }
        if !text("continue").is_empty() {
            let detail = "resourceVersionMatch is forbidden when continue is provided";
            forbid(field, detail);
        }
        if matching == "Exact" && text("resourceVersion") == "0" {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            forbid(field, detail);
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            let all = ["\"Exact\"", "\"NotOlderThan\"", "\"\""].map(str::to_owned);
            faults.push(FieldError::not_supported(field, &matching.into(), &all));
        }
    }
    if request.param("sendInitialEvents").is_some() {
        let detail = "sendInitialEvents is forbidden for list";
        faults.push(FieldError::forbidden("sendInitialEvents", detail));
    }
    if !faults.is_empty() {
        return Err(ApiError::invalid(options_of(Method::Get), "", &faults));
    }
    if !matches!(text("resourceVersion"), "" | "0") && !text("continue").is_empty() {
        return Err(ApiError::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    Ok(())
}

/// A page of a list.
pub(super) struct Page {
    pub objects: Vec<(ObjectKey, Arc<Stored>)>,
    pub metadata: Value,
}

impl Store {
    /// Objects of a resource in a namespace (or all) that meet a selector, with their keys.
    pub(super) fn select(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Vec<(ObjectKey, Arc<Stored>)> {
        let storage = resource.storage();
        let Some(bucket) = self.bucket(&storage) else {
            return Vec::new();
        };
        let from = (namespace.unwrap_or_default().to_owned(), String::new());
        let in_namespace = |at: &str| namespace.is_none_or(|n| n == at);
        let all = bucket
            .objects
            .range(from..)
            .take_while(|((at, _), _)| in_namespace(at));
        all.filter(|(_, object)| selects(selector, resource, object))
            .map(|((namespace, name), object)| {
                let key = ObjectKey {
                    storage: storage.clone(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                };
                (key, Arc::clone(object))
            })
            .collect()
    }

    /// One page of a list request.
    pub(super) fn page(
        &self,
        target: &ObjectTarget,
        request: &ApiRequest,
    ) -> Result<Page, ApiError> {
        let resource = &target.resource;
        check_list_options(request)?;
        let selector = selector_of(target, request)?;
        let limit = request
            .param("limit")
            .and_then(|l| l.parse::<usize>().ok())
            .filter(|l| *l > 0);
        let token = request
            .param("continue")
            .filter(|c| !c.is_empty())
            .map(Continue::decode)
            .transpose()?;
        let wanted = version_param(request)?;
        if let Some(wanted) = wanted.filter(|w| *w > self.revision) {
            return Err(ApiError::too_large_resource_version(wanted, self.revision));
        }
        if let (Some(wanted), Some("Exact")) = (wanted, request.param("resourceVersionMatch"))
            && self.changed_since(resource, wanted)
        {
            return Err(ApiError::expired(
                "The resourceVersion for the provided list is too old.",
            ));
        }
        let mut found = self.select(
            resource,
            target.namespace.as_deref().filter(|_| resource.namespaced),
            &selector,
        );
        let revision = token.as_ref().map_or(self.revision, |t| t.revision);
        if let Some(token) = &token
            && self.forgotten(&resource.storage()) > token.revision
        {
            let fresh = Continue {
                revision: self.revision,
                after: token.after.clone(),
            };
            return Err(ApiError::expired_continue(&fresh.encode()));
        }
        if let Some(token) = &token {
            found.retain(|(key, _)| (&key.namespace, &key.name) > (&token.after.0, &token.after.1));
        }
        let total = found.len();
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if let Some(limit) = limit.filter(|limit| *limit < total) {
            found.truncate(limit);
            if let Some((last, _)) = found.last() {
                let next = Continue {
                    revision,
                    after: (last.namespace.clone(), last.name.clone()),
                };
                object::set_at(&mut metadata, &["continue"], next.encode().into());
            }
            if selector.is_empty() {
                object::set_at(
                    &mut metadata,
                    &["remainingItemCount"],
                    (total - limit).into(),
                );
            }
        }
        Ok(Page {
            objects: found,
            metadata,
        })
    }

    fn changed_since(&self, resource: &Resource, revision: u64) -> bool {
        let bucket = self.bucket(&resource.storage());
        bucket.is_some_and(|b| b.history.back().is_some_and(|e| e.revision > revision))
            || self.forgotten(&resource.storage()) > revision
    }
}

/// True when an object meets a selector. Only fields beside the metadata need the whole object.
pub(super) fn selects(selector: &Selector, resource: &Resource, object: &Stored) -> bool {
    if !selector.matches_labels(object.head()) {
        return false;
    }
    match selector.needs_body() {
        true => selector.matches_fields(&shown(resource, object)),
        false => selector.matches_fields(object.head()),
    }
}

/// A page in the form the client wants.
pub(super) fn render(
    resource: &Resource,
    page: &Page,
    accepted: Accepted,
    include: RowObject,
    now: Timestamp,
) -> Response {
    if accepted.shape == Shape::Plain && !accepted.yaml {
        return Response::pieces(200, "application/json", plain_list(resource, page));
    }
    let values: Vec<Value> = page
        .objects
        .iter()
        .map(|(_, o)| shown(resource, o))
        .collect();
    let references: Vec<&Value> = values.iter().collect();
    let body = match accepted.shape {
        Shape::Table => table(
            &resource.columns,
            &references,
            page.metadata.clone(),
            include,
            true,
            now,
        ),
        Shape::Partial => {
            let items: Vec<Value> = references.iter().map(|o| partial(o)).collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": page.metadata, "items": items})
        }
        Shape::Plain => {
            let text = plain_list(resource, page).concat();
            serde_json::from_slice(&text).unwrap_or_default()
        }
    };
    super::dispatch::encode(200, &body, accepted)
}

/// A list made of the texts of its objects: ten thousand objects are neither copied nor written again.
fn plain_list(resource: &Resource, page: &Page) -> Vec<Bytes> {
    let mut metadata = page.metadata.clone();
    if resource.custom {
        object::default_at(&mut metadata, &["continue"], "");
    }
    let head = format!(
        "{{\"apiVersion\":{},\"kind\":{},\"metadata\":{metadata},\"items\":[",
        json!(resource.api_version()),
        json!(resource.list_kind)
    );
    let prefix = type_prefix(&resource.api_version(), &resource.kind);
    let mut out = Vec::with_capacity(page.objects.len() * 3 + 2);
    out.push(head.into());
    for (index, (_, object)) in page.objects.iter().enumerate() {
        if index > 0 {
            out.push(Bytes::from_static(b","));
        }
        if resource.is_new_event() {
            out.push(shown(resource, object).to_string().into());
        } else if resource.custom {
            out.extend([prefix.clone(), object.rest()]);
        } else {
            // Items of a list of built-in objects do not repeat kind and version.
            out.push(object.text().clone());
        }
    }
    out.push(Bytes::from_static(b"]}\n"));
    out
}

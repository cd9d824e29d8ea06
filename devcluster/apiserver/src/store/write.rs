//! What all writes share: reading the body, options, pruning, defaults and validation.

use serde_json::{Map, Value};

use super::{format_time, metadata};
use crate::builtin::defaults;
use crate::error::{ApiError, FieldError, media_types};
use crate::fields::declared::undeclared;
use crate::fields::managed::{Manager, Operation};
use crate::object::{meta_mut, meta_str, name, text_at};
use crate::registry::Resource;
use crate::request::ApiRequest;
use crate::schema::{default, list_types, prune, validate};
use jiff::Timestamp;

/// What to do about fields nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and warn.
    Warn,
    /// Refuse the request.
    Strict,
}

/// The options of a write.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Do everything but store the result.
    pub dry_run: bool,
    /// Name of the field manager.
    pub manager: String,
    /// What to do about unknown fields.
    pub validation: FieldValidation,
    /// Take fields from other managers.
    pub force: bool,
    /// When the request arrived, as Kubernetes writes it.
    pub now: String,
}

impl WriteOptions {
    /// Reads the query parameters.
    pub fn read(request: &ApiRequest, now: Timestamp) -> Result<Self, ApiError> {
        let dry_run = match request.param("dryRun") {
            None | Some("") => false,
            Some("All") => true,
            Some(other) => {
                let message = format!(
                    "Invalid value: [\"{other}\"]: dryRun: Unsupported value: supported values: \"All\""
                );
                return Err(ApiError::bad_request(message));
            }
        };
        let validation = match request.param("fieldValidation") {
            Some("Ignore") => FieldValidation::Ignore,
            None | Some("" | "Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let message = format!(
                    "fieldValidation: Unsupported value: \"{other}\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
                );
                return Err(ApiError::bad_request(message));
            }
        };
        Ok(Self {
            dry_run,
            manager: request.field_manager(),
            validation,
            force: request.flag("force"),
            now: format_time(now),
        })
    }

    /// The manager of an ordinary write.
    pub fn updater(&self, resource: &Resource, subresource: &str) -> Manager {
        self.manager_of(resource, subresource, Operation::Update)
    }

    /// The manager of a server-side apply.
    pub fn applier(&self, resource: &Resource, subresource: &str) -> Manager {
        self.manager_of(resource, subresource, Operation::Apply)
    }

    fn manager_of(&self, resource: &Resource, subresource: &str, operation: Operation) -> Manager {
        Manager {
            name: self.manager.clone(),
            operation,
            api_version: resource.api_version(),
            subresource: subresource.to_owned(),
        }
    }
}

/// Reads a body that is not an object of a custom kind.
pub fn read_body(request: &ApiRequest) -> Result<Value, ApiError> {
    read_body_of(request, false)
}

/// Reads a JSON or YAML body as an object; protobuf only for built-in kinds.
pub fn read_body_of(request: &ApiRequest, custom: bool) -> Result<Value, ApiError> {
    let media = request
        .content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    match media {
        "" | "application/json" => read_json(&request.body),
        "application/yaml" => read_yaml(&request.body),
        PROTOBUF if !custom => read_protobuf(&request.body),
        _ => Err(ApiError::unsupported_media_type(media_types(custom))),
    }
}

/// The media type of Kubernetes' protobuf bodies.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Reads a protobuf body of one of the kinds kubectl sends this way.
fn read_protobuf(body: &[u8]) -> Result<Value, ApiError> {
    crate::protobuf::decode(body).ok_or_else(|| ApiError::unsupported_media_type(media_types(true)))
}

/// Reads a JSON body.
pub fn read_json(body: &[u8]) -> Result<Value, ApiError> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type object): {error}"
        ))
    })?;
    match value.is_object() {
        true => Ok(value),
        false => Err(ApiError::bad_request(
            "the object provided is unrecognized (must be of type object)",
        )),
    }
}

/// Reads a YAML (or JSON) body.
pub fn read_yaml(body: &[u8]) -> Result<Value, ApiError> {
    if let Ok(value) = serde_json::from_slice::<Value>(body)
        && value.is_object()
    {
        return Ok(value);
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| ApiError::bad_request("the body is not valid UTF-8"))?;
    let value: Value = serde_saphyr::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
    match value.is_object() {
        true => Ok(value),
        false => Err(ApiError::bad_request(
            "the object provided is unrecognized (must be of type object)",
        )),
    }
}

/// Checks kind and version, fills them in where they are missing, prunes unknown fields and adds defaults.
/// Returns the warnings.
pub fn decode(
    resource: &Resource,
    object: &mut Value,
    options: &WriteOptions,
) -> Result<Vec<String>, ApiError> {
    check_kind(resource, object)?;
    let unknown = if resource.schema.is_custom() {
        prune::prune(object, resource.schema.root_value())
    } else {
        prune::drop_nulls(object);
        check_types(resource, object)?;
        prune::prune(object, resource.schema.root_value())
    };
    if let Some(meta) = meta_mut(object) {
        defaults::tidy_metadata(meta);
    }
    let warnings = report_unknown(resource, &unknown, options.validation)?;
    if resource.schema.is_custom() {
        default::apply_defaults(object, resource.schema.root_value());
        drop_metadata_nulls(object);
    } else {
        defaults::apply(&resource.kind, object);
    }
    Ok(warnings)
}

/// Checks the configuration of an apply: nothing is added to it and nothing dropped from it.
pub fn check_config(resource: &Resource, config: &mut Value) -> Result<(), ApiError> {
    check_kind(resource, config)?;
    if !resource.schema.is_custom() {
        check_types(resource, config)?;
    }
    let faults = undeclared(config, resource.schema.root());
    if faults.is_empty() {
        return Ok(());
    }
    let place = match meta_str(config, "namespace") {
        "" => name(config).to_owned(),
        namespace => format!("{namespace}/{}", name(config)),
    };
    let object = format!(
        "{place}; {}, Kind={}",
        resource.api_version(),
        resource.kind
    );
    Err(ApiError::untyped_configuration(&object, &faults))
}

fn drop_metadata_nulls(object: &mut Value) {
    if let Some(meta) = object.get_mut("metadata") {
        prune::drop_nulls(meta);
    }
}

fn report_unknown(
    resource: &Resource,
    unknown: &[String],
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    let texts: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect();
    match validation {
        FieldValidation::Strict if !texts.is_empty() => {
            let (kind, version) = (&resource.kind, &resource.version);
            let faults = texts.join(", ");
            Err(ApiError::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {faults}"
            )))
        }
        FieldValidation::Warn => Ok(texts),
        _ => Ok(Vec::new()),
    }
}

fn check_kind(resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    let Some(map) = object.as_object_mut() else {
        return Err(ApiError::bad_request(
            "the object provided is unrecognized (must be of type object)",
        ));
    };
    let expected = resource.api_version();
    let field = |map: &Map<String, Value>, key: &str| {
        map.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let version = field(map, "apiVersion");
    if !version.is_empty() && version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    let kind = field(map, "kind");
    if !kind.is_empty() && kind != resource.kind {
        if resource.custom {
            let fault = FieldError::invalid(
                "kind",
                &kind.as_str().into(),
                format!("must be {}", resource.kind),
            );
            let name = map
                .get("metadata")
                .map(|m| text_at(m, &["name"]))
                .unwrap_or_default();
            let subject = crate::error::Subject {
                group: &resource.group,
                kind: &kind,
            };
            return Err(ApiError::invalid(subject, name, &[fault]));
        }
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {}: converting ({kind}) to ({}): unknown conversion",
            resource.version, resource.kind, resource.kind
        )));
    }
    map.insert("apiVersion".into(), expected.into());
    map.insert("kind".into(), resource.kind.as_str().into());
    Ok(())
}

/// A built-in object whose values have the wrong JSON type cannot even be decoded.
fn check_types(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let fault = crate::schema::decode::first_type_fault(object, resource.schema.root_value());
    match fault {
        None => Ok(()),
        Some(fault) => Err(ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {fault}",
            kind = resource.kind,
            version = resource.version
        ))),
    }
}

/// All findings about an object that is about to be stored.
pub fn validate_object(
    resource: &Resource,
    old: Option<&Value>,
    object: &Value,
) -> Result<(), ApiError> {
    let mut errors = metadata::validate(resource, object);
    if let Some(old) = old {
        let changes = metadata::validate_change(old, object);
        // The original checks twice and so reports each cause twice.
        errors.extend(changes.clone());
        errors.extend(changes);
    }
    if resource.custom {
        validate_custom(resource, old, object, &mut errors);
    } else {
        errors.extend(metadata::validate_builtin(resource, old, object));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid(
            resource.kind_subject(),
            name(object),
            &errors,
        )),
    }
}

fn validate_custom(
    resource: &Resource,
    old: Option<&Value>,
    object: &Value,
    errors: &mut Vec<FieldError>,
) {
    let schema = &resource.schema;
    errors.extend(validate::validate(object, old, schema));
    list_types::check(object, schema.root_value(), "", errors);
    if let Some(rules) = schema.rules() {
        if errors.iter().any(FieldError::blocks_rules) {
            errors.push(validate::rules_not_checked());
        } else {
            errors.extend(rules.check(object, old));
        }
    }
}

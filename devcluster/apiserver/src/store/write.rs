//! What all writes share: reading the body, options, pruning, defaults and validation.

use serde_json::{Map, Value, json};

use super::{format_time, metadata};
use crate::builtin::defaults;
use crate::error::{ApiError, FieldError, Subject, media_types};
use crate::fields::declared;
use crate::fields::managed::{Manager, Operation};
use crate::object::{meta_mut, meta_str, name, text_at};
use crate::registry::Resource;
use crate::request::{ApiRequest, Method};
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
        let mut faults = Vec::new();
        let dry_run = match request.param("dryRun") {
            None | Some("") => false,
            Some("All") => true,
            Some(other) => {
                let all = ["\"All\"".to_owned()];
                faults.push(FieldError::not_supported("dryRun", &json!([other]), &all));
                false
            }
        };
        let validation = match request.param("fieldValidation") {
            Some("Ignore") => FieldValidation::Ignore,
            None | Some("" | "Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let all = ["\"\"", "\"Ignore\"", "\"Strict\"", "\"Warn\""].map(str::to_owned);
                faults.push(FieldError::not_supported(
                    "fieldValidation",
                    &other.into(),
                    &all,
                ));
                FieldValidation::Warn
            }
        };
        faults.extend(manager_fault(
            request.param("fieldManager").unwrap_or_default(),
        ));
        if !faults.is_empty() {
            return Err(ApiError::invalid(options_of(request.method), "", &faults));
        }
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

/// What is wrong with the name of a field manager.
fn manager_fault(name: &str) -> Option<FieldError> {
    const LIMIT: u64 = 128;
    if name.len() as u64 > LIMIT {
        return Some(FieldError::too_long("fieldManager", LIMIT));
    }
    name.chars().any(char::is_control).then(|| {
        let detail = "should only contain printable characters";
        FieldError::invalid("fieldManager", &name.into(), detail)
    })
}

/// The kind of the options of a verb, for errors about them.
pub fn options_of(method: Method) -> Subject<'static> {
    let kind = match method {
        Method::Post => "CreateOptions",
        Method::Put => "UpdateOptions",
        Method::Patch => "PatchOptions",
        Method::Delete => "DeleteOptions",
        Method::Get | Method::Head => "ListOptions",
    };
    Subject {
        group: "meta.k8s.io",
        kind,
    }
}

/// An object as a client sent it.
#[derive(Debug, Default)]
pub struct Sent {
    /// The object.
    pub object: Value,
    /// What a strict reader objects to in the text itself: keys written twice.
    pub faults: Vec<String>,
}

impl From<Value> for Sent {
    fn from(object: Value) -> Self {
        Self {
            object,
            faults: Vec::new(),
        }
    }
}

/// Reads a body that is not an object of a custom kind.
pub fn read_body(request: &ApiRequest) -> Result<Value, ApiError> {
    read_body_of(request, false).map(|sent| sent.object)
}

/// Reads a JSON or YAML body as an object; protobuf only for built-in kinds.
pub fn read_body_of(request: &ApiRequest, custom: bool) -> Result<Sent, ApiError> {
    let media = request
        .content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    match media {
        "" | "application/json" => read_json(&request.body),
        "application/yaml" => read_yaml(&request.body),
        PROTOBUF if !custom => read_protobuf(&request.body).map(Sent::from),
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
pub fn read_json(body: &[u8]) -> Result<Sent, ApiError> {
    let mut twice = Vec::new();
    let object = crate::decode::read(body, &mut twice).map_err(|error| {
        let why = crate::decode::go_syntax_error(body, &error);
        ApiError::bad_request(format!(
            "couldn't get version/kind; json parse error: {why}"
        ))
    })?;
    check_object(&object)?;
    let faults = twice
        .iter()
        .map(|path| format!("duplicate field \"{path}\""))
        .collect();
    Ok(Sent { object, faults })
}

fn check_object(value: &Value) -> Result<(), ApiError> {
    if value.is_object() {
        return Ok(());
    }
    let is = crate::schema::decode::json_type(value);
    Err(ApiError::bad_request(format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {is} into Go value of type struct {{ \
         APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    )))
}

/// Reads a YAML (or JSON) body.
pub fn read_yaml(body: &[u8]) -> Result<Sent, ApiError> {
    if body.trim_ascii_start().starts_with(b"{")
        && let Ok(sent) = read_json(body)
    {
        return Ok(sent);
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| ApiError::bad_request("error decoding YAML: yaml: invalid UTF-8"))?;
    let bad = |error: &dyn std::fmt::Display| {
        ApiError::bad_request(format!("error decoding YAML: {error}"))
    };
    let strict = serde_saphyr::from_str::<Value>(text);
    let (object, faults) = match strict {
        Ok(object) => (object, Vec::new()),
        Err(error) => {
            // Keys written twice are no reason to refuse, unless the client wants it so: the last one counts.
            let lenient = serde_saphyr::options! {
                duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
            };
            let object = serde_saphyr::from_str_with_options::<Value>(text, lenient)
                .map_err(|_| bad(&error))?;
            (object, vec![format!("yaml: unmarshal errors: {error}")])
        }
    };
    check_object(&object)?;
    Ok(Sent { object, faults })
}

/// Checks kind and version, fills them in where they are missing, prunes unknown fields and adds defaults. `faults`
/// are those of the text the object was read from. Returns the warnings.
pub fn decode(
    resource: &Resource,
    object: &mut Value,
    faults: &[String],
    options: &WriteOptions,
) -> Result<Vec<String>, ApiError> {
    check_kind(resource, object)?;
    let unknown = if resource.schema.is_custom() {
        let root = resource.schema.root_value();
        let unknown = prune::prune(object, root);
        default::drop_nulls(object, root);
        unknown
    } else {
        prune::drop_nulls(object);
        check_types(resource, object)?;
        prune::prune(object, resource.schema.root_value())
    };
    if let Some(meta) = meta_mut(object) {
        defaults::tidy_metadata(meta);
    }
    let warnings = report_unknown(resource, faults, &unknown, options.validation)?;
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
    let faults = declared::faults(config, resource.schema.root());
    if faults.is_empty() {
        return Ok(());
    }
    let place = match meta_str(config, "namespace") {
        "" => name(config).to_owned(),
        namespace => format!("{namespace}/{}", name(config)),
    };
    let object = format!(
        "{place}; {}/{}, Kind={}",
        resource.group, resource.version, resource.kind
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
    faults: &[String],
    unknown: &[String],
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    let unknown = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""));
    let texts: Vec<String> = faults.iter().cloned().chain(unknown).collect();
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
        errors.extend(crate::builtin::rules::check(resource, old, object));
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

//! Failures as the Kubernetes `Status` object reports them.

use serde_json::{Map, Value, json};

/// One finding about one field: becomes a cause of an `Invalid` status.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The cause's machine-readable reason, for example `FieldValueInvalid`.
    pub reason: &'static str,
    /// Path of the field as Kubernetes prints it, for example `spec.ports[0].name`.
    pub field: String,
    /// What is wrong, without the path.
    pub message: String,
}

impl FieldError {
    /// The value is not acceptable; `value` is printed as JSON.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl AsRef<str>) -> Self {
        let message = format!("Invalid value: {}: {}", value, detail.as_ref());
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            message,
        }
    }

    /// The value is not acceptable and too large to print.
    pub fn invalid_without_value(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            message: format!("Invalid value: {}", detail.as_ref()),
        }
    }

    /// The value has the wrong JSON type.
    pub fn type_invalid(field: impl Into<String>, value: &str, detail: impl AsRef<str>) -> Self {
        let message = format!("Invalid value: \"{value}\": {}", detail.as_ref());
        Self {
            reason: "FieldValueTypeInvalid",
            field: field.into(),
            message,
        }
    }

    /// The field must be there.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {detail}")
        };
        Self {
            reason: "FieldValueRequired",
            field: field.into(),
            message,
        }
    }

    /// The value occurs twice where it may occur once.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            field: field.into(),
            message: format!("Duplicate value: {value}"),
        }
    }

    /// The value is not one of the listed ones.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[String]) -> Self {
        let message = format!(
            "Unsupported value: {value}: supported values: {}",
            supported.join(", ")
        );
        Self {
            reason: "FieldValueNotSupported",
            field: field.into(),
            message,
        }
    }

    /// The list has too many items.
    pub fn too_many(field: impl Into<String>, actual: usize, max: u64) -> Self {
        let message = format!("Too many: {actual}: must have at most {max} items");
        Self {
            reason: "FieldValueTooMany",
            field: field.into(),
            message,
        }
    }

    /// The text is too long.
    pub fn too_long(field: impl Into<String>, max: u64) -> Self {
        let message = format!("Too long: may not be more than {max} bytes");
        Self {
            reason: "FieldValueTooLong",
            field: field.into(),
            message,
        }
    }

    /// The change is not allowed.
    pub fn forbidden(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self {
            reason: "FieldValueForbidden",
            field: field.into(),
            message: format!("Forbidden: {}", detail.as_ref()),
        }
    }

    /// True when rules that compare values make no sense after this finding.
    pub fn blocks_rules(&self) -> bool {
        matches!(
            self.reason,
            "FieldValueNotSupported"
                | "FieldValueRequired"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueTypeInvalid"
        )
    }

    fn line(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }
}

/// A request the server does not fulfil, in the shape of a `Status` object.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, for example `NotFound`.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
    /// `details` of the Status, when there are any.
    pub details: Option<Value>,
    /// A plain text answer instead of a Status object.
    pub plain: bool,
    /// Where a list may go on.
    pub continuation: Option<String>,
}

/// Group and resource (or kind) an error talks about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// API group; empty for core.
    pub group: &'a str,
    /// Plural resource or kind, as the error needs it.
    pub kind: &'a str,
}

impl Subject<'_> {
    fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    fn details(&self, name: &str) -> Map<String, Value> {
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), name.into());
        }
        if !self.group.is_empty() {
            details.insert("group".into(), self.group.into());
        }
        details.insert("kind".into(), self.kind.into());
        details
    }
}

/// The media types the original lists for a resource.
pub fn media_types(custom: bool) -> &'static [&'static str] {
    match custom {
        true => &["application/json", "application/yaml"],
        false => &[
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ],
    }
}

impl ApiError {
    fn new(
        code: u16,
        reason: &'static str,
        message: impl Into<String>,
        details: Option<Value>,
    ) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details,
            plain: false,
            continuation: None,
        }
    }

    /// The URL leads nowhere.
    pub fn no_such_path() -> Self {
        Self {
            code: 404,
            reason: "NotFound",
            message: "404 page not found\n".into(),
            details: None,
            plain: true,
            continuation: None,
        }
    }

    /// The object does not exist.
    pub fn not_found(subject: Subject<'_>, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", subject.qualified());
        Self::new(
            404,
            "NotFound",
            message,
            Some(Value::Object(subject.details(name))),
        )
    }

    /// The object exists already.
    pub fn already_exists(subject: Subject<'_>, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", subject.qualified());
        Self::new(
            409,
            "AlreadyExists",
            message,
            Some(Value::Object(subject.details(name))),
        )
    }

    /// The object changed since the caller read it, or a precondition does not hold.
    pub fn conflict(subject: Subject<'_>, name: &str, why: impl AsRef<str>) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {}",
            subject.qualified(),
            why.as_ref()
        );
        Self::new(
            409,
            "Conflict",
            message,
            Some(Value::Object(subject.details(name))),
        )
    }

    /// The usual conflict: somebody else wrote first.
    pub fn modified(subject: Subject<'_>, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(subject, name, why)
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message, None)
    }

    /// The caller may not do this.
    pub fn forbidden(
        subject: Subject<'_>,
        name: &str,
        why: impl AsRef<str>,
        causes: Vec<Value>,
    ) -> Self {
        let why = why.as_ref();
        let message = match (subject.kind, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{} is forbidden: {why}", subject.qualified()),
            _ => format!("{} \"{name}\" is forbidden: {why}", subject.qualified()),
        };
        let mut details = subject.details(name);
        if subject.kind.is_empty() {
            details.clear();
        }
        if !causes.is_empty() {
            details.insert("causes".into(), Value::Array(causes));
        }
        Self::new(403, "Forbidden", message, Some(Value::Object(details)))
    }

    /// The caller is unknown.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized", None)
    }

    /// The server cannot make sense of the request at a point where the original gives up.
    pub fn internal(message: impl AsRef<str>) -> Self {
        let message = format!("Internal error occurred: {}", message.as_ref());
        let cause = json!({"message": message.trim_start_matches("Internal error occurred: ")});
        Self::new(
            500,
            "InternalError",
            message,
            Some(json!({ "causes": [cause] })),
        )
    }

    /// The server knows the resource but not this verb on it.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message, Some(json!({})))
    }

    /// The caller accepts nothing the server can write.
    pub fn not_acceptable(custom: bool) -> Self {
        let accepted = media_types(custom).join(", ");
        Self::new(
            406,
            "NotAcceptable",
            format!("only the following media types are accepted: {accepted}"),
            None,
        )
    }

    /// The body is in a format the server does not read here.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {list}"
        );
        Self::new(415, "UnsupportedMediaType", message, None)
    }

    /// The body is larger than the server reads.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message, None)
    }

    /// A JSON patch with more operations than are carried out.
    pub fn too_many_operations(limit: usize) -> Self {
        let message =
            format!("The allowed maximum operations in a JSON patch is {limit}, got more");
        Self::new(413, "RequestEntityTooLarge", message, Some(json!({})))
    }

    /// A JSON patch whose copies make more than is allowed.
    pub fn too_much_copied(limit: usize) -> Self {
        let message =
            format!("unable to copy: the copies of a JSON patch may not exceed {limit} bytes");
        Self::new(413, "RequestEntityTooLarge", message, Some(json!({})))
    }

    /// A patch that cannot be applied to the object.
    pub fn patch_failed() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message, Some(json!({})))
    }

    /// The requested resource version lies before what the server remembers.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message, None)
    }

    /// The first page of a list is too old for the next one to fit to it; `token` goes on regardless.
    pub fn expired_continue(token: &str) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start \
                       a new list without the continue parameter, or use the continue token in this response to \
                       retrieve the remainder of the results. Continuing with the provided token results in an \
                       inconsistent list - objects that were created, modified, or deleted between the time the \
                       first chunk was returned and now may show up in the list.";
        Self {
            continuation: Some(token.to_owned()),
            ..Self::expired(message)
        }
    }

    /// The requested resource version lies in the future.
    pub fn too_large_resource_version(wanted: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        let cause =
            json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        Self::new(
            504,
            "Timeout",
            message,
            Some(json!({"causes": [cause], "retryAfterSeconds": 1})),
        )
    }

    /// Server-side apply met fields other managers own.
    pub fn apply_conflict(message: String, causes: Vec<Value>) -> Self {
        Self::new(409, "Conflict", message, Some(json!({ "causes": causes })))
    }

    /// A configuration to apply that does not fit the schema. The original gives no reason either.
    pub fn untyped_configuration(object: &str, faults: &[String]) -> Self {
        let text = match faults {
            [only] => only.clone(),
            many => format!("errors:\n  {}", many.join("\n  ")),
        };
        Self::new(
            500,
            "",
            format!("failed to create typed patch object ({object}): {text}"),
            None,
        )
    }

    /// The eviction would break a disruption budget.
    pub fn too_many_requests(message: impl Into<String>) -> Self {
        Self::new(429, "TooManyRequests", message, None)
    }

    /// The object has faults; one line per distinct finding, one cause per finding.
    pub fn invalid(subject: Subject<'_>, name: &str, errors: &[FieldError]) -> Self {
        let mut lines: Vec<String> = Vec::new();
        for error in errors {
            let line = error.line();
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let text = match lines.as_slice() {
            [only] => only.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {text}", subject.qualified());
        let causes: Vec<Value> = errors
            .iter()
            .map(|e| json!({"reason": e.reason, "message": e.message, "field": e.field}))
            .collect();
        let mut details = subject.details(name);
        details.insert("causes".into(), Value::Array(causes));
        Self::new(422, "Invalid", message, Some(Value::Object(details)))
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(map) = status.as_object_mut() {
            map.extend(
                self.details
                    .clone()
                    .map(|details| ("details".to_owned(), details)),
            );
            if self.reason.is_empty() {
                map.remove("reason");
            }
            if let Some(token) = &self.continuation {
                map.insert("metadata".into(), json!({ "continue": token }));
            }
        }
        status
    }
}

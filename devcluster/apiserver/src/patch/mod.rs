//! The four ways to change a part of an object.

pub mod strategic;

use serde_json::Value;

use crate::error::ApiError;

/// What the content type of a PATCH asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' merge by list keys; built-in kinds only.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchKind {
    /// Reads a content type.
    pub fn of(content_type: &str, custom: bool) -> Result<Self, ApiError> {
        let kind = match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" if !custom => Self::Strategic,
            "application/apply-patch+yaml" | "application/apply-patch+json" => Self::Apply,
            _ => {
                let mut accepted = vec![
                    "application/json-patch+json",
                    "application/merge-patch+json",
                ];
                if !custom {
                    accepted.push("application/strategic-merge-patch+json");
                }
                accepted.push("application/apply-patch+yaml");
                return Err(ApiError::unsupported_media_type(&accepted));
            }
        };
        Ok(kind)
    }
}

/// Bytes all copies of one JSON patch may make: each could double the object.
const COPIES: usize = 3 * 1024 * 1024;

/// Operations of one JSON patch: each may copy the object.
const OPERATIONS: usize = 10_000;

/// Applies a JSON patch.
pub fn json(current: &Value, body: &[u8]) -> Result<Value, ApiError> {
    let operations: Value = serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "error decoding patch: {}",
            crate::decode::go_syntax_error(body, &error)
        ))
    })?;
    if !operations.is_array() {
        let is = crate::schema::decode::json_type(&operations);
        return Err(ApiError::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {is} into Go value of type []handlers.jsonPatchOp"
        )));
    }
    if operations.as_array().is_some_and(|o| o.len() > OPERATIONS) {
        return Err(ApiError::too_many_operations(OPERATIONS));
    }
    let patch: json_patch::Patch =
        serde_json::from_value(operations).map_err(|_| ApiError::patch_failed())?;
    let mut out = current.clone();
    let mut copied = 0;
    for operation in &patch.0 {
        if let json_patch::PatchOperation::Copy(copy) = operation {
            let source = out.pointer(copy.from.as_str());
            copied += source.map_or(0, |value| value.to_string().len());
            if copied > COPIES {
                return Err(ApiError::too_much_copied(COPIES));
            }
        }
        if !tests_absence(operation, &out) {
            json_patch::patch(&mut out, std::slice::from_ref(operation))
                .map_err(|_| ApiError::patch_failed())?;
        }
    }
    Ok(out)
}

/// Testing for null holds where nothing is: clients rely on it to add a list only when there is none.
fn tests_absence(operation: &json_patch::PatchOperation, object: &Value) -> bool {
    match operation {
        json_patch::PatchOperation::Test(test) => {
            test.value.is_null() && object.pointer(test.path.as_str()).is_none()
        }
        _ => false,
    }
}

/// Applies a JSON merge patch.
pub fn merge(current: &Value, patch: &Value) -> Value {
    let mut out = current.clone();
    json_patch::merge(&mut out, patch);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn copies_do_not_explode() {
        let copy = json!({"op": "copy", "from": "", "path": "/l/-"});
        let patch = serde_json::Value::from(vec![copy; 60]).to_string();
        let refused = super::json(&json!({"l": []}), patch.as_bytes());
        assert!(refused.is_err_and(|e| e.code == 413));
    }

    #[test]
    fn absence_can_be_tested() {
        let patch = br#"[{"op": "test", "path": "/a", "value": null}, {"op": "add", "path": "/a", "value": [1]}]"#;
        assert_eq!(super::json(&json!({}), patch), Ok(json!({"a": [1]})));
        assert!(super::json(&json!({"a": [2]}), patch).is_err());
    }
}

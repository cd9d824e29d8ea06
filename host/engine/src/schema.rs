//! Settings against the JSON Schema that a plugin exports.
//!
//! The schema comes from a plugin, so it is small and flat, refers to nothing outside itself, and nothing is fetched or read for
//! it. The validator recurses with nesting and with references; both are bounded, and it has a stack that is large enough for
//! what the bounds allow.

use boon::{Compiler, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value;
use std::error::Error;

use crate::error::LoadError;
use crate::stage::{Finding, Severity};

/// Longest schema in bytes.
const SCHEMA_SIZE_MAX: usize = 256 << 10;
/// Levels of objects and lists in a schema, and in settings.
const DEPTH_MAX: usize = 32;
/// References in a schema: each can be a step deeper for each level of the settings.
const REFERENCES_MAX: usize = 64;
/// A step took 20 KiB in a debug build; levels times references of them fit.
const STACK_BYTES: usize = 128 << 20;
/// Findings that are told.
const FINDINGS_MAX: usize = 20;
/// How the schema is called; it is no address of anything.
const NAME: &str = "urn:settings";

/// Checks settings, a JSON document, against a schema, another one.
///
/// # Errors
/// The schema is unusable, or the settings do not fit it.
pub fn check_settings(schema: &str, settings: &str) -> Result<(), LoadError> {
    let unusable = |detail: String| LoadError::SettingsSchema { detail };
    if schema.len() > SCHEMA_SIZE_MAX {
        return Err(unusable(format!(
            "it has {} bytes, more than {SCHEMA_SIZE_MAX}",
            schema.len()
        )));
    }
    let schema: Value =
        serde_json::from_str(schema).map_err(|error| unusable(format!("not JSON: {error}")))?;
    let settings: Value = serde_json::from_str(settings).map_err(|error| LoadError::Settings {
        findings: vec![finding("settings", format!("not JSON: {error}"))],
    })?;
    let (depth, references) = shape(&schema, 0);
    if depth > DEPTH_MAX || references > REFERENCES_MAX {
        return Err(unusable(format!(
            "it has {depth} levels and {references} references, and {DEPTH_MAX} and {REFERENCES_MAX} are allowed"
        )));
    }
    if shape(&settings, 0).0 > DEPTH_MAX {
        return Err(LoadError::Settings {
            findings: vec![finding(
                "settings",
                format!("more than {DEPTH_MAX} levels deep"),
            )],
        });
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("settings".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || validate(schema, &settings));
        let checked = thread.ok().and_then(|thread| thread.join().ok());
        checked.unwrap_or_else(|| Err(unusable("it cannot be checked".to_owned())))
    })
}

fn validate(schema: Value, settings: &Value) -> Result<(), LoadError> {
    let mut schemas = Schemas::new();
    let index = compile(schema, &mut schemas)?;
    schemas
        .validate(settings, index)
        .map_err(|error| LoadError::Settings {
            findings: findings(&error),
        })
}

/// Levels and references of a document. JSON that was read has at most 128 levels.
fn shape(document: &Value, level: usize) -> (usize, usize) {
    let inner: Vec<(&str, &Value)> = match document {
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.as_str(), v)).collect(),
        Value::Array(items) => items.iter().map(|item| ("", item)).collect(),
        _ => Vec::new(),
    };
    let mut shape_of_all = (level, 0);
    for (key, value) in inner {
        let (depth, references) = shape(value, level + 1);
        shape_of_all.0 = shape_of_all.0.max(depth);
        shape_of_all.1 += references + usize::from(key.ends_with("Ref") || key == "$ref");
    }
    shape_of_all
}

fn compile(schema: Value, schemas: &mut Schemas) -> Result<SchemaIndex, LoadError> {
    let unusable = |error: boon::CompileError| LoadError::SettingsSchema {
        detail: error.to_string(),
    };
    let mut compiler = Compiler::new();
    compiler.use_loader(Box::new(Nothing));
    compiler.add_resource(NAME, schema).map_err(unusable)?;
    compiler.compile(NAME, schemas).map_err(unusable)
}

/// A schema may refer to nothing but itself and the meta-schemas.
struct Nothing;

impl UrlLoader for Nothing {
    fn load(&self, url: &str) -> Result<Value, Box<dyn Error>> {
        Err(format!("a schema of settings refers to nothing outside itself, not to {url}").into())
    }
}

/// The innermost causes: they name the field.
fn findings(error: &ValidationError<'_, '_>) -> Vec<Finding> {
    let mut found = Vec::new();
    collect(error, &mut found);
    found
}

fn collect(error: &ValidationError<'_, '_>, found: &mut Vec<Finding>) {
    if found.len() >= FINDINGS_MAX {
        return;
    }
    if error.causes.is_empty() {
        let pointer = error.instance_location.to_string();
        let field = format!("settings{}", pointer.replace('/', "."));
        found.push(finding(&field, error.kind.to_string()));
    }
    for cause in &error.causes {
        collect(cause, found);
    }
}

fn finding(field: &str, message: String) -> Finding {
    Finding {
        severity: Severity::Error,
        object: "settings".to_owned(),
        field: field.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false, "required": ["mode"],
        "properties": {"mode": {"enum": ["a", "b"]}, "depth": {"type": "integer", "maximum": 3}}}"#;

    #[test]
    fn what_does_not_fit_is_named() {
        check_settings(SCHEMA, r#"{"mode": "a", "depth": 3}"#).unwrap();
        for (settings, expected) in [
            (r#"{"mode": "c"}"#, "settings.mode"),
            (r#"{"mode": "a", "depth": 4}"#, "settings.depth"),
            (r#"{"mode": "a", "other": 1}"#, "other"),
            ("{}", "mode"),
            ("[]", "object"),
        ] {
            let error = check_settings(SCHEMA, settings).unwrap_err();
            assert_eq!(error.reason(), "SettingsInvalid");
            assert!(error.to_string().contains(expected), "{settings}: {error}");
        }
    }

    #[test]
    fn schemas_that_allow_everything() {
        for schema in ["true", "{}"] {
            check_settings(schema, "{\"any\": [1]}").unwrap();
        }
    }

    #[test]
    fn schemas_that_reach_out_or_are_none_are_refused() {
        for schema in [
            "",
            "[]",
            r#"{"type": "nonsense"}"#,
            r#"{"$ref": "file:///etc/passwd"}"#,
            r#"{"$ref": "https://example.com/schema"}"#,
            r#"{"pattern": "("}"#,
            &format!("{{\"x\": \"{}\"}}", "x".repeat(SCHEMA_SIZE_MAX)),
        ] {
            let error = check_settings(schema, "{}").unwrap_err();
            assert_eq!(error.reason(), "SettingsSchemaInvalid", "{error}");
        }
    }

    #[test]
    fn hostile_schemas_end() {
        for levels in [DEPTH_MAX, 100] {
            let mut deep = "true".to_owned();
            for _ in 0..levels {
                deep = format!("{{\"not\": {deep}}}");
            }
            let allowed = levels <= DEPTH_MAX;
            let refused = |e: &LoadError| e.reason() == "SettingsSchemaInvalid";
            let result = check_settings(&deep, "{}");
            assert_eq!(result.as_ref().is_err_and(refused), !allowed, "{result:?}");
        }
        let chain: String = (0..REFERENCES_MAX * 2)
            .map(|n| format!("\"d{n}\": {{\"$ref\": \"#/$defs/d{}\"}},", n + 1))
            .collect();
        let chain = format!("{{\"$ref\": \"#/$defs/d0\", \"$defs\": {{{chain} \"z\": true}}}}");
        assert!(check_settings(&chain, "{}").is_err());
        let links = REFERENCES_MAX - 2;
        let recursive: String = (0..links)
            .map(|n| format!("\"d{n}\": {{\"$ref\": \"#/$defs/d{}\"}},", n + 1))
            .collect();
        let recursive = format!(
            "{{\"$ref\": \"#/$defs/d0\", \"$defs\": {{{recursive} \"d{links}\": {{\"additionalProperties\": {{\"$ref\": \"#/$defs/d0\"}}}}}}}}"
        );
        let deepest = format!("{}1{}", "{\"a\":".repeat(DEPTH_MAX), "}".repeat(DEPTH_MAX));
        check_settings(&recursive, &deepest).unwrap();
        let cycle = r##"{"$ref": "#"}"##;
        assert!(check_settings(cycle, "{}").is_err());
        let regex = r#"{"properties": {"a": {"pattern": "(a*)*b"}}}"#;
        let long = format!("{{\"a\": \"{}\"}}", "a".repeat(10_000));
        assert!(check_settings(regex, &long).is_err());
    }
}

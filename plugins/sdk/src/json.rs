//! JSON: settings from serde structs, and values from text.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Failure, Finding, error, failure};

/// The JSON Schema of a type, as text.
pub fn schema<T: JsonSchema>() -> String {
    schemars::schema_for!(T).as_value().to_string()
}

/// Settings from their text.
///
/// # Errors
/// One finding that names the field which does not fit.
pub fn parse_settings<T: DeserializeOwned>(text: &str) -> Result<T, Vec<Finding>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|wrong| {
        let path = wrong.path().to_string();
        let field = match path.as_str() {
            "." => "settings".to_owned(),
            _ => format!("settings.{path}"),
        };
        vec![error("settings", field, wrong.into_inner().to_string())]
    })?;
    reader
        .end()
        .map_err(|wrong| vec![error("settings", "settings", wrong.to_string())])?;
    Ok(parsed)
}

/// A document of a request, `None` when it is absent.
///
/// # Errors
/// The text is not JSON; the failure `ValuesInvalid` names object and field.
pub fn document(object: &str, field: &str, text: Option<&str>) -> Result<Option<Value>, Failure> {
    text.map(serde_json::from_str).transpose().map_err(|wrong| {
        let message = format!("the values of {object} are not JSON: {wrong}");
        failure("ValuesInvalid", vec![error(object, field, message)])
    })
}

/// Makes a type with serde's `Deserialize` and schemars' `JsonSchema` the settings of a plugin.
#[macro_export]
macro_rules! settings {
    ($type:ty) => {
        impl $crate::Settings for $type {
            fn schema() -> ::std::string::String {
                $crate::schema::<$type>()
            }
            fn parse(text: &str) -> ::std::result::Result<Self, ::std::vec::Vec<$crate::Finding>> {
                $crate::parse_settings(text)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings as _;

    /// Settings of a test.
    #[derive(Debug, PartialEq, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        /// Rules, by service.
        rules: Vec<Rule>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize, JsonSchema)]
    struct Rule {
        service: String,
    }

    crate::settings!(Settings);

    #[test]
    fn a_wrong_field_is_named() {
        let findings = Settings::parse(r#"{"rules":[{"service":"a"},{"service":7}]}"#).unwrap_err();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].field, "settings.rules[1].service");
        assert!(
            findings[0].message.contains("expected a string"),
            "{findings:?}"
        );
        let findings = Settings::parse(r#"{"rules":[]} x"#).unwrap_err();
        assert_eq!(findings[0].field, "settings");
        let findings = Settings::parse(r#"{"rule":[]}"#).unwrap_err();
        assert!(
            findings[0].message.contains("unknown field `rule`"),
            "{findings:?}"
        );
    }

    #[test]
    fn the_schema_says_what_the_struct_says() {
        let schema: Value = serde_json::from_str(&Settings::schema()).unwrap();
        assert_eq!(
            schema["properties"]["rules"]["description"],
            "Rules, by service."
        );
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"][0], "rules");
    }

    #[test]
    fn absent_values_are_no_error() {
        assert_eq!(document("A/b", "spec", None), Ok(None));
        let failure = document("A/b", "spec", Some("{")).unwrap_err();
        assert_eq!(
            (failure.code.as_str(), failure.findings[0].object.as_str()),
            ("ValuesInvalid", "A/b")
        );
    }
}

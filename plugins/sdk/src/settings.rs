//! What an administrator configures in a DPUPlugin.

use crate::{Finding, error};

/// The settings of a plugin.
///
/// For a struct with serde and schemars derives, [`settings!`](crate::settings) writes the implementation.
pub trait Settings: Sized {
    /// The JSON Schema of the settings, as text.
    fn schema() -> String;

    /// Reads settings, a JSON document; `{}` when the administrator wrote none.
    ///
    /// # Errors
    /// What is wrong; `field` of a finding is a path in the settings, such as `settings.limit`.
    fn parse(text: &str) -> Result<Self, Vec<Finding>>;
}

/// The settings of a plugin that has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoSettings;

impl Settings for NoSettings {
    fn schema() -> String {
        r#"{"type":"object","additionalProperties":false}"#.to_owned()
    }

    fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        let mut rest = text.chars().filter(|c| !c.is_ascii_whitespace());
        if (rest.next(), rest.next(), rest.next()) == (Some('{'), Some('}'), None) {
            return Ok(Self);
        }
        Err(vec![error(
            "settings",
            "settings",
            "this plugin has no settings; leave them out",
        )])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_settings_are_an_empty_object() {
        assert_eq!(NoSettings::parse("{}"), Ok(NoSettings));
        assert_eq!(NoSettings::parse(" {\n} "), Ok(NoSettings));
        for other in ["", "{", "[]", "{\"a\":1}", "{}{}"] {
            assert!(NoSettings::parse(other).is_err(), "{other}");
        }
    }
}

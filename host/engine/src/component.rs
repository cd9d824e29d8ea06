//! A component that is admitted but for its settings.

use crate::convert;
use crate::error::{Fault, LoadError};
use crate::plugin::Plugin;
use crate::stage::{Descriptor, Stage};

/// A component that was checked and compiled. With settings it is a [`Plugin`], and one component can be several plugins.
#[derive(Debug, Clone)]
pub struct Component {
    plugin: Plugin,
}

impl Component {
    pub(crate) fn new(plugin: Plugin) -> Self {
        Self { plugin }
    }

    /// The stage it was checked for.
    pub fn stage(&self) -> Stage {
        self.plugin.stage()
    }

    /// `sha256:` and the digest of the component in hexadecimal.
    pub fn digest(&self) -> &str {
        self.plugin.digest()
    }

    /// Who it said it is while it was admitted.
    pub fn descriptor(&self) -> &Descriptor {
        self.plugin.descriptor()
    }

    /// Asks it again who it is.
    ///
    /// # Errors
    /// It is at fault.
    pub fn describe(&self) -> Result<Descriptor, Fault> {
        self.plugin.describe()
    }

    /// The JSON Schema of its settings, as text.
    ///
    /// # Errors
    /// It is at fault.
    pub fn settings_schema(&self) -> Result<String, Fault> {
        self.plugin.settings_schema()
    }

    /// The component with settings, a JSON document. Nothing is compiled again.
    ///
    /// # Errors
    /// It refuses them, or is at fault while it looks at them.
    pub fn configure(&self, settings: &str) -> Result<Plugin, LoadError> {
        let plugin = self.plugin.with_settings(settings);
        plugin
            .validate_settings()
            .map_err(LoadError::Faulted)?
            .map_err(|findings| LoadError::Settings {
                findings: convert::findings(findings),
            })?;
        Ok(plugin)
    }
}

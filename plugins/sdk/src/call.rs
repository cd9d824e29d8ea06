//! Calls of a plugin as the host makes them: settings are read from the request first. Exports use it, and so do native tests.

use crate::{
    ChainBuilder, Failure, Finding, Plugin, Settings, TemplateMerge, VersionCheck, chain, check,
    failure, values,
};

/// [`TemplateMerge::merge`] with the settings of the request.
///
/// # Errors
/// The plugin's, or its settings are wrong.
pub fn merge<P: TemplateMerge>(request: values::Request) -> Result<values::Response, Failure> {
    let settings = settings::<P>(&request.settings)?;
    P::merge(request, settings)
}

/// [`VersionCheck::check`] with the settings of the request.
///
/// # Errors
/// The plugin's, or its settings are wrong.
pub fn check<P: VersionCheck>(request: check::Request) -> Result<Vec<Finding>, Failure> {
    let settings = settings::<P>(&request.settings)?;
    P::check(request, settings)
}

/// [`ChainBuilder::build`] with the settings of the request.
///
/// # Errors
/// The plugin's, or its settings are wrong.
pub fn build<P: ChainBuilder>(request: chain::Request) -> Result<chain::Response, Failure> {
    let settings = settings::<P>(&request.settings)?;
    P::build(request, settings)
}

/// Reads settings and checks them.
///
/// # Errors
/// What is wrong with them.
pub fn validate_settings<P: Plugin>(text: &str) -> Result<P::Settings, Vec<Finding>> {
    let settings = P::Settings::parse(text)?;
    let findings = P::check_settings(&settings);
    if findings.is_empty() {
        Ok(settings)
    } else {
        Err(findings)
    }
}

fn settings<P: Plugin>(text: &str) -> Result<P::Settings, Failure> {
    // The host checked them before the first call; what is wrong now is wrong in a test.
    validate_settings::<P>(text).map_err(|findings| failure("SettingsInvalid", findings))
}

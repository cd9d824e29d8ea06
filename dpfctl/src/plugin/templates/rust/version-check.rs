//! Every chart has to say which version it needs.

use dpf_plugin_sdk::{
    Descriptor, Failure, Finding, Findings, Plugin, VersionCheck, check, descriptor, log,
};

/// What a cluster administrator can configure in the DPUPlugin.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The version every template must constrain, for example dpu.nvidia.com/doca-version.
    pub key: String,
}

dpf_plugin_sdk::settings!(Settings);

/// The exported plugin.
pub struct ThisPlugin;

impl Plugin for ThisPlugin {
    type Settings = Settings;

    fn describe() -> Descriptor {
        descriptor!(
            "example.com",
            "Every chart has to say which version it needs."
        )
    }

    fn check_settings(settings: &Settings) -> Vec<Finding> {
        let mut findings = Findings::default();
        if settings.key.is_empty() {
            findings.error("settings", "settings.key", "the key is empty");
        }
        findings.into()
    }
}

impl VersionCheck for ThisPlugin {
    fn check(request: check::Request, settings: Settings) -> Result<Vec<Finding>, Failure> {
        let mut findings = Findings::default();
        for service in &request.services {
            if service
                .constraints
                .iter()
                .any(|(key, _)| *key == settings.key)
            {
                continue;
            }
            findings.error(
                format!("DPUServiceTemplate/{}", service.template),
                "status.versions",
                format!(
                    "the chart of service {} does not say which {} it needs",
                    service.name, settings.key
                ),
            );
        }
        log!(Info, "{} services checked", request.services.len());
        Ok(findings.into())
    }
}

dpf_plugin_sdk::version_check!(ThisPlugin);

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_plugin_sdk::call;

    fn request(constraint: &str) -> check::Request {
        check::Request {
            settings: r#"{"key": "dpu.nvidia.com/doca-version"}"#.into(),
            services: vec![check::Service {
                name: "router".into(),
                template: "router-template".into(),
                constraints: vec![(constraint.into(), ">= 2.9".into())],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn a_constraint_is_enough() {
        let findings = call::check::<ThisPlugin>(request("dpu.nvidia.com/doca-version"));
        assert_eq!(findings, Ok(Vec::new()));
    }

    #[test]
    fn without_it_the_template_is_named() {
        let findings = call::check::<ThisPlugin>(request("another")).unwrap();
        assert_eq!(findings[0].object, "DPUServiceTemplate/router-template");
    }
}

//! A vendor plugin of the stage template-merge, for the values of a routing service.
//!
//! The default plugin replaces lists as a whole and renders Go templates. Routes, neighbours and interfaces are lists that people
//! override entry by entry, so this one merges lists by a name ([`merge`]), and it renders Jinja ([`render`]).
//!
//! ```yaml
//! # template                      # configuration                    # merged
//! routes:                         routes:                            routes:
//! - {name: a, via: 10.0.0.1}      - {name: a, metric: 5}             - {name: a, via: 10.0.0.1, metric: 5}
//! - {name: b, via: 10.0.0.2}      - {name: b, $patch: delete}        - {name: c, via: "producer-x2x4x"}
//!                                 - {name: c, via: "{{ services.producer.name }}"}
//! ```

pub mod merge;
pub mod render;

use dpf_plugin_sdk::values::{Request, Response};
use dpf_plugin_sdk::{
    Descriptor, Failure, Finding, Findings, Plugin, TemplateMerge, descriptor, document, log,
};
use serde_json::{Map, Value};

/// Field of a DPUServiceTemplate with its values.
pub const TEMPLATE_FIELD: &str = "spec.helmChart.values";
/// Field of a DPUServiceConfiguration with its values.
pub const CONFIGURATION_FIELD: &str = "spec.serviceConfiguration.helmChart.values";

/// What a cluster administrator configures.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The field that names an entry of a list.
    pub key: String,
    /// What templates see as `vars`.
    pub vars: Map<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key: "name".to_owned(),
            vars: Map::new(),
        }
    }
}

dpf_plugin_sdk::settings!(Settings);

/// The exported plugin.
pub struct RoutingMerge;

impl Plugin for RoutingMerge {
    type Settings = Settings;

    fn describe() -> Descriptor {
        descriptor!("example.com", "Merges lists by name and renders Jinja.")
    }

    fn check_settings(settings: &Settings) -> Vec<Finding> {
        let mut findings = Findings::default();
        if settings.key.is_empty() || settings.key.starts_with('$') {
            findings.error(
                "settings",
                "settings.key",
                "the key is empty or begins with $",
            );
        }
        findings.into()
    }
}

impl TemplateMerge for RoutingMerge {
    fn merge(request: Request, settings: Settings) -> Result<Response, Failure> {
        let template_object = format!("DPUServiceTemplate/{}", request.service.template);
        let object = format!("DPUServiceConfiguration/{}", request.service.configuration);
        let template = document(
            &template_object,
            TEMPLATE_FIELD,
            request.template_values.as_deref(),
        )?;
        let mut configuration = document(
            &object,
            CONFIGURATION_FIELD,
            request.configuration_values.as_deref(),
        )?;
        if request.render
            && let Some(values) = &mut configuration
        {
            render::render(values, &request, &settings.vars, &object)?;
        }
        let rendered = configuration.as_ref().map(Value::to_string);
        let mut merger = merge::Merger::new(&settings.key);
        let values = match (template, configuration) {
            (Some(mut base), Some(over)) => {
                merger.lay_over(&mut base, over, "");
                Some(base)
            }
            (base, over) => over.or(base),
        };
        let mut findings = Findings::default();
        for (path, problem) in merger.problems {
            findings.error(
                object.as_str(),
                format!("{CONFIGURATION_FIELD}{path}"),
                problem,
            );
        }
        log!(Debug, "{} lists merged by {}", merger.lists, settings.key);
        Ok(Response {
            configuration_values: rendered,
            values: values.map(|values| values.to_string()),
            findings: findings.or_fail("ListsAmbiguous")?,
            annotations: Vec::new(),
        })
    }
}

dpf_plugin_sdk::template_merge!(RoutingMerge);

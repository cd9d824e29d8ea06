//! Merges values over defaults of the cluster.

use dpf_plugin_sdk::{
    Descriptor, Failure, Plugin, TemplateMerge, descriptor, document, error, failure, values,
};
use serde_json::{Map, Value};

/// What a cluster administrator can configure in the DPUPlugin.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Values that hold where neither template nor configuration say something else.
    #[serde(default)]
    pub defaults: Map<String, Value>,
}

dpf_plugin_sdk::settings!(Settings);

/// The exported plugin.
pub struct ThisPlugin;

impl Plugin for ThisPlugin {
    type Settings = Settings;

    fn describe() -> Descriptor {
        descriptor!("example.com", "Merges values over defaults of the cluster.")
    }
}

impl TemplateMerge for ThisPlugin {
    fn merge(request: values::Request, settings: Settings) -> Result<values::Response, Failure> {
        let template = format!("DPUServiceTemplate/{}", request.service.template);
        let configuration = format!("DPUServiceConfiguration/{}", request.service.configuration);
        let field = "spec.serviceConfiguration.helmChart.values";
        if request.render {
            let message = "this plugin renders no templates; leave out dependsOn";
            return Err(failure(
                "RenderingNotSupported",
                vec![error(configuration, field, message)],
            ));
        }
        let layers = [
            document(
                &template,
                "spec.helmChart.values",
                request.template_values.as_deref(),
            )?,
            document(
                &configuration,
                field,
                request.configuration_values.as_deref(),
            )?,
        ];
        let mut values = Value::Object(settings.defaults);
        for layer in layers.into_iter().flatten() {
            lay_over(&mut values, layer);
        }
        Ok(values::Response {
            configuration_values: request.configuration_values,
            values: Some(values.to_string()),
            ..Default::default()
        })
    }
}

dpf_plugin_sdk::template_merge!(ThisPlugin);

/// Maps merge deep, everything else is replaced.
fn lay_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_plugin_sdk::call;

    #[test]
    fn the_configuration_wins() {
        let request = values::Request {
            settings: r#"{"defaults": {"replicas": 1}}"#.into(),
            template_values: Some(r#"{"image": {"tag": "1", "name": "router"}}"#.into()),
            configuration_values: Some(r#"{"image": {"tag": "2"}}"#.into()),
            ..Default::default()
        };
        let response = call::merge::<ThisPlugin>(request).unwrap();
        assert_eq!(
            response.values.as_deref(),
            Some(r#"{"image":{"name":"router","tag":"2"},"replicas":1}"#)
        );
    }

    #[test]
    fn templates_are_refused() {
        let request = values::Request {
            render: true,
            ..Default::default()
        };
        assert_eq!(
            call::merge::<ThisPlugin>(request).unwrap_err().code,
            "RenderingNotSupported"
        );
    }
}

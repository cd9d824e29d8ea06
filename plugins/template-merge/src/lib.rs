//! The default template-merge plugin.
//!
//! It renders the values of a DPUServiceConfiguration ([`render`]) and lays them over those of the DPUServiceTemplate
//! ([`merge`]). This crate is the logic; it knows nothing of WebAssembly.

pub mod merge;
pub mod render;

use dpf_plugin_sdk::values::{Request, Response};
use dpf_plugin_sdk::{
    Descriptor, Failure, Finding, NoSettings, Plugin, TemplateMerge, descriptor, error, failure,
};
use serde_json::Value;

/// Field of a DPUServiceConfiguration with its values.
pub const CONFIGURATION_FIELD: &str = "spec.serviceConfiguration.helmChart.values";
/// Field of a DPUServiceTemplate with its values.
pub const TEMPLATE_FIELD: &str = "spec.helmChart.values";

/// The exported plugin.
pub struct DefaultTemplateMerge;

impl Plugin for DefaultTemplateMerge {
    type Settings = NoSettings;

    fn describe() -> Descriptor {
        descriptor!(
            "dpf",
            "Renders values with Go templates and merges them; the configuration wins."
        )
    }
}

impl TemplateMerge for DefaultTemplateMerge {
    fn merge(request: Request, _: NoSettings) -> Result<Response, Failure> {
        let template_object = format!("DPUServiceTemplate/{}", request.service.template);
        let configuration_object =
            format!("DPUServiceConfiguration/{}", request.service.configuration);
        let template = read(
            &template_object,
            TEMPLATE_FIELD,
            request.template_values.as_deref(),
        )?;
        let configuration = read(
            &configuration_object,
            CONFIGURATION_FIELD,
            request.configuration_values.as_deref(),
        )?;
        let templating = |findings| failure("TemplateFailed", findings);
        let options = render::options(&request).map_err(templating)?;
        let rendered = match configuration {
            Some(values) if request.render => {
                let mut values = render::render(&values, &request, options).map_err(templating)?;
                merge::plain_numbers(&mut values);
                Some(values)
            }
            other => other,
        };
        let configuration_values = match &rendered {
            Some(values) if request.render => Some(values.to_string()),
            _ => request.configuration_values.clone(),
        };
        let mut findings = Vec::new();
        let mut values = merge::merge(template, rendered, &configuration_object, &mut findings);
        if let Some(values) = &mut values {
            merge::plain_numbers(values);
        }
        Ok(Response {
            configuration_values,
            values: values.map(|values| values.to_string()),
            findings,
            annotations: Vec::new(),
        })
    }
}

dpf_plugin_sdk::template_merge!(DefaultTemplateMerge);

fn read(object: &str, field: &str, text: Option<&str>) -> Result<Option<Value>, Failure> {
    let parsed = text.map(serde_json::from_str).transpose();
    parsed.map_err(|reason| failure("ValuesInvalid", vec![not_json(object, field, &reason)]))
}

fn not_json(object: &str, field: &str, reason: &serde_json::Error) -> Finding {
    error(
        object,
        field,
        format!("the values of {object} are not JSON: {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_plugin_sdk::values::{Dependency, Service};
    use dpf_plugin_sdk::{Deployment, Severity, call};
    use serde_json::json;

    fn request(template: Option<Value>, configuration: Option<Value>) -> Request {
        Request {
            settings: "{}".into(),
            deployment: Deployment {
                namespace: "ns".into(),
                name: "demo".into(),
            },
            service: Service {
                name: "consumer".into(),
                template: "tpl".into(),
                configuration: "cfg".into(),
            },
            template_values: template.map(|values| values.to_string()),
            configuration_values: configuration.map(|values| values.to_string()),
            render: false,
            delimiters: None,
            dependencies: vec![
                Dependency {
                    name: "producer".into(),
                    object_name: "producer-ln2kk".into(),
                    namespace: "ns".into(),
                },
                Dependency {
                    name: "a-b".into(),
                    object_name: "a-b-xxxxx".into(),
                    namespace: "ns".into(),
                },
            ],
            annotations: Vec::new(),
        }
    }

    fn rendering(configuration: Value) -> Request {
        Request {
            render: true,
            ..request(None, Some(configuration))
        }
    }

    fn values(request: Request) -> Value {
        let response = call::merge::<DefaultTemplateMerge>(request).unwrap();
        serde_json::from_str(&response.values.unwrap()).unwrap()
    }

    fn findings(request: Request) -> Vec<Finding> {
        call::merge::<DefaultTemplateMerge>(request)
            .unwrap_err()
            .findings
    }

    #[test]
    fn the_configuration_wins_deep_in_maps() {
        let template = json!({"a": {"x": 1, "y": [1, 2]}, "keep": true, "null": {"z": 1}});
        let configuration = json!({"a": {"y": [3], "n": null}, "null": null});
        let expected = json!({"a": {"x": 1, "y": [3], "n": null}, "keep": true, "null": null});
        assert_eq!(
            values(request(Some(template), Some(configuration))),
            expected
        );
    }

    #[test]
    fn one_side_or_none() {
        assert_eq!(
            values(request(Some(json!({"a": 1})), None)),
            json!({"a": 1})
        );
        assert_eq!(
            values(request(None, Some(json!({"b": 2})))),
            json!({"b": 2})
        );
        let neither = call::merge::<DefaultTemplateMerge>(request(None, None)).unwrap();
        assert_eq!((neither.values, neither.configuration_values), (None, None));
    }

    #[test]
    fn a_conflict_of_types_is_a_warning() {
        let response = call::merge::<DefaultTemplateMerge>(request(
            Some(json!({"a": {"b": {"c": 1}}})),
            Some(json!({"a": {"b": [1]}})),
        ))
        .unwrap();
        assert_eq!(response.values.as_deref(), Some(r#"{"a":{"b":[1]}}"#));
        let [finding] = response.findings.as_slice() else {
            panic!("one finding: {:?}", response.findings)
        };
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.field,
            "spec.serviceConfiguration.helmChart.values.a.b"
        );
    }

    #[test]
    fn dependencies_are_rendered() {
        let rendered = values(rendering(json!({
            "name": "{{ .Services.producer.Name }}",
            "list": ["{{ (index .Services \"a-b\").Name }}.{{ .Services.producer.Namespace }}"],
        })));
        assert_eq!(
            rendered,
            json!({"name": "producer-ln2kk", "list": ["a-b-xxxxx.ns"]})
        );
    }

    #[test]
    fn strings_stay_strings() {
        let texts = json!({"number": "5", "bool": "true", "made": "{{ 5 }}", "null": "null", "yaml": "a: b #{{ 1 }}", "lines": "a\n {{ 2 }}\n"});
        let expected = json!({"number": "5", "bool": "true", "made": "5", "null": "null", "yaml": "a: b #1", "lines": "a\n 2\n"});
        assert_eq!(values(rendering(texts)), expected);
    }

    #[test]
    fn everything_else_stays_what_it_is() {
        let plain = json!({"n": 5, "f": 1.5, "t": true, "null": null, "big": 9_007_199_254_740_993_i64, "empty": {}, "list": []});
        assert_eq!(values(rendering(plain.clone())), plain);
    }

    #[test]
    fn what_is_rendered_cannot_change_the_document() {
        let mut request = rendering(json!({"name": "{{ .Services.producer.Name }}"}));
        request.dependencies[0].object_name = "x\nevil: true".into();
        assert_eq!(values(request), json!({"name": "x\nevil: true"}));
    }

    #[test]
    fn without_dependencies_nothing_is_rendered() {
        let configuration = json!({"jinja": "{{ ipaddresses.pf0.cidr }}", "broken": "{{"});
        assert_eq!(
            values(request(None, Some(configuration.clone()))),
            configuration
        );
    }

    #[test]
    fn own_delimiters_leave_braces_alone() {
        for delimiters in ["[[,]]", " [[ , ]] "] {
            let mut request =
                rendering(json!({"a": "[[ .Services.producer.Name ]]", "b": "{{ jinja }}"}));
            request.delimiters = Some(delimiters.into());
            assert_eq!(
                values(request),
                json!({"a": "producer-ln2kk", "b": "{{ jinja }}"})
            );
        }
        let mut same = rendering(json!({"a": "##.Services.producer.Name##", "b": "{{ jinja }}"}));
        same.delimiters = Some("##,##".into());
        assert_eq!(
            values(same),
            json!({"a": "producer-ln2kk", "b": "{{ jinja }}"})
        );
    }

    #[test]
    fn bad_delimiters_are_refused() {
        let cases = ["", "[[", "[[,", ",]]", "[[,]],x"];
        for (delimiters, render) in cases
            .map(|text| (text, true))
            .into_iter()
            .chain([("[[", false)])
        {
            let mut request = rendering(json!({"a": "x"}));
            request.delimiters = Some(delimiters.into());
            request.render = render;
            let found = findings(request);
            assert_eq!(
                found[0].object, "DPUServiceConfiguration/cfg",
                "{delimiters:?}"
            );
            assert_eq!(
                found[0].field,
                "metadata.annotations[svc.dpu.nvidia.com/template-delimiter]"
            );
        }
    }

    #[test]
    fn errors_name_service_field_line_and_column() {
        let found = findings(rendering(json!({
            "config": {"hosts": ["ok", "first\n {{ .Services.lost.Name }}"]},
            "text": "{{ if }}",
        })));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].object, "DPUServiceConfiguration/cfg");
        assert_eq!(
            found[0].field,
            "spec.serviceConfiguration.helmChart.values.config.hosts[1]"
        );
        assert_eq!(
            found[0].message,
            "failed to render the values of service consumer: config.hosts[1], line 2, column 14: map has no entry for key \
             \"lost\"; it has: a-b, producer"
        );
        assert_eq!(
            found[1].field,
            "spec.serviceConfiguration.helmChart.values.text"
        );
    }

    #[test]
    fn keys_are_rendered_and_stay_distinct() {
        assert_eq!(
            values(rendering(json!({"{{ .Services.producer.Name }}": 1}))),
            json!({"producer-ln2kk": 1})
        );
        let found = findings(rendering(json!({"a": 1, "{{ \"a\" }}": 2})));
        assert!(found[0].message.contains("twice"), "{found:?}");
        let found = findings(rendering(json!({"{{ .x }}": 1, "{{ .y }}": 2})));
        assert_eq!(
            found.len(),
            2,
            "keys that fail are not the same key: {found:?}"
        );
    }

    #[test]
    fn whole_floats_become_integers_as_in_go() {
        assert_eq!(
            values(request(None, Some(json!({"a": 1.0, "b": [2.0, 2.5]})))).to_string(),
            r#"{"a":1,"b":[2,2.5]}"#
        );
    }

    #[test]
    fn the_version_digest_gets_the_rendered_configuration_alone() {
        let mut request = rendering(json!({"name": "{{ .Services.producer.Name }}"}));
        request.template_values = Some(r#"{"x":1}"#.into());
        let response = call::merge::<DefaultTemplateMerge>(request).unwrap();
        assert_eq!(
            response.configuration_values.as_deref(),
            Some(r#"{"name":"producer-ln2kk"}"#)
        );
        assert_eq!(
            response.values.as_deref(),
            Some(r#"{"name":"producer-ln2kk","x":1}"#)
        );
    }
}

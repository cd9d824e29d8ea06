//! Renders strings with Jinja.

use dpf_plugin_sdk::values::Request;
use dpf_plugin_sdk::{Failure, Findings, error, failure};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value, json};

use crate::CONFIGURATION_FIELD;

/// Annotation of a DPUServiceConfiguration with other delimiters.
const DELIMITER_ANNOTATION: &str = "svc.dpu.nvidia.com/template-delimiter";
/// What one string may cost; a loop over everything a request can hold is far below.
const FUEL: u64 = 200_000;
/// More findings help nobody.
const MAX_FINDINGS: usize = 20;

/// Renders every string in place. A string stays a string, whatever it renders to.
///
/// # Errors
/// A finding for every string that fails, up to 20.
pub fn render(
    values: &mut Value,
    request: &Request,
    vars: &Map<String, Value>,
    object: &str,
) -> Result<(), Failure> {
    let services: Map<String, Value> = request
        .dependencies
        .iter()
        .map(|it| {
            (
                it.name.clone(),
                json!({"name": it.object_name, "namespace": it.namespace}),
            )
        })
        .collect();
    let deployment = &request.deployment;
    let context = json!({
        "services": services,
        "deployment": {"name": deployment.name, "namespace": deployment.namespace},
        "vars": vars,
    });
    let mut renderer = Renderer {
        environment: environment(request, object)?,
        context: minijinja::Value::from(Serde(&context)),
        object,
        findings: Findings::default(),
        count: 0,
    };
    renderer.value(values, "");
    renderer.findings.or_fail("TemplateFailed").map(|_| ())
}

fn environment(request: &Request, object: &str) -> Result<Environment<'static>, Failure> {
    let mut environment = Environment::new();
    // A misspelt name is an error, not an empty string.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    if let Some(text) = &request.delimiters {
        let wrong = || {
            let field = format!("metadata.annotations[{DELIMITER_ANNOTATION}]");
            let message = format!(
                "{text:?} are no delimiters; write the left and the right one, separated by a comma, like [[,]]"
            );
            failure("DelimitersInvalid", vec![error(object, field, message)])
        };
        let (left, right) = text.split_once(',').ok_or_else(wrong)?;
        let syntax = SyntaxConfig::builder()
            .variable_delimiters(left.trim().to_owned(), right.trim().to_owned())
            .build()
            .map_err(|_| wrong())?;
        environment.set_syntax(syntax);
    }
    Ok(environment)
}

struct Renderer<'r> {
    environment: Environment<'static>,
    context: minijinja::Value,
    object: &'r str,
    findings: Findings,
    count: usize,
}

impl Renderer<'_> {
    fn value(&mut self, value: &mut Value, path: &str) {
        match value {
            Value::String(text) => match self.environment.render_str(text, self.context.clone()) {
                Ok(rendered) => *text = rendered,
                Err(reason) => self.report(path, &reason),
            },
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, &format!("{path}[{index}]"));
                }
            }
            Value::Object(map) => {
                for (key, item) in map {
                    self.value(item, &format!("{path}.{key}"));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn report(&mut self, path: &str, reason: &minijinja::Error) {
        self.count += 1;
        if self.count > MAX_FINDINGS {
            return;
        }
        let detail = reason
            .detail()
            .map_or_else(String::new, |detail| format!(": {detail}"));
        let message = format!("failed to render{path}: {}{detail}", reason.kind());
        let message = message.replacen("render.", "render ", 1);
        self.findings
            .error(self.object, format!("{CONFIGURATION_FIELD}{path}"), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_plugin_sdk::values::Dependency;

    fn rendered(values: Value, delimiters: Option<&str>) -> Result<Value, Failure> {
        let request = Request {
            dependencies: vec![Dependency {
                name: "producer".into(),
                object_name: "producer-x2x4x".into(),
                namespace: "customer".into(),
            }],
            delimiters: delimiters.map(str::to_owned),
            ..Request::default()
        };
        let vars = Map::from_iter([("asn".to_owned(), json!(65000))]);
        let mut values = values;
        render(
            &mut values,
            &request,
            &vars,
            "DPUServiceConfiguration/router",
        )
        .map(|()| values)
    }

    #[test]
    fn strings_are_templates() {
        let values = json!({"peer": "{{ services.producer.name }}", "list": ["{% if vars.asn > 64511 %}private{% endif %}"], "n": 1});
        assert_eq!(
            rendered(values, None).unwrap(),
            json!({"peer": "producer-x2x4x", "list": ["private"], "n": 1})
        );
    }

    #[test]
    fn other_delimiters() {
        let values = json!({"peer": "[[ services.producer.name ]] {{ kept }}"});
        assert_eq!(
            rendered(values, Some("[[,]]")).unwrap(),
            json!({"peer": "producer-x2x4x {{ kept }}"})
        );
        assert_eq!(
            rendered(json!({}), Some("[[")).unwrap_err().code,
            "DelimitersInvalid"
        );
    }

    #[test]
    fn all_that_fails_is_said() {
        let values = json!({"a": {"b": "{{ services.lost.name }}"}, "c": ["{{"], "d": "fine"});
        let failure = rendered(values, None).unwrap_err();
        let fields: Vec<&str> = failure
            .findings
            .iter()
            .map(|it| it.field.as_str())
            .collect();
        assert_eq!(
            fields,
            [
                format!("{CONFIGURATION_FIELD}.a.b"),
                format!("{CONFIGURATION_FIELD}.c[0]")
            ]
        );
    }

    #[test]
    fn a_template_that_never_ends_is_stopped() {
        let values = json!({"bomb": "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}"});
        let failure = rendered(values, None).unwrap_err();
        assert!(failure.message.contains("fuel"), "{}", failure.message);
    }
}

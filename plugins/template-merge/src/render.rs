//! Renders the values of a configuration.
//!
//! Every string (and key) is a template of its own; nothing else can contain one. The original renders the values as one YAML
//! text instead. What a string says is the same either way, and here it stays a string whatever it renders to, an error knows
//! its field, and what is inserted cannot break out of its string. A control structure that spans several values, which worked
//! there by accident, is an error here.

use dpf_go_template::{Options, render as render_text};
use dpf_plugin_sdk::values::Request;
use dpf_plugin_sdk::{Finding, error};
use serde_json::{Map, Value, json};

use crate::CONFIGURATION_FIELD;

/// Annotation of a DPUServiceConfiguration with other delimiters: left and right, separated by a comma.
pub const DELIMITER_ANNOTATION: &str = "svc.dpu.nvidia.com/template-delimiter";

/// More findings help nobody, and a condition has to hold them.
const MAX_FINDINGS: usize = 20;

/// How templates of this configuration are delimited.
///
/// # Errors
/// A finding for an annotation that names no two delimiters. It is one for values that are not rendered, too: who wrote it
/// meant something by it.
pub fn options(request: &Request) -> Result<Options, Vec<Finding>> {
    let Some(text) = &request.delimiters else {
        return Ok(Options::default());
    };
    delimiters(text).ok_or_else(|| {
        let object = object(request);
        let message = format!(
            "annotation {DELIMITER_ANNOTATION} of {object} is {text:?}; write the left and the right delimiter, separated by a \
             comma, like [[,]]"
        );
        let field = format!("metadata.annotations[{DELIMITER_ANNOTATION}]");
        vec![error(object.as_str(), field, message)]
    })
}

fn object(request: &Request) -> String {
    format!("DPUServiceConfiguration/{}", request.service.configuration)
}

/// The values with all strings rendered.
///
/// # Errors
/// A finding for every string that fails, up to 20.
pub fn render(values: &Value, request: &Request, options: Options) -> Result<Value, Vec<Finding>> {
    let services: Map<String, Value> = request
        .dependencies
        .iter()
        .map(|it| {
            (
                it.name.clone(),
                json!({"Name": it.object_name, "Namespace": it.namespace}),
            )
        })
        .collect();
    let mut renderer = Renderer {
        options,
        data: json!({"Services": services}),
        object: object(request),
        service: &request.service.name,
        findings: Vec::new(),
    };
    let rendered = renderer.value(values, "");
    if renderer.findings.is_empty() {
        Ok(rendered)
    } else {
        Err(renderer.findings)
    }
}

fn delimiters(text: &str) -> Option<Options> {
    let (left, right) = text.split_once(',')?;
    let (left, right) = (left.trim(), right.trim());
    let usable = !left.is_empty() && !right.is_empty() && !right.contains(',');
    usable.then(|| Options {
        left: left.to_owned(),
        right: right.to_owned(),
        ..Options::default()
    })
}

struct Renderer<'r> {
    options: Options,
    data: Value,
    object: String,
    service: &'r str,
    findings: Vec<Finding>,
}

impl Renderer<'_> {
    fn value(&mut self, value: &Value, path: &str) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, path)),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Value::Array(
                    items
                        .map(|(index, item)| self.value(item, &format!("{path}[{index}]")))
                        .collect(),
                )
            }
            Value::Object(map) => self.map(map, path),
            other => other.clone(),
        }
    }

    fn map(&mut self, map: &Map<String, Value>, path: &str) -> Value {
        let mut rendered = Map::new();
        for (key, item) in map {
            let item_path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            let before = self.findings.len();
            let new_key = self.text(key, &item_path);
            let has_key = self.findings.len() == before;
            let item = self.value(item, &item_path);
            if rendered.insert(new_key.clone(), item).is_some() && has_key {
                self.report(
                    &item_path,
                    &format!("the key {new_key:?} is there twice after rendering"),
                );
            }
        }
        Value::Object(rendered)
    }

    fn text(&mut self, text: &str, path: &str) -> String {
        match render_text(text, &self.data, &self.options) {
            Ok(text) => text,
            Err(reason) => {
                self.report(path, &reason.to_string());
                String::new()
            }
        }
    }

    fn report(&mut self, path: &str, reason: &str) {
        if self.findings.len() < MAX_FINDINGS {
            let place = if path.starts_with('[') || path.is_empty() {
                ""
            } else {
                "."
            };
            let field = format!("{CONFIGURATION_FIELD}{place}{path}");
            let message = format!(
                "failed to render the values of service {}: {path}, {reason}",
                self.service
            );
            self.findings
                .push(error(self.object.as_str(), field, message));
        }
    }
}

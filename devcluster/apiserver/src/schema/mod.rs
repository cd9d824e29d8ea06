//! OpenAPI schemas of custom and built-in kinds: types, defaults, pruning, validation, rules.

pub mod decode;
pub mod default;
pub mod format;
pub mod list_types;
mod pattern;
pub mod prune;
pub mod rules;
pub mod structural;
pub mod types;
pub mod validate;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Value, json};

use rules::Rules;
use types::Type;

/// The schema of one version of one kind, ready for use.
#[derive(Debug)]
pub struct Schema {
    root: Value,
    patterns: BTreeMap<String, Regex>,
    rules: Option<Rules>,
    custom: bool,
}

impl Schema {
    /// The schema of a built-in kind: a reference into the definitions.
    pub fn builtin(definition: &str) -> Self {
        let root = json!({"$ref": format!("{}{definition}", types::REF_PREFIX)});
        Self {
            root,
            patterns: BTreeMap::new(),
            rules: None,
            custom: false,
        }
    }

    /// The schema of a custom kind, as its CRD has it.
    pub fn custom(schema: &Value) -> Self {
        let mut root = schema.clone();
        let mut patterns = BTreeMap::new();
        collect_patterns(&root, &mut patterns);
        let rules = Rules::compile(&root);
        if let Some(map) = root.as_object_mut() {
            map.entry("type").or_insert_with(|| "object".into());
            if let Some(properties) = crate::object::child_map(map, "properties") {
                properties.insert("metadata".into(), types::metadata_reference());
                properties
                    .entry("apiVersion")
                    .or_insert_with(|| json!({"type": "string"}));
                properties
                    .entry("kind")
                    .or_insert_with(|| json!({"type": "string"}));
            }
        }
        Self {
            root,
            patterns,
            rules,
            custom: true,
        }
    }

    /// The root type.
    pub fn root(&self) -> Type<'_> {
        Type::of(&self.root)
    }

    /// The root schema as JSON.
    pub fn root_value(&self) -> &Value {
        &self.root
    }

    /// CEL rules, when the schema has any.
    pub fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }

    /// True for the schema of a custom kind.
    pub fn is_custom(&self) -> bool {
        self.custom
    }

    fn pattern(&self, text: &str) -> Option<&Regex> {
        self.patterns.get(text)
    }
}

/// Compiles every `pattern` once; one that does not compile is left out (and thus matches everything).
fn collect_patterns(node: &Value, out: &mut BTreeMap<String, Regex>) {
    match node {
        Value::Object(map) => {
            if let Some(Value::String(pattern)) = map.get("pattern")
                && let Ok(regex) = pattern::compile(pattern)
            {
                out.insert(pattern.clone(), regex);
            }
            map.values().for_each(|v| collect_patterns(v, out));
        }
        Value::Array(list) => list.iter().for_each(|v| collect_patterns(v, out)),
        _ => {}
    }
}

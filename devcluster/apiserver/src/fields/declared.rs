//! Fields an applied configuration has and the schema does not: an error, not something to drop.

use serde_json::Value;

use super::set::{PathElement, display_path};
use crate::schema::types::{Type, flag};

/// The undeclared fields of a configuration, in the form error messages have.
pub fn undeclared(config: &Value, of: Type<'_>) -> Vec<String> {
    let mut out = Vec::new();
    walk(config, of, &mut Vec::new(), &mut out);
    out
}

fn walk(value: &Value, of: Type<'_>, path: &mut Vec<PathElement>, out: &mut Vec<String>) {
    let Type::Node(node) = of else { return };
    match value {
        Value::Object(map) => {
            let embedded = flag(node, "x-kubernetes-embedded-resource");
            let open = flag(node, "x-kubernetes-preserve-unknown-fields")
                || node
                    .get("additionalProperties")
                    .is_some_and(|a| a != &Value::Bool(false));
            for (key, child) in map {
                path.push(PathElement::field(key));
                let typed = embedded && matches!(key.as_str(), "apiVersion" | "kind" | "metadata");
                if of.declares(key) || open {
                    walk(child, of.field(key), path, out);
                } else if !typed {
                    out.push(display_path(path));
                }
                path.pop();
            }
        }
        Value::Array(_) => {
            for (element, item) in of.indexed(Some(value)) {
                let below = of.step(&element);
                path.push(element);
                walk(item, below, path, out);
                path.pop();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_name_list_items_by_their_keys() {
        let schema = json!({"type": "object", "properties": {
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}}}}}});
        let config =
            json!({"free": {"x": {"y": 1}}, "ports": [{"name": "a", "prot": 1}], "other": 1});
        assert_eq!(
            undeclared(&config, Type::of(&schema)),
            [".other", ".ports[name=\"a\"].prot"]
        );
    }
}

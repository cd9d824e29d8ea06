//! Manifests from files and directories, in the order in which they are applied.

use anyhow::{Context as _, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Endings of files that are read from a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// One object and the file it is from.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// For messages.
    pub file: PathBuf,
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: Option<String>,
    /// All of it.
    pub object: Value,
}

/// Reads files, and the manifests in directories by name; namespaces and kinds come first.
///
/// # Errors
/// The file that cannot be read, is not YAML, or is not an object of Kubernetes.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for path in paths {
        for file in files(path)? {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("failed to read {}", file.display()))?;
            manifests.extend(parse(&file, &text)?);
        }
    }
    manifests.sort_by_key(rank);
    Ok(manifests)
}

fn rank(manifest: &Manifest) -> u8 {
    match manifest.kind.as_str() {
        "CustomResourceDefinition" => 0,
        "Namespace" => 1,
        _ => 2,
    }
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = || format!("failed to read directory {}", path.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).with_context(unreadable)? {
        let file = entry.with_context(unreadable)?.path();
        let ending = file
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        if file.is_file() && ENDINGS.contains(&ending) {
            found.push(file);
        }
    }
    if found.is_empty() {
        bail!(
            "there are no manifests (.yaml, .yml, .json) in {}",
            path.display()
        );
    }
    found.sort();
    Ok(found)
}

fn parse(file: &Path, text: &str) -> anyhow::Result<Vec<Manifest>> {
    // YAML 1.2: `n` and `on` are texts. Whoever means a boolean writes true or false.
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .with_context(|| format!("{} is not YAML", file.display()))?;
    let mut manifests = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        let items = match document.get("items").and_then(Value::as_array) {
            Some(items) if document.get("kind").is_some_and(|k| k == "List") => items.clone(),
            _ => vec![document],
        };
        for object in items {
            manifests.push(manifest(file, object)?);
        }
    }
    Ok(manifests)
}

fn manifest(file: &Path, object: Value) -> anyhow::Result<Manifest> {
    let at = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let needed = |pointer: &str| {
        let field = pointer.trim_start_matches('/').replace('/', ".");
        at(pointer).with_context(|| format!("{}: an object has no {field}", file.display()))
    };
    Ok(Manifest {
        file: file.to_owned(),
        api_version: needed("/apiVersion")?,
        kind: needed("/kind")?,
        name: needed("/metadata/name")?,
        namespace: at("/metadata/namespace"),
        object,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_read_in_order() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/producer-consumer");
        let manifests = read(&[path]).unwrap();
        let kinds: Vec<_> = manifests.iter().map(|m| m.kind.as_str()).collect();
        assert_eq!(
            kinds,
            [
                "Namespace",
                "BFB",
                "DPUFlavor",
                "DPUServiceTemplate",
                "DPUServiceTemplate",
                "DPUServiceConfiguration",
                "DPUServiceConfiguration",
                "DPUDeployment"
            ]
        );
        assert!(
            manifests
                .iter()
                .skip(1)
                .all(|m| m.namespace.as_deref() == Some("customer-namespace"))
        );
        let deployment = &manifests.last().unwrap().object;
        let switches = deployment.pointer("/spec/serviceChains/switches").unwrap();
        assert_eq!(switches.as_array().unwrap().len(), 1);
    }

    #[test]
    fn namespaces_come_first_and_mistakes_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: n}\n---\n\
                    apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n";
        std::fs::write(&file, text).unwrap();
        let manifests = read(std::slice::from_ref(&file)).unwrap();
        assert_eq!(manifests[0].kind, "Namespace");
        std::fs::write(&file, "kind: Secret\nmetadata: {name: s}\n").unwrap();
        let error = format!("{:#}", read(std::slice::from_ref(&file)).unwrap_err());
        assert!(
            error.contains("a.yaml") && error.contains("apiVersion"),
            "{error}"
        );
        std::fs::write(&file, "a: [").unwrap();
        assert!(format!("{:#}", read(&[file]).unwrap_err()).contains("not YAML"));
        let empty = directory.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        assert!(format!("{:#}", read(&[empty]).unwrap_err()).contains("no manifests"));
    }
}

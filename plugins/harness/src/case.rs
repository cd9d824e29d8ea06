//! Golden cases on disk.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::HarnessError;
use crate::outcome::Outcome;

/// A request and what the plugin should answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The name of its directory.
    pub name: String,
    /// The directory.
    pub dir: PathBuf,
    /// The file of the request.
    pub request_file: PathBuf,
    /// The request.
    pub request: Value,
    /// The settings as JSON, `{}` when there are none.
    pub settings: String,
    /// What is expected, unless nobody said so yet.
    pub expected: Option<Outcome>,
}

impl Case {
    /// All cases below a directory, in the order of their names.
    ///
    /// # Errors
    /// There is none, or a file of one is malformed.
    pub fn find(dir: &Path) -> Result<Vec<Case>, HarnessError> {
        let read = |source| HarnessError::Read {
            path: dir.to_owned(),
            source,
        };
        let mut dirs = Vec::new();
        for entry in fs::read_dir(dir).map_err(read)? {
            let path = entry.map_err(read)?.path();
            if find_document(&path, "request").is_some() {
                dirs.push(path);
            }
        }
        dirs.sort();
        if dirs.is_empty() {
            return Err(HarnessError::NoCases {
                path: dir.to_owned(),
            });
        }
        dirs.iter().map(|dir| Case::read(dir)).collect()
    }

    /// The case in a directory.
    ///
    /// # Errors
    /// It has no request, or a file is malformed.
    pub fn read(dir: &Path) -> Result<Case, HarnessError> {
        let request_file = find_document(dir, "request").ok_or_else(|| HarnessError::NoCases {
            path: dir.to_owned(),
        })?;
        let settings = match find_document(dir, "settings") {
            Some(path) => read_document(&path)?.to_string(),
            None => "{}".to_owned(),
        };
        let expected_file = dir.join(EXPECTED);
        let expected = if expected_file.is_file() {
            let value = read_document(&expected_file)?;
            let outcome =
                serde_json::from_value(value).map_err(|error| HarnessError::Malformed {
                    path: expected_file,
                    what: "an outcome (response, failure or refused)".to_owned(),
                    detail: error.to_string(),
                })?;
            Some(outcome)
        } else {
            None
        };
        Ok(Case {
            name: dir
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            dir: dir.to_owned(),
            request: read_document(&request_file)?,
            request_file,
            settings,
            expected,
        })
    }

    /// Makes an outcome the expected one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn bless(&self, outcome: &Outcome) -> Result<(), HarnessError> {
        let path = self.dir.join(EXPECTED);
        fs::write(&path, format!("{}\n", outcome.pretty()))
            .map_err(|source| HarnessError::Write { path, source })
    }
}

/// What blessing writes.
const EXPECTED: &str = "expected.json";

fn find_document(dir: &Path, stem: &str) -> Option<PathBuf> {
    ["yaml", "yml", "json"]
        .map(|extension| dir.join(format!("{stem}.{extension}")))
        .into_iter()
        .find(|path| path.is_file())
}

/// A JSON or YAML file.
///
/// # Errors
/// It cannot be read or is neither.
pub fn read_document(path: &Path) -> Result<Value, HarnessError> {
    let text = fs::read_to_string(path).map_err(|source| HarnessError::Read {
        path: path.to_owned(),
        source,
    })?;
    let parsed = if path.extension().is_some_and(|it| it == "json") {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        serde_saphyr::from_str(&text).map_err(|error| error.to_string())
    };
    parsed.map_err(|detail| HarnessError::Malformed {
        path: path.to_owned(),
        what: "JSON or YAML".to_owned(),
        detail,
    })
}

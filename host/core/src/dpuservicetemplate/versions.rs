//! Constraints inside an index or a manifest.

use super::ChartError;
use dpf_api::keys::annotations::DOCA_VERSION;
use serde_json::Value;
use std::collections::BTreeMap;

/// Constraints by key.
pub type Versions = BTreeMap<String, String>;

/// Keys that are read.
pub const SUPPORTED: [&str; 1] = [DOCA_VERSION];

/// Versions that an error names.
const KNOWN_VERSIONS_MAX: usize = 5;

/// The constraints of one chart version in a parsed `index.yaml`. `v1.2.3` and `1.2.3` are the same version.
///
/// # Errors
/// [`ChartError`] when the index does not have it.
pub fn in_index(index: &Value, chart: &str, version: &str) -> Result<Versions, ChartError> {
    let entries = index
        .get("entries")
        .and_then(Value::as_object)
        .ok_or(ChartError::NotAnIndex)?;
    let releases = entries
        .get(chart)
        .and_then(Value::as_array)
        .ok_or_else(|| ChartError::ChartMissing {
            chart: chart.to_owned(),
        })?;
    let version_of = |release: &Value| {
        release
            .get("version")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let exact = releases
        .iter()
        .find(|release| version_of(release).as_deref() == Some(version));
    let found = exact.or_else(|| {
        releases
            .iter()
            .find(|release| version_of(release).is_some_and(|v| bare(&v) == bare(version)))
    });
    let Some(release) = found else {
        let mut known: Vec<String> = releases.iter().filter_map(version_of).collect();
        known.truncate(KNOWN_VERSIONS_MAX);
        return Err(ChartError::VersionMissing {
            chart: chart.to_owned(),
            version: version.to_owned(),
            known: if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            },
        });
    };
    Ok(supported(release.get("annotations")))
}

/// The constraints on a manifest, where Helm copies the annotations of the chart.
#[must_use]
pub fn in_manifest(manifest: &Value) -> Versions {
    supported(manifest.get("annotations"))
}

fn bare(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}

fn supported(annotations: Option<&Value>) -> Versions {
    SUPPORTED
        .iter()
        .filter_map(|key| {
            let value = annotations?.get(*key)?.as_str()?;
            Some(((*key).to_owned(), value.to_owned()))
        })
        .collect()
}

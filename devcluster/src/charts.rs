//! The chart repository: an index of charts, their versions and annotations.
//!
//! There are no archives behind the index: the simulated Argo CD renders what every chart for DPUs has to honour, and
//! reads from the repository whether chart and version exist.

use crate::servers::{Handler, body, text};
use dpf_api::keys::annotations;
use futures::FutureExt as _;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// A chart in one version.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Constraint on the DOCA version of the image, if the chart has one.
    pub doca_version: Option<String>,
}

/// The charts of the example.
#[must_use]
pub fn example() -> Vec<Chart> {
    ["consumer", "producer"]
        .map(|name| Chart {
            name: name.to_owned(),
            version: "v0.0.1".to_owned(),
            doca_version: Some(">= 2.9".to_owned()),
        })
        .to_vec()
}

/// The index in the format of Helm, which is YAML; JSON is YAML, too.
#[must_use]
pub fn index(charts: &[Chart]) -> Value {
    let mut entries = serde_json::Map::new();
    for chart in charts {
        let annotations = chart
            .doca_version
            .as_ref()
            .map(|constraint| json!({annotations::DOCA_VERSION: constraint}));
        let entry = json!({
            "apiVersion": "v2",
            "name": chart.name,
            "version": chart.version,
            "type": "application",
            "description": "One DaemonSet on the DPUs, with values serviceDaemonSet.{nodeSelector,labels,annotations,resources}",
            "annotations": annotations.unwrap_or_else(|| json!({})),
            "urls": [format!("{}-{}.tgz", chart.name, chart.version)],
        });
        let versions = entries.entry(&chart.name).or_insert_with(|| json!([]));
        if let Some(versions) = versions.as_array_mut() {
            versions.push(entry);
        }
    }
    json!({"apiVersion": "v1", "entries": entries})
}

/// Answers `GET /index.yaml`.
///
/// # Errors
/// When the index cannot be written as YAML.
pub fn handler(charts: &[Chart]) -> Result<Handler, serde_saphyr::SerializeError> {
    let index = serde_saphyr::to_string(&index(charts))?;
    Ok(Arc::new(move |request| {
        let index = index.clone();
        async move {
            match request.uri().path() {
                "/index.yaml" => body(StatusCode::OK, "text/yaml", index),
                _ => text(StatusCode::NOT_FOUND, "there is only /index.yaml here"),
            }
        }
        .boxed()
    }))
}

/// Whether the index in `text` has the chart in the version; the reason when it has not.
///
/// # Errors
/// One sentence for people: what is missing, and what there is instead.
pub fn find(text: &str, chart: &str, version: &str) -> Result<(), String> {
    let index: Value =
        serde_saphyr::from_str(text).map_err(|error| format!("index.yaml is no index: {error}"))?;
    let entries = index.get("entries").and_then(Value::as_object);
    let Some(versions) = entries.and_then(|entries| entries.get(chart)) else {
        let known: Vec<_> = entries
            .into_iter()
            .flat_map(|entries| entries.keys().cloned())
            .collect();
        return Err(format!(
            "chart {chart:?} not found in the repository, which has: {}",
            known.join(", ")
        ));
    };
    let plain = |version: &str| version.strip_prefix('v').unwrap_or(version).to_owned();
    let known: Vec<_> = versions
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("version")?.as_str())
        .collect();
    if known.iter().any(|known| plain(known) == plain(version)) {
        return Ok(());
    }
    Err(format!(
        "version {version:?} of chart {chart:?} not found in the repository, which has: {}",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::Listener;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn the_index_has_the_charts_of_the_example() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = Listener::bind().await.unwrap();
        let url = listener.url();
        let stop = CancellationToken::new();
        let handler = handler(&example()).unwrap();
        let server = tokio::spawn(listener.serve(stop.clone(), handler));
        let answer = reqwest::get(format!("{url}/index.yaml")).await.unwrap();
        let text = answer.text().await.unwrap();
        let index: Value = serde_saphyr::from_str(&text).unwrap();
        let producer = &index["entries"]["producer"][0];
        assert_eq!(producer["version"], "v0.0.1");
        assert_eq!(
            producer["annotations"]["dpu.nvidia.com/doca-version"],
            ">= 2.9"
        );
        assert_eq!(find(&text, "consumer", "v0.0.1"), Ok(()));
        assert_eq!(find(&text, "consumer", "0.0.1"), Ok(()));
        assert!(
            find(&text, "consumer", "v9")
                .unwrap_err()
                .contains("v0.0.1")
        );
        assert!(
            find(&text, "other", "v1")
                .unwrap_err()
                .contains("consumer, producer")
        );
        stop.cancel();
        server.await.unwrap();
    }
}

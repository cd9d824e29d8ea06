//! Where the constraints are.

use super::{ChartError, SUPPORTED, Versions};
use dpf_api::svc::{ChartSource, DpuServiceTemplate, VersionsFrom};

/// Where the constraints of a chart are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On the template itself.
    Annotated(Versions),
    /// In the index of a chart repository.
    Index {
        /// URL of `index.yaml`.
        url: String,
        /// Name of the chart.
        chart: String,
        /// Version of the chart.
        version: String,
    },
    /// In the manifest of an artifact.
    Manifest {
        /// URL of the manifest.
        url: String,
    },
}

impl Location {
    /// What the status says of it.
    #[must_use]
    pub fn source(&self) -> VersionsFrom {
        match self {
            Self::Annotated(_) => VersionsFrom::Annotations,
            Self::Index { .. } | Self::Manifest { .. } => VersionsFrom::Chart,
        }
    }
}

/// Where to look.
///
/// # Errors
/// [`ChartError`] when the source does not name a chart.
pub fn locate(template: &DpuServiceTemplate) -> Result<Location, ChartError> {
    let annotated = annotated(template);
    if !annotated.is_empty() {
        return Ok(Location::Annotated(annotated));
    }
    let source = &template.spec.helm_chart.source;
    let repository = source.repo_url.trim_end_matches('/');
    if repository.is_empty() {
        return Err(ChartError::NoRepository);
    }
    let chart = chart_name(source)?;
    if let Some(registry) = repository.strip_prefix("oci://") {
        let (host, path) = registry.split_once('/').unwrap_or((registry, ""));
        let slash = if path.is_empty() { "" } else { "/" };
        // A tag cannot hold the plus sign of a semantic version; Helm writes an underscore instead.
        let tag = source.version.replace('+', "_");
        return Ok(Location::Manifest {
            url: format!("https://{host}/v2/{path}{slash}{chart}/manifests/{tag}"),
        });
    }
    if repository.starts_with("https://") {
        return Ok(Location::Index {
            url: format!("{repository}/index.yaml"),
            chart,
            version: source.version.clone(),
        });
    }
    Err(ChartError::Scheme {
        repository: repository.to_owned(),
    })
}

/// The constraints on the template itself.
pub(super) fn annotated(template: &DpuServiceTemplate) -> Versions {
    let annotations = template.metadata.annotations.as_ref();
    SUPPORTED
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), annotations?.get(*key)?.clone())))
        .collect()
}

/// The chart, or the last segment of the path.
fn chart_name(source: &ChartSource) -> Result<String, ChartError> {
    let filled = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    filled(&source.chart)
        .or_else(|| {
            let path = filled(&source.path)?;
            let last = path.trim_end_matches('/').rsplit('/').next()?;
            Some(last.to_owned()).filter(|l| !l.is_empty())
        })
        .ok_or_else(|| ChartError::NoChart {
            repository: source.repo_url.clone(),
        })
}

/// Whether a credential for `url` is meant for `repository`: the same but for `oci://` and slashes at the end.
#[must_use]
pub fn is_same_repository(url: &str, repository: &str) -> bool {
    let bare = |text: &str| {
        let text = text.trim().trim_end_matches('/');
        text.strip_prefix("oci://").unwrap_or(text).to_owned()
    };
    !bare(url).is_empty() && bare(url) == bare(repository)
}

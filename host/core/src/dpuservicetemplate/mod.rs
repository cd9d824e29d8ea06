//! `DPUServiceTemplate`: where the version constraints of its chart are, and how to read them.
//!
//! ```text
//!   annotation on the template ──> used as it is, nothing is fetched
//!   https://repo               ──> https://repo/index.yaml, entries[chart] with the version, its annotations
//!   oci://registry/path        ──> https://registry/v2/path/chart/manifests/version, annotations of the manifest
//! ```

mod challenge;
mod location;
mod versions;

pub use challenge::{Challenge, parse as parse_challenge};
pub use location::{Location, is_same_repository, locate};
pub use versions::{SUPPORTED, Versions, in_index, in_manifest};

use crate::conditions::{Conditions, Verdict, is_true_for};
use dpf_api::conditions::{dpuservicetemplate as types, reasons};
use dpf_api::svc::{DpuServiceTemplate, VersionsFrom};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Why the constraints of a chart are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChartError {
    /// There is no spec.
    #[error("spec.helmChart.source.repoURL is empty: say where the chart is")]
    NoRepository,
    /// The chart has no name.
    #[error("spec.helmChart.source of repository {repository} names neither chart nor path")]
    NoChart {
        /// The repository.
        repository: String,
    },
    /// Neither https nor oci.
    #[error("repository {repository} is neither https:// nor oci://")]
    Scheme {
        /// The repository.
        repository: String,
    },
    /// What was fetched is not an index.
    #[error("the index has no entries")]
    NotAnIndex,
    /// The chart is not in the index.
    #[error("chart {chart} is not in the index")]
    ChartMissing {
        /// The chart.
        chart: String,
    },
    /// The version is not in the index.
    #[error("chart {chart} has no version {version}; the index lists {known}")]
    VersionMissing {
        /// The chart.
        chart: String,
        /// The version.
        version: String,
        /// Some versions that exist.
        known: String,
    },
}

/// Conditions after the constraints were read, or were not.
#[must_use]
pub fn conditions(
    template: &DpuServiceTemplate,
    read: Result<(), &str>,
    now: Timestamp,
) -> Vec<Condition> {
    let observed = template
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref());
    let generation = template.metadata.generation.unwrap_or_default();
    let mut conditions = Conditions::new(observed, &[types::RECONCILED], generation, now);
    let verdict = match read {
        Ok(()) => Verdict::True,
        Err(cause) => Verdict::no(reasons::ERROR, format!("Error occurred: {cause}")),
    };
    conditions.set(types::RECONCILED, &verdict);
    conditions.summarise();
    conditions.into_list()
}

/// The constraints that the status already carries for this very spec.
///
/// A restart must not ask the registry again: it may be away, and the answer cannot have changed.
#[must_use]
pub fn known(template: &DpuServiceTemplate) -> Option<&Versions> {
    let status = template.status.as_ref()?;
    let generation = template.metadata.generation;
    let current = is_true_for(status.conditions.as_deref(), types::RECONCILED, generation)
        && status.versions_from != Some(VersionsFrom::Annotations);
    status.versions.as_ref().filter(|_| current)
}

/// Whether the constraints in the status are those that the annotations give now.
///
/// Annotations do not move the generation, so that a status can speak of the present generation and of older annotations. One
/// that does not say where its constraints are from is by another controller, and that reads charts only.
#[must_use]
pub fn follows_annotations(template: &DpuServiceTemplate) -> bool {
    let annotated = location::annotated(template);
    let status = template.status.as_ref();
    if annotated.is_empty() {
        return status.and_then(|s| s.versions_from) != Some(VersionsFrom::Annotations);
    }
    status.and_then(|s| s.versions.as_ref()) == Some(&annotated)
}

#[cfg(test)]
mod tests;

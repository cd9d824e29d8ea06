//! Images: what to do with the file of a BFB, and which versions are in it.
//!
//! ```text
//!  Initializing ──> Downloading ──────────────> Ready
//!                    │  ▲  ▲                      │
//!        failed      ▼  │  └── file is gone ──────┘
//!                  Error ┘ after a pause
//!  every phase ── deleted and nobody uses it ──> Deleting
//! ```

mod versions;

pub use versions::{VersionScanner, VersionsError, normalised_doca};

use dpf_api::provisioning::{Bfb, BfbStatus, BfbVersions, Dpu, DpuSet};
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// Name of the file of a BFB in the store.
#[must_use]
pub fn file_name(bfb: &Bfb) -> String {
    let metadata = &bfb.metadata;
    bfb.spec.file_name.clone().unwrap_or_else(|| {
        format!(
            "{}-{}.bfb",
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default()
        )
    })
}

/// The checksum that the user demands, as it is recorded: `sha256:<lower case>`.
#[must_use]
pub fn demanded_checksum(bfb: &Bfb) -> Option<String> {
    let text = bfb.spec.checksum.as_deref()?;
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    Some(format!("sha256:{}", digits.to_ascii_lowercase()))
}

/// Who needs an image: DPUSets and DPUs of its namespace, by kind and name.
#[must_use]
pub fn users(bfb: &Bfb, sets: &[DpuSet], dpus: &[Dpu]) -> Vec<String> {
    let name = bfb.metadata.name.as_deref();
    let namespace = bfb.metadata.namespace.as_deref();
    let mut users: Vec<String> = Vec::new();
    for set in sets {
        let used = set
            .spec
            .dpu_template
            .spec
            .as_ref()
            .and_then(|spec| spec.bfb.as_ref())
            .and_then(|bfb| bfb.name.as_deref());
        if used == name && set.metadata.namespace.as_deref() == namespace {
            users.push(format!(
                "DPUSet {}",
                set.metadata.name.as_deref().unwrap_or_default()
            ));
        }
    }
    for dpu in dpus {
        if dpu.spec.bfb.as_deref() == name && dpu.metadata.namespace.as_deref() == namespace {
            users.push(format!(
                "DPU {}",
                dpu.metadata.name.as_deref().unwrap_or_default()
            ));
        }
    }
    users.sort();
    users
}

/// What is in the store for a BFB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What to do with the file of a BFB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// It is there as it was recorded.
    Keep,
    /// It is there, and nothing is recorded: read it.
    Inspect,
    /// It is missing or not the recorded one.
    Download,
    /// The object is being deleted and these still use it.
    RefuseDeletion {
        /// By kind and name.
        users: Vec<String>,
    },
    /// The object is being deleted.
    Remove,
}

/// What to do. `users` matters only when the object is being deleted.
#[must_use]
pub fn plan(bfb: &Bfb, stored: Option<StoredFile>, users: Vec<String>) -> Action {
    if bfb.metadata.deletion_timestamp.is_some() {
        return if users.is_empty() {
            Action::Remove
        } else {
            Action::RefuseDeletion { users }
        };
    }
    let default = BfbStatus::default();
    let status = bfb.status.as_ref().unwrap_or(&default);
    match stored {
        None => Action::Download,
        Some(file) => match (status.size_bytes, &status.checksum) {
            (Some(size), Some(_)) if u64::try_from(size) == Ok(file.size_bytes) => Action::Keep,
            (Some(_), Some(_)) => Action::Download,
            _ => Action::Inspect,
        },
    }
}

/// How long to wait before the next attempt; zero when it is time. The pause doubles with every failure.
#[must_use]
pub fn pause(status: &BfbStatus, now: Timestamp) -> Duration {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(600);
    let failures = u32::try_from(status.failures.unwrap_or(0)).unwrap_or(0);
    let Some(last) = status.last_attempt_time.as_ref().filter(|_| failures > 0) else {
        return Duration::ZERO;
    };
    let pause = FIRST
        .saturating_mul(1 << (failures - 1).min(16))
        .min(LONGEST);
    let passed = u64::try_from(now.as_second().saturating_sub(last.0.as_second())).unwrap_or(0);
    pause.saturating_sub(Duration::from_secs(passed))
}

/// What was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// `sha256:<hexadecimal>`.
    pub checksum: String,
    /// What it says about itself.
    pub versions: Result<BfbVersions, VersionsError>,
}

/// A file that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// Another file than the one that was asked for.
    #[error(
        "the file has checksum {found}, spec.checksum demands {demanded}: correct the URL or the checksum"
    )]
    Checksum {
        /// Of the file.
        found: String,
        /// Of the spec.
        demanded: String,
    },
    /// It does not say which versions it holds.
    #[error("the file cannot be used as an image")]
    Versions(#[from] VersionsError),
}

/// The versions of an accepted file: those of the spec when given, else those of the file.
///
/// # Errors
/// [`Unacceptable`] when the checksum is not the demanded one or no versions are known.
pub fn accept(bfb: &Bfb, inspected: &Inspected) -> Result<BfbVersions, Unacceptable> {
    if let Some(demanded) = demanded_checksum(bfb)
        && demanded != inspected.checksum
    {
        return Err(Unacceptable::Checksum {
            found: inspected.checksum.clone(),
            demanded,
        });
    }
    if let Some(given) = bfb.spec.versions.clone() {
        return Ok(BfbVersions {
            bsp: given.bsp,
            doca: given.doca,
            uefi: given.uefi,
            atf: given.atf,
        });
    }
    inspected.versions.clone().map_err(Unacceptable::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::provisioning::{BfbReference, DpuTemplateSpec, GivenVersions};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn bfb() -> Bfb {
        let mut bfb = Bfb::default();
        bfb.metadata.name = Some("image".to_owned());
        bfb.metadata.namespace = Some("n".to_owned());
        bfb
    }

    #[test]
    fn file_names() {
        let mut bfb = bfb();
        assert_eq!(file_name(&bfb), "n-image.bfb");
        bfb.spec.file_name = Some("own.bfb".to_owned());
        assert_eq!(file_name(&bfb), "own.bfb");
    }

    #[test]
    fn what_happens_to_the_file() {
        let file = |size_bytes| Some(StoredFile { size_bytes });
        let mut recorded = bfb();
        recorded.status = Some(BfbStatus {
            size_bytes: Some(5),
            checksum: Some("sha256:x".to_owned()),
            ..BfbStatus::default()
        });
        for (bfb, stored, expected) in [
            (bfb(), None, Action::Download),
            (bfb(), file(5), Action::Inspect),
            (recorded.clone(), file(5), Action::Keep),
            (recorded.clone(), file(6), Action::Download),
            (recorded, None, Action::Download),
        ] {
            assert_eq!(plan(&bfb, stored, vec!["DPU x".to_owned()]), expected);
        }
    }

    #[test]
    fn pauses_grow_with_failures_and_survive_restarts() {
        let status = |failures, last| BfbStatus {
            failures: Some(failures),
            last_attempt_time: Some(Time(Timestamp::from_second(last).unwrap())),
            ..BfbStatus::default()
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        for (failures, now, seconds) in [
            (0, 100, 0),
            (1, 100, 1),
            (3, 100, 4),
            (3, 103, 1),
            (3, 200, 0),
            (30, 100, 600),
        ] {
            assert_eq!(
                pause(&status(failures, 100), at(now)).as_secs(),
                seconds,
                "{failures} {now}"
            );
        }
        assert_eq!(pause(&BfbStatus::default(), at(0)), Duration::ZERO);
    }

    #[test]
    fn a_used_image_stays() {
        let mut bfb = bfb();
        bfb.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        let mut set = DpuSet::default();
        set.metadata.name = Some("rack".to_owned());
        set.metadata.namespace = Some("n".to_owned());
        set.spec.dpu_template.spec = Some(DpuTemplateSpec {
            bfb: Some(BfbReference {
                name: Some("image".to_owned()),
            }),
            ..DpuTemplateSpec::default()
        });
        let mut dpu = Dpu::default();
        dpu.metadata.name = Some("dpu".to_owned());
        dpu.metadata.namespace = Some("n".to_owned());
        dpu.spec.bfb = Some("image".to_owned());
        let mut other = dpu.clone();
        other.metadata.namespace = Some("elsewhere".to_owned());
        let users = users(&bfb, &[set], &[dpu, other]);
        assert_eq!(users, ["DPU dpu", "DPUSet rack"]);
        assert_eq!(
            plan(&bfb, None, users.clone()),
            Action::RefuseDeletion { users }
        );
        assert_eq!(plan(&bfb, None, Vec::new()), Action::Remove);
    }

    #[test]
    fn only_the_demanded_file_is_accepted() {
        let mut bfb = bfb();
        let inspected = Inspected {
            size_bytes: 1,
            checksum: format!("sha256:{}", "ab".repeat(32)),
            versions: Err(VersionsError::Missing),
        };
        assert_eq!(
            accept(&bfb, &inspected),
            Err(Unacceptable::Versions(VersionsError::Missing))
        );
        bfb.spec.versions = Some(GivenVersions {
            doca: Some("3.2.0".to_owned()),
            ..GivenVersions::default()
        });
        assert_eq!(
            accept(&bfb, &inspected).unwrap().doca.as_deref(),
            Some("3.2.0")
        );
        bfb.spec.checksum = Some("AB".repeat(32));
        assert!(accept(&bfb, &inspected).is_ok());
        bfb.spec.checksum = Some("cd".repeat(32));
        assert!(matches!(
            accept(&bfb, &inspected),
            Err(Unacceptable::Checksum { .. })
        ));
    }
}

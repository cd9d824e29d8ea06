//! Names that follow from a DPUService.

use dpf_api::svc::DpuService;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

/// The name Argo CD has for the cluster it runs in.
pub const IN_CLUSTER: &str = "in-cluster";
/// Argo CD copies the name of an Application into a label.
const NAME_LENGTH_MAX: usize = 63;
/// Characters of a digest in a name.
const DIGEST_LENGTH: usize = 10;

/// The service ID: the one the user gave, or one that follows from kind, name and namespace.
#[must_use]
pub fn service_id(service: &DpuService) -> String {
    match service.spec.service_id.as_deref() {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => digest(&[
            "DPUService.svc.dpu.nvidia.com",
            &service.name_any(),
            &service.namespace().unwrap_or_default(),
        ]),
    }
}

/// `<cluster>-<service>`; what is too long ends in a digest of the whole.
#[must_use]
pub fn application_name(cluster: &str, service: &str) -> String {
    let name = format!("{cluster}-{service}");
    if name.len() <= NAME_LENGTH_MAX {
        return name;
    }
    let kept: String = name
        .chars()
        .take(NAME_LENGTH_MAX - DIGEST_LENGTH - 1)
        .collect();
    let kept = kept.trim_end_matches(['-', '.']);
    format!("{kept}-{}", digest(&[cluster, service]))
}

fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let mut text = hex::encode(hasher.finalize());
    text.truncate(DIGEST_LENGTH);
    text
}

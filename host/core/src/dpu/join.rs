//! Names and paths of what an installation leaves behind: token, files, address of the image.

use dpf_api::provisioning::{Dpu, DpuStatus};
use sha2::{Digest, Sha256};

/// Hexadecimal digits of the digest of these parts.
fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hex::encode(hasher.finalize())
}

fn prefix(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

/// The public half of the bootstrap token of a DPU: six characters that stay the same for this object.
#[must_use]
pub fn bootstrap_token_id(dpu_uid: &str) -> String {
    prefix(&digest(&["bootstrap-token", dpu_uid]), 6)
}

/// The part of the address of an image that nobody can guess; another one for every installation.
#[must_use]
pub fn image_token(dpu_uid: &str, status: &DpuStatus) -> String {
    let number = status.installations.unwrap_or(0).to_string();
    prefix(&digest(&["image", dpu_uid, &number]), 32)
}

/// Path of the image of a DPU below the address of the registry.
#[must_use]
pub fn image_path(namespace: &str, name: &str, token: &str) -> String {
    format!("/bfb/{namespace}/{name}/{token}")
}

/// Path of the rendered configuration of a DPU as it is published in the status.
#[must_use]
pub fn configuration_path(dpu: &Dpu) -> String {
    let metadata = &dpu.metadata;
    format!(
        "/bfb/bfcfg/{}_{}_{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
        metadata.uid.as_deref().unwrap_or_default()
    )
}

/// A published path relative to the store; none if it leads out of it.
#[must_use]
pub fn store_file(published: &str) -> Option<&str> {
    let relative = published.strip_prefix("/bfb/")?;
    let inside = !relative.is_empty()
        && relative
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
    inside.then_some(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_installation_has_its_own_address() {
        let begun = |number| DpuStatus {
            installations: Some(number),
            ..DpuStatus::default()
        };
        let token = image_token("uid", &begun(1));
        assert_eq!(token.len(), 32);
        assert_eq!(token, image_token("uid", &begun(1)));
        assert_ne!(token, image_token("uid", &begun(2)));
        assert_ne!(token, image_token("uie", &begun(1)));
    }

    #[test]
    fn published_paths_stay_in_the_store() {
        for (published, file) in [
            ("/bfb/a.bfb", Some("a.bfb")),
            ("/bfb/bfcfg/n_a_u", Some("bfcfg/n_a_u")),
            ("/bfb/../etc/passwd", None),
            ("/bfb//etc", None),
            ("/etc/passwd", None),
            ("/bfb/", None),
        ] {
            assert_eq!(store_file(published), file, "{published}");
        }
    }
}

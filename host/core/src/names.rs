//! Names of generated objects.

use sha2::{Digest, Sha256};

/// The alphabet of generated name suffixes in Kubernetes: no vowels, no 0, 1 or 3, so that no words appear.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Characters of a suffix, as Kubernetes' `generateName` appends them.
const SUFFIX_LENGTH: usize = 5;

/// Five characters that depend on nothing but the input.
///
/// `owner` is the uid of the owner, `role` what the object is for, `digest` its revision. `attempt` counts names that a
/// terminating object still holds.
#[must_use]
pub fn derived_suffix(owner: &str, role: &str, digest: &str, attempt: u32) -> String {
    let mut hasher = Sha256::new();
    for part in [owner, role, digest] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(attempt.to_be_bytes());
    let alphabet_size = ALPHABET.len();
    hasher
        .finalize()
        .iter()
        .take(SUFFIX_LENGTH)
        .filter_map(|byte| ALPHABET.get(usize::from(*byte) % alphabet_size))
        .map(|byte| char::from(*byte))
        .collect()
}

/// `<base>-<suffix>`; `base` is also the role in the suffix.
#[must_use]
pub fn derived_name(base: &str, owner: &str, digest: &str, attempt: u32) -> String {
    format!("{base}-{}", derived_suffix(owner, base, digest, attempt))
}

/// The name of an object; empty before it has one.
#[must_use]
pub fn name_of<K: kube::Resource>(object: &K) -> String {
    object.meta().name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffix_uses_the_kubernetes_alphabet() {
        for attempt in 0..200 {
            let suffix = derived_suffix("uid", "producer", "0123456789", attempt);
            assert_eq!(suffix.len(), SUFFIX_LENGTH);
            assert!(suffix.bytes().all(|b| ALPHABET.contains(&b)), "{suffix}");
        }
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        assert_ne!(
            derived_suffix("ab", "c", "d", 0),
            derived_suffix("a", "bc", "d", 0)
        );
    }
}

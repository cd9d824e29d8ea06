//! Components on disk, so that a restart needs no registry.
//!
//! ```text
//!   <dir>/components/<hex>.wasm        a component, checked by its digest whenever it is read
//!   <dir>/components/<hex>.proof.json  manifest and signatures, checked with today's keys whenever they are read
//!   <dir>/last-good/<uid>.json         what a DPUPlugin served with last
//!   <dir>/compiled/                    machine code, kept by the engine
//! ```
//!
//! Nothing in here is trusted more than the registry it came from; machine code is the exception, which is why the directory is
//! private to the user of the process.

use dpf_plugin_oci::{Digest, Signature};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Largest record that is read.
const RECORD_SIZE_MAX: u64 = 16 << 20;

/// Components on disk. Calls block.
#[derive(Clone, Debug)]
pub struct Store {
    components: PathBuf,
    last_good: PathBuf,
}

/// What shows that a component was signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Proof {
    /// The manifest, byte for byte.
    pub(super) manifest: Vec<u8>,
    /// Its signatures, not checked.
    pub(super) signatures: Vec<Signature>,
}

/// What a DPUPlugin served with last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LastGood {
    /// The component.
    pub(super) digest: String,
    /// Its settings, a JSON document.
    pub(super) settings: String,
    /// The key that had signed it.
    pub(super) signed_by: Option<String>,
}

impl Store {
    /// Uses this directory, which is created with mode 0700.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let store = Self {
            components: dir.join("components"),
            last_good: dir.join("last-good"),
        };
        for dir in [&store.components, &store.last_good] {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        Ok(store)
    }

    /// A component, if it is here and is what its name says.
    pub(super) fn component(&self, digest: &Digest, limit: usize) -> Option<Vec<u8>> {
        let bytes = read(&self.component_path(digest), u64::try_from(limit).ok()?)?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// The proof that belongs to a component.
    pub(super) fn proof(&self, digest: &Digest) -> Option<Proof> {
        self.record(&self.proof_path(digest))
    }

    /// Keeps a component and its proof. That it cannot is no reason to fail: the registry is asked again then.
    pub(super) fn keep(&self, digest: &Digest, bytes: &[u8], proof: Option<&Proof>) {
        let mut kept = write(&self.component_path(digest), bytes);
        if let Some(proof) = proof {
            let text = serde_json::to_vec(proof).unwrap_or_default();
            kept = kept.and_then(|()| write(&self.proof_path(digest), &text));
        }
        if let Err(error) = kept {
            tracing::warn!("failed to keep a plugin on disk: {error}");
        }
    }

    /// What the plugin of this uid served with last.
    pub(super) fn last_good(&self, uid: &str) -> Option<LastGood> {
        self.record(&self.last_good_path(uid)?)
    }

    /// Notes what a plugin serves with now, and forgets components that no plugin serves with any more.
    pub(super) fn note_last_good(&self, uid: &str, record: &LastGood) {
        if self.last_good(uid).as_ref() == Some(record) {
            return;
        }
        let text = serde_json::to_vec(record).unwrap_or_default();
        let written = match self.last_good_path(uid) {
            Some(path) => write(&path, &text),
            None => Ok(()),
        };
        if let Err(error) = written {
            tracing::warn!("failed to note which plugin serves: {error}");
        }
        self.prune();
    }

    /// Forgets the plugins of all other uids.
    pub(super) fn retain(&self, uids: &BTreeSet<String>) {
        for path in files(&self.last_good) {
            let uid = path.file_stem().and_then(|stem| stem.to_str());
            if uid.is_none_or(|uid| !uids.contains(uid)) {
                let _ = fs::remove_file(path);
            }
        }
        self.prune();
    }

    fn prune(&self) {
        let used: BTreeSet<String> = files(&self.last_good)
            .into_iter()
            .filter_map(|path| self.record::<LastGood>(&path))
            .filter_map(|record| Some(record.digest.strip_prefix("sha256:")?.to_owned()))
            .collect();
        for path in files(&self.components) {
            let name = path.file_name().and_then(|name| name.to_str());
            let digest = name.and_then(|name| name.split('.').next());
            if digest.is_none_or(|digest| !used.contains(digest)) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn record<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        serde_json::from_slice(&read(path, RECORD_SIZE_MAX)?).ok()
    }

    fn component_path(&self, digest: &Digest) -> PathBuf {
        self.components.join(format!("{}.wasm", digest.hex()))
    }

    fn proof_path(&self, digest: &Digest) -> PathBuf {
        self.components.join(format!("{}.proof.json", digest.hex()))
    }

    /// Uids come from the API server; one that is no plain name is not made a path of.
    fn last_good_path(&self, uid: &str) -> Option<PathBuf> {
        let plain = !uid.is_empty() && uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        plain.then(|| self.last_good.join(format!("{uid}.json")))
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(limit + 1).read_to_end(&mut bytes).ok()?;
    u64::try_from(bytes.len())
        .is_ok_and(|length| length <= limit)
        .then_some(bytes)
}

/// As a whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(digest: &Digest) -> LastGood {
        LastGood {
            digest: digest.to_string(),
            settings: "{}".to_owned(),
            signed_by: None,
        }
    }

    #[test]
    fn what_was_changed_on_disk_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digest = Digest::of(b"component");
        store.keep(&digest, b"component", None);
        assert_eq!(store.component(&digest, 9), Some(b"component".to_vec()));
        assert_eq!(store.component(&digest, 8), None, "too large");
        fs::write(store.component_path(&digest), b"componenT").unwrap();
        assert_eq!(store.component(&digest, 9), None);
    }

    #[test]
    fn only_what_serves_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        store.keep(&old, b"old", None);
        store.note_last_good("uid-1", &record(&old));
        store.keep(&new, b"new", None);
        store.note_last_good("uid-2", &record(&new));
        assert!(store.component(&old, 9).is_some());
        store.retain(&BTreeSet::from(["uid-2".to_owned()]));
        assert!(store.component(&old, 9).is_none());
        assert!(store.component(&new, 9).is_some());
        assert_eq!(store.last_good("uid-1"), None);
        assert_eq!(store.last_good("../uid-2"), None);
    }
}

//! Files of images: fetched into a temporary file, renamed when they are complete and accepted.

use crate::kit::{Context, Failure};
use dpf_api::provisioning::Bfb;
use dpf_core::bfb::{Inspected, StoredFile, Unacceptable, VersionScanner, file_name};
use kube::{Api, ResourceExt};
use sha2::{Digest, Sha256};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server that sends nothing for this long is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// How often it is checked during a download whether the BFB is being deleted.
const DELETION_CHECK: Duration = Duration::from_secs(2);
/// Bytes read from a file at a time.
const BLOCK: usize = 256 * 1024;

/// An image that could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The server does not answer.
    #[error("failed to fetch {url}")]
    Fetch { url: String, source: reqwest::Error },
    /// It answers something else.
    #[error(
        "failed to fetch {url}: the server answered {status}; correct spec.url in another BFB, or the server"
    )]
    Refused { url: String, status: u16 },
    /// It stopped in the middle.
    #[error("failed to fetch {url}: nothing came for {} s", SILENCE.as_secs())]
    Silent { url: String },
    /// It sent more or less than it said.
    #[error("failed to fetch {url}: expected {expected} bytes, got {got}")]
    Truncated {
        url: String,
        expected: u64,
        got: u64,
    },
    /// The store cannot be written.
    #[error("failed to write {path}")]
    Write {
        path: String,
        source: std::io::Error,
    },
    /// The store cannot be read.
    #[error("failed to read {path}")]
    Read {
        path: String,
        source: std::io::Error,
    },
    /// The file is not what was asked for.
    #[error(transparent)]
    Unacceptable(Unacceptable),
    /// The BFB is being deleted.
    #[error("the BFB is being deleted")]
    Deleted,
}

/// Where a file of this name is.
pub(super) fn path(context: &Context, name: &str) -> PathBuf {
    context.settings.bfb_dir.join(name)
}

fn temporary(context: &Context, bfb: &Bfb) -> PathBuf {
    let uid = bfb.uid().unwrap_or_default();
    context.settings.bfb_dir.join(format!("bfb-{uid}.part"))
}

/// What is there.
pub(super) async fn look(path: &Path) -> std::io::Result<Option<StoredFile>> {
    match fs::metadata(path).await {
        Ok(metadata) => Ok(Some(StoredFile {
            size_bytes: metadata.len(),
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(Default)]
struct Reader {
    hasher: Sha256,
    scanner: VersionScanner,
    size_bytes: u64,
}

impl Reader {
    fn feed(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.scanner.feed(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    fn finish(self) -> Inspected {
        Inspected {
            size_bytes: self.size_bytes,
            checksum: format!("sha256:{}", hex::encode(self.hasher.finalize())),
            versions: self.scanner.finish(),
        }
    }
}

/// Reads a file that is there.
pub(super) async fn inspect(path: &Path) -> Result<Inspected, FetchError> {
    let failed = |source| FetchError::Read {
        path: path.display().to_string(),
        source,
    };
    let mut file = File::open(path).await.map_err(failed)?;
    let mut reader = Reader::default();
    let mut block = vec![0; BLOCK];
    loop {
        let count = file.read(&mut block).await.map_err(failed)?;
        if count == 0 {
            return Ok(reader.finish());
        }
        reader.feed(block.get(..count).unwrap_or_default());
    }
}

/// Fetches a file into its temporary place.
pub(super) async fn fetch(context: &Context, bfb: &Bfb) -> Result<Inspected, FetchError> {
    let url = context.settings.mirrors.resolve(&bfb.spec.url);
    let path = temporary(context, bfb);
    let written = |source| FetchError::Write {
        path: path.display().to_string(),
        source,
    };
    let fetched = |source| FetchError::Fetch {
        url: url.clone(),
        source,
    };
    fs::create_dir_all(&context.settings.bfb_dir)
        .await
        .map_err(written)?;
    let mut response = context.http.get(&url).send().await.map_err(fetched)?;
    if !response.status().is_success() {
        return Err(FetchError::Refused {
            status: response.status().as_u16(),
            url,
        });
    }
    let expected = response.content_length().filter(|length| *length > 0);
    let mut file = File::create(&path).await.map_err(written)?;
    let mut reader = Reader::default();
    let mut checked = Instant::now();
    loop {
        let chunk = tokio::time::timeout(SILENCE, response.chunk())
            .await
            .map_err(|_| FetchError::Silent { url: url.clone() })?
            .map_err(fetched)?;
        let Some(chunk) = chunk else { break };
        reader.feed(&chunk);
        file.write_all(&chunk).await.map_err(written)?;
        if checked.elapsed() >= DELETION_CHECK {
            checked = Instant::now();
            if is_deleted(context, bfb).await {
                return Err(FetchError::Deleted);
            }
        }
    }
    file.sync_all().await.map_err(written)?;
    match expected {
        Some(expected) if expected != reader.size_bytes => Err(FetchError::Truncated {
            url,
            expected,
            got: reader.size_bytes,
        }),
        _ => Ok(reader.finish()),
    }
}

async fn is_deleted(context: &Context, bfb: &Bfb) -> bool {
    let api: Api<Bfb> =
        Api::namespaced(context.client.clone(), &bfb.namespace().unwrap_or_default());
    match api.get_opt(&bfb.name_any()).await {
        Ok(None) => true,
        Ok(Some(now)) => now.metadata.deletion_timestamp.is_some() || now.uid() != bfb.uid(),
        Err(_) => false,
    }
}

/// Gives the fetched file its name; one that was only inspected has it.
pub(super) async fn keep(context: &Context, bfb: &Bfb) -> Result<(), Failure> {
    let from = temporary(context, bfb);
    match fs::rename(&from, path(context, &file_name(bfb))).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(Failure::store("rename", &from)),
    }
}

/// Removes what an attempt left.
pub(super) async fn discard(context: &Context, bfb: &Bfb) -> Result<(), Failure> {
    remove_file(&temporary(context, bfb)).await
}

/// Removes the file.
pub(super) async fn remove(context: &Context, bfb: &Bfb) -> Result<(), Failure> {
    discard(context, bfb).await?;
    remove_file(&path(context, &file_name(bfb))).await
}

/// Removes a file; a missing one is fine.
pub(crate) async fn remove_file(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(Failure::store("remove", path)),
    }
}

//! Keeping the objects in a file: every change is in it before the request that made it is answered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde_json::Value;
use thiserror::Error;

use crate::store::watch::{Event, EventKind};
use crate::store::{ObjectKey, Saved};

/// Objects as JSON, by [`key_of`].
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// Numbers by their names below.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const REVISION: &str = "revision";
const SEED: &str = "seed";

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum PersistError {
    /// The file cannot be opened, read or written.
    #[error("failed to use the database {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<redb::Error>,
    },
    /// An object in the file is no JSON.
    #[error("failed to read object {key:?} of the database {path}")]
    Object {
        /// The file.
        path: PathBuf,
        /// Which object.
        key: String,
        /// The cause.
        source: serde_json::Error,
    },
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Journal {
    database: Database,
    path: PathBuf,
}

/// Kinds, namespaces and names have no line breaks.
fn key_of(key: &ObjectKey) -> String {
    let parts = [&key.storage.0, &key.storage.1, &key.namespace, &key.name];
    parts.map(String::as_str).join("\n")
}

impl Journal {
    /// Opens the file, or creates it with a seed. Returns what is in it.
    pub(crate) fn open(path: &Path, seed: u64) -> Result<(Self, Saved), PersistError> {
        let failed = |source: redb::Error| PersistError::Database {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let database = Database::create(path).map_err(|e| failed(e.into()))?;
        prepare(&database, seed).map_err(failed)?;
        let (texts, revision, seed) = read(&database).map_err(failed)?;
        let mut objects = Vec::with_capacity(texts.len());
        for (key, text) in texts {
            let object: Value =
                serde_json::from_slice(&text).map_err(|source| PersistError::Object {
                    path: path.to_owned(),
                    key: key.clone(),
                    source,
                })?;
            let mut parts = key.split('\n').map(str::to_owned);
            let mut part = || parts.next().unwrap_or_default();
            let key = ObjectKey::new(part(), part(), part(), part());
            objects.push((key, object));
        }
        let journal = Self {
            database,
            path: path.to_owned(),
        };
        let saved = Saved {
            objects,
            revision,
            seed,
        };
        Ok((journal, saved))
    }

    /// Writes what happened; returns when it is on the disk.
    pub(crate) fn record(&self, events: &[Arc<Event>]) -> Result<(), PersistError> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        write(&self.database, events, last.revision).map_err(|source| PersistError::Database {
            path: self.path.clone(),
            source: Box::new(source),
        })
    }
}

fn prepare(database: &Database, seed: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(OBJECTS)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        if numbers.get(SEED)?.is_none() {
            numbers.insert(SEED, seed)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

type Texts = Vec<(String, Vec<u8>)>;

fn read(database: &Database) -> Result<(Texts, u64, u64), redb::Error> {
    let transaction = database.begin_read()?;
    let objects = transaction.open_table(OBJECTS)?;
    let mut texts = Vec::new();
    for entry in objects.iter()? {
        let (key, text) = entry?;
        texts.push((key.value().to_owned(), text.value().to_vec()));
    }
    let numbers = transaction.open_table(NUMBERS)?;
    let number = |name: &str| -> Result<u64, redb::Error> {
        Ok(numbers.get(name)?.map_or(0, |value| value.value()))
    };
    Ok((texts, number(REVISION)?, number(SEED)?))
}

fn write(database: &Database, events: &[Arc<Event>], revision: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        for event in events {
            let key = key_of(&event.key);
            if event.kind == EventKind::Deleted {
                objects.remove(key.as_str())?;
            } else {
                let text = event.object.value().to_string();
                objects.insert(key.as_str(), text.as_bytes())?;
            }
        }
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert(REVISION, revision)?;
    }
    transaction.commit()?;
    Ok(())
}

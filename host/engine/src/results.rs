//! Keeps results of calls. A plugin is a function, so equal requests have equal results.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use sha2::{Digest, Sha256};

/// What a result is found by: a digest of plugin, settings and request.
pub(crate) type Key = [u8; 32];

/// The key of a call. The parts are separated by their lengths, so that no two calls share a key.
pub(crate) fn key(
    plugin: &str,
    stage: &str,
    settings: &str,
    request: &impl Serialize,
) -> Option<Key> {
    let request = serde_json::to_vec(request).ok()?;
    let mut hash = Sha256::new();
    for part in [
        plugin.as_bytes(),
        stage.as_bytes(),
        settings.as_bytes(),
        &request,
    ] {
        hash.update(u64::try_from(part.len()).ok()?.to_le_bytes());
        hash.update(part);
    }
    Some(hash.finalize().into())
}

/// Results, bounded by their size. The one that was not used for the longest time goes first.
pub(crate) struct Results {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    by_age: BTreeMap<u64, Key>,
    clock: u64,
    bytes: usize,
    hits: u64,
}

struct Entry {
    result: Arc<dyn Any + Send + Sync>,
    bytes: usize,
    used: u64,
}

impl Results {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    /// Whether anything is kept at all.
    pub(crate) fn keeps(&self) -> bool {
        self.limit > 0
    }

    pub(crate) fn get<T: Clone + 'static>(&self, key: &Key) -> Option<T> {
        // Nothing between two changes of the state can panic.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        state.clock += 1;
        let entry = state.entries.get_mut(key)?;
        state.by_age.remove(&entry.used);
        entry.used = state.clock;
        state.by_age.insert(entry.used, *key);
        let result = entry.result.downcast_ref::<T>().cloned();
        state.hits += u64::from(result.is_some());
        result
    }

    /// How many calls were answered from here.
    pub(crate) fn hits(&self) -> u64 {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .hits
    }

    pub(crate) fn put<T: Serialize + Send + Sync + 'static>(&self, key: Key, result: T) {
        /// What an entry costs beside its result: keys, ages, allocations.
        const OVERHEAD: usize = 256;
        // The text stands for the size in memory, which is of the same order.
        let Ok(text) = serde_json::to_vec(&result) else {
            return;
        };
        let bytes = text.len() * 2 + OVERHEAD;
        if bytes > self.limit {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        state.clock += 1;
        let used = state.clock;
        state.bytes += bytes;
        state.by_age.insert(used, key);
        if let Some(old) = state.entries.insert(
            key,
            Entry {
                result: Arc::new(result),
                bytes,
                used,
            },
        ) {
            state.bytes -= old.bytes;
            state.by_age.remove(&old.used);
        }
        while state.bytes > self.limit
            && let Some((_, oldest)) = state.by_age.pop_first()
        {
            state.bytes -= state.entries.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_the_bound_is_reached() {
        let results = Results::new(3 * 256 + 100);
        let keys: Vec<Key> = (0..4_u8).map(|index| [index; 32]).collect();
        for key in &keys[..3] {
            results.put(*key, key[0]);
        }
        assert_eq!(
            results.get::<u8>(&keys[0]),
            Some(0),
            "used, so it is not the oldest any more"
        );
        results.put(keys[3], 3_u8);
        assert_eq!(results.get::<u8>(&keys[1]), None);
        assert_eq!(
            [0, 2, 3].map(|index: usize| results.get::<u8>(&keys[index])),
            [Some(0), Some(2), Some(3)]
        );
    }

    #[test]
    fn what_is_larger_than_the_bound_is_not_kept() {
        let results = Results::new(1000);
        results.put([0; 32], "x".repeat(1000));
        assert_eq!(results.get::<String>(&[0; 32]), None);
    }

    #[test]
    fn keys_differ_in_every_part() {
        let keys = [
            key("a", "b", "c", &1),
            key("ab", "", "c", &1),
            key("a", "b", "d", &1),
            key("a", "b", "c", &2),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}

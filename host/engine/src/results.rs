//! Keeps results of calls. A plugin is a function, so equal requests have equal results.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::exact;
use crate::stage::Failure;

/// What a result is found by: plugin, settings and request themselves, byte by byte. A digest would be shorter, but takes longer than
/// all the rest, and of two requests with one digest one would get the other's answer.
pub(crate) type Key = Arc<[u8]>;

/// The key of a call.
pub(crate) fn key(
    plugin: &str,
    stage: &str,
    settings: &str,
    request: &impl Serialize,
) -> Option<Key> {
    /// Most requests fit.
    const CAPACITY: usize = 16 << 10;
    let mut key = Vec::with_capacity(CAPACITY);
    exact::write(&mut key, &(plugin, stage, settings, request))?;
    Some(key.into())
}

/// What is kept of a call; whoever asks shares it.
pub(crate) type Kept<T> = Result<Arc<T>, Failure>;

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

    pub(crate) fn get<T: Send + Sync + 'static>(&self, key: &Key) -> Option<Kept<T>> {
        // Nothing between two changes of the state can panic.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        state.clock += 1;
        let entry = state.entries.get_mut(key)?;
        if let Some(key) = state.by_age.remove(&entry.used) {
            entry.used = state.clock;
            state.by_age.insert(entry.used, key);
        }
        let result = entry.result.downcast_ref::<Kept<T>>().cloned();
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

    pub(crate) fn put<T: Serialize + Send + Sync + 'static>(&self, key: Key, result: Kept<T>) {
        /// What an entry costs beside its key and its result: places in two maps, allocations.
        const OVERHEAD: usize = 256;
        let mut text = Vec::new();
        let written = match &result {
            Ok(response) => exact::write(&mut text, response.as_ref()),
            Err(failure) => exact::write(&mut text, failure),
        };
        // These bytes stand for the size in memory, which is of the same order.
        let bytes = text.len() * 2 + key.len() + OVERHEAD;
        if written.is_none() || bytes > self.limit {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        state.clock += 1;
        let used = state.clock;
        state.bytes += bytes;
        state.by_age.insert(used, Arc::clone(&key));
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

    fn key_of(number: u8) -> Key {
        key("plugin", "stage", "{}", &number).unwrap()
    }

    fn get(results: &Results, number: u8) -> Option<u8> {
        let kept = results.get::<u8>(&key_of(number))?;
        kept.ok().map(|kept| *kept)
    }

    #[test]
    fn the_oldest_goes_when_the_bound_is_reached() {
        let results = Results::new(3 * 400);
        for number in 0..3 {
            results.put(key_of(number), Ok(Arc::new(number)));
        }
        assert_eq!(
            get(&results, 0),
            Some(0),
            "used, so it is not the oldest any more"
        );
        results.put(key_of(3), Ok(Arc::new(3_u8)));
        assert_eq!(
            [0, 1, 2, 3].map(|n| get(&results, n)),
            [Some(0), None, Some(2), Some(3)]
        );
    }

    #[test]
    fn the_same_is_kept_once() {
        let results = Results::new(2 * 400);
        for number in [1, 2, 1, 2, 1, 2] {
            results.put(key_of(number), Ok(Arc::new(number)));
        }
        assert_eq!([1, 2].map(|n| get(&results, n)), [Some(1), Some(2)]);
    }

    #[test]
    fn what_is_larger_than_the_bound_is_not_kept() {
        let results = Results::new(1000);
        results.put(key_of(0), Ok(Arc::new("x".repeat(1000))));
        assert!(results.get::<String>(&key_of(0)).is_none());
        let long = key("plugin", "stage", "{}", &"x".repeat(1000)).unwrap();
        results.put(Arc::clone(&long), Ok(Arc::new(1_u8)));
        assert!(results.get::<u8>(&long).is_none());
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

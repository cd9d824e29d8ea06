//! Bounds how many calls run at the same time.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A counting semaphore for threads.
pub(crate) struct Slots {
    free: Mutex<u32>,
    freed: Condvar,
}

/// A taken slot; dropping it frees it.
pub(crate) struct Slot<'s>(&'s Slots);

impl Slots {
    pub(crate) fn new(count: u32) -> Self {
        Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    /// Waits for a slot, not longer than `limit`.
    pub(crate) fn take(&self, limit: Duration) -> Option<Slot<'_>> {
        // The count is valid at every moment, so a thread that panicked with the lock leaves nothing half done.
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut free, _) = self
            .freed
            .wait_timeout_while(free, limit, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Slot(self))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_is_taken_again() {
        let slots = Slots::new(1);
        let first = slots.take(Duration::ZERO);
        assert!(first.is_some());
        assert!(
            slots.take(Duration::from_millis(1)).is_none(),
            "all slots are taken"
        );
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| slots.take(Duration::from_secs(60)).is_some());
            drop(first);
            assert!(waiting.join().unwrap());
        });
    }
}

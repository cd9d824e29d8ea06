//! Numbers about one plugin, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{CallError, FaultKind};

/// Upper bounds of the buckets of call durations, in seconds.
pub const DURATION_BUCKETS: [f64; 10] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Ok,
    /// The user's input was wrong.
    Finding,
    /// It panicked or did something WebAssembly forbids.
    Trap,
    /// It did not finish in time.
    Deadline,
    /// It wanted too much memory.
    Memory,
    /// Its answer could not be used.
    BadOutput,
    /// It did not run: there was no free slot.
    Busy,
    /// It did not run: it failed several times in a row.
    CircuitOpen,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 8] = [
        Outcome::Ok,
        Outcome::Finding,
        Outcome::Trap,
        Outcome::Deadline,
        Outcome::Memory,
        Outcome::BadOutput,
        Outcome::Busy,
        Outcome::CircuitOpen,
    ];

    /// The value of a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Finding => "finding",
            Outcome::Trap => "trap",
            Outcome::Deadline => "deadline",
            Outcome::Memory => "memory",
            Outcome::BadOutput => "bad_output",
            Outcome::Busy => "busy",
            Outcome::CircuitOpen => "circuit_open",
        }
    }

    pub(crate) fn of<T>(result: &Result<T, CallError>) -> Self {
        match result {
            Ok(_) => Outcome::Ok,
            Err(CallError::Failure(_)) => Outcome::Finding,
            Err(CallError::Fault(fault)) => match fault.kind {
                FaultKind::Trap { .. } => Outcome::Trap,
                FaultKind::Deadline { .. } => Outcome::Deadline,
                FaultKind::Memory { .. } => Outcome::Memory,
                FaultKind::Output { .. } => Outcome::BadOutput,
                FaultKind::Busy { .. } => Outcome::Busy,
                FaultKind::CircuitOpen { .. } => Outcome::CircuitOpen,
            },
        }
    }
}

/// Counts from the start of the process, over all versions of a plugin.
#[derive(Debug, Default)]
pub struct Statistics {
    calls: [AtomicU64; Outcome::ALL.len()],
    durations: [AtomicU64; DURATION_BUCKETS.len() + 1],
    duration_microseconds: AtomicU64,
    timed: AtomicU64,
    cache_hits: AtomicU64,
    memory_peak_bytes: AtomicU64,
    compile_microseconds: AtomicU64,
    log_lines: AtomicU64,
    log_lines_dropped: AtomicU64,
}

impl Statistics {
    pub(crate) fn called(&self, outcome: Outcome, duration: Option<Duration>) {
        for (known, count) in Outcome::ALL.iter().zip(&self.calls) {
            if *known == outcome {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        let Some(duration) = duration else { return };
        let seconds = duration.as_secs_f64();
        let bucket = DURATION_BUCKETS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(DURATION_BUCKETS.len());
        if let Some(count) = self.durations.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.timed.fetch_add(1, Ordering::Relaxed);
        self.duration_microseconds
            .fetch_add(microseconds(duration), Ordering::Relaxed);
    }

    pub(crate) fn kept_result_used(&self) {
        self.cache_hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn memory_used(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.memory_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(crate) fn line_logged(&self, dropped: bool) {
        let counter = if dropped {
            &self.log_lines_dropped
        } else {
            &self.log_lines
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how long the last compilation took.
    pub fn compiled_in(&self, duration: Duration) {
        self.compile_microseconds
            .store(microseconds(duration), Ordering::Relaxed);
    }

    /// Calls that ended like this.
    pub fn calls(&self, outcome: Outcome) -> u64 {
        let mut counts = Outcome::ALL.iter().zip(&self.calls);
        counts
            .find(|(known, _)| **known == outcome)
            .map_or(0, |(_, count)| count.load(Ordering::Relaxed))
    }

    /// Calls by the first of [`DURATION_BUCKETS`] they fit into; at last those that fit into none.
    pub fn durations(&self) -> Vec<u64> {
        let counts = self.durations.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// How many calls were timed, and how long they took together.
    pub fn total_duration(&self) -> (u64, Duration) {
        let total = self.duration_microseconds.load(Ordering::Relaxed);
        (
            self.timed.load(Ordering::Relaxed),
            Duration::from_micros(total),
        )
    }

    /// Calls that a kept result answered.
    pub fn cache_hits(&self) -> u64 {
        self.cache_hits.load(Ordering::Relaxed)
    }

    /// The most memory a call has used, in bytes.
    pub fn memory_peak_bytes(&self) -> u64 {
        self.memory_peak_bytes.load(Ordering::Relaxed)
    }

    /// How long the last compilation took.
    pub fn compile_duration(&self) -> Duration {
        Duration::from_micros(self.compile_microseconds.load(Ordering::Relaxed))
    }

    /// Lines it wrote to the log, and lines that were dropped.
    pub fn log_lines(&self) -> (u64, u64) {
        (
            self.log_lines.load(Ordering::Relaxed),
            self.log_lines_dropped.load(Ordering::Relaxed),
        )
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

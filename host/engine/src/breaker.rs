//! Leaves a plugin alone that fails again and again.
//!
//! ```text
//!            fault x FAULTS_MAX               pause over
//!   Closed ─────────────────────> Open ─────────────────────> HalfOpen
//!     ^  ^─ success: forget faults  ^                          │   │
//!     │                             └──── fault: longer pause ─┘   │
//!     └────────────────────────────────── success ─────────────────┘
//! ```
//!
//! In `HalfOpen` one call is let through. If nothing is heard of it in time, another one is.

use std::time::{Duration, Instant};

/// Faults in a row that open the circuit. One may be bad luck on a busy machine.
const FAULTS_MAX: u32 = 3;
/// The first pause; it doubles each time the plugin fails again.
const PAUSE_FIRST: Duration = Duration::from_secs(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// The call that decides has this long to end before another one may decide.
const PROBE: Duration = Duration::from_secs(90);

/// Whether calls reach a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// They do.
    Closed,
    /// They do not, for this long.
    Open {
        /// Until the next one is tried.
        retry_in: Duration,
    },
    /// The next one, or the one under way, decides.
    HalfOpen,
}

/// The state of one plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    Closed { faults: u32 },
    Open { until: Instant, trips: u32 },
    HalfOpen { until: Instant, trips: u32 },
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A call is about to be made.
    Asked,
    /// One ended well; a finding is a good end, too.
    Succeeded,
    /// One was a fault of the plugin.
    Faulted,
}

impl Breaker {
    pub(crate) const NEW: Breaker = Breaker::Closed { faults: 0 };

    /// The next state.
    pub(crate) fn step(self, event: Event, now: Instant) -> Self {
        match (self, event) {
            (Breaker::Open { until, trips } | Breaker::HalfOpen { until, trips }, Event::Asked)
                if now >= until =>
            {
                Breaker::HalfOpen {
                    until: now + PROBE,
                    trips,
                }
            }
            (_, Event::Asked) => self,
            (_, Event::Succeeded) => Breaker::NEW,
            (Breaker::Closed { faults }, Event::Faulted) if faults + 1 < FAULTS_MAX => {
                Breaker::Closed { faults: faults + 1 }
            }
            (Breaker::Closed { .. }, Event::Faulted) => Self::open(0, now),
            (Breaker::HalfOpen { trips, .. }, Event::Faulted) => Self::open(trips + 1, now),
            // The end of a call that began before the circuit opened.
            (Breaker::Open { .. }, Event::Faulted) => self,
        }
    }

    fn open(trips: u32, now: Instant) -> Self {
        let pause = PAUSE_FIRST
            .saturating_mul(1 << trips.min(10))
            .min(PAUSE_MAX);
        Breaker::Open {
            until: now + pause,
            trips,
        }
    }

    /// Whether a call may be made in this state when it was asked for `now`, the state before being `before`.
    pub(crate) fn lets_through(self, before: Breaker) -> bool {
        match self {
            Breaker::Closed { .. } => true,
            // Only the one that made the step.
            Breaker::HalfOpen { .. } => self != before,
            Breaker::Open { .. } => false,
        }
    }

    pub(crate) fn circuit(self, now: Instant) -> Circuit {
        match self {
            Breaker::Closed { .. } => Circuit::Closed,
            Breaker::Open { until, .. } if now < until => Circuit::Open {
                retry_in: until - now,
            },
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(events: &[Event], mut breaker: Breaker, now: Instant) -> Breaker {
        for event in events {
            breaker = breaker.step(*event, now);
        }
        breaker
    }

    const FAULTS: [Event; 3] = [Event::Faulted; 3];

    #[test]
    fn three_faults_in_a_row_open_it() {
        let now = Instant::now();
        let two = run(&FAULTS[..2], Breaker::NEW, now);
        assert_eq!(two.circuit(now), Circuit::Closed);
        let forgotten = run(
            &[Event::Succeeded, Event::Faulted, Event::Faulted],
            two,
            now,
        );
        assert_eq!(forgotten.circuit(now), Circuit::Closed);
        let open = run(&FAULTS, Breaker::NEW, now);
        assert_eq!(
            open.circuit(now),
            Circuit::Open {
                retry_in: PAUSE_FIRST
            }
        );
        let asked = open.step(Event::Asked, now);
        assert!(!asked.lets_through(open));
    }

    #[test]
    fn after_the_pause_one_call_decides() {
        let now = Instant::now();
        let open = run(&FAULTS, Breaker::NEW, now);
        let later = now + PAUSE_FIRST;
        let probing = open.step(Event::Asked, later);
        assert!(probing.lets_through(open));
        let second = probing.step(Event::Asked, later);
        assert!(!second.lets_through(probing), "only one");
        assert_eq!(probing.step(Event::Succeeded, later), Breaker::NEW);
        let again = probing.step(Event::Faulted, later);
        assert_eq!(
            again.circuit(later),
            Circuit::Open {
                retry_in: PAUSE_FIRST * 2
            }
        );
    }

    #[test]
    fn a_lost_probe_does_not_close_it_for_ever() {
        let now = Instant::now();
        let open = run(&FAULTS, Breaker::NEW, now);
        let probing = open.step(Event::Asked, now + PAUSE_FIRST);
        let next = probing.step(Event::Asked, now + PAUSE_FIRST + PROBE);
        assert!(next.lets_through(probing));
    }

    #[test]
    fn pauses_are_bounded() {
        let mut now = Instant::now();
        let mut breaker = run(&FAULTS, Breaker::NEW, now);
        for _ in 0..40 {
            now += PAUSE_MAX;
            breaker = run(&[Event::Asked, Event::Faulted], breaker, now);
        }
        assert_eq!(
            breaker.circuit(now),
            Circuit::Open {
                retry_in: PAUSE_MAX
            }
        );
    }
}

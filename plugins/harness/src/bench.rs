//! Times calls.

use std::fmt;
use std::time::{Duration, Instant};

use dpf_engine::{Fault, Plugin};

use crate::outcome::Request;

/// How long calls took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bench {
    /// The first call, which touches memory and code for the first time.
    pub first: Duration,
    /// All others.
    pub calls: Spread,
}

/// A distribution of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// The shortest.
    pub least: Duration,
    /// Half of them are shorter.
    pub median: Duration,
    /// 99 of 100 are shorter.
    pub p99: Duration,
    /// The longest.
    pub most: Duration,
}

impl Bench {
    /// Calls until the time is over, at least ten times.
    ///
    /// # Errors
    /// The plugin is at fault.
    pub fn run(plugin: &Plugin, request: &Request, duration: Duration) -> Result<Self, Fault> {
        const FEWEST: usize = 10;
        let call = || {
            let begin = Instant::now();
            request.ask(plugin).map(|_| begin.elapsed())
        };
        let begin = Instant::now();
        let first = call()?;
        let mut times = Vec::new();
        while times.len() < FEWEST || begin.elapsed() < duration {
            times.push(call()?);
        }
        Ok(Self {
            first,
            calls: Spread::of(times),
        })
    }
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: usize| {
            let index = (times.len() * part / 100).min(times.len().saturating_sub(1));
            times.get(index).copied().unwrap_or_default()
        };
        Self {
            count: times.len(),
            least: at(0),
            median: at(50),
            p99: at(99),
            most: at(100),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "{} calls: least {:.3} ms, median {:.3} ms, p99 {:.3} ms, most {:.3} ms",
            self.count,
            ms(self.least),
            ms(self.median),
            ms(self.p99),
            ms(self.most)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_ordered() {
        let spread = Spread::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(
            (
                spread.count,
                spread.least,
                spread.median,
                spread.p99,
                spread.most
            ),
            (
                200,
                Duration::from_millis(1),
                Duration::from_millis(101),
                Duration::from_millis(199),
                Duration::from_millis(200)
            )
        );
    }
}

//! What plugins write to the log: marked with who wrote it and for whom, and bounded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bindings::base::dpf::plugin::log::Level;
use crate::stage::{DeploymentRef, Stage};
use crate::statistics::Statistics;

/// Lines of log a call may write.
const LINES_PER_CALL: usize = 64;
/// Over which lines are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// For whom a call is made.
#[derive(Clone, Copy, Default)]
pub(crate) struct Subject<'a> {
    deployment: Option<&'a DeploymentRef>,
    pub(crate) service: &'a str,
}

impl<'a> Subject<'a> {
    pub(crate) fn of(deployment: &'a DeploymentRef, service: &'a str) -> Self {
        Self {
            deployment: Some(deployment),
            service,
        }
    }

    /// Namespace and name of the DPUDeployment.
    pub(crate) fn object(&self) -> String {
        self.deployment
            .map(|d| format!("{}/{}", d.namespace, d.name))
            .unwrap_or_default()
    }
}

/// One line.
pub(crate) struct Line<'a> {
    pub(crate) stage: Stage,
    pub(crate) object: &'a str,
    pub(crate) service: &'a str,
    pub(crate) level: Level,
    pub(crate) text: &'a str,
    /// Counted from 1 in its call.
    pub(crate) number: usize,
}

/// Where the lines of one plugin go.
pub(crate) struct Log {
    plugin: String,
    lines_per_minute: u32,
    window: Mutex<Window>,
    statistics: Option<Arc<Statistics>>,
}

struct Window {
    since: Instant,
    written: u32,
    dropped: u64,
}

impl Log {
    pub(crate) fn new(
        plugin: &str,
        lines_per_minute: u32,
        statistics: Option<Arc<Statistics>>,
    ) -> Self {
        Self {
            plugin: plugin.to_owned(),
            lines_per_minute,
            window: Mutex::new(Window {
                since: Instant::now(),
                written: 0,
                dropped: 0,
            }),
            statistics,
        }
    }

    /// Notes what a call has used at most.
    pub(crate) fn memory_used(&self, bytes: usize) {
        if let Some(statistics) = &self.statistics {
            statistics.memory_used(bytes);
        }
    }

    pub(crate) fn write(&self, line: &Line<'_>) {
        let (fits, lost) = self.admit(line.number, Instant::now());
        if let Some(statistics) = &self.statistics {
            statistics.line_logged(!fits);
        }
        let plugin = self.plugin.as_str();
        if lost > 0 {
            tracing::warn!(target: "plugin", plugin, lost, "lines of the plugin were dropped: it writes too many");
        }
        if !fits {
            return;
        }
        let (stage, deployment, service) = (line.stage.as_str(), line.object, line.service);
        // Debug form, so that a line of a plugin cannot look like a line of the host.
        let text = line.text;
        match line.level {
            Level::Trace => {
                tracing::trace!(target: "plugin", stage, plugin, deployment, service, "{text:?}");
            }
            Level::Debug => {
                tracing::debug!(target: "plugin", stage, plugin, deployment, service, "{text:?}");
            }
            Level::Info => {
                tracing::info!(target: "plugin", stage, plugin, deployment, service, "{text:?}");
            }
            Level::Warn => {
                tracing::warn!(target: "plugin", stage, plugin, deployment, service, "{text:?}");
            }
            Level::Error => {
                tracing::error!(target: "plugin", stage, plugin, deployment, service, "{text:?}");
            }
        }
    }

    /// Whether a line may be written, and how many were lost in the window that just ended.
    fn admit(&self, number: usize, now: Instant) -> (bool, u64) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = 0;
        if now.duration_since(window.since) >= WINDOW {
            lost = window.dropped;
            *window = Window {
                since: now,
                written: 0,
                dropped: 0,
            };
        }
        let fits = number <= LINES_PER_CALL && window.written < self.lines_per_minute;
        if fits {
            window.written += 1;
        } else {
            window.dropped += 1;
        }
        (fits, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_per_call_and_per_minute() {
        let log = Log::new("p", 100, None);
        let now = Instant::now();
        let written = (1..=1000).filter(|n| log.admit(*n, now).0).count();
        assert_eq!(written, LINES_PER_CALL);
        let written = (1..=1000).filter(|_| log.admit(1, now).0).count();
        assert_eq!(written, 100 - LINES_PER_CALL);
        let (fits, lost) = log.admit(1, now + WINDOW);
        assert!(fits);
        assert_eq!(lost, 2000 - 100);
    }
}

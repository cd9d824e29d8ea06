//! How the engine is set up.

use std::path::PathBuf;
use std::time::Duration;

/// What a plugin may use, per call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory in bytes.
    pub memory_bytes: usize,
    /// Time for one call.
    pub deadline: Duration,
    /// Size of a result in bytes, all its strings together.
    pub output_bytes: usize,
    /// Size of a component in bytes.
    pub component_bytes: usize,
    /// Calls that run at the same time, over all plugins. Further ones wait.
    pub concurrency: u32,
    /// How long a call waits for its turn.
    pub wait: Duration,
    /// Lines of log a plugin may write in a minute; further ones are counted and dropped.
    pub log_lines_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            // A call takes about a millisecond. The rest is for a busy machine, whose time counts here, not the plugin's.
            deadline: Duration::from_secs(5),
            output_bytes: 8 << 20,
            component_bytes: 32 << 20,
            concurrency: 16,
            wait: Duration::from_secs(30),
            log_lines_per_minute: 600,
        }
    }
}

/// How an [`crate::Engine`] is set up.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Where compiled code is kept, created with mode 0700. Without it every start compiles again. Who can write there can run
    /// code as this process: it must belong to the user of the process and to nobody else.
    pub cache_dir: Option<PathBuf>,
    /// What plugins may use.
    pub limits: Limits,
    /// Bytes of results that are kept, so that equal requests are answered without a call.
    pub result_cache_bytes: usize,
    /// Count fuel, for tests of plugins. Calls take about a quarter longer.
    pub count_fuel: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            cache_dir: None,
            limits: Limits::default(),
            result_cache_bytes: 16 << 20,
            count_fuel: false,
        }
    }
}

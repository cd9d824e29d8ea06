//! What surrounds one call: memory cap, log and the reason it ended.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Trap};

use crate::bindings::base::dpf::plugin::{log, types};
use crate::error::FaultKind;
use crate::limits::Limits;
use crate::log::{Line, Log, Subject};
use crate::stage::Stage;

/// Characters of a line of log.
const MAX_LOG_LINE: usize = 1024;
/// Entries of all tables. Components of dynamic languages need some thousand.
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// The data of a Store. There is one per call, and it ends with it.
pub(crate) struct Sandbox {
    stage: Stage,
    log: Arc<Log>,
    object: String,
    service: String,
    memory_limit: usize,
    memory_used: usize,
    table_used: usize,
    memory_exceeded: bool,
    lines: usize,
    last_error: Option<String>,
}

impl Sandbox {
    pub(crate) fn new(stage: Stage, log: &Arc<Log>, subject: Subject<'_>, limits: &Limits) -> Self {
        Self {
            stage,
            log: Arc::clone(log),
            object: subject.object(),
            service: subject.service.to_owned(),
            memory_limit: limits.memory_bytes,
            memory_used: 0,
            table_used: 0,
            memory_exceeded: false,
            lines: 0,
            last_error: None,
        }
    }

    /// Bytes of linear memory, which only grows.
    pub(crate) fn memory_used(&self) -> usize {
        self.memory_used
    }

    /// Why a call failed.
    pub(crate) fn fault(self, error: &wasmtime::Error, limits: &Limits) -> FaultKind {
        if self.memory_exceeded {
            return FaultKind::Memory {
                limit: limits.memory_bytes,
            };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => FaultKind::Deadline {
                limit: limits.deadline,
            },
            Some(trap) => FaultKind::Trap {
                detail: self.last_error.unwrap_or_else(|| trap.to_string()),
            },
            // Not a trap of the guest's code: what it handed over cannot be read.
            None => FaultKind::Output {
                detail: error.root_cause().to_string(),
            },
        }
    }
}

impl ResourceLimiter for Sandbox {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self
            .memory_used
            .saturating_add(desired.saturating_sub(current));
        if used > self.memory_limit {
            self.memory_exceeded = true;
            return Err(wasmtime::Error::msg("memory limit exceeded"));
        }
        self.memory_used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self
            .table_used
            .saturating_add(desired.saturating_sub(current));
        if used > MAX_TABLE_ELEMENTS {
            self.memory_exceeded = true;
            return Err(wasmtime::Error::msg("table limit exceeded"));
        }
        self.table_used = used;
        Ok(true)
    }
}

impl types::Host for Sandbox {}

impl log::Host for Sandbox {
    fn write(&mut self, level: log::Level, message: String) {
        let line: String = message.chars().take(MAX_LOG_LINE).collect();
        if level == log::Level::Error {
            self.last_error = Some(line.clone());
        }
        self.lines += 1;
        let line = Line {
            stage: self.stage,
            object: &self.object,
            service: &self.service,
            level,
            text: &line,
            number: self.lines,
        };
        self.log.write(&line);
    }
}

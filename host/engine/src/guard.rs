//! A vendor's plugin among others: it may fail without harming anybody, and without being asked for ever.
//!
//! Beside what every call has (fresh instance, memory cap, deadline), a guarded plugin has slots of its own, so that it cannot
//! take those of others; runs on threads of low priority, so that a loop does not slow down the rest; and is left alone for a while
//! after several faults in a row. A kept result answers in any case.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::breaker::{Breaker, Circuit, Event};
use crate::error::{CallError, Fault, FaultKind};
use crate::limits::Limits;
use crate::plugin::Plugin;
use crate::runtime::STACK_BYTES;
use crate::slots::Slots;
use crate::stage::{
    ChainRequest, ChainResponse, CheckRequest, Finding, MergeRequest, MergeResponse, Stage,
};
use crate::statistics::{Outcome, Statistics};

/// How long a call waits for a slot: long enough for those before it if they behave, and short for whoever waits.
const WAIT: Duration = Duration::from_millis(250);
/// Lower than the rest of the process, which then gets about nine tenths of a processor both want.
const NICENESS: i32 = 10;
/// What the engine itself needs on the stack of a call, beside the plugin.
const HOST_STACK_BYTES: usize = 1536 << 10;

/// A plugin behind a circuit breaker. Clones share everything.
#[derive(Clone)]
pub struct Guarded {
    inner: Arc<Inner>,
}

struct Inner {
    plugin: Plugin,
    name: String,
    slots: Slots,
    breaker: Mutex<Breaker>,
    statistics: Arc<Statistics>,
}

/// How a plugin is guarded.
#[derive(Debug, Clone)]
pub struct GuardOptions {
    /// What log lines and metrics call it.
    pub name: String,
    /// What a call may use; nothing here is above the limits of the engine.
    pub limits: Limits,
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded")
            .field("name", &self.inner.name)
            .field("plugin", &self.inner.plugin)
            .finish()
    }
}

impl Guarded {
    pub(crate) fn new(plugin: Plugin, options: GuardOptions, statistics: Arc<Statistics>) -> Self {
        let GuardOptions { name, limits } = options;
        let slots = Slots::new(limits.concurrency.max(1));
        Self {
            inner: Arc::new(Inner {
                plugin: plugin.confined(&name, limits, Arc::clone(&statistics)),
                name,
                slots,
                breaker: Mutex::new(Breaker::NEW),
                statistics,
            }),
        }
    }

    /// The plugin itself.
    pub fn plugin(&self) -> &Plugin {
        &self.inner.plugin
    }

    /// The stage it serves.
    pub fn stage(&self) -> Stage {
        self.inner.plugin.stage()
    }

    /// `sha256:` and the digest of the component in hexadecimal.
    pub fn digest(&self) -> &str {
        self.inner.plugin.digest()
    }

    /// Whether calls reach it.
    pub fn circuit(&self) -> Circuit {
        self.breaker().circuit(Instant::now())
    }

    /// As [`Plugin::merge`].
    ///
    /// # Errors
    /// As there; besides, the plugin may be left alone for a while.
    pub fn merge(&self, request: &MergeRequest) -> Result<MergeResponse, CallError> {
        let plugin = &self.inner.plugin;
        self.call(plugin.kept(request), || plugin.merge(request))
    }

    /// As [`Plugin::check`].
    ///
    /// # Errors
    /// As [`Guarded::merge`].
    pub fn check(&self, request: &CheckRequest) -> Result<Vec<Finding>, CallError> {
        let plugin = &self.inner.plugin;
        self.call(plugin.kept(request), || plugin.check(request))
    }

    /// As [`Plugin::build_chain`].
    ///
    /// # Errors
    /// As [`Guarded::merge`].
    pub fn build_chain(&self, request: &ChainRequest) -> Result<ChainResponse, CallError> {
        let plugin = &self.inner.plugin;
        self.call(plugin.kept(request), || plugin.build_chain(request))
    }

    /// Notes that an answer cannot be used although its form is right; that is the plugin's fault like any other.
    pub fn reject(&self, detail: String) -> Fault {
        self.step(Event::Faulted);
        self.inner.statistics.called(Outcome::BadOutput, None);
        self.fault(FaultKind::Output { detail })
    }

    fn call<T: Send>(
        &self,
        kept: Option<Result<T, CallError>>,
        call: impl FnOnce() -> Result<T, CallError> + Send,
    ) -> Result<T, CallError> {
        if let Some(kept) = kept {
            self.inner.statistics.kept_result_used();
            return kept;
        }
        let result = self.let_through(call);
        match &result {
            Ok(_) | Err(CallError::Failure(_)) => self.step(Event::Succeeded),
            Err(CallError::Fault(fault)) if fault.is_of_plugin() => self.step(Event::Faulted),
            Err(CallError::Fault(_)) => {}
        }
        result
    }

    fn let_through<T: Send>(
        &self,
        call: impl FnOnce() -> Result<T, CallError> + Send,
    ) -> Result<T, CallError> {
        let statistics = &self.inner.statistics;
        let refuse = |kind| {
            let result = Err(CallError::Fault(self.fault(kind)));
            statistics.called(Outcome::of(&result), None);
            result
        };
        let Some(_slot) = self.inner.slots.take(WAIT) else {
            return refuse(FaultKind::Busy { limit: WAIT });
        };
        let Some(_shared) = self.inner.plugin.take_shared_slot(WAIT) else {
            return refuse(FaultKind::Busy { limit: WAIT });
        };
        if let Circuit::Open { retry_in } = self.ask() {
            return refuse(FaultKind::CircuitOpen { retry_in });
        }
        let begin = Instant::now();
        let result = on_a_thread_of_low_priority(call)
            .unwrap_or_else(|kind| Err(CallError::Fault(self.fault(kind))));
        statistics.called(Outcome::of(&result), Some(begin.elapsed()));
        result
    }

    /// Closed: the call may be made.
    fn ask(&self) -> Circuit {
        let now = Instant::now();
        let mut breaker = self.breaker();
        let before = *breaker;
        *breaker = before.step(Event::Asked, now);
        if breaker.lets_through(before) {
            return Circuit::Closed;
        }
        match breaker.circuit(now) {
            open @ Circuit::Open { .. } => open,
            // Another call is about to decide.
            Circuit::Closed | Circuit::HalfOpen => Circuit::Open { retry_in: WAIT },
        }
    }

    fn step(&self, event: Event) {
        let mut breaker = self.breaker();
        *breaker = breaker.step(event, Instant::now());
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.inner
            .breaker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        self.inner.plugin.fault(kind)
    }
}

/// Runs a call beside the caller, who waits.
fn on_a_thread_of_low_priority<T: Send>(call: impl FnOnce() -> T + Send) -> Result<T, FaultKind> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("plugin".to_owned())
            .stack_size(STACK_BYTES + HOST_STACK_BYTES)
            .spawn_scoped(scope, || {
                // Of this thread alone. Without it the call is as important as others, which is no reason to fail.
                let _ = rustix::process::nice(NICENESS);
                call()
            })
            .map_err(|_| FaultKind::Busy { limit: WAIT })?;
        thread.join().map_err(|_| FaultKind::Trap {
            detail: "the call ended without a result".to_owned(),
        })
    })
}

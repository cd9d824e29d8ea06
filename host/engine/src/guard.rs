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
use crate::plugin::{Answer, Plugin};
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

    /// As [`Plugin::merge`]. `judge` says what is wrong with an answer whose form is right; that is a fault of the plugin, too.
    ///
    /// # Errors
    /// As there; besides, the plugin may be left alone for a while.
    pub fn merge(
        &self,
        request: &MergeRequest,
        judge: impl FnOnce(&MergeResponse) -> Result<(), String>,
    ) -> Answer<MergeResponse> {
        let plugin = &self.inner.plugin;
        let key = plugin.key(request);
        let kept = plugin.kept(key.as_ref());
        self.call(kept, || plugin.merge_anew(request, key), judge)
    }

    /// As [`Plugin::check`], with a judge as of [`Guarded::merge`].
    ///
    /// # Errors
    /// As there.
    pub fn check(
        &self,
        request: &CheckRequest,
        judge: impl FnOnce(&Vec<Finding>) -> Result<(), String>,
    ) -> Answer<Vec<Finding>> {
        let plugin = &self.inner.plugin;
        let key = plugin.key(request);
        let kept = plugin.kept(key.as_ref());
        self.call(kept, || plugin.check_anew(request, key), judge)
    }

    /// As [`Plugin::build_chain`], with a judge as of [`Guarded::merge`].
    ///
    /// # Errors
    /// As there.
    pub fn build_chain(
        &self,
        request: &ChainRequest,
        judge: impl FnOnce(&ChainResponse) -> Result<(), String>,
    ) -> Answer<ChainResponse> {
        let plugin = &self.inner.plugin;
        let key = plugin.key(request);
        let kept = plugin.kept(key.as_ref());
        self.call(kept, || plugin.build_chain_anew(request, key), judge)
    }

    fn call<T: Send + Sync>(
        &self,
        kept: Option<Answer<T>>,
        call: impl FnOnce() -> Answer<T> + Send,
        judge: impl FnOnce(&T) -> Result<(), String>,
    ) -> Answer<T> {
        let is_new = kept.is_none();
        let answer = match kept {
            Some(kept) => {
                self.inner.statistics.kept_result_used();
                self.judged(kept, judge)
            }
            None => self.let_through(call, judge),
        };
        match &answer {
            // A kept answer says nothing about how the plugin is now, but one that cannot be used stays unusable.
            Ok(_) | Err(CallError::Failure(_)) if is_new => self.step(Event::Succeeded),
            Err(CallError::Fault(fault)) if fault.is_of_plugin() => self.step(Event::Faulted),
            Ok(_) | Err(_) => {}
        }
        answer
    }

    fn judged<T>(
        &self,
        answer: Answer<T>,
        judge: impl FnOnce(&T) -> Result<(), String>,
    ) -> Answer<T> {
        let response = answer?;
        judge(&response)
            .map_err(|detail| CallError::Fault(self.fault(FaultKind::Output { detail })))?;
        Ok(response)
    }

    fn let_through<T: Send + Sync>(
        &self,
        call: impl FnOnce() -> Answer<T> + Send,
        judge: impl FnOnce(&T) -> Result<(), String>,
    ) -> Answer<T> {
        let statistics = &self.inner.statistics;
        let refuse = |kind| {
            let answer = Err(CallError::Fault(self.fault(kind)));
            statistics.called(Outcome::of(&answer), None);
            answer
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
        let answer = on_a_thread_of_low_priority(call)
            .unwrap_or_else(|kind| Err(CallError::Fault(self.fault(kind))));
        let duration = begin.elapsed();
        let answer = self.judged(answer, judge);
        statistics.called(Outcome::of(&answer), Some(duration));
        answer
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

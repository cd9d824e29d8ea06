//! wasmtime, set up: engine, linker, clock and slots.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{
    Cache, CacheConfig, Config, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig,
    Store,
};

use crate::bindings::base::Base;
use crate::error::EngineError;
use crate::limits::{EngineOptions, Limits};
use crate::results::Results;
use crate::sandbox::Sandbox;
use crate::slots::Slots;
use crate::statistics::Statistics;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(10);
/// Core instances a component consists of, at most. Those of Rust and C have 3, of Python more than 16.
const CORE_INSTANCES: u32 = 32;
/// Stack of a plugin in bytes. The threads that call plugins have at least 2 MiB.
pub(crate) const STACK_BYTES: usize = 512 << 10;

/// Everything plugins share.
pub(crate) struct Runtime {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) linker: Linker<Sandbox>,
    pub(crate) limits: Limits,
    pub(crate) slots: Slots,
    /// Of all slots, those that vendors' plugins may have together.
    pub(crate) shared_slots: Slots,
    pub(crate) results: Results,
    /// Compiling takes much memory, so one at a time.
    pub(crate) compiling: Mutex<()>,
    count_fuel: bool,
    cache: Option<Cache>,
    statistics: Mutex<BTreeMap<String, Arc<Statistics>>>,
}

impl Runtime {
    pub(crate) fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let limits = options.limits;
        let cache = options.cache_dir.as_deref().map(open_cache).transpose()?;
        let engine = engine(&limits, options.count_fuel, cache.clone())?;
        let mut linker = Linker::new(&engine);
        Base::add_to_linker::<_, HasSelf<_>>(&mut linker, |sandbox: &mut Sandbox| sandbox)
            .map_err(configure)?;
        start_clock(engine.weak()).map_err(EngineError::StartClock)?;
        Ok(Self {
            engine,
            linker,
            slots: Slots::new(limits.concurrency),
            shared_slots: Slots::new((limits.concurrency / 4).max(1)),
            results: Results::new(options.result_cache_bytes),
            compiling: Mutex::new(()),
            count_fuel: options.count_fuel,
            limits,
            cache,
            statistics: Mutex::default(),
        })
    }

    /// A store for one call.
    pub(crate) fn store(&self, sandbox: Sandbox, limits: &Limits) -> Store<Sandbox> {
        let mut store = Store::new(&self.engine, sandbox);
        store.limiter(|sandbox| sandbox);
        // Bounds what is copied out of the plugin, whatever lengths it claims.
        store.set_hostcall_fuel(limits.output_bytes);
        // The first tick may come at once.
        let ticks = limits.deadline.as_millis().div_ceil(TICK.as_millis()) + 1;
        store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX >> 1));
        if self.count_fuel {
            // It is counted, not limited: the deadline does that. An engine without fuel refuses the call.
            let _ = store.set_fuel(u64::MAX);
        }
        store
    }

    /// The fuel a store of this engine has burnt.
    pub(crate) fn fuel(&self, store: &Store<Sandbox>) -> Option<u64> {
        let left = self.count_fuel.then(|| store.get_fuel().ok()).flatten()?;
        Some(u64::MAX - left)
    }

    /// The numbers about a name.
    pub(crate) fn statistics(&self, name: &str) -> Arc<Statistics> {
        let mut all = self
            .statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(name.to_owned()).or_default())
    }

    /// Forgets the numbers about a name.
    pub(crate) fn forget_statistics(&self, name: &str) {
        let mut all = self
            .statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.remove(name);
    }

    /// How many components came from the disk cache.
    pub(crate) fn cache_hits(&self) -> usize {
        self.cache.as_ref().map_or(0, Cache::cache_hits)
    }
}

fn configure(error: wasmtime::Error) -> EngineError {
    EngineError::Configure {
        detail: format!("{error:#}"),
    }
}

fn engine(
    limits: &Limits,
    count_fuel: bool,
    cache: Option<Cache>,
) -> Result<wasmtime::Engine, EngineError> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(count_fuel)
        .max_wasm_stack(STACK_BYTES)
        // Same input, same bytes: nothing may depend on the processor.
        .wasm_relaxed_simd(false)
        .cranelift_nan_canonicalization(true)
        // Slots of the pool have this size; the default of 4 GiB each would be too much address space.
        .memory_reservation(u64::try_from(limits.memory_bytes).unwrap_or(u64::MAX))
        .memory_guard_size(64 << 10)
        .cache(cache);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(limits.concurrency)
        .total_core_instances(limits.concurrency.saturating_mul(CORE_INSTANCES))
        .total_memories(limits.concurrency.saturating_mul(2))
        .total_tables(limits.concurrency.saturating_mul(CORE_INSTANCES))
        .max_memories_per_component(2)
        .max_memory_size(limits.memory_bytes);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    match wasmtime::Engine::new(&config) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            // A limit on address space (ulimit -v) forbids the pool. Without it calls are a little slower.
            tracing::warn!(
                error = format!("{error:#}"),
                "no memory pool for plugins, allocating on demand"
            );
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            wasmtime::Engine::new(&config).map_err(configure)
        }
    }
}

/// Ticks as long as the engine lives. It is a thread of the operating system, because a blocked async runtime would stop the
/// clock together with what it should interrupt.
fn start_clock(engine: EngineWeak) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("plugin-clock".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
    Ok(())
}

/// wasmtime's own cache of machine code, keyed by component, wasmtime version and settings, in a directory of ours alone.
fn open_cache(dir: &Path) -> Result<Cache, EngineError> {
    let cannot = |source| EngineError::CacheDir {
        path: dir.display().to_string(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(cannot)?;
    // It may have been there before, with another mode. Only its owner can change that.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(cannot)?;
    let dir = fs::canonicalize(dir).map_err(cannot)?;
    let mut config = CacheConfig::new();
    config.with_directory(dir);
    Cache::new(config).map_err(configure)
}

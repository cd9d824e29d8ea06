//! Admission of plugins.

use std::sync::{Arc, PoisonError};

use sha2::{Digest, Sha256};
use wasmtime::component::InstancePre;

use crate::admit;
use crate::bindings::base::BasePre;
use crate::bindings::chain::ChainPre;
use crate::bindings::check::CheckPre;
use crate::bindings::values::ValuesPre;
use crate::component::Component;
use crate::defaults;
use crate::error::{EngineError, LoadError};
use crate::guard::{GuardOptions, Guarded};
use crate::limits::{EngineOptions, Limits};
use crate::plugin::{Entry, Plugin, Prepared};
use crate::runtime::Runtime;
use crate::sandbox::Sandbox;
use crate::stage::{Descriptor, Stage};
use crate::statistics::Statistics;

/// Loads and runs plugins. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    runtime: Arc<Runtime>,
    defaults: Arc<[Plugin; 3]>,
}

impl Engine {
    /// Starts the engine and loads the three default plugins.
    ///
    /// # Errors
    /// The cache directory is not usable, wasmtime does not work on this machine, or the binary is broken.
    pub fn new(options: EngineOptions) -> Result<Engine, EngineError> {
        let runtime = Arc::new(Runtime::new(options)?);
        let default = |stage| {
            load(&runtime, stage, defaults::default_component(stage), "{}").map_err(|source| {
                EngineError::LoadDefault {
                    stage,
                    source: Box::new(source),
                }
            })
        };
        let defaults = Arc::new([
            default(Stage::TemplateMerge)?,
            default(Stage::VersionCheck)?,
            default(Stage::ChainBuilder)?,
        ]);
        Ok(Engine { runtime, defaults })
    }

    /// Admits a component for a stage. `settings` is a JSON document, `{}` for none.
    ///
    /// Compiling can take seconds: keep it off the reconcile path.
    ///
    /// # Errors
    /// The component is too large, malformed, wants more than plugins get, does not fit the stage, fails while it describes
    /// itself or refuses its settings.
    pub fn load(&self, stage: Stage, bytes: &[u8], settings: &str) -> Result<Plugin, LoadError> {
        load(&self.runtime, stage, bytes, settings)
    }

    /// Checks and compiles a component for a stage, without settings yet. What it says of itself is known then.
    ///
    /// # Errors
    /// As [`Engine::load`], settings apart.
    pub fn prepare(&self, stage: Stage, bytes: &[u8]) -> Result<Component, LoadError> {
        prepare(&self.runtime, stage, bytes)
    }

    /// Puts a vendor's plugin behind a circuit breaker and limits of its own. `options` name it; plugins of one name share numbers.
    pub fn guard(&self, plugin: Plugin, options: GuardOptions) -> Guarded {
        let statistics = self.runtime.statistics(&options.name);
        Guarded::new(plugin, options, statistics)
    }

    /// Numbers about the plugins that were ever guarded under a name.
    pub fn statistics(&self, name: &str) -> Arc<Statistics> {
        self.runtime.statistics(name)
    }

    /// Forgets the numbers about a name.
    pub fn forget_statistics(&self, name: &str) {
        self.runtime.forget_statistics(name);
    }

    /// The plugin of a stage that is compiled into the binary.
    pub fn default_plugin(&self, stage: Stage) -> Plugin {
        let [merge, check, chain] = &*self.defaults;
        match stage {
            Stage::TemplateMerge => merge.clone(),
            Stage::VersionCheck => check.clone(),
            Stage::ChainBuilder => chain.clone(),
        }
    }

    /// What plugins may use.
    pub fn limits(&self) -> &Limits {
        &self.runtime.limits
    }

    /// How many calls were answered by a kept result since the engine started.
    pub fn result_cache_hits(&self) -> u64 {
        self.runtime.results.hits()
    }

    /// How many components were found compiled in the cache directory since the engine started.
    pub fn compile_cache_hits(&self) -> usize {
        self.runtime.cache_hits()
    }
}

fn load(
    runtime: &Arc<Runtime>,
    stage: Stage,
    bytes: &[u8],
    settings: &str,
) -> Result<Plugin, LoadError> {
    prepare(runtime, stage, bytes)?.configure(settings)
}

fn prepare(runtime: &Arc<Runtime>, stage: Stage, bytes: &[u8]) -> Result<Component, LoadError> {
    admit::check(bytes, runtime.limits.component_bytes)?;
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let component = {
        let _one = runtime
            .compiling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        wasmtime::component::Component::new(&runtime.engine, bytes).map_err(|error| {
            LoadError::Compile {
                detail: format!("{error:#}"),
            }
        })?
    };
    let prepared = resolve(runtime, stage, &component)?;
    let short: String = digest.chars().skip("sha256:".len()).take(12).collect();
    let unnamed = Plugin::new(Arc::clone(runtime), stage, digest, short.clone(), prepared);
    let descriptor = unnamed.describe().map_err(LoadError::Faulted)?;
    check_descriptor(&descriptor)?;
    let label = format!("{} ({short})", descriptor.name);
    Ok(Component::new(unnamed.named(descriptor, label)))
}

/// Checks all imports and exports once, so that a call cannot find something missing.
fn resolve(
    runtime: &Runtime,
    stage: Stage,
    component: &wasmtime::component::Component,
) -> Result<Prepared, LoadError> {
    let wrong = |error: wasmtime::Error| LoadError::WrongWorld {
        stage,
        detail: format!("{error:#}"),
    };
    let instance: InstancePre<Sandbox> =
        runtime.linker.instantiate_pre(component).map_err(wrong)?;
    let base = BasePre::new(instance.clone()).map_err(wrong)?;
    let entry = match stage {
        Stage::TemplateMerge => ValuesPre::new(instance).map(Entry::Values),
        Stage::VersionCheck => CheckPre::new(instance).map(Entry::Check),
        Stage::ChainBuilder => ChainPre::new(instance).map(Entry::Chain),
    };
    Ok(Prepared {
        base,
        entry: entry.map_err(wrong)?,
    })
}

fn check_descriptor(descriptor: &Descriptor) -> Result<(), LoadError> {
    let name = &descriptor.name;
    let label = (1..=63).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !label {
        return Err(LoadError::Descriptor {
            detail: format!("name {name:?} is not a DNS label"),
        });
    }
    let version = &descriptor.version;
    let semantic = version.starts_with(|c: char| c.is_ascii_digit())
        && version.len() <= 64
        && version
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b));
    if !semantic {
        return Err(LoadError::Descriptor {
            detail: format!("version {version:?} is not a semantic version"),
        });
    }
    Ok(())
}

//! Admits the component of a DPUPlugin: finds it, checks whose it is, compiles it, asks it who it is.
//!
//! ```text
//!   keys ──> local store ──or──> source (digest, signature) ──> child: parse, imports, world, compile, schema, settings ──> guard
//!                 │                        │                                                │
//!                 └── Resolved ────────────┴── Verified                                     └── Compatible
//! ```

use super::compiler::{Unfit, examine, examine_in_child};
use super::source::{self, Found, Missing};
use super::store::LastGood;
use crate::kit::Context;
use dpf_api::plugin::DpuPlugin;
use dpf_core::dpuplugin::{CallLimits, Step, Stopped, stage};
use dpf_engine::{GuardOptions, Guarded, Limits, Stage};
use dpf_plugin_oci::{Digest, PublicKey};
use kube::ResourceExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Compiling takes much memory, so few at a time.
static COMPILING: Semaphore = Semaphore::const_new(1);

/// What a DPUPlugin asks for, as far as it decides which plugin runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) digest: String,
    pub(super) settings: String,
    pub(super) limits: CallLimits,
}

/// A plugin that may serve.
pub(super) struct Admitted {
    pub(super) plugin: Guarded,
    pub(super) wanted: Wanted,
    pub(super) signed_by: Option<String>,
}

/// Admits what the spec asks for. `serving` is what it wanted when it was admitted last; the same is not loaded again.
///
/// Nothing is written but the local store. If cancelled, a compiler that runs is killed.
pub(super) async fn admit(
    context: &Context,
    plugin: &DpuPlugin,
    serving: Option<&Wanted>,
) -> Result<(Option<Admitted>, Option<String>), Missing> {
    let caps = context.settings.plugins.caps;
    let limits = CallLimits::of(plugin.spec.limits.as_ref(), caps)
        .map_err(|error| unfit(Step::Fit, "LimitsInvalid", error.to_string()))?;
    let wanted = Wanted {
        digest: plugin.spec.digest.clone(),
        settings: settings_of(plugin),
        limits,
    };
    let digest: Digest = wanted
        .digest
        .parse()
        .map_err(|error: dpf_plugin_oci::Error| {
            unfit(Step::Resolve, "DigestInvalid", error.to_string())
        })?;
    let keys = match &plugin.spec.signature {
        Some(policy) => Some(source::keys(context, policy).await?),
        None => None,
    };
    let found = find(context, plugin, &digest, keys.as_deref()).await?;
    let signed_by = found.signed_by.map(|key| key.to_string());
    if serving == Some(&wanted) {
        return Ok((None, signed_by));
    }
    let name = plugin.name_any();
    let guarded = load(
        context,
        &name,
        stage(plugin.spec.stage),
        found.bytes,
        &wanted,
    )
    .await?;
    let admitted = Admitted {
        plugin: guarded,
        wanted,
        signed_by: signed_by.clone(),
    };
    Ok((Some(admitted), signed_by))
}

/// The settings as text; the same settings are the same text.
pub(super) fn settings_of(plugin: &DpuPlugin) -> String {
    let settings = plugin.spec.settings.as_ref();
    settings.map_or_else(|| "{}".to_owned(), |settings| settings.0.to_string())
}

/// From the local store if everything about it still holds, else from where it comes from.
async fn find(
    context: &Context,
    plugin: &DpuPlugin,
    digest: &Digest,
    keys: Option<&[PublicKey]>,
) -> Result<Found, Missing> {
    let store = &context.settings.plugins.store;
    let limit = context.engine.limits().component_bytes;
    if let Some(bytes) = store.component(digest, limit) {
        match keys {
            None => {
                return Ok(Found {
                    bytes,
                    proof: None,
                    signed_by: None,
                });
            }
            Some(keys) => {
                let proof = store.proof(digest);
                let signer = proof
                    .as_ref()
                    .and_then(|p| source::recheck(p, keys, digest));
                if let Some(signer) = signer {
                    return Ok(Found {
                        bytes,
                        proof,
                        signed_by: Some(signer),
                    });
                }
            }
        }
    }
    let found = source::fetch(context, plugin, digest, keys, limit).await?;
    store.keep(digest, &found.bytes, found.proof.as_ref());
    Ok(found)
}

/// Examines, compiles and guards a component.
pub(super) async fn load(
    context: &Context,
    name: &str,
    stage: Stage,
    component: Vec<u8>,
    wanted: &Wanted,
) -> Result<Guarded, Missing> {
    let begin = Instant::now();
    let settings = &context.settings.plugins;
    let component = Arc::new(component);
    {
        // Closed only when the process ends.
        let _one = COMPILING.acquire().await;
        if let Some(program) = &settings.compiler {
            examine_in_child(
                program,
                &settings.compiled_dir,
                context.engine.limits(),
                stage,
                &component,
                &wanted.settings,
            )
            .await
            .map_err(not_compatible)?;
        }
        let (engine, bytes, text) = (
            context.engine.clone(),
            component.clone(),
            wanted.settings.clone(),
        );
        let in_child = settings.compiler.is_some();
        let loaded = tokio::task::spawn_blocking(move || {
            if !in_child {
                examine(&engine, stage, &bytes, &text)?;
            }
            engine.load(stage, &bytes, &text).map_err(Unfit::from)
        })
        .await;
        let plugin = match loaded {
            Ok(plugin) => plugin.map_err(not_compatible)?,
            Err(error) => {
                return Err(unfit(
                    Step::Fit,
                    "LoadFailed",
                    format!("loading the plugin ended: {error}"),
                ));
            }
        };
        context.engine.statistics(name).compiled_in(begin.elapsed());
        let options = GuardOptions {
            name: name.to_owned(),
            limits: engine_limits(context.engine.limits(), wanted.limits),
        };
        Ok(context.engine.guard(plugin, options))
    }
}

/// What a plugin served with last, from the local store alone.
pub(super) async fn restore(context: &Context, plugin: &DpuPlugin) -> Option<Admitted> {
    let store = &context.settings.plugins.store;
    let LastGood {
        digest,
        settings,
        signed_by,
    } = store.last_good(&plugin.uid()?)?;
    let limit = context.engine.limits().component_bytes;
    let bytes = store.component(&digest.parse().ok()?, limit)?;
    let caps = context.settings.plugins.caps;
    let wanted = Wanted {
        digest,
        settings,
        limits: CallLimits::of(plugin.spec.limits.as_ref(), caps).unwrap_or(caps),
    };
    let name = plugin.name_any();
    match load(context, &name, stage(plugin.spec.stage), bytes, &wanted).await {
        Ok(guarded) => Some(Admitted {
            plugin: guarded,
            wanted,
            signed_by,
        }),
        Err(missing) => {
            tracing::warn!(
                plugin = name,
                "what served before the restart does not load: {}",
                missing.stopped.message
            );
            None
        }
    }
}

fn engine_limits(caps: &Limits, limits: CallLimits) -> Limits {
    Limits {
        memory_bytes: limits.memory_bytes,
        deadline: Duration::from_millis(limits.deadline_milliseconds),
        output_bytes: limits.output_bytes,
        concurrency: limits.concurrency,
        log_lines_per_minute: limits.log_lines_per_minute,
        ..caps.clone()
    }
}

fn not_compatible(unfit: Unfit) -> Missing {
    Missing {
        stopped: Stopped {
            step: Step::Fit,
            reason: unfit.reason,
            message: unfit.message,
        },
        transient: unfit.transient,
    }
}

fn unfit(step: Step, reason: &str, message: String) -> Missing {
    Missing {
        stopped: Stopped {
            step,
            reason: reason.to_owned(),
            message,
        },
        transient: false,
    }
}

//! Metrics of plugins. Counters run from the start of the process, over all versions of a plugin.

use crate::kit::Context;
use dpf_engine::{Circuit, DURATION_BUCKETS, Guarded, Outcome, Statistics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::fmt;
use std::sync::Arc;

/// Reads the numbers of all DPUPlugins when it is asked.
pub(super) struct PluginCollector {
    context: Arc<Context>,
}

impl fmt::Debug for PluginCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PluginCollector")
    }
}

/// One DPUPlugin.
struct Measured {
    name: String,
    statistics: Arc<Statistics>,
    loaded: Option<Guarded>,
    services: usize,
}

type Label<'a> = (&'static str, &'a str);

impl PluginCollector {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    fn measure(&self) -> Vec<Measured> {
        let registry = &self.context.plugins;
        let names = registry.names().into_iter();
        names
            .map(|name| Measured {
                statistics: self.context.engine.statistics(&name),
                loaded: registry.loaded(&name),
                services: registry.standing(&name).services,
                name,
            })
            .collect()
    }
}

impl Collector for PluginCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.measure();
        calls(&mut encoder, &all)?;
        durations(&mut encoder, &all)?;
        states(&mut encoder, &all)?;
        counter(
            &mut encoder,
            "dpf_plugin_cache_hits",
            "Calls that a kept result answered.",
            &all,
            |plugin| plugin.statistics.cache_hits(),
        )?;
        counter(
            &mut encoder,
            "dpf_plugin_log_lines",
            "Lines a plugin wrote to the log.",
            &all,
            |plugin| plugin.statistics.log_lines().0,
        )?;
        counter(
            &mut encoder,
            "dpf_plugin_log_lines_dropped",
            "Lines of log that were dropped because there were too many.",
            &all,
            |plugin| plugin.statistics.log_lines().1,
        )?;
        gauge(
            &mut encoder,
            ("dpf_plugin_memory_peak", Some(Unit::Bytes)),
            "The most linear memory a call has used.",
            &all,
            |plugin| plugin.statistics.memory_peak_bytes() as f64,
        )?;
        gauge(
            &mut encoder,
            ("dpf_plugin_compile", Some(Unit::Seconds)),
            "Time the last admission spent on checks and compilation.",
            &all,
            |plugin| plugin.statistics.compile_duration().as_secs_f64(),
        )?;
        gauge(
            &mut encoder,
            ("dpf_plugin_services", None),
            "Services a plugin serves.",
            &all,
            |plugin| plugin.services as f64,
        )
    }
}

fn calls(encoder: &mut DescriptorEncoder<'_>, all: &[Measured]) -> fmt::Result {
    let help = "Calls of a plugin by how they ended.";
    let mut family =
        encoder.encode_descriptor("dpf_plugin_calls", help, None, MetricType::Counter)?;
    for plugin in all {
        for outcome in Outcome::ALL {
            let labels: [Label<'_>; 2] = [("plugin", &plugin.name), ("outcome", outcome.as_str())];
            let mut metric = family.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&plugin.statistics.calls(outcome), None)?;
        }
    }
    Ok(())
}

fn durations(encoder: &mut DescriptorEncoder<'_>, all: &[Measured]) -> fmt::Result {
    let help = "Time of a call that ran, waiting for a slot not included.";
    let unit = Unit::Seconds;
    let mut family = encoder.encode_descriptor(
        "dpf_plugin_call_duration",
        help,
        Some(&unit),
        MetricType::Histogram,
    )?;
    let bounds = || DURATION_BUCKETS.into_iter().chain([f64::MAX]);
    for plugin in all {
        let buckets: Vec<(f64, u64)> = bounds().zip(plugin.statistics.durations()).collect();
        let (count, total) = plugin.statistics.total_duration();
        let labels: [Label<'_>; 1] = [("plugin", &plugin.name)];
        let mut metric = family.encode_family(&labels)?;
        metric.encode_histogram::<NoLabelSet>(total.as_secs_f64(), count, &buckets, None)?;
    }
    Ok(())
}

/// What is loaded, and whether calls reach it.
fn states(encoder: &mut DescriptorEncoder<'_>, all: &[Measured]) -> fmt::Result {
    let help = "1 for the state of the circuit of a plugin.";
    let mut family =
        encoder.encode_descriptor("dpf_plugin_circuit", help, None, MetricType::Gauge)?;
    let loaded = || all.iter().filter_map(|p| Some((p, p.loaded.as_ref()?)));
    for (plugin, guarded) in loaded() {
        let circuit = match guarded.circuit() {
            Circuit::Closed => "closed",
            Circuit::Open { .. } => "open",
            Circuit::HalfOpen => "half_open",
        };
        for state in ["closed", "open", "half_open"] {
            let labels: [Label<'_>; 2] = [("plugin", &plugin.name), ("state", state)];
            set(
                &mut family,
                &labels,
                if state == circuit { 1.0 } else { 0.0 },
            )?;
        }
    }
    let help = "1 for the component of a plugin in use.";
    let mut family = encoder.encode_descriptor("dpf_plugin_info", help, None, MetricType::Gauge)?;
    for (plugin, guarded) in loaded() {
        let labels: [Label<'_>; 4] = [
            ("plugin", &plugin.name),
            ("stage", guarded.stage().as_str()),
            ("digest", guarded.digest()),
            ("version", &guarded.plugin().descriptor().version),
        ];
        set(&mut family, &labels, 1.0)?;
    }
    Ok(())
}

fn set(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: f64) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(&value)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: &[Measured],
    value: impl Fn(&Measured) -> u64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for plugin in all {
        let labels: [Label<'_>; 1] = [("plugin", &plugin.name)];
        let mut metric = family.encode_family(&labels)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value(plugin), None)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    (name, unit): (&str, Option<Unit>),
    help: &str,
    all: &[Measured],
    value: impl Fn(&Measured) -> f64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
    for plugin in all {
        let labels: [Label<'_>; 1] = [("plugin", &plugin.name)];
        set(&mut family, &labels, value(plugin))?;
    }
    Ok(())
}

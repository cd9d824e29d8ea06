//! What a reconcile may use.

use super::clusters::DpuClusters;
use crate::plugins::{PluginSettings, Registry};
use dpf_engine::Engine;
use jiff::Timestamp;
use kube::Client;
use kube::runtime::events::Recorder;
use std::path::PathBuf;
use std::sync::Arc;

/// Handles and settings shared by all controllers. Cheap to clone behind an `Arc`.
pub struct Context {
    /// The management cluster.
    pub client: Client,
    /// The clusters whose nodes are DPUs.
    pub dpu_clusters: DpuClusters,
    /// Runs the plugins.
    pub engine: Engine,
    /// Plugins of vendors, and which deployment uses which.
    pub plugins: Arc<Registry>,
    /// Writes events.
    pub recorder: Recorder,
    /// Outgoing HTTP: charts, images, BMCs.
    pub http: reqwest::Client,
    /// What time it is.
    pub clock: Clock,
    /// What the operator chose.
    pub settings: Settings,
}

impl Context {
    /// The time of this reconcile.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Where the time of decisions comes from: the clock of the machine, unless a simulation turns its own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that is read by this function.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(Timestamp::now)
    }
}

/// What the operator chose on the command line.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of DPFOperatorConfig, Argo CD Applications and registry credentials.
    pub operator_namespace: String,
    /// Where DPUNodes and DPUDevices are looked up besides the namespace of the DPUSet.
    pub inventory_namespace: String,
    /// Directory of downloaded images and rendered configuration.
    pub bfb_dir: PathBuf,
    /// Address under which BMCs reach the image registry of this process, `http://host:port`.
    pub registry_url: String,
    /// Other places to fetch from.
    pub mirrors: Mirrors,
    /// Plugins of vendors.
    pub plugins: PluginSettings,
    /// Version of this controller manager, written on nodes and DPUs.
    pub version: String,
}

/// Replaces the beginning of URLs, as an air-gapped site does.
#[derive(Clone, Debug, Default)]
pub struct Mirrors(Vec<(String, String)>);

impl Mirrors {
    /// Parses `FROM=TO` entries.
    ///
    /// # Errors
    /// The entry that has no `=`, with the form to use.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut pairs = Vec::new();
        for entry in entries {
            let (from, to) = entry
                .split_once('=')
                .filter(|(from, to)| !from.is_empty() && !to.is_empty())
                .ok_or_else(|| {
                    format!("mirror {entry:?} is not of the form FROM_URL_PREFIX=TO_URL_PREFIX")
                })?;
            pairs.push((
                from.trim_end_matches('/').to_owned(),
                to.trim_end_matches('/').to_owned(),
            ));
        }
        pairs.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Ok(Self(pairs))
    }

    /// The URL to fetch instead; the longest matching prefix wins and ends at a path boundary.
    #[must_use]
    pub fn resolve(&self, url: &str) -> String {
        self.replace(url, |_| true)
    }

    /// As [`resolve`](Self::resolve), but without mirrors of whole schemes (`https://=...`). Those stand for the world outside of a
    /// development cluster, whose answers are made up; nothing that is pinned by a digest can come from there.
    #[must_use]
    pub fn resolve_pinned(&self, url: &str) -> String {
        self.replace(url, |from| from.contains("://"))
    }

    fn replace(&self, url: &str, applies: impl Fn(&str) -> bool) -> String {
        for (from, to) in self.0.iter().filter(|(from, _)| applies(from)) {
            if let Some(rest) = url.strip_prefix(from.as_str())
                && (rest.is_empty() || rest.starts_with(['/', '?']))
            {
                return format!("{to}{rest}");
            }
        }
        url.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_replace_whole_path_segments() {
        let mirrors = Mirrors::parse([
            "https://example.com=http://m/a",
            "https://example.com/charts=http://m/b/",
        ])
        .unwrap();
        assert_eq!(
            mirrors.resolve("https://example.com/charts/index.yaml"),
            "http://m/b/index.yaml"
        );
        assert_eq!(mirrors.resolve("https://example.com/x"), "http://m/a/x");
        assert_eq!(
            mirrors.resolve("https://example.community/x"),
            "https://example.community/x"
        );
        assert!(Mirrors::parse(["nonsense"]).is_err());
    }

    #[test]
    fn a_mirror_of_everything_has_nothing_that_is_pinned() {
        let mirrors = Mirrors::parse(["https://=http://m/all", "https://example.com=http://m/a"]);
        let mirrors = mirrors.unwrap();
        let (named, other) = ("https://example.com/v2", "https://example.org/v2");
        assert_eq!(mirrors.resolve(other), "http://m/all//example.org/v2");
        assert_eq!(mirrors.resolve_pinned(other), other);
        assert_eq!(mirrors.resolve_pinned(named), "http://m/a/v2");
    }
}

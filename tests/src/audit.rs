//! What the controller manager asked the API servers to change, request by request.
//!
//! A watch tells what is different; the audit also tells of requests that changed nothing, and who asked.

use anyhow::Context as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What the controller manager calls itself.
const HOST_AGENT: &str = "dpf-host/";

/// A request that asked for a change.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// `host` or `dpu`: the cluster.
    #[serde(skip)]
    pub cluster: &'static str,
    /// When it was answered, RFC 3339.
    pub time: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// The field manager it names.
    pub field_manager: String,
    /// `create`, `replace`, `apply`, `patch` or `delete`.
    pub verb: String,
    /// Path of the object.
    pub path: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// Whether anything was different afterwards.
    pub changed: bool,
}

impl Write {
    /// Resource, name and subresource; the last one is empty for the object itself.
    #[must_use]
    pub fn object(&self) -> (&str, &str, &str) {
        let mut parts = self.path.split('/').filter(|part| !part.is_empty());
        let group = parts.next();
        let _ = (group == Some("apis")).then(|| parts.next());
        let _version = parts.next();
        let mut rest: Vec<&str> = parts.collect();
        if rest.len() > 2 && rest.first() == Some(&"namespaces") {
            rest.drain(..2);
        }
        let at = |index: usize| rest.get(index).copied().unwrap_or_default();
        (at(0), at(1), at(2))
    }

    /// Whether it writes the status.
    #[must_use]
    pub fn is_status(&self) -> bool {
        self.object().2 == "status"
    }

    /// One line for messages of failed tests.
    #[must_use]
    pub fn line(&self) -> String {
        let Self {
            cluster,
            time,
            user_agent: _,
            field_manager,
            verb,
            path,
            code,
            changed,
        } = self;
        format!("{time} {cluster} {verb} {path} by {field_manager}: {code} changed={changed}")
    }
}

/// Everything the controller manager asked to change so far, in both clusters, in the order of time.
///
/// # Errors
/// When the development cluster in this directory writes no audit.
pub fn of_host(directory: &Path) -> anyhow::Result<Vec<Write>> {
    let mut all = Vec::new();
    for (cluster, file) in [("host", "host.audit"), ("dpu", "dpu.audit")] {
        let path = directory.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        // The last line may be in the making.
        let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        for line in complete.lines() {
            let mut write: Write = serde_json::from_str(line).with_context(|| line.to_owned())?;
            write.cluster = cluster;
            if write.user_agent.starts_with(HOST_AGENT) {
                all.push(write);
            }
        }
    }
    all.sort_by(|a, b| a.time.cmp(&b.time));
    Ok(all)
}

/// How many requests of each kind, as lines.
#[must_use]
pub fn summary(writes: &[Write]) -> String {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for write in writes {
        let (resource, _, subresource) = write.object();
        let key = format!(
            "{} {resource}/{subresource} {} by {}",
            write.cluster, write.verb, write.field_manager
        );
        let count = counts.entry(key).or_default();
        count.0 += 1;
        count.1 += usize::from(!write.changed);
    }
    let lines = counts.into_iter().map(|(key, (all, idle))| {
        format!(
            "{all:>5} {key}{}",
            if idle > 0 {
                format!(" ({idle} changed nothing)")
            } else {
                String::new()
            }
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let write = |path: &str| Write {
            cluster: "host",
            time: String::new(),
            user_agent: String::new(),
            field_manager: String::new(),
            verb: String::new(),
            path: path.to_owned(),
            code: 200,
            changed: true,
        };
        for (path, expected) in [
            ("/api/v1/nodes/a", ("nodes", "a", "")),
            ("/api/v1/namespaces/n", ("namespaces", "n", "")),
            (
                "/api/v1/namespaces/n/pods/p/status",
                ("pods", "p", "status"),
            ),
            ("/apis/g/v1/namespaces/n/dpus", ("dpus", "", "")),
        ] {
            assert_eq!(write(path).object(), expected, "{path}");
        }
    }
}

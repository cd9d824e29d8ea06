//! Entry points for fuzzing: each takes any bytes and must neither panic nor take more memory than the input explains.
//!
//! `devcluster/apiserver/fuzz` runs them under libFuzzer; `tests/fuzz.rs` runs them over a corpus and generated input.

use jiff::Timestamp;
use serde_json::json;

use crate::auth::{Caller, User};
use crate::options::Options;
use crate::request::{ApiRequest, Method};
use crate::store::{Reply, Store, StoreConfig};

/// Largest input that is tried.
const LIMIT: usize = 64 * 1024;

/// What a target drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Input is a request target: path and query.
    Path,
    /// Input is a label selector, and a field selector behind a line break.
    Selector,
    /// Input is a patch; its first byte chooses the kind.
    Patch,
    /// Input is a configuration to apply.
    Apply,
}

/// A server with one custom and one built-in object to be attacked.
#[derive(Debug)]
pub struct Victim(Store);

impl Default for Victim {
    fn default() -> Self {
        Self::new()
    }
}

impl Victim {
    /// A fresh one.
    pub fn new() -> Self {
        let options = Options::default();
        let config = StoreConfig {
            history_limit: 100,
            history_bytes: options.history_bytes,
            immediate_pod_deletion: true,
            tokens: Vec::new(),
            anonymous: true,
            rbac: true,
        };
        let mut victim = Self(Store::new(config, 1, Timestamp::UNIX_EPOCH));
        let definition = json!({"metadata": {"name": "widgets.fuzz.example.com"}, "spec": {
            "group": "fuzz.example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "size": {"type": "integer", "minimum": 1, "default": 3},
                    "color": {"type": "string", "enum": ["red", "blue"]},
                    "any": {"x-kubernetes-preserve-unknown-fields": true},
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string"}, "port": {"type": "integer"}}}}}}}}}}]}});
        let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        victim.send(Method::Post, crds, "", definition.to_string().into_bytes());
        let widget = json!({"metadata": {"name": "w"}, "spec": {"size": 1, "tags": ["a"], "ports": [{"name": "p"}]}});
        let widgets = "/apis/fuzz.example.com/v1/namespaces/default/widgets";
        victim.send(Method::Post, widgets, "", widget.to_string().into_bytes());
        let pod = json!({"metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1}]}]}});
        let pods = "/api/v1/namespaces/default/pods";
        victim.send(Method::Post, pods, "", pod.to_string().into_bytes());
        victim
    }

    fn send(&mut self, method: Method, target: &str, content_type: &str, body: Vec<u8>) -> usize {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (path, query) = ApiRequest::parse_target(path, Some(query));
        let request = ApiRequest {
            method,
            path,
            query,
            accept: String::new(),
            content_type: content_type.to_owned(),
            user_agent: "fuzz".to_owned(),
            body: body.into(),
            caller: Caller::Known(User::admin()),
            impersonation: Default::default(),
        };
        let (reply, _) = self.0.handle(&request, Timestamp::UNIX_EPOCH);
        self.0.settle(Timestamp::UNIX_EPOCH);
        match reply {
            Reply::Response(response) => response.body.iter().map(bytes::Bytes::len).sum(),
            Reply::Watch(mut plan) => {
                let _ = self.0.watch_step(&mut plan, Timestamp::UNIX_EPOCH);
                0
            }
        }
    }

    /// Lets a target have some bytes, and returns the size of the largest answer.
    pub fn attack(&mut self, target: Target, input: &[u8]) -> usize {
        let input = input.get(..input.len().min(LIMIT)).unwrap_or_default();
        let text = String::from_utf8_lossy(input);
        let objects = [
            "/apis/fuzz.example.com/v1/namespaces/default/widgets/w",
            "/api/v1/namespaces/default/pods/p",
        ];
        match target {
            Target::Path => [Method::Get, Method::Delete, Method::Post, Method::Patch]
                .into_iter()
                .map(|method| {
                    // Nothing the others need may go.
                    let dry = if text.contains('?') { "&" } else { "?" };
                    let target = format!("/{text}{dry}dryRun=All");
                    self.send(
                        method,
                        &target,
                        "application/merge-patch+json",
                        b"{}".to_vec(),
                    )
                })
                .max()
                .unwrap_or(0),
            Target::Selector => {
                let (labels, fields) = text.split_once('\n').unwrap_or((&text, ""));
                let query = format!(
                    "labelSelector={}&fieldSelector={}",
                    escape(labels),
                    escape(fields)
                );
                let target = format!("/api/v1/pods?{query}");
                self.send(Method::Get, &target, "", Vec::new())
            }
            Target::Patch => {
                let (kind, patch) = input.split_first().unwrap_or((&0, &[]));
                let media = match kind % 3 {
                    0 => "application/json-patch+json",
                    1 => "application/merge-patch+json",
                    _ => "application/strategic-merge-patch+json",
                };
                self.each(&objects, media, "?dryRun=All", patch)
            }
            Target::Apply => {
                let media = "application/apply-patch+yaml";
                self.each(
                    &objects,
                    media,
                    "?fieldManager=fuzz&force=true&dryRun=All",
                    input,
                )
            }
        }
    }

    fn each(&mut self, objects: &[&str], media: &str, query: &str, body: &[u8]) -> usize {
        let mut send = |object: &&str| {
            self.send(
                Method::Patch,
                &format!("{object}{query}"),
                media,
                body.to_vec(),
            )
        };
        objects.iter().map(&mut send).max().unwrap_or(0)
    }
}

fn escape(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

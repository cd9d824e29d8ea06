//! What happens, line by line, until the applied deployments are Ready.

use super::manifests::Manifest;
use crate::describe::{Condition, conditions};
use anyhow::Context as _;
use dpf_api::{provisioning, svc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{Api, ApiResource};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use std::collections::BTreeMap;

/// Longest text of a message while things still move.
const MESSAGE_WIDTH: usize = 110;

/// A DPUDeployment that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Target {
    /// The deployments among what was applied.
    #[must_use]
    pub fn of(manifests: &[Manifest]) -> Vec<Self> {
        let deployments = manifests.iter().filter(|m| m.kind == "DPUDeployment");
        deployments
            .map(|m| Self {
                namespace: m.namespace.clone().unwrap_or_else(|| "default".to_owned()),
                name: m.name.clone(),
            })
            .collect()
    }

    /// Whether the object is this one.
    #[must_use]
    pub fn is(&self, object: &DynamicObject) -> bool {
        object.namespace().as_deref() == Some(self.namespace.as_str())
            && object.name_any() == self.name
    }
}

/// What was last seen of an object.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    phase: String,
    conditions: Vec<Condition>,
    current: bool,
}

impl Seen {
    fn of(object: &DynamicObject) -> Self {
        let observed = object.data.pointer("/status/observedGeneration");
        let observed = observed.and_then(serde_json::Value::as_i64);
        let phase = object
            .data
            .pointer("/status/phase")
            .and_then(|p| p.as_str());
        Self {
            phase: phase.unwrap_or_default().to_owned(),
            conditions: conditions(object),
            current: observed.is_none() || observed == object.metadata.generation,
        }
    }

    fn is_ready(&self) -> bool {
        let mut ready = self.conditions.iter().filter(|c| c.type_ == "Ready");
        self.current && ready.any(Condition::is_true)
    }
}

/// Follows deployments and DPUs.
pub struct Follow {
    targets: Vec<Target>,
    seen: BTreeMap<(String, String, String), Seen>,
}

impl Follow {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(targets: Vec<Target>) -> Self {
        let seen = BTreeMap::new();
        Self { targets, seen }
    }

    /// Returns when all targets are Ready; every change on the way is told to `tell`.
    ///
    /// # Errors
    /// When the cluster cannot be watched.
    pub async fn until_ready(
        &mut self,
        client: &Client,
        tell: impl Fn(&str),
    ) -> anyhow::Result<()> {
        let deployments = watch(client, svc::GROUP, "DPUDeployment");
        let dpus = watch(client, provisioning::GROUP, "DPU");
        let images = watch(client, provisioning::GROUP, "BFB");
        let mut events = stream::select(stream::select(deployments, dpus), images);
        while let Some((kind, event)) = events.try_next().await.context("failed to watch")? {
            let lines = match event {
                watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                    self.see(kind, &object)
                }
                watcher::Event::Delete(object) => self.lose(kind, &object),
                watcher::Event::Init | watcher::Event::InitDone => Vec::new(),
            };
            for line in lines {
                tell(&line);
            }
            if self.all_ready() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn all_ready(&self) -> bool {
        self.targets
            .iter()
            .all(|target| self.of(target).is_some_and(Seen::is_ready))
    }

    fn of(&self, target: &Target) -> Option<&Seen> {
        let key = (
            "DPUDeployment".to_owned(),
            target.namespace.clone(),
            target.name.clone(),
        );
        self.seen.get(&key)
    }

    fn key(kind: &str, object: &DynamicObject) -> (String, String, String) {
        (
            kind.to_owned(),
            object.namespace().unwrap_or_default(),
            object.name_any(),
        )
    }

    fn see(&mut self, kind: &str, object: &DynamicObject) -> Vec<String> {
        let now = Seen::of(object);
        let title = format!("{kind} {}", object.name_any());
        let before = self.seen.insert(Self::key(kind, object), now.clone());
        changes(&title, &before.unwrap_or_default(), &now)
    }

    fn lose(&mut self, kind: &str, object: &DynamicObject) -> Vec<String> {
        let known = self.seen.remove(&Self::key(kind, object));
        let line = format!("{kind} {} is gone", object.name_any());
        known.map(|_| line).into_iter().collect()
    }

    /// What the targets still wait for, as lines for people.
    #[must_use]
    pub fn open(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for target in &self.targets {
            let title = format!("DPUDeployment {}/{}", target.namespace, target.name);
            let Some(seen) = self.of(target) else {
                lines.push(format!("{title}: it does not exist"));
                continue;
            };
            if seen.conditions.is_empty() {
                lines.push(format!(
                    "{title}: nobody has looked at it; is the controller manager running?"
                ));
            } else if !seen.current {
                lines.push(format!("{title}: the last change was not looked at yet"));
            }
            for condition in seen
                .conditions
                .iter()
                .filter(|c| !c.is_true() && c.type_ != "Ready")
            {
                lines.push(format!("{title}: {}", line(condition, usize::MAX)));
            }
        }
        lines.extend(self.dpus_on_their_way());
        lines
    }

    fn dpus_on_their_way(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for ((kind, namespace, name), seen) in &self.seen {
            if kind != "DPU" || seen.is_ready() {
                continue;
            }
            let open = |c: &&Condition| !c.is_true() && !c.is_untouched() && c.type_ != "Ready";
            let open = seen.conditions.iter().filter(open);
            let open: Vec<_> = open.map(|c| line(c, usize::MAX)).collect();
            lines.push(format!(
                "DPU {namespace}/{name}: {}; {}",
                seen.phase,
                open.join("; ")
            ));
        }
        lines
    }
}

fn watch(
    client: &Client,
    group: &str,
    kind: &'static str,
) -> stream::BoxStream<'static, Result<(&'static str, watcher::Event<DynamicObject>), watcher::Error>>
{
    let gvk = GroupVersionKind::gvk(group, "v1alpha1", kind);
    let plural = format!("{}s", kind.to_lowercase());
    let resource = ApiResource::from_gvk_with_plural(&gvk, &plural);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    events.map_ok(move |event| (kind, event)).boxed()
}

/// Condition, status, reason and message in one line; a message longer than `limit` is cut.
fn line(condition: &Condition, limit: usize) -> String {
    let mut text = format!("{} is {}", condition.type_, condition.status);
    if !condition.is_true() {
        text.push_str(&format!(" ({})", condition.reason));
    }
    let words: Vec<_> = condition.message.split_whitespace().collect();
    let message = words.join(" ");
    if !message.is_empty() {
        text.push_str(": ");
        text.extend(message.chars().take(limit));
        if message.chars().count() > limit {
            text.push('…');
        }
    }
    text
}

/// One line per change that matters.
fn changes(title: &str, before: &Seen, now: &Seen) -> Vec<String> {
    let mut lines = Vec::new();
    if before.phase != now.phase && !now.phase.is_empty() {
        lines.push(format!("{title}: {}", now.phase));
    }
    // A phase tells the story of these kinds; their conditions repeat it.
    if !now.phase.is_empty() && now.phase != "Error" {
        return lines;
    }
    for condition in now.conditions.iter().filter(|c| !c.is_untouched()) {
        let known = before
            .conditions
            .iter()
            .find(|c| c.type_ == condition.type_);
        // What led to an error was not told while the phase spoke for it.
        let known = known.filter(|_| before.phase == now.phase);
        let same = |c: &Condition| {
            (&c.status, &c.reason, &c.message)
                == (&condition.status, &condition.reason, &condition.message)
        };
        let is_summary = condition.type_ == "Ready" && !condition.is_true();
        if !is_summary && !known.is_some_and(same) {
            lines.push(format!("{title}: {}", line(condition, MESSAGE_WIDTH)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(generation: i64, observed: i64, conditions: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": "d", "namespace": "ns", "generation": generation},
            "status": {"observedGeneration": observed, "conditions": conditions}
        }))
        .unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message})
    }

    fn follow() -> Follow {
        Follow::new(vec![Target {
            namespace: "ns".to_owned(),
            name: "d".to_owned(),
        }])
    }

    #[test]
    fn each_change_is_told_once() {
        let mut follow = follow();
        let open = json!([
            condition("Ready", "False", "Pending", "x"),
            condition("A", "False", "Error", "no\nway"),
            condition("B", "Unknown", "Pending", "")
        ]);
        let first = follow.see("DPUDeployment", &deployment(1, 1, open.clone()));
        assert_eq!(first, ["DPUDeployment d: A is False (Error): no way"]);
        assert!(
            follow
                .see("DPUDeployment", &deployment(1, 1, open))
                .is_empty()
        );
        assert_eq!(follow.open().len(), 2);
        let done = json!([
            condition("Ready", "True", "Success", ""),
            condition("A", "True", "Success", ""),
            condition("B", "True", "Success", "")
        ]);
        let last = follow.see("DPUDeployment", &deployment(2, 2, done));
        assert_eq!(last.len(), 3);
        assert!(follow.all_ready());
    }

    #[test]
    fn a_ready_that_speaks_of_an_older_generation_is_not_ready() {
        let mut follow = follow();
        assert!(!follow.all_ready());
        assert!(follow.open()[0].contains("does not exist"));
        follow.see(
            "DPUDeployment",
            &deployment(2, 1, json!([condition("Ready", "True", "Success", "")])),
        );
        assert!(!follow.all_ready());
        assert!(follow.open()[0].contains("not looked at"));
    }

    #[test]
    fn dpus_tell_their_phase_and_in_error_why() {
        let mut follow = follow();
        let dpu = |phase: &str| -> DynamicObject {
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"},
                "status": {"phase": phase, "conditions": [condition("OSInstalled", "False", "FailToInstall", "worn out")]}}))
            .unwrap()
        };
        assert_eq!(
            follow.see("DPU", &dpu("OS Installing")),
            ["DPU p: OS Installing"]
        );
        let open = follow.open().pop().unwrap();
        assert_eq!(
            open,
            "DPU ns/p: OS Installing; OSInstalled is False (FailToInstall): worn out"
        );
        let error = follow.see("DPU", &dpu("Error"));
        assert_eq!(
            error,
            [
                "DPU p: Error",
                "DPU p: OSInstalled is False (FailToInstall): worn out"
            ]
        );
        assert!(follow.see("DPU", &dpu("Error")).is_empty());
        assert_eq!(follow.lose("DPU", &dpu("Error")), ["DPU p is gone"]);
    }
}

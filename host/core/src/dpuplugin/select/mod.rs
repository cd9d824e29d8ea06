//! Which plugin serves which service.

use super::stage;
use crate::selectors::matches;
use dpf_api::keys::annotations::PLUGIN_PREFIX;
use dpf_api::plugin::{DpuPlugin, PluginSelector};
use dpf_stage::Stage;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// What selection needs to know of a DPUPlugin.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// What it serves.
    pub stage: Stage,
    /// Higher ones win.
    pub priority: i32,
    /// Services that get it without naming it.
    pub selector: Option<PluginSelector>,
    /// Namespaces in which it may be used.
    pub namespaces: Option<LabelSelector>,
}

impl Candidate {
    /// The part of a DPUPlugin that matters here.
    #[must_use]
    pub fn of(plugin: &DpuPlugin) -> Self {
        Self {
            name: plugin.name_any(),
            stage: stage(plugin.spec.stage),
            priority: plugin.spec.priority.unwrap_or_default(),
            selector: plugin.spec.selector.clone(),
            namespaces: plugin.spec.namespace_selector.clone(),
        }
    }

    fn selects(&self, name: &str, service: &ServiceFacts) -> bool {
        self.selector.as_ref().is_some_and(|selector| {
            let named = selector
                .services
                .as_ref()
                .is_none_or(|names| names.iter().any(|n| n == name));
            named && matches(selector.templates.as_ref(), Some(&service.labels))
        })
    }
}

/// What selection needs to know of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Name of its DPUServiceTemplate, for messages.
    pub template: String,
    /// Labels of that template.
    pub labels: Labels,
    /// Annotations of that template which name plugins, by stage.
    pub named: BTreeMap<String, String>,
    /// Whether a port of the chain names the service.
    pub in_chain: bool,
}

impl ServiceFacts {
    /// The annotations of a template that name plugins.
    #[must_use]
    pub fn named(annotations: &Labels) -> BTreeMap<String, String> {
        Stage::ALL
            .into_iter()
            .filter_map(|stage| {
                let name = annotations.get(&format!("{PLUGIN_PREFIX}{stage}"))?;
                Some((stage.to_string(), name.trim().to_owned()))
            })
            .filter(|(_, name)| !name.is_empty())
            .collect()
    }
}

/// What selection needs to know of a DPUDeployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its services by name.
    pub services: BTreeMap<String, ServiceFacts>,
}

/// Who serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The built-in plugin.
    Default,
    /// This DPUPlugin.
    Plugin(String),
    /// What the user wrote cannot be followed; why, and what to do.
    Refused(String),
}

/// Who serves a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Merges, by service.
    pub merge: BTreeMap<String, Choice>,
    /// Checks besides the built-in one, with the services each is shown.
    pub checks: Vec<(Choice, BTreeSet<String>)>,
    /// Builds the chain.
    pub chain: Choice,
}

impl Selection {
    /// Names of the plugins in it, each with the services it serves; the chain counts for the services with a port in it.
    #[must_use]
    pub fn served(&self, facts: &DeploymentFacts) -> BTreeMap<String, BTreeSet<String>> {
        let mut served: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut note = |choice: &Choice, services: &mut dyn Iterator<Item = &String>| {
            if let Choice::Plugin(name) = choice {
                served
                    .entry(name.clone())
                    .or_default()
                    .extend(services.cloned());
            }
        };
        for (service, choice) in &self.merge {
            note(choice, &mut std::iter::once(service));
        }
        for (choice, services) in &self.checks {
            note(choice, &mut services.iter());
        }
        let in_chain = facts.services.iter().filter(|(_, f)| f.in_chain);
        note(&self.chain, &mut in_chain.map(|(name, _)| name));
        served
    }
}

/// Chooses for every service of a deployment. `namespace_labels` are those of its namespace.
#[must_use]
pub fn select(
    candidates: &BTreeMap<String, Candidate>,
    namespace_labels: &Labels,
    facts: &DeploymentFacts,
) -> Selection {
    let choosing = Choosing {
        candidates,
        namespace_labels,
        namespace: &facts.namespace,
    };
    Selection {
        merge: facts
            .services
            .iter()
            .map(|(name, service)| (name.clone(), choosing.merge(name, service)))
            .collect(),
        checks: choosing.checks(facts),
        chain: choosing.chain(facts),
    }
}

struct Choosing<'a> {
    candidates: &'a BTreeMap<String, Candidate>,
    namespace_labels: &'a Labels,
    namespace: &'a str,
}

impl<'a> Choosing<'a> {
    fn merge(&self, name: &str, service: &ServiceFacts) -> Choice {
        self.named(Stage::TemplateMerge, service)
            .unwrap_or_else(|| {
                self.best(Stage::TemplateMerge, |candidate| {
                    candidate.selects(name, service)
                })
            })
    }

    fn checks(&self, facts: &DeploymentFacts) -> Vec<(Choice, BTreeSet<String>)> {
        let mut checks: Vec<(Choice, BTreeSet<String>)> = Vec::new();
        let mut add = |choice: Choice, service: &String| match checks
            .iter_mut()
            .find(|(found, _)| *found == choice)
        {
            Some((_, services)) => {
                services.insert(service.clone());
            }
            None => checks.push((choice, BTreeSet::from([service.clone()]))),
        };
        // In the order of priority, so that the messages of a condition keep their order.
        for candidate in self.allowed(Stage::VersionCheck) {
            for (name, service) in &facts.services {
                if candidate.selects(name, service) {
                    add(Choice::Plugin(candidate.name.clone()), name);
                }
            }
        }
        for (name, service) in &facts.services {
            if let Some(choice) = self.named(Stage::VersionCheck, service) {
                add(choice, name);
            }
        }
        checks
    }

    /// There is one chain for all services, so those with a port in it have to agree.
    fn chain(&self, facts: &DeploymentFacts) -> Choice {
        let in_chain: Vec<(&String, &ServiceFacts)> =
            facts.services.iter().filter(|(_, f)| f.in_chain).collect();
        let mut named: Option<(&String, Choice)> = None;
        for (name, service) in &in_chain {
            let Some(choice) = self.named(Stage::ChainBuilder, service) else {
                continue;
            };
            match &named {
                Some((other, chosen)) if *chosen != choice => {
                    return Choice::Refused(format!(
                        "services {other} and {name} are in one chain and their DPUServiceTemplates name different plugins in \
                         annotation {PLUGIN_PREFIX}{}: name the same one, or leave it out of one of them",
                        Stage::ChainBuilder
                    ));
                }
                Some(_) => {}
                None => named = Some((name, choice)),
            }
        }
        if let Some((_, choice)) = named {
            return choice;
        }
        self.best(Stage::ChainBuilder, |candidate| {
            in_chain
                .iter()
                .any(|(name, service)| candidate.selects(name, service))
        })
    }

    /// The plugin that a template names for a stage.
    fn named(&self, stage: Stage, service: &ServiceFacts) -> Option<Choice> {
        let name = service.named.get(stage.as_str())?;
        let place = format!(
            "DPUServiceTemplate {}/{} names DPUPlugin {name} in annotation {PLUGIN_PREFIX}{stage}",
            self.namespace, service.template
        );
        Some(match self.candidates.get(name) {
            None => Choice::Refused(format!(
                "{place}, which does not exist: correct or remove the annotation, or ask an administrator to install the plugin"
            )),
            Some(candidate) if candidate.stage != stage => Choice::Refused(format!(
                "{place}, which serves stage {}: correct the annotation",
                candidate.stage
            )),
            Some(candidate) if !self.is_allowed(candidate) => Choice::Refused(format!(
                "{place}, which may not be used in namespace {}: its spec.namespaceSelector does not select the namespace",
                self.namespace
            )),
            Some(candidate) => Choice::Plugin(candidate.name.clone()),
        })
    }

    fn best(&self, stage: Stage, fits: impl Fn(&Candidate) -> bool) -> Choice {
        self.allowed(stage)
            .into_iter()
            .find(|candidate| fits(candidate))
            .map_or(Choice::Default, |candidate| {
                Choice::Plugin(candidate.name.clone())
            })
    }

    /// The candidates of a stage in this namespace, the most important first.
    fn allowed(&self, stage: Stage) -> Vec<&'a Candidate> {
        let mut allowed: Vec<&Candidate> = self
            .candidates
            .values()
            .filter(|candidate| candidate.stage == stage && self.is_allowed(candidate))
            .collect();
        allowed.sort_by(|a, b| (b.priority, &a.name).cmp(&(a.priority, &b.name)));
        allowed
    }

    fn is_allowed(&self, candidate: &Candidate) -> bool {
        matches(candidate.namespaces.as_ref(), Some(self.namespace_labels))
    }
}

#[cfg(test)]
mod tests;

//! Which plugins are loaded, which deployments they serve, and whom a change concerns.
//!
//! Everything is in memory and derived: plugins from DPUPlugin objects and the local cache, deployments from their reconciles.
//!
//! ```text
//!   DPUPlugin controller ──observe / install / remove──┐
//!   Namespace watch ──────label_namespace──────────────┤  state ──compare with what each deployment was given──> wake
//!   DPUDeployment reconcile ──consult──────────────────┘
//! ```
//!
//! A deployment is woken when, and only when, what it would be given now differs from what it was given last. What it was given
//! is brought up to date as it is woken, so one change wakes it once.

use super::served::{Given, Offer, Served};
use dpf_api::plugin::{FailurePolicy, LastFault};
use dpf_core::dpuplugin::{Candidate, DeploymentFacts, Selection, select};
use dpf_engine::Guarded;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// A pass waits this long for plugins to be known; then it lets others go first.
const PATIENCE: Duration = Duration::from_secs(5);

/// Namespace and name of a DPUDeployment.
pub type DeploymentKey = (String, String);

/// Plugins that are loaded and deployments that use them. Shared by the controllers.
pub struct Registry {
    state: Mutex<State>,
    /// Whether the plugins, and the labels of the namespaces, are known.
    known: watch::Sender<(bool, bool)>,
    deployments: Wakes<DeploymentKey>,
    plugins: Wakes<String>,
}

#[derive(Default)]
struct State {
    candidates: BTreeMap<String, Candidate>,
    entries: BTreeMap<String, Entry>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    records: BTreeMap<DeploymentKey, Record>,
    /// Counts installations, so that each has a number of its own.
    installations: u64,
}

/// One DPUPlugin.
struct Entry {
    policy: FailurePolicy,
    loaded: Option<Loaded>,
    /// The first admission is not over.
    loading: bool,
    problem: Option<String>,
    last_fault: Option<LastFault>,
}

#[derive(Clone)]
struct Loaded {
    plugin: Guarded,
    number: u64,
}

/// What a deployment was given.
struct Record {
    facts: DeploymentFacts,
    selection: Selection,
    offers: BTreeMap<String, OfferKey>,
    /// Number of services by plugin.
    served: BTreeMap<String, usize>,
}

impl Record {
    fn new(state: &State, facts: DeploymentFacts) -> Self {
        let selection = state.select(&facts);
        let served = selection.served(&facts);
        Self {
            offers: state.offers(served.keys()),
            served: served.into_iter().map(|(n, s)| (n, s.len())).collect(),
            facts,
            selection,
        }
    }

    /// Names of the plugins that serve another number of services here than there.
    fn differing(&self, other: Option<&Record>) -> Vec<String> {
        let none = BTreeMap::new();
        let there = other.map_or(&none, |other| &other.served);
        let names: BTreeSet<&String> = self.served.keys().chain(there.keys()).collect();
        let differ = names
            .into_iter()
            .filter(|name| self.served.get(*name) != there.get(*name));
        differ.cloned().collect()
    }
}

/// What tells two offers apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OfferKey {
    Loaded(u64, FailurePolicy),
    Loading,
    Unavailable(FailurePolicy, String),
}

/// What the status of a DPUPlugin needs.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Digest in use.
    pub in_use: Option<String>,
    /// Services served.
    pub services: usize,
    /// The last fault.
    pub last_fault: Option<LastFault>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            known: watch::Sender::new((false, false)),
            deployments: Wakes::default(),
            plugins: Wakes::default(),
        }
    }
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between two changes of the state can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All plugins that existed at the start are known. Until then nobody is told that there are none.
    pub fn set_plugins_known(&self) {
        self.known.send_modify(|(plugins, _)| *plugins = true);
    }

    /// The labels of all namespaces that existed at the start are known.
    pub fn set_namespaces_known(&self) {
        self.known.send_modify(|(_, namespaces)| *namespaces = true);
    }

    /// Waits until plugins and namespaces are known; false when it takes too long.
    pub async fn wait_until_known(&self) -> bool {
        let mut known = self.known.subscribe();
        let known = known.wait_for(|(plugins, namespaces)| *plugins && *namespaces);
        tokio::time::timeout(PATIENCE, known).await.is_ok()
    }

    /// Whether a plugin of this name exists.
    pub fn knows(&self, name: &str) -> bool {
        self.state().entries.contains_key(name)
    }

    /// A DPUPlugin exists with this selector and policy.
    pub fn observe(&self, candidate: Candidate, policy: FailurePolicy) {
        let mut state = self.state();
        let name = candidate.name.clone();
        state.candidates.insert(name.clone(), candidate);
        let entry = state.entries.entry(name).or_insert_with(|| Entry {
            policy,
            loaded: None,
            loading: true,
            problem: None,
            last_fault: None,
        });
        entry.policy = policy;
        self.review(&mut state, |_| true);
    }

    /// A component is admitted and serves from now on.
    pub fn install(&self, name: &str, plugin: Guarded) {
        let mut state = self.state();
        state.installations += 1;
        let number = state.installations;
        if let Some(entry) = state.entries.get_mut(name) {
            entry.loaded = Some(Loaded { plugin, number });
            entry.loading = false;
            entry.problem = None;
        }
        self.review(&mut state, |_| true);
    }

    /// An admission failed. What was loaded before goes on serving.
    pub fn fail(&self, name: &str, problem: &str) {
        let mut state = self.state();
        if let Some(entry) = state.entries.get_mut(name) {
            entry.loading = false;
            entry.problem = Some(problem.to_owned());
        }
        self.review(&mut state, |_| true);
    }

    /// A DPUPlugin is gone.
    pub fn remove(&self, name: &str) {
        let mut state = self.state();
        state.candidates.remove(name);
        state.entries.remove(name);
        self.review(&mut state, |_| true);
    }

    /// Names of all known plugins.
    pub fn names(&self) -> Vec<String> {
        self.state().entries.keys().cloned().collect()
    }

    /// A namespace has these labels; none when it is gone.
    pub fn label_namespace(&self, name: &str, labels: Option<BTreeMap<String, String>>) {
        let mut state = self.state();
        let before = match labels.clone() {
            Some(labels) => state.namespaces.insert(name.to_owned(), labels),
            None => state.namespaces.remove(name),
        };
        if before != labels {
            self.review(&mut state, |record| record.facts.namespace == name);
        }
    }

    /// What serves a deployment now. Later changes of it wake the deployment.
    pub(crate) fn consult(&self, key: &DeploymentKey, facts: DeploymentFacts) -> Given {
        let mut state = self.state();
        let record = Record::new(&state, facts);
        let given = state.give(&record.selection);
        let differing = record.differing(state.records.get(key));
        state.records.insert(key.clone(), record);
        self.plugins.add(differing);
        given
    }

    /// A deployment is gone.
    pub fn forget(&self, key: &DeploymentKey) {
        if let Some(record) = self.state().records.remove(key) {
            self.plugins.add(record.served.into_keys());
        }
    }

    /// A plugin was at fault.
    pub(crate) fn note_fault(&self, name: &str, fault: LastFault) {
        if let Some(entry) = self.state().entries.get_mut(name) {
            entry.last_fault = Some(fault);
        }
        self.plugins.add([name.to_owned()]);
    }

    /// The state of a plugin changed in a way that only its status shows.
    pub(crate) fn touch(&self, name: &str) {
        self.plugins.add([name.to_owned()]);
    }

    /// Everybody who is given this plugin should look again, as after it recovered.
    pub(crate) fn wake_users(&self, name: &str) {
        let state = self.state();
        let users = state
            .records
            .iter()
            .filter(|(_, record)| record.offers.contains_key(name))
            .map(|(key, _)| key.clone());
        self.deployments.add(users);
    }

    /// What the status of a plugin says.
    pub(crate) fn standing(&self, name: &str) -> Standing {
        let state = self.state();
        let entry = state.entries.get(name);
        Standing {
            in_use: entry
                .and_then(|e| e.loaded.as_ref())
                .map(|l| l.plugin.digest().to_owned()),
            services: state
                .records
                .values()
                .filter_map(|record| record.served.get(name))
                .sum(),
            last_fault: entry.and_then(|e| e.last_fault.clone()),
        }
    }

    /// The plugin that is loaded under a name.
    pub fn loaded(&self, name: &str) -> Option<Guarded> {
        let state = self.state();
        let loaded = state.entries.get(name)?.loaded.as_ref()?;
        Some(loaded.plugin.clone())
    }

    /// Takes over the last fault that the status tells of, after a restart.
    pub(crate) fn remember_fault(&self, name: &str, fault: Option<&LastFault>) {
        if let Some(entry) = self.state().entries.get_mut(name)
            && entry.last_fault.is_none()
        {
            entry.last_fault = fault.cloned();
        }
    }

    /// The next deployment to look at again.
    pub(crate) async fn next_deployment(&self) -> DeploymentKey {
        self.deployments.next().await
    }

    /// The next plugin whose status may have changed.
    pub(crate) async fn next_plugin(&self) -> String {
        self.plugins.next().await
    }

    /// Wakes the deployments for which something else holds than what they were given.
    fn review(&self, state: &mut State, concerns: impl Fn(&Record) -> bool) {
        let concerned: Vec<(DeploymentKey, DeploymentFacts)> = state
            .records
            .iter()
            .filter(|(_, record)| concerns(record))
            .map(|(key, record)| (key.clone(), record.facts.clone()))
            .collect();
        for (key, facts) in concerned {
            let now = Record::new(state, facts);
            let Some(record) = state.records.get_mut(&key) else {
                continue;
            };
            if now.selection == record.selection && now.offers == record.offers {
                continue;
            }
            self.plugins.add(now.differing(Some(record)));
            *record = now;
            self.deployments.add([key]);
        }
    }
}

impl State {
    fn select(&self, facts: &DeploymentFacts) -> Selection {
        let none = BTreeMap::new();
        let labels = self.namespaces.get(&facts.namespace).unwrap_or(&none);
        select(&self.candidates, labels, facts)
    }

    fn give(&self, selection: &Selection) -> Given {
        Given::new(selection, |name| match self.entries.get(name) {
            Some(entry) => match &entry.loaded {
                Some(loaded) => Offer::Serving(Served {
                    name: name.to_owned(),
                    plugin: loaded.plugin.clone(),
                    policy: entry.policy,
                }),
                None if entry.loading => Offer::Loading,
                None => Offer::Unavailable {
                    name: name.to_owned(),
                    policy: entry.policy,
                    problem: entry.problem.clone().unwrap_or_default(),
                },
            },
            None => Offer::Loading,
        })
    }

    fn offers<'n>(
        &self,
        names: impl IntoIterator<Item = &'n String>,
    ) -> BTreeMap<String, OfferKey> {
        let offer = |name: &String| match self.entries.get(name) {
            Some(Entry {
                loaded: Some(loaded),
                policy,
                ..
            }) => OfferKey::Loaded(loaded.number, *policy),
            Some(entry) if !entry.loading => {
                OfferKey::Unavailable(entry.policy, entry.problem.clone().unwrap_or_default())
            }
            _ => OfferKey::Loading,
        };
        names
            .into_iter()
            .map(|name| (name.clone(), offer(name)))
            .collect()
    }
}

/// Names that somebody should look at: each once, however often it was added.
struct Wakes<T> {
    pending: Mutex<BTreeSet<T>>,
    added: Notify,
}

impl<T> Default for Wakes<T> {
    fn default() -> Self {
        Self {
            pending: Mutex::new(BTreeSet::new()),
            added: Notify::new(),
        }
    }
}

impl<T: Ord> Wakes<T> {
    fn add(&self, names: impl IntoIterator<Item = T>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pending.len();
        pending.extend(names);
        if pending.len() > before {
            self.added.notify_one();
        }
    }

    async fn next(&self) -> T {
        loop {
            // Asked for before looking, so that what is added in between is not missed.
            let added = self.added.notified();
            let first = self
                .pending
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_first();
            if let Some(first) = first {
                return first;
            }
            added.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::plugin::PluginSelector;
    use dpf_core::dpuplugin::ServiceFacts;
    use dpf_engine::{Engine, EngineOptions, GuardOptions, Limits, Stage};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    use std::sync::OnceLock;

    fn engine() -> &'static Engine {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        ENGINE.get_or_init(|| Engine::new(EngineOptions::default()).unwrap())
    }

    fn guarded() -> Guarded {
        let options = GuardOptions {
            name: "p".to_owned(),
            limits: Limits::default(),
        };
        engine().guard(engine().default_plugin(Stage::TemplateMerge), options)
    }

    fn candidate(name: &str, service: &str) -> Candidate {
        Candidate {
            name: name.to_owned(),
            stage: Stage::TemplateMerge,
            priority: 0,
            selector: Some(PluginSelector {
                services: Some(vec![service.to_owned()]),
                templates: None,
            }),
            namespaces: None,
        }
    }

    fn key(name: &str) -> DeploymentKey {
        ("ns".to_owned(), name.to_owned())
    }

    /// Two deployments, `a` and `b`, each with the service of its name.
    fn registry() -> Registry {
        let registry = Registry::default();
        for name in ["a", "b"] {
            consult(&registry, name);
        }
        registry
    }

    fn consult(registry: &Registry, name: &str) -> Given {
        let facts = DeploymentFacts {
            namespace: "ns".to_owned(),
            services: [(name.to_owned(), ServiceFacts::default())].into(),
        };
        registry.consult(&key(name), facts)
    }

    fn woken(registry: &Registry) -> Vec<String> {
        let mut pending = registry.deployments.pending.lock().unwrap();
        std::mem::take(&mut *pending)
            .into_iter()
            .map(|(_, name)| name)
            .collect()
    }

    #[test]
    fn a_swap_wakes_its_users_once_and_nobody_else() {
        let registry = registry();
        registry.observe(candidate("p", "a"), FailurePolicy::Fail);
        assert_eq!(woken(&registry), ["a"], "it is selected from now on");
        registry.install("p", guarded());
        assert_eq!(woken(&registry), ["a"]);
        consult(&registry, "a");
        registry.observe(candidate("p", "a"), FailurePolicy::Fail);
        assert_eq!(woken(&registry), [""; 0], "nothing changed");
        registry.install("p", guarded());
        assert_eq!(woken(&registry), ["a"]);
        registry.observe(candidate("q", "b"), FailurePolicy::Fail);
        assert_eq!(woken(&registry), ["b"]);
        registry.remove("p");
        assert_eq!(woken(&registry), ["a"]);
    }

    #[test]
    fn a_failed_admission_concerns_nobody_who_is_served() {
        let registry = registry();
        registry.observe(candidate("p", "a"), FailurePolicy::Fail);
        registry.install("p", guarded());
        woken(&registry);
        registry.fail("p", "broken");
        assert_eq!(woken(&registry), [""; 0]);
        let given = consult(&registry, "a");
        assert!(matches!(
            given.merge["a"],
            super::super::served::Assigned::Offer(Offer::Serving(_))
        ));
        registry.observe(candidate("q", "b"), FailurePolicy::Fail);
        registry.fail("q", "broken");
        assert_eq!(woken(&registry), ["b"], "its users are told");
    }

    #[test]
    fn labels_of_a_namespace_decide() {
        let registry = registry();
        let mut limited = candidate("p", "a");
        limited.namespaces = Some(LabelSelector {
            match_labels: Some([("team".to_owned(), "x".to_owned())].into()),
            ..LabelSelector::default()
        });
        registry.observe(limited, FailurePolicy::Fail);
        assert_eq!(woken(&registry), [""; 0]);
        let labels = BTreeMap::from([("team".to_owned(), "x".to_owned())]);
        registry.label_namespace("other", Some(labels.clone()));
        assert_eq!(woken(&registry), [""; 0]);
        registry.label_namespace("ns", Some(labels));
        assert_eq!(woken(&registry), ["a"]);
        assert_eq!(registry.standing("p").services, 1);
        registry.label_namespace("ns", None);
        assert_eq!(woken(&registry), ["a"]);
        assert_eq!(registry.standing("p").services, 0);
    }

    #[test]
    fn a_deployment_that_is_gone_is_not_served() {
        let registry = registry();
        registry.observe(candidate("p", "a"), FailurePolicy::Fail);
        assert_eq!(registry.standing("p").services, 1);
        registry.forget(&key("a"));
        assert_eq!(registry.standing("p").services, 0);
        woken(&registry);
        registry.install("p", guarded());
        assert_eq!(woken(&registry), [""; 0]);
    }
}

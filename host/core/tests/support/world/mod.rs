//! A deployment of up to six services that lives through random edits, and the invariants of every pass.

pub mod canonical;
mod edits;

use super::{Deletion, carry_out_with, example, let_go, pass, stored, words};
use dpf_api::svc::{InterfacePort, ServicePort, ServiceRef, Switch, SwitchPort};
use dpf_core::dpudeployment::{Action, ChildKind, Observed, Plan};
use kube::{Resource, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};

/// Names that begin or end like each other on purpose.
pub const SERVICES: [&str; 6] = ["app", "app2", "x", "a-x", "x-p0", "hbn"];
/// Names whose prefix with a service is the name of another service.
pub const INTERFACES: [&str; 3] = ["p0", "p0_if", "if"];

/// splitmix64: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    /// The next number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    /// One of them.
    pub fn one<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        (!all.is_empty()).then(|| &all[self.below(all.len())])
    }

    /// Once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// The deployment, its children and what was done to them.
#[derive(Clone, Debug)]
pub struct World {
    /// What a pass reads.
    pub observed: Observed,
    /// Names of children that somebody else deleted.
    deleted_by_hand: BTreeSet<String>,
    /// How many revisions of a service there may be.
    revisions_max: BTreeMap<String, usize>,
    /// Services whose values name the services they depend on.
    templated: BTreeSet<String>,
    /// What happened, for the message of a failure.
    pub story: Vec<String>,
}

impl World {
    /// A deployment of so many services, not reconciled yet.
    pub fn new(random: &mut Random, services: usize) -> Self {
        let mut observed = example();
        let template = observed.templates["producer"].clone();
        let configuration = observed.configurations["producer"].clone();
        observed.templates.clear();
        observed.configurations.clear();
        observed.deployment.spec.services.clear();
        for name in SERVICES {
            let mut template = template.clone();
            template.metadata.name = Some(name.to_owned());
            stored(&mut template.metadata, name);
            template.spec.deployment_service_name = name.to_owned();
            observed.templates.insert(name.to_owned(), template);
            let mut configuration = configuration.clone();
            configuration.metadata.name = Some(name.to_owned());
            stored(&mut configuration.metadata, name);
            configuration.spec.deployment_service_name = name.to_owned();
            observed
                .configurations
                .insert(name.to_owned(), configuration);
        }
        let mut world = Self {
            observed,
            deleted_by_hand: BTreeSet::new(),
            revisions_max: BTreeMap::new(),
            templated: BTreeSet::new(),
            story: Vec::new(),
        };
        let mut names = SERVICES.to_vec();
        for _ in 0..services {
            let name = names.remove(random.below(names.len()));
            world.add_service(name);
            if random.once_in(2) {
                world.templated.insert(name.to_owned());
            }
        }
        world.connect();
        world
    }

    /// A world right after its final spec was applied for the first time.
    pub fn anew(&self) -> Self {
        let mut observed = self.observed.clone();
        observed.services.clear();
        observed.interfaces.clear();
        observed.chains.clear();
        observed.sets.clear();
        Self {
            observed,
            deleted_by_hand: BTreeSet::new(),
            revisions_max: BTreeMap::new(),
            templated: self.templated.clone(),
            story: Vec::new(),
        }
    }

    /// Services of which the values have the generated name of another in them.
    pub fn rendered(&self) -> BTreeSet<String> {
        let services = &self.observed.deployment.spec.services;
        let depends = |name: &&String| {
            let depends_on = services.get(*name).and_then(|s| s.depends_on.as_ref());
            depends_on.is_some_and(|list| !list.is_empty())
        };
        self.templated.iter().filter(depends).cloned().collect()
    }

    fn add_service(&mut self, name: &str) {
        self.observed.deployment.spec.services.insert(
            name.to_owned(),
            ServiceRef {
                service_template: name.to_owned(),
                service_configuration: name.to_owned(),
                depends_on: None,
            },
        );
    }

    fn services(&self) -> Vec<String> {
        self.observed
            .deployment
            .spec
            .services
            .keys()
            .cloned()
            .collect()
    }

    /// All interfaces of all services and an uplink in one switch, as the user would correct it after an edit.
    fn connect(&mut self) {
        self.name_dependencies();
        let ports = self
            .services()
            .into_iter()
            .flat_map(|service| {
                let interfaces = self.observed.configurations[&service]
                    .spec
                    .interfaces
                    .iter();
                let ports: Vec<SwitchPort> = interfaces
                    .flatten()
                    .map(|interface| SwitchPort {
                        service: Some(ServicePort {
                            name: service.clone(),
                            interface: interface.name.clone(),
                            ipam: None,
                        }),
                        service_interface: None,
                    })
                    .collect();
                ports
            })
            .chain([SwitchPort {
                service: None,
                service_interface: Some(InterfacePort {
                    match_labels: BTreeMap::from([("uplink".to_owned(), "p0".to_owned())]),
                    ipam: None,
                }),
            }])
            .collect();
        if let Some(chains) = &mut self.observed.deployment.spec.service_chains {
            let service_mtu = chains.switches.first().and_then(|s| s.service_mtu);
            chains.switches = vec![Switch { ports, service_mtu }];
        }
    }

    /// Writes the names of its dependencies, as templates, into the values of a templated service.
    fn name_dependencies(&mut self) {
        let services = &self.observed.deployment.spec.services;
        for (name, configuration) in &mut self.observed.configurations {
            let depends_on = services.get(name).and_then(|s| s.depends_on.as_ref());
            let peers: Vec<String> = depends_on
                .into_iter()
                .flatten()
                .filter(|_| self.templated.contains(name))
                .map(|on| format!("{{{{ .Services.{}.Name }}}}", on.name))
                .collect();
            let settings = configuration.spec.service_configuration.as_mut().unwrap();
            let values = settings
                .helm_chart
                .as_ref()
                .and_then(|chart| chart.values.as_ref());
            let level = values.and_then(|values| values.0.get("level").cloned());
            let mut values = serde_json::Map::new();
            values.extend(level.map(|level| ("level".to_owned(), level)));
            if !peers.is_empty() {
                values.insert("peers".to_owned(), peers.into());
            }
            let chart = (!values.is_empty()).then(|| serde_json::json!({ "values": values }));
            settings.helm_chart = chart.map(|chart| serde_json::from_value(chart).unwrap());
        }
    }

    fn grant_readiness(&mut self) {
        super::make_services_ready(&mut self.observed);
        super::make_rest_ready(&mut self.observed);
    }

    /// One pass with all its invariants. Returns whether it wrote anything.
    pub fn reconcile(&mut self, random: &mut Random) -> bool {
        let plan = pass(&self.observed);
        if plan.actions.is_empty() {
            return false;
        }
        let before = self.observed.clone();
        let deletion = if random.once_in(4) {
            Deletion::Lingers
        } else {
            Deletion::AtOnce
        };
        self.story.push("pass".to_owned());
        self.story.extend(
            plan.actions
                .iter()
                .map(|action| format!("    {}", words(action))),
        );
        carry_out_with(&mut self.observed, plan.clone(), deletion);
        self.check(&before, &plan);
        let next = pass(&self.observed);
        let left: Vec<String> = next.actions.iter().map(words).collect();
        assert!(
            left.is_empty(),
            "the plan of an applied plan is empty: {left:?}"
        );
        if random.once_in(8) {
            self.check_again(&plan);
        }
        true
    }

    /// The same plan a second time changes nothing; what it deleted is gone or going anyway.
    fn check_again(&self, plan: &Plan) {
        let mut again = self.observed.clone();
        let mut plan = plan.clone();
        let deleted: BTreeSet<String> = plan
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Delete { name, .. } => Some(name.clone()),
                _ => None,
            })
            .collect();
        plan.actions.retain(|action| match action {
            Action::Pause { service } | Action::Unpause { service } => !deleted.contains(service),
            _ => true,
        });
        carry_out_with(&mut again, plan, Deletion::Lingers);
        let state = |o: &Observed| {
            serde_json::to_value((&o.services, &o.interfaces, &o.chains, &o.sets)).unwrap()
        };
        assert_eq!(state(&again), state(&self.observed));
    }

    fn check(&mut self, before: &Observed, plan: &Plan) {
        let after = &self.observed;
        let limit = usize::try_from(after.deployment.spec.revision_history_limit.unwrap_or(10));
        for name in self.services() {
            let mut digests = BTreeSet::new();
            let revisions: Vec<_> = revisions(after, &name).collect();
            for service in &revisions {
                let digest = &service.annotations()["svc.dpu.nvidia.com/dpuservice-version"];
                assert!(
                    digests.insert(digest),
                    "{name} has two objects with {digest}"
                );
            }
            let existed = before.services.iter().any(|s| is_of(s, &name));
            let most = limit.unwrap() + 1;
            let bound = self.revisions_max.entry(name.clone()).or_insert(most);
            // A smaller limit takes effect with the next revision.
            *bound = most.max(revisions.len().min(*bound));
            assert!(
                revisions.len() <= *bound,
                "{name} has {} revisions and may have {bound} (existed: {existed})",
                revisions.len()
            );
            let ran = self::revisions(before, &name).any(is_ready);
            let runs = revisions.iter().any(|service| is_ready(service));
            assert!(
                !ran || runs,
                "{name} ran before the pass and does not after it"
            );
        }
        self.check_references(plan);
    }

    /// What objects name is there.
    fn check_references(&self, plan: &Plan) {
        let after = &self.observed;
        let interfaces: BTreeSet<String> = alive(&after.interfaces)
            .map(ResourceExt::name_any)
            .collect();
        for service in alive(&after.services) {
            for interface in service.spec.interfaces.iter().flatten() {
                assert!(
                    interfaces.contains(interface) || self.deleted_by_hand.contains(interface),
                    "{} refers to the interface {interface}, which does not exist",
                    service.name_any()
                );
            }
        }
        let chains = alive(&after.chains).map(ResourceExt::name_any);
        let mut named: BTreeSet<String> = alive(&after.services)
            .map(ResourceExt::name_any)
            .chain(chains)
            .collect();
        // Nodes know a service before its dependencies are ready.
        if !plan.report.waiting_services.is_empty() {
            named.extend(plan.report.desired[&ChildKind::Service].iter().cloned());
        }
        for set in alive(&after.sets) {
            for (key, value) in node_labels(set) {
                if key.contains("-version") {
                    assert!(
                        named.contains(value),
                        "{} labels nodes with {key}={value}, which does not exist",
                        set.name_any()
                    );
                }
            }
        }
    }

    /// Everything becomes ready, again and again, until nothing is left to do.
    pub fn converge(&mut self, random: &mut Random) {
        self.story
            .push("from here on everything becomes ready".to_owned());
        for _ in 0..20 {
            let_go(&mut self.observed);
            self.grant_readiness();
            let waits = self
                .observed
                .services
                .iter()
                .any(|s| s.metadata.deletion_timestamp.is_some());
            if !self.reconcile(random) && !waits {
                return;
            }
        }
        panic!("no end is reached");
    }
}

fn alive<K: Resource>(objects: &[K]) -> impl Iterator<Item = &K> {
    objects
        .iter()
        .filter(|object| object.meta().deletion_timestamp.is_none())
}

fn is_of(object: &dpf_api::svc::DpuService, service: &str) -> bool {
    object.labels()["svc.dpu.nvidia.com/dpudeployment-service"] == service
}

fn revisions<'a>(
    observed: &'a Observed,
    service: &str,
) -> impl Iterator<Item = &'a dpf_api::svc::DpuService> {
    alive(&observed.services).filter(move |object| is_of(object, service))
}

fn is_ready(service: &dpf_api::svc::DpuService) -> bool {
    let conditions = service.status.iter().flat_map(|s| &s.conditions);
    conditions
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn node_labels(set: &dpf_api::provisioning::DpuSet) -> impl Iterator<Item = (&String, &String)> {
    let template = set.spec.dpu_template.spec.as_ref().unwrap();
    let cluster = template.cluster.as_ref().unwrap();
    cluster.node_labels.iter().flatten()
}

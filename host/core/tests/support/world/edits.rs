//! The random events.

use super::{INTERFACES, Random, SERVICES, World};
use crate::support::{Deletion, delete_child, let_go, ready_for};
use dpf_api::svc::{DpuSetTemplate, LocalDependency, ServiceChains, ServiceInterfaceTemplate};
use dpf_core::dpudeployment::ChildKind;
use kube::ResourceExt;

impl World {
    /// One random event.
    pub fn disturb(&mut self, random: &mut Random) {
        let what = match random.below(20) {
            0..=5 => self.edit_configuration(random),
            6..=8 => self.edit_deployment(random),
            9..=10 => self.edit_chain(random),
            11..=15 => self.flip_readiness(random),
            16..=17 => self.delete_by_hand(random),
            18 => {
                let_go(&mut self.observed);
                Some("finalizers go".to_owned())
            }
            _ => {
                self.grant_readiness();
                Some("everything becomes ready".to_owned())
            }
        };
        self.connect();
        self.story.extend(what);
    }

    fn edit_configuration(&mut self, random: &mut Random) -> Option<String> {
        let names = self.services();
        let name = random.one(&names)?;
        let spec = &mut self.observed.configurations.get_mut(name)?.spec;
        Some(match random.below(8) {
            7 => {
                if !self.templated.remove(name) {
                    self.templated.insert(name.clone());
                }
                format!(
                    "{name}: names its dependencies {}",
                    self.templated.contains(name)
                )
            }
            0..=3 => {
                let value = random.below(3);
                let settings = spec.service_configuration.as_mut()?;
                settings.helm_chart = Some(
                    serde_json::from_value(serde_json::json!({"values": {"level": value}})).ok()?,
                );
                format!("{name}: level {value}")
            }
            4 => {
                let policy = [None, Some(true), Some(false)][random.below(3)];
                spec.upgrade_policy.apply_node_effect = policy;
                format!("{name}: applyNodeEffect {policy:?}")
            }
            5 => {
                let in_cluster = random.once_in(2);
                spec.service_configuration.as_mut()?.deploy_in_cluster = Some(in_cluster);
                if in_cluster {
                    spec.interfaces = None;
                }
                format!("{name}: deployInCluster {in_cluster}")
            }
            _ => {
                if spec.service_configuration.as_ref()?.deploy_in_cluster == Some(true) {
                    return None;
                }
                let first = random.below(INTERFACES.len());
                let interfaces = &INTERFACES[first..];
                spec.interfaces = Some(
                    interfaces
                        .iter()
                        .map(|interface| ServiceInterfaceTemplate {
                            name: (*interface).to_owned(),
                            network: "mynad".to_owned(),
                            ..ServiceInterfaceTemplate::default()
                        })
                        .collect(),
                );
                format!("{name}: interfaces {interfaces:?}")
            }
        })
    }

    fn edit_deployment(&mut self, random: &mut Random) -> Option<String> {
        let names = self.services();
        match random.below(6) {
            0 => {
                let name = *random.one(&SERVICES)?;
                if !names.iter().any(|n| n == name) {
                    self.add_service(name);
                }
                Some(format!("service {name} in"))
            }
            1 => {
                let name = random.one(&names)?;
                let services = &mut self.observed.deployment.spec.services;
                services.remove(name);
                for service in services.values_mut() {
                    if let Some(depends_on) = &mut service.depends_on {
                        depends_on.retain(|dependency| dependency.name != *name);
                    }
                }
                Some(format!("service {name} out"))
            }
            2 => {
                let limit = i32::try_from(random.below(4) + 1).ok()?;
                self.observed.deployment.spec.revision_history_limit = Some(limit);
                Some(format!("revisionHistoryLimit {limit}"))
            }
            3 | 4 => {
                // Only on services with smaller names: no circles.
                let position = random.below(names.len().max(1));
                let name = names.get(position)?;
                let on = random.one(&names[..position]).cloned();
                let depends_on = on.clone().map(|name| vec![LocalDependency { name }]);
                let services = &mut self.observed.deployment.spec.services;
                services.get_mut(name)?.depends_on = depends_on;
                Some(format!("{name} depends on {on:?}"))
            }
            _ => {
                let sets = self.observed.deployment.spec.dpus.dpu_sets.as_mut()?;
                if sets.len() > 1 {
                    sets.remove(random.below(sets.len()));
                } else {
                    let suffix = format!("dpuset{}", random.below(3) + 1);
                    if sets.iter().all(|set| set.name_suffix != suffix) {
                        let first: DpuSetTemplate = sets.first()?.clone();
                        sets.push(DpuSetTemplate {
                            name_suffix: suffix,
                            ..first
                        });
                    }
                }
                let suffixes: Vec<&String> = sets.iter().map(|set| &set.name_suffix).collect();
                Some(format!("sets {suffixes:?}"))
            }
        }
    }

    fn edit_chain(&mut self, random: &mut Random) -> Option<String> {
        let spec = &mut self.observed.deployment.spec;
        match (random.below(4), &mut spec.service_chains) {
            (0, Some(_)) => {
                spec.service_chains = None;
                Some("no chain".to_owned())
            }
            (_, None) => {
                spec.service_chains = Some(ServiceChains::default());
                Some("a chain".to_owned())
            }
            (1, Some(chains)) => {
                let policy = [None, Some(true), Some(false)][random.below(3)];
                chains.upgrade_policy.apply_node_effect = policy;
                Some(format!("chain: applyNodeEffect {policy:?}"))
            }
            (_, Some(chains)) => {
                let mtu = [1500, 9000][random.below(2)];
                chains.switches.first_mut()?.service_mtu = Some(mtu);
                Some(format!("chain: MTU {mtu}"))
            }
        }
    }

    fn flip_readiness(&mut self, random: &mut Random) -> Option<String> {
        let ready = !random.once_in(3);
        let conditions = |generation| {
            let mut conditions = ready_for(generation);
            for condition in conditions.iter_mut().flatten() {
                condition.status = if ready { "True" } else { "False" }.to_owned();
            }
            conditions
        };
        let observed = &mut self.observed;
        match random.below(4) {
            0 | 1 => {
                let running: Vec<usize> = (0..observed.services.len())
                    .filter(|i| observed.services[*i].spec.paused != Some(true))
                    .collect();
                let service = &mut observed.services[*random.one(&running)?];
                service.status.get_or_insert_default().conditions =
                    conditions(service.metadata.generation);
                Some(format!("{} ready {ready}", service.name_any()))
            }
            2 => {
                let position = random.below(observed.chains.len().max(1));
                let chain = observed.chains.get_mut(position)?;
                chain.status.get_or_insert_default().conditions =
                    conditions(chain.metadata.generation);
                Some(format!("{} ready {ready}", chain.name_any()))
            }
            _ => {
                let position = random.below(observed.sets.len().max(1));
                let set = observed.sets.get_mut(position)?;
                set.status.get_or_insert_default().conditions = conditions(set.metadata.generation);
                Some(format!("{} ready {ready}", set.name_any()))
            }
        }
    }

    fn delete_by_hand(&mut self, random: &mut Random) -> Option<String> {
        let observed = &mut self.observed;
        let (kind, names): (ChildKind, Vec<String>) = match random.below(4) {
            0 => (
                ChildKind::Service,
                observed
                    .services
                    .iter()
                    .map(ResourceExt::name_any)
                    .collect(),
            ),
            1 => (
                ChildKind::Interface,
                observed
                    .interfaces
                    .iter()
                    .map(ResourceExt::name_any)
                    .collect(),
            ),
            2 => (
                ChildKind::Chain,
                observed.chains.iter().map(ResourceExt::name_any).collect(),
            ),
            _ => (
                ChildKind::Set,
                observed.sets.iter().map(ResourceExt::name_any).collect(),
            ),
        };
        let name = random.one(&names)?.clone();
        let deletion = if random.once_in(2) {
            Deletion::AtOnce
        } else {
            Deletion::Lingers
        };
        delete_child(observed, kind, &name, deletion);
        self.deleted_by_hand.insert(name.clone());
        Some(format!("somebody deletes {kind:?} {name} ({deletion:?})"))
    }
}

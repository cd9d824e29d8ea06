//! Asks the plugins, in the order of the dependencies, and names every revision on the way.
//!
//! The answers are checked like any input from outside before a plan is made of them.

use super::build::{current_service_id, is_legacy, node_label_key, service_id};
use super::digest::VersionDigest;
use super::identity::{Identity, chain_identity, service_identity};
use super::rejection::{Rejection, aggregate, occurred, refusal_text, refused, services_rejected};
use super::requests::{chain_request, check_request, merge_request};
use super::rollout::{Case, Choice, Rules, choose};
use super::validate::{Service, Validated};
use crate::conditions::{is_true, is_true_for};
use dpf_api::conditions::dpudeployment as types;
use dpf_api::conditions::{READY, reasons};
use dpf_api::keys::{annotations, labels};
use dpf_api::svc::{ChainSwitch, DpuService, DpuServiceChain};
use dpf_stage::{
    ChainRequest, ChainResponse, CheckRequest, Failure, Finding, MergeRequest, MergeResponse,
    Severity,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Why a plugin gave no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The user's input is wrong.
    Input(Failure),
    /// The plugin itself failed.
    Fault {
        /// One CamelCase word.
        reason: String,
        /// Which plugin, what happened, and what to do.
        message: String,
    },
}

/// What a plugin answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// The answer.
    pub response: T,
    /// sha256 of the component that gave it; none for the built-in one.
    pub made_by: Option<String>,
}

impl<T> From<T> for Answer<T> {
    /// The answer of the built-in plugin.
    fn from(response: T) -> Self {
        Self {
            response,
            made_by: None,
        }
    }
}

/// The replaceable stages. The host runs plugins behind it; tests may run their logic natively.
pub trait Stages {
    /// Merges and renders the values of one service.
    ///
    /// # Errors
    /// [`Refusal`].
    fn merge(
        &self,
        service: &Service<'_>,
        request: &MergeRequest,
    ) -> Result<Answer<MergeResponse>, Refusal>;
    /// Checks versions and resources.
    ///
    /// # Errors
    /// [`Refusal`].
    fn check(&self, request: &CheckRequest) -> Result<Vec<Finding>, Refusal>;
    /// Builds the switches of the chain.
    ///
    /// # Errors
    /// [`Refusal`].
    fn build_chain(&self, request: &ChainRequest) -> Result<Answer<ChainResponse>, Refusal>;
}

/// One service as it shall be.
#[derive(Clone, Debug)]
pub struct ServiceRevision<'a> {
    /// The service.
    pub service: Service<'a>,
    /// Its version digest.
    pub digest: VersionDigest,
    /// sha256 of the component that made the revision; none for the built-in one.
    pub made_by: Option<String>,
    /// The merged values.
    pub values: Option<Value>,
    /// Which object.
    pub choice: Choice<'a, DpuService>,
    /// `spec.serviceID` of that object.
    pub service_id: String,
    /// Dependencies that are not ready, each with what is known of it. Not empty: nothing of the service is written.
    pub waits_for: Vec<String>,
    /// Label key on the nodes where this revision runs.
    pub node_label_key: String,
    /// Label value on those nodes.
    pub node_label_value: String,
}

impl ServiceRevision<'_> {
    /// Whether nodes are disturbed by this revision in this pass.
    #[must_use]
    pub fn disturbs(&self) -> bool {
        if !self.waits_for.is_empty() {
            return false;
        }
        match self.choice.case {
            Case::Current => !self.choice.retained.is_empty(),
            Case::InPlace => false,
            Case::New => self.service.disruptive(),
        }
    }
}

/// The chain as it shall be.
#[derive(Clone, Debug)]
pub struct ChainRevision<'a> {
    /// Its version digest.
    pub digest: VersionDigest,
    /// sha256 of the component that made the revision; none for the built-in one.
    pub made_by: Option<String>,
    /// Its switches.
    pub switches: Vec<ChainSwitch>,
    /// Which object.
    pub choice: Choice<'a, DpuServiceChain>,
    /// Whether nodes are disturbed by this revision in this pass.
    pub disturbs: bool,
}

/// All that plugins and naming add to a valid deployment.
#[derive(Clone, Debug)]
pub struct Advice<'a> {
    /// The services, dependencies first.
    pub services: Vec<ServiceRevision<'a>>,
    /// The chain, if the deployment has one.
    pub chain: Option<ChainRevision<'a>>,
    /// Warnings of the plugins.
    pub warnings: Vec<Finding>,
    /// Services whose plugin is at fault, each with what conditions say. Nothing of them is touched.
    pub faulted: BTreeMap<String, String>,
}

/// Consults all stages.
///
/// # Errors
/// [`Rejection`] of the first step that fails.
pub fn consult<'a>(
    validated: &Validated<'a>,
    stages: &dyn Stages,
) -> Result<Advice<'a>, Rejection> {
    let mut warnings = check(validated, stages)?;
    let mut revisions: Vec<ServiceRevision<'a>> = Vec::with_capacity(validated.services.len());
    let mut problems = Vec::new();
    let mut faulted = BTreeMap::new();
    for service in &validated.services {
        if service
            .dependencies()
            .any(|d| !revisions.iter().any(|r| r.service.name == d))
        {
            // A dependency failed in this pass; its message says why.
            continue;
        }
        let request = merge_request(validated, service, &revisions);
        match stages.merge(service, &request) {
            Ok(answer) => {
                warnings.extend(answer.response.findings.clone());
                revisions.push(revision(validated, service, answer, &revisions));
            }
            Err(refusal @ Refusal::Fault { .. }) => {
                match standing_still(validated, service, &refusal) {
                    Some(revision) => {
                        revisions.push(revision);
                        faulted.insert(service.name.to_owned(), refused(service.name, &refusal));
                    }
                    None => problems.push((service.name, refusal)),
                }
            }
            Err(refusal) => problems.push((service.name, refusal)),
        }
    }
    if !problems.is_empty() {
        return Err(services_rejected(&problems));
    }
    let chain = build_chain(validated, stages, &revisions, &mut warnings)?;
    Ok(Advice {
        services: revisions,
        chain,
        warnings,
        faulted,
    })
}

/// The revision of a service whose plugin is at fault: what runs, which goes on as it is, so that the other services of the
/// deployment can go on, too. None when nothing of it runs: then there is nothing a chain could lead to.
fn standing_still<'a>(
    validated: &Validated<'a>,
    service: &Service<'a>,
    refusal: &Refusal,
) -> Option<ServiceRevision<'a>> {
    let objects = || {
        validated
            .observed
            .services
            .iter()
            .filter(|object| belongs_to(object, service.name))
    };
    let newest = objects()
        .filter(|object| object.metadata.deletion_timestamp.is_none())
        .max_by_key(|object| {
            let meta = &object.metadata;
            (meta.creation_timestamp.as_ref().map(|t| t.0), &meta.name)
        })?;
    let digest = service_digest_of(newest)?.to_owned();
    let made_by = newest.metadata.annotations.as_ref();
    let made_by = made_by.and_then(|a| a.get(annotations::PLUGIN_DIGEST).cloned());
    let mut revision = ServiceRevision {
        made_by,
        values: newest.spec.helm_chart.values.clone().map(|values| values.0),
        choice: choose_revision(validated, service, &digest),
        service_id: service_id(validated.name, service.name, &digest),
        waits_for: vec![refusal_text(refusal)],
        node_label_key: node_label_key(validated, service),
        node_label_value: newest.metadata.name.clone()?,
        service: service.clone(),
        digest,
    };
    keep_what_runs(&mut revision);
    Some(revision)
}

/// Fields of findings that concern resources; every other finding concerns versions.
const RESOURCE_FIELDS: [&str; 3] = [
    "spec.resourceRequirements",
    "spec.dpuResources",
    "spec.systemReservedResources",
];

fn check(validated: &Validated<'_>, stages: &dyn Stages) -> Result<Vec<Finding>, Rejection> {
    let findings = stages
        .check(&check_request(validated))
        .map_err(|refusal| Rejection {
            passed: vec![types::PREREQUISITES_READY],
            fault: matches!(refusal, Refusal::Fault { .. }),
            failed: vec![(
                types::VERSION_MATCHING_READY,
                reasons::ERROR,
                occurred(&refusal_text(&refusal)),
            )],
        })?;
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) = findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    if errors.is_empty() {
        return Ok(warnings);
    }
    let (resources, versions): (Vec<Finding>, Vec<Finding>) =
        errors.into_iter().partition(|finding| {
            RESOURCE_FIELDS
                .iter()
                .any(|field| finding.field.starts_with(field))
        });
    let mut rejection = Rejection {
        passed: vec![types::PREREQUISITES_READY],
        failed: Vec::new(),
        fault: false,
    };
    for (type_, reason, findings) in [
        (types::VERSION_MATCHING_READY, reasons::ERROR, versions),
        (types::RESOURCE_FITTING_READY, reasons::FAILURE, resources),
    ] {
        if findings.is_empty() {
            rejection.passed.push(type_);
        } else {
            let texts = findings
                .into_iter()
                .map(|finding| finding.message)
                .collect();
            rejection
                .failed
                .push((type_, reason, occurred(&aggregate(texts))));
        }
    }
    Err(rejection)
}

fn revision<'a>(
    validated: &Validated<'a>,
    service: &Service<'a>,
    answer: Answer<MergeResponse>,
    earlier: &[ServiceRevision<'a>],
) -> ServiceRevision<'a> {
    let Identity { digest, made_by } = service_identity(validated, service, &answer);
    let response = answer.response;
    let choice = choose_revision(validated, service, &digest);
    // What runs already goes on running when a dependency has a bad moment.
    let waits_for = match choice.case {
        Case::Current => Vec::new(),
        Case::InPlace | Case::New => unready_dependencies(service, earlier),
    };
    let mut revision = ServiceRevision {
        service_id: service_id(validated.name, service.name, &digest),
        node_label_key: node_label_key(validated, service),
        node_label_value: choice.name.clone(),
        service: service.clone(),
        digest,
        made_by,
        values: response.values,
        choice,
        waits_for,
    };
    keep_what_runs(&mut revision);
    revision
}

fn choose_revision<'a>(
    validated: &Validated<'a>,
    service: &Service<'a>,
    digest: &str,
) -> Choice<'a, DpuService> {
    choose(
        validated
            .observed
            .services
            .iter()
            .filter(|object| belongs_to(object, service.name)),
        Rules {
            digest,
            disruptive: service.disruptive(),
            history_limit: history_limit(validated),
            base: service.name,
            owner_uid: validated.uid,
            taken: &BTreeSet::new(),
        },
        service_digest_of,
        |object| {
            is_true(
                object.status.as_ref().and_then(|s| s.conditions.as_deref()),
                READY,
            )
        },
    )
}

/// Older objects keep what their pods carry: the label of their nodes, and a service ID of the older form.
fn keep_what_runs(revision: &mut ServiceRevision<'_>) {
    let running = match revision.choice.case {
        Case::Current | Case::InPlace => revision.choice.existing,
        // A service that waits for its dependencies leaves the newest older revision where it is.
        Case::New if !revision.waits_for.is_empty() => revision.choice.retained.first().copied(),
        Case::New => None,
    };
    let Some(running) = running else { return };
    if let Some(value) = super::build::selector_value(running, &revision.node_label_key) {
        revision.node_label_value = value;
    }
    let id = if revision.waits_for.is_empty() {
        current_service_id(running, &revision.choice.case)
    } else {
        // Its pods carry this one until the revision is written, and so must the chain.
        running.spec.service_id.clone()
    };
    if let Some(id) = id {
        revision.service_id = id;
    }
}

fn unready_dependencies(service: &Service<'_>, earlier: &[ServiceRevision<'_>]) -> Vec<String> {
    service
        .dependencies()
        .filter_map(|name| {
            let dependency = earlier.iter().find(|r| r.service.name == name)?;
            let current = dependency
                .choice
                .existing
                .filter(|_| dependency.choice.case == Case::Current);
            match current {
                Some(object)
                    if is_true_for(
                        object.status.as_ref().and_then(|s| s.conditions.as_deref()),
                        READY,
                        object.metadata.generation,
                    ) =>
                {
                    None
                }
                Some(_) => Some(format!(
                    "{name} (DPUService {} is not Ready)",
                    dependency.choice.name
                )),
                None => Some(format!(
                    "{name} (DPUService {} is being created)",
                    dependency.choice.name
                )),
            }
        })
        .collect()
}

/// Whether a DPUService is a revision of this service.
pub(super) fn belongs_to(object: &DpuService, service: &str) -> bool {
    service_of(object) == Some(service)
}

/// The service that a DPUService is a revision of: by label, or for objects older than the label by name.
pub(crate) fn service_of(object: &DpuService) -> Option<&str> {
    let labels = object.metadata.labels.as_ref();
    if let Some(service) = labels.and_then(|l| l.get(labels::DPUDEPLOYMENT_SERVICE)) {
        return Some(service);
    }
    service_in_name(object.metadata.name.as_deref()?)
}

/// What a generated name begins with.
pub(super) fn service_in_name(name: &str) -> Option<&str> {
    let (base, suffix) = name.rsplit_once('-')?;
    (suffix.len() == 5).then_some(base)
}

fn service_digest_of(object: &DpuService) -> Option<&str> {
    object
        .metadata
        .annotations
        .as_ref()?
        .get(annotations::DPUSERVICE_VERSION)
        .map(String::as_str)
}

/// `spec.revisionHistoryLimit`; the schema's default when the server did not fill it.
fn history_limit(validated: &Validated<'_>) -> usize {
    let limit = validated
        .observed
        .deployment
        .spec
        .revision_history_limit
        .unwrap_or(10);
    usize::try_from(limit.max(1)).unwrap_or(1)
}

fn build_chain<'a>(
    validated: &Validated<'a>,
    stages: &dyn Stages,
    revisions: &[ServiceRevision<'a>],
    warnings: &mut Vec<Finding>,
) -> Result<Option<ChainRevision<'a>>, Rejection> {
    let Some(chains) = &validated.observed.deployment.spec.service_chains else {
        return Ok(None);
    };
    let answer = stages
        .build_chain(&chain_request(validated, revisions))
        .map_err(|refusal| Rejection {
            passed: vec![
                types::PREREQUISITES_READY,
                types::VERSION_MATCHING_READY,
                types::RESOURCE_FITTING_READY,
            ],
            fault: matches!(refusal, Refusal::Fault { .. }),
            failed: vec![(
                types::DPUSERVICECHAINS_RECONCILED,
                reasons::ERROR,
                occurred(&refusal_text(&refusal)),
            )],
        })?;
    warnings.extend(answer.response.findings);
    let switches: Vec<ChainSwitch> = answer
        .response
        .switches
        .into_iter()
        .map(super::build::chain_switch)
        .collect();
    let ports = chains.switches.iter().flat_map(|switch| &switch.ports);
    let ports = ports.filter_map(|port| port.service.as_ref());
    let referenced: Vec<&ServiceRevision<'_>> = ports
        .filter_map(|port| revisions.iter().find(|r| r.service.name == port.name))
        .collect();
    let by_service = referenced.iter().any(|revision| revision.disturbs());
    // Chains of services with IDs of the older form have a digest without them.
    let ids: BTreeMap<String, String> = match referenced.iter().all(|r| is_legacy(&r.service_id)) {
        true => BTreeMap::new(),
        false => revisions
            .iter()
            .map(|r| (r.service.name.to_owned(), r.service_id.clone()))
            .collect(),
    };
    let Identity { digest, made_by } = chain_identity(
        &chains.switches,
        &ids,
        &switches,
        answer.made_by,
        &validated.observed.chains,
    );
    let disruptive = chains.upgrade_policy.disruptive() || by_service;
    let choice = choose(
        &validated.observed.chains,
        Rules {
            digest: &digest,
            disruptive,
            history_limit: history_limit(validated),
            base: validated.name,
            owner_uid: validated.uid,
            taken: &BTreeSet::new(),
        },
        |chain| {
            chain
                .metadata
                .annotations
                .as_ref()?
                .get(annotations::DPUSERVICECHAIN_VERSION)
                .map(String::as_str)
        },
        |chain| {
            is_true(
                chain.status.as_ref().and_then(|s| s.conditions.as_deref()),
                READY,
            )
        },
    );
    let disturbs = match choice.case {
        Case::Current => !choice.retained.is_empty(),
        Case::InPlace => false,
        Case::New => disruptive,
    };
    Ok(Some(ChainRevision {
        digest,
        made_by,
        switches,
        choice,
        disturbs,
    }))
}

//! Asks the plugins that serve a deployment and makes the plan, on a thread that may block.

use super::error::Error;
use crate::kit::Context;
use crate::plugins::{PluginStages, Registry};
use dpf_core::dpudeployment::{Invalid, Observed, Plan, Rejection, consult, plan, validate};
use dpf_core::dpuplugin::{DeploymentFacts, ServiceFacts};
use kube::ResourceExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a pass decided.
pub(super) enum Decision {
    /// The user's input is wrong.
    Invalid(Invalid),
    /// A stage said no, or failed.
    Rejected(Rejection),
    /// What to write.
    Planned(Plan),
    /// A plugin is being loaded, or busy with others: nothing can be said yet.
    Hold,
}

/// Validates, consults the plugins and plans.
pub(super) async fn decide(context: &Context, observed: Arc<Observed>) -> Result<Decision, Error> {
    if !context.plugins.wait_until_known().await {
        return Ok(Decision::Hold);
    }
    let deployment = &observed.deployment;
    let (namespace, name) = (
        deployment.namespace().unwrap_or_default(),
        deployment.name_any(),
    );
    let registry: Arc<Registry> = context.plugins.clone();
    let given = registry.consult(&(namespace.clone(), name.clone()), facts(&observed));
    let stages = PluginStages {
        engine: context.engine.clone(),
        registry,
        given,
        object: format!("{namespace}/{name}"),
        now: context.now(),
        hold: AtomicBool::new(false),
    };
    tokio::task::spawn_blocking(move || {
        let validated = match validate(&observed) {
            Ok(validated) => validated,
            Err(invalid) => return Decision::Invalid(invalid),
        };
        match consult(&validated, &stages) {
            _ if stages.hold.load(Ordering::Relaxed) => Decision::Hold,
            Ok(advice) => Decision::Planned(plan(&validated, &advice)),
            Err(rejection) => Decision::Rejected(rejection),
        }
    })
    .await
    .map_err(|source| Error::RunPlugins { source })
}

/// What decides who serves this deployment.
fn facts(observed: &Observed) -> DeploymentFacts {
    let spec = &observed.deployment.spec;
    let ported: BTreeSet<&str> = spec
        .service_chains
        .iter()
        .flat_map(|chains| &chains.switches)
        .flat_map(|switch| &switch.ports)
        .filter_map(|port| port.service.as_ref())
        .map(|service| service.name.as_str())
        .collect();
    let services = spec.services.iter().map(|(name, service)| {
        let template = observed.templates.get(&service.service_template);
        let facts = ServiceFacts {
            template: service.service_template.clone(),
            labels: template.map(|t| t.labels().clone()).unwrap_or_default(),
            named: template
                .map(|t| ServiceFacts::named(t.annotations()))
                .unwrap_or_default(),
            in_chain: ported.contains(name.as_str()),
        };
        (name.clone(), facts)
    });
    DeploymentFacts {
        namespace: observed.deployment.namespace().unwrap_or_default(),
        services: services.collect(),
    }
}

//! What a vendor's plugin rolls out, and what it does not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

mod support;

use dpf_api::keys::annotations;
use dpf_api::svc::DpuService;
use dpf_core::dpudeployment::validate::Service;
use dpf_core::dpudeployment::{Answer, Observed, Refusal, Stages, consult, plan, validate};
use dpf_stage::{ChainRequest, ChainResponse, CheckRequest, Finding, MergeRequest, MergeResponse};
use kube::ResourceExt;
use serde_json::json;
use support::{NativeStages, carry_out, example, make_rest_ready, make_services_ready, settle};

/// A plugin that merges like the built-in one, for one service, and adds what it is told to.
#[derive(Clone, Copy)]
struct Vendor {
    digest: &'static str,
    stamp: Option<&'static str>,
    /// Whether it builds the chain, too.
    chain: bool,
}

impl Stages for Vendor {
    fn merge(
        &self,
        service: &Service<'_>,
        request: &MergeRequest,
    ) -> Result<Answer<MergeResponse>, Refusal> {
        let mut answer = NativeStages.merge(service, request)?;
        if service.name == "producer" {
            answer.made_by = Some(self.digest.to_owned());
            if let Some(stamp) = self.stamp {
                answer.response.values.as_mut().unwrap()["stamp"] = json!(stamp);
            }
        }
        Ok(answer)
    }

    fn check(&self, request: &CheckRequest) -> Result<Vec<Finding>, Refusal> {
        NativeStages.check(request)
    }

    fn build_chain(&self, request: &ChainRequest) -> Result<Answer<ChainResponse>, Refusal> {
        let mut answer = NativeStages.build_chain(request)?;
        if self.chain {
            answer.made_by = Some(self.digest.to_owned());
            if let Some(stamp) = self.stamp {
                let port = &mut answer.response.switches[0].ports[0];
                port.match_labels
                    .insert("stamp".to_owned(), stamp.to_owned());
            }
        }
        Ok(answer)
    }
}

const FIRST: Vendor = Vendor {
    digest: "sha256:1",
    stamp: None,
    chain: false,
};

/// The example, rolled out and ready; a change of the producer or of the chain is made in place.
fn running() -> Observed {
    let mut observed = example();
    let policy = json!({"applyNodeEffect": false});
    let policy = || serde_json::from_value(policy.clone()).unwrap();
    let producer = observed.configurations.get_mut("producer").unwrap();
    producer.spec.upgrade_policy = policy();
    let chains = observed.deployment.spec.service_chains.as_mut().unwrap();
    chains.upgrade_policy = policy();
    settle(&mut observed);
    make_services_ready(&mut observed);
    make_rest_ready(&mut observed);
    settle(&mut observed);
    make_rest_ready(&mut observed);
    observed
}

/// One pass with these stages, carried out.
fn pass_with(observed: &mut Observed, stages: &dyn Stages) -> Vec<String> {
    let made = {
        let validated = validate(observed).unwrap();
        let advice = consult(&validated, stages).unwrap();
        plan(&validated, &advice)
    };
    carry_out(observed, made)
}

fn producer(observed: &Observed) -> &DpuService {
    let mut services = observed.services.iter();
    services
        .find(|s| s.name_any().starts_with("producer"))
        .unwrap()
}

fn maker(service: &DpuService) -> Option<&str> {
    let maker = service.annotations().get(annotations::PLUGIN_DIGEST);
    maker.map(String::as_str)
}

#[test]
fn a_plugin_that_changes_nothing_writes_nothing_when_it_comes_and_goes() {
    let mut observed = running();
    assert_eq!(pass_with(&mut observed, &FIRST), [""; 0]);
    let next = Vendor {
        digest: "sha256:2",
        ..FIRST
    };
    assert_eq!(pass_with(&mut observed, &next), [""; 0]);
    assert_eq!(pass_with(&mut observed, &NativeStages), [""; 0]);
    assert_eq!(maker(producer(&observed)), None);
}

#[test]
fn other_output_is_one_revision_of_that_service_alone() {
    let mut observed = running();
    let name = producer(&observed).name_any();
    let stamped = Vendor {
        stamp: Some("a"),
        ..FIRST
    };
    let done = pass_with(&mut observed, &stamped);
    assert_eq!(done[0], format!("apply service {name}"), "{done:?}");
    assert!(
        done.iter().all(|line| line.contains("producer")),
        "{done:?}"
    );
    assert_eq!(maker(producer(&observed)), Some("sha256:1"));
    assert_eq!(pass_with(&mut observed, &stamped), [""; 0], "the fixpoint");

    // Another version with the same output: the revision keeps its maker.
    let next = Vendor {
        digest: "sha256:2",
        ..stamped
    };
    assert_eq!(pass_with(&mut observed, &next), [""; 0]);
    assert_eq!(maker(producer(&observed)), Some("sha256:1"));

    // With another output it is a revision again, by the new version.
    let other = Vendor {
        stamp: Some("b"),
        ..next
    };
    assert!(!pass_with(&mut observed, &other).is_empty());
    assert_eq!(maker(producer(&observed)), Some("sha256:2"));

    // And so is its end.
    assert!(!pass_with(&mut observed, &NativeStages).is_empty());
    let end = producer(&observed);
    assert_eq!(maker(end), None);
    assert_eq!(
        end.annotations()[annotations::DPUSERVICE_VERSION],
        producer(&running()).annotations()[annotations::DPUSERVICE_VERSION],
        "what the built-in plugin had made"
    );
    assert_eq!(pass_with(&mut observed, &NativeStages), [""; 0]);
}

#[test]
fn changed_input_is_a_revision_whoever_made_the_last_one() {
    let mut observed = running();
    pass_with(
        &mut observed,
        &Vendor {
            stamp: Some("a"),
            ..FIRST
        },
    );
    let template = observed.templates.get_mut("producer").unwrap();
    template.spec.helm_chart.source.version = "v0.0.2".to_owned();
    let next = Vendor {
        digest: "sha256:2",
        stamp: Some("a"),
        chain: false,
    };
    assert!(!pass_with(&mut observed, &next).is_empty());
    assert_eq!(maker(producer(&observed)), Some("sha256:2"));
}

#[test]
fn chains_follow_the_same_rule() {
    let mut observed = running();
    let quiet = Vendor {
        chain: true,
        ..FIRST
    };
    assert_eq!(pass_with(&mut observed, &quiet), [""; 0]);
    let stamped = Vendor {
        stamp: Some("a"),
        chain: true,
        ..FIRST
    };
    let done = pass_with(&mut observed, &stamped);
    assert!(
        done.iter().any(|line| line.starts_with("apply chain")),
        "{done:?}"
    );
    let next = Vendor {
        digest: "sha256:2",
        ..stamped
    };
    assert_eq!(pass_with(&mut observed, &next), [""; 0]);
}

/// The plugin of the producer is at fault.
struct Faulty;

impl Stages for Faulty {
    fn merge(
        &self,
        service: &Service<'_>,
        request: &MergeRequest,
    ) -> Result<Answer<MergeResponse>, Refusal> {
        if service.name == "producer" {
            return Err(Refusal::Fault {
                reason: "PluginTrapped".to_owned(),
                message: "it trapped".to_owned(),
            });
        }
        NativeStages.merge(service, request)
    }

    fn check(&self, request: &CheckRequest) -> Result<Vec<Finding>, Refusal> {
        NativeStages.check(request)
    }

    fn build_chain(&self, request: &ChainRequest) -> Result<Answer<ChainResponse>, Refusal> {
        NativeStages.build_chain(request)
    }
}

#[test]
fn a_fault_stops_its_service_and_no_other() {
    let mut observed = running();
    assert_eq!(pass_with(&mut observed, &Faulty), [""; 0]);
    // A change of both services: only that of the other one is rolled out.
    for name in ["producer", "consumer"] {
        let template = observed.templates.get_mut(name).unwrap();
        template.spec.helm_chart.source.version = "v0.0.2".to_owned();
    }
    let before = producer(&observed).clone();
    let done = pass_with(&mut observed, &Faulty);
    assert!(
        done.iter()
            .any(|line| line.starts_with("apply service consumer")),
        "{done:?}"
    );
    let touched = [
        "apply service producer",
        "pause producer",
        "delete Service producer",
    ];
    assert!(
        !done
            .iter()
            .any(|line| touched.iter().any(|start| line.starts_with(start))),
        "{done:?}"
    );
    assert_eq!(*producer(&observed), before);
    let report = {
        let validated = validate(&observed).unwrap();
        plan(&validated, &consult(&validated, &Faulty).unwrap()).report
    };
    assert_eq!(
        report.faulted_services["producer"],
        "failed to template DPUService producer: PluginTrapped: it trapped"
    );
    assert!(report.waiting_services.is_empty());
    // Mended, it follows.
    let done = pass_with(&mut observed, &NativeStages);
    assert!(
        done.iter()
            .any(|line| line.starts_with("apply service producer")),
        "{done:?}"
    );
}

#[test]
fn a_fault_before_anything_runs_stops_the_deployment() {
    let observed = example();
    let validated = validate(&observed).unwrap();
    let rejection = consult(&validated, &Faulty).unwrap_err();
    assert!(rejection.fault);
}

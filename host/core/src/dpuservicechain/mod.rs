//! `DPUServiceChain`: becomes a ServiceChainSet in every selected DPU cluster.

use crate::fanout::{Child, FanOut, Gate, Vocabulary};
use dpf_api::conditions::{dpuservicechain as types, reasons};
use dpf_api::keys::{finalizers, managers};
use dpf_api::svc::{DpuServiceChain, ServiceChainSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, ObjectMeta};

impl FanOut for DpuServiceChain {
    type Child = ServiceChainSet;
    const VOCABULARY: Vocabulary = Vocabulary {
        reconciled: types::SET_RECONCILED,
        ready: types::SET_READY,
        gate: types::SET_RECONCILED,
        all: &types::ALL,
        finalizer: finalizers::DPUSERVICECHAIN,
        manager: managers::DPUSERVICECHAIN,
    };

    fn cluster_selector(&self) -> Option<&LabelSelector> {
        let spec = &self.spec;
        spec.dpu_cluster_selector
            .as_ref()
            .or(spec.cluster_selector.as_ref())
    }

    fn child(&self) -> ServiceChainSet {
        let template = self.spec.template.clone();
        let meta = template.metadata.unwrap_or_default();
        ServiceChainSet {
            metadata: ObjectMeta {
                name: self.metadata.name.clone(),
                namespace: self.metadata.namespace.clone(),
                labels: meta.labels,
                annotations: meta.annotations,
                ..ObjectMeta::default()
            },
            spec: template.spec,
            status: None,
        }
    }

    fn conditions(&self) -> Option<&[Condition]> {
        self.status.as_ref()?.conditions.as_deref()
    }
}

impl Child for ServiceChainSet {
    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
    fn conditions(&self) -> Option<&[Condition]> {
        self.status.as_ref()?.conditions.as_deref()
    }
}

/// Closed while a switch wants a larger MTU than the fabric carries. `None`: nobody said what it carries.
#[must_use]
pub fn mtu_gate(chain: &DpuServiceChain, high_speed_mtu: Option<i64>) -> Gate {
    let Some(limit) = high_speed_mtu else {
        return Gate::Open;
    };
    let switches = &chain.spec.template.spec.template.spec.switches;
    let largest = switches.iter().filter_map(|s| s.service_mtu).max();
    match largest {
        Some(mtu) if mtu > limit => Gate::Closed {
            reason: reasons::ERROR,
            message: format!(
                "Error occurred: serviceMTU {mtu} of a switch is larger than spec.networking.highSpeedMTU {limit} of the \
                 DPFOperatorConfig: lower the one or raise the other"
            ),
        },
        _ => Gate::Open,
    }
}

#[cfg(test)]
mod tests;

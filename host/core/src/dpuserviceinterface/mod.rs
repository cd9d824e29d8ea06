//! `DPUServiceInterface`: becomes a ServiceInterfaceSet in every selected DPU cluster.

use crate::fanout::{Child, FanOut, Gate, Vocabulary};
use dpf_api::conditions::{dpuserviceinterface as types, reasons};
use dpf_api::keys::{finalizers, managers};
use dpf_api::svc::{DpuServiceInterface, ServiceInterfaceSet, ServiceInterfaceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, ObjectMeta};

impl FanOut for DpuServiceInterface {
    type Child = ServiceInterfaceSet;
    const VOCABULARY: Vocabulary = Vocabulary {
        reconciled: types::SET_RECONCILED,
        ready: types::SET_READY,
        gate: types::PREREQS_READY,
        all: &types::ALL,
        finalizer: finalizers::DPUSERVICEINTERFACE,
        manager: managers::DPUSERVICEINTERFACE,
    };

    fn cluster_selector(&self) -> Option<&LabelSelector> {
        let spec = &self.spec;
        spec.dpu_cluster_selector
            .as_ref()
            .or(spec.cluster_selector.as_ref())
    }

    fn child(&self) -> ServiceInterfaceSet {
        let template = self.spec.template.clone();
        let meta = template.metadata.unwrap_or_default();
        ServiceInterfaceSet {
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

impl Child for ServiceInterfaceSet {
    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
    fn conditions(&self) -> Option<&[Condition]> {
        self.status.as_ref()?.conditions.as_deref()
    }
}

/// Closed for an interface on a virtual network: those belong to the VPC controllers, which nothing here replaces.
#[must_use]
pub fn prerequisites(interface: &DpuServiceInterface) -> Gate {
    match virtual_network(&interface.spec.template.spec.template.spec) {
        None => Gate::Open,
        Some(network) => Gate::Closed {
            reason: reasons::PENDING,
            message: format!(
                "Waiting for DPUVirtualNetwork {network}: no controller for virtual networks runs here; remove \
                 virtualNetwork to wire the interface to service chains"
            ),
        },
    }
}

/// The virtual network of an interface, if it has one.
#[must_use]
pub fn virtual_network(spec: &ServiceInterfaceSpec) -> Option<&str> {
    let of_pf = spec.pf.as_ref().and_then(|b| b.virtual_network.as_deref());
    let of_vf = spec.vf.as_ref().and_then(|b| b.virtual_network.as_deref());
    let of_service = spec
        .service
        .as_ref()
        .and_then(|b| b.virtual_network.as_deref());
    of_pf
        .or(of_vf)
        .or(of_service)
        .filter(|network| !network.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::svc::ServiceDef;

    #[test]
    fn only_interfaces_without_a_virtual_network_are_wired() {
        let mut interface = DpuServiceInterface::default();
        assert_eq!(prerequisites(&interface), Gate::Open);
        for (network, open) in [("", true), ("blue", false)] {
            interface.spec.template.spec.template.spec.service = Some(ServiceDef {
                virtual_network: Some(network.to_owned()),
                ..ServiceDef::default()
            });
            assert_eq!(prerequisites(&interface) == Gate::Open, open, "{network}");
        }
    }
}

//! The two kinds of sets.

use super::{NodeSet, PerNode, Vocabulary};
use dpf_api::common::TemplateMeta;
use dpf_api::conditions::sets as types;
use dpf_api::keys::{finalizers, labels, managers};
use dpf_api::svc::{ServiceChain, ServiceChainSet, ServiceInterface, ServiceInterfaceSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use std::collections::BTreeMap;

impl NodeSet for ServiceChainSet {
    type Child = ServiceChain;
    const VOCABULARY: Vocabulary = Vocabulary {
        reconciled: types::SERVICECHAINS_RECONCILED,
        ready: types::SERVICECHAINS_READY,
        finalizer: finalizers::SERVICECHAINSET,
        child_finalizer: finalizers::SERVICECHAIN,
        manager: managers::SERVICECHAINSET,
        name_label: labels::SERVICECHAINSET_NAME,
        namespace_label: labels::SERVICECHAINSET_NAMESPACE,
    };

    fn node_selector(&self) -> Option<&LabelSelector> {
        self.spec.node_selector.as_ref()
    }
    fn template_metadata(&self) -> Option<&TemplateMeta> {
        self.spec.template.metadata.as_ref()
    }
    fn default_labels(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    fn child(&self, node: &str) -> ServiceChain {
        let mut spec = self.spec.template.spec.clone();
        spec.node = Some(node.to_owned());
        ServiceChain {
            spec,
            ..ServiceChain::default()
        }
    }
    fn conditions(&self) -> Option<&[Condition]> {
        self.status.as_ref()?.conditions.as_deref()
    }
}

impl PerNode for ServiceChain {
    fn node(&self) -> Option<&str> {
        self.spec.node.as_deref()
    }
    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
    fn conditions(&self) -> Option<&[Condition]> {
        self.status.as_ref()?.conditions.as_deref()
    }
}

impl NodeSet for ServiceInterfaceSet {
    type Child = ServiceInterface;
    const VOCABULARY: Vocabulary = Vocabulary {
        reconciled: types::SERVICEINTERFACES_RECONCILED,
        ready: types::SERVICEINTERFACES_READY,
        finalizer: finalizers::SERVICEINTERFACESET,
        child_finalizer: finalizers::SERVICEINTERFACE,
        manager: managers::SERVICEINTERFACESET,
        name_label: labels::SERVICEINTERFACESET_NAME,
        namespace_label: labels::SERVICEINTERFACESET_NAMESPACE,
    };

    fn node_selector(&self) -> Option<&LabelSelector> {
        self.spec.node_selector.as_ref()
    }
    fn template_metadata(&self) -> Option<&TemplateMeta> {
        self.spec.template.metadata.as_ref()
    }
    /// Chains select a service's interface by its service ID, which a template need not repeat as a label.
    fn default_labels(&self) -> BTreeMap<String, String> {
        let service = self.spec.template.spec.service.as_ref();
        service
            .map(|service| (labels::SERVICE.to_owned(), service.service_id.clone()))
            .into_iter()
            .collect()
    }
    /// Interfaces below this one are named per node.
    fn child(&self, node: &str) -> ServiceInterface {
        let mut spec = self.spec.template.spec.clone();
        spec.node = Some(node.to_owned());
        let of_vlan = spec
            .vlan
            .as_mut()
            .map(|vlan| &mut vlan.parent_interface_ref);
        let of_vf = spec
            .vf
            .as_mut()
            .and_then(|vf| vf.parent_interface_ref.as_mut());
        for parent in of_vlan.into_iter().chain(of_vf) {
            if !parent.is_empty() {
                parent.push('-');
                parent.push_str(node);
            }
        }
        ServiceInterface {
            spec,
            ..ServiceInterface::default()
        }
    }
    fn conditions(&self) -> Option<&[Condition]> {
        self.status.as_ref()?.conditions.as_deref()
    }
}

impl PerNode for ServiceInterface {
    fn node(&self) -> Option<&str> {
        self.spec.node.as_deref()
    }
    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
    fn conditions(&self) -> Option<&[Condition]> {
        self.status.as_ref()?.conditions.as_deref()
    }
}

//! Group `provisioning.dpu.nvidia.com`: the DPUs themselves.

#![allow(
    clippy::duplicated_attributes,
    reason = "kube takes one printcolumn attribute per column; equal parts of two columns are no mistake"
)]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, ValidationRule,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

mod bfb;
mod bluefieldsoftware;
mod dpu;
mod dpucluster;
mod dpudevice;
mod dpudiscovery;
mod dpuflavor;
mod dpuflavortemplate;
mod dpunode;
mod dpunodemaintenance;
mod dpuset;
pub mod node_effect;
pub(crate) mod rules;
pub(crate) mod text_enum;

pub use bfb::{Bfb, BfbPhase, BfbSpec, BfbStatus, BfbVersions, GivenVersions};
pub use bluefieldsoftware::{
    BlueFieldSoftware, BlueFieldSoftwareSpec, BlueFieldSoftwareStatus, FirmwareParts,
};
pub use dpu::{
    Address, ClusterAssignment, Dpu, DpuMode, DpuPhase, DpuSpec, DpuStatus, DpuType, Firmware,
    InstallInterface, Outdated, SecureBoot,
};
pub use dpucluster::{
    ClusterEndpoint, DpuCluster, DpuClusterPhase, DpuClusterSpec, DpuClusterStatus, Keepalived,
    MAX_NODES_DEFAULT,
};
pub use dpudevice::{DeviceClusterMetadata, DpuDevice, DpuDeviceSpec, DpuDeviceStatus};
pub use dpudiscovery::{DpuDiscovery, DpuDiscoverySpec, DpuDiscoveryStatus, IpRange, IpRangeSpec};
pub use dpuflavor::{
    ConfigFile, ContainerdConfig, DpuFlavor, DpuFlavorSpec, FileOperation, FlavorMode, Grub,
    HostInterface, NvConfig, Ovs, Sysctl,
};
pub use dpuflavortemplate::{DpuFlavorTemplate, DpuFlavorTemplateSpec, DpuFlavorTemplateStatus};
pub use dpunode::{
    DeviceReference, DmsAddress, DpuNode, DpuNodeSpec, DpuNodeStatus, Nothing, RebootMethod,
    RebootScript,
};
pub use dpunodemaintenance::{
    DpuNodeMaintenance, DpuNodeMaintenanceSpec, DpuNodeMaintenanceStatus,
};
pub use dpuset::{
    BfbReference, ClusterTemplate, DpuSet, DpuSetSpec, DpuSetStatus, DpuTemplate, DpuTemplateSpec,
    Strategy, StrategyType,
};
pub use node_effect::{NodeEffect, NodeEffectAction, TaintEffect};

/// The group of this module.
pub const GROUP: &str = "provisioning.dpu.nvidia.com";

pub(crate) fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        status_default(
            name_limit(Bfb::crd(), 187),
            json!({"phase": "Initializing"}),
        ),
        status_default(
            name_limit(BlueFieldSoftware::crd(), 187),
            json!({"phase": "Initializing"}),
        ),
        status_default(Dpu::crd(), json!({"phase": "Initializing"})),
        status_default(
            name_limit(DpuCluster::crd(), 63),
            json!({"phase": "Pending"}),
        ),
        name_limit(DpuDevice::crd(), 63),
        DpuDiscovery::crd(),
        DpuFlavor::crd(),
        DpuFlavorTemplate::crd(),
        name_limit(DpuNode::crd(), 48),
        name_limit(DpuNodeMaintenance::crd(), 63),
        name_limit(DpuSet::crd(), 63),
    ];
    crds.iter_mut().for_each(without_root_defaults);
    crds
}

/// A rule on the length of the name, so that names made from it fit.
pub(crate) fn name_limit(
    mut crd: CustomResourceDefinition,
    limit: usize,
) -> CustomResourceDefinition {
    for root in roots(&mut crd) {
        root.x_kubernetes_validations = Some(vec![ValidationRule {
            rule: format!("self.metadata.name.size() <= {limit}"),
            message: Some(format!("name length can't be bigger than {limit} chars")),
            ..ValidationRule::default()
        }]);
    }
    crd
}

/// A status that the API server fills at creation, so that the phase is never empty when it is read.
fn status_default(mut crd: CustomResourceDefinition, status: Value) -> CustomResourceDefinition {
    for property in roots(&mut crd).filter_map(|root| root.properties.as_mut()?.get_mut("status")) {
        property.default = Some(JSON(status.clone()));
    }
    crd
}

/// Reading tolerates an object without spec; the API server must not invent one.
pub(crate) fn without_root_defaults(crd: &mut CustomResourceDefinition) {
    for properties in roots(crd).filter_map(|root| root.properties.as_mut()) {
        if let Some(spec) = properties.get_mut("spec") {
            spec.default = None;
        }
        if let Some(status) = properties.get_mut("status")
            && status.default == Some(JSON(Value::Null))
        {
            status.default = None;
        }
    }
}

fn roots(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    crd.spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
}

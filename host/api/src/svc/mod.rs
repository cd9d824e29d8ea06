//! Group `svc.dpu.nvidia.com`: what runs on DPUs.

#![expect(
    clippy::duplicated_attributes,
    reason = "several printer columns have the same type"
)]

use crate::provisioning::{name_limit, without_root_defaults};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

mod dpudeployment;
mod dpuservice;
mod dpuservicechain;
mod dpuserviceconfiguration;
mod dpuservicecredentialrequest;
mod dpuserviceinterface;
mod dpuserviceipam;
mod dpuservicenad;
mod dpuservicetemplate;
mod servicechain;
mod serviceinterface;
mod shared;

pub use dpudeployment::{
    DpuDeployment, DpuDeploymentSpec, DpuDeploymentStatus, DpuSetStrategy, DpuSetTemplate, Dpus,
    LocalDependency, ObservedDependency, RollingUpdate, ServiceChains, ServicePort, ServiceRef,
    Switch, SwitchPort,
};
pub use dpuservice::{DpuService, DpuServiceSpec, DpuServiceStatus, ServiceDaemonSet};
pub use dpuservicechain::{
    DpuServiceChain, DpuServiceChainSpec, DpuServiceChainStatus, ServiceChainSetTemplate,
};
pub use dpuserviceconfiguration::{
    ConfigPort, ConfigPorts, ConfigurationDaemonSet, DpuServiceConfiguration,
    DpuServiceConfigurationSpec, DpuServiceConfigurationStatus, ServiceConfiguration,
    ServiceInterfaceTemplate, ValuesOnly,
};
pub use dpuservicecredentialrequest::{
    DpuServiceCredentialRequest, DpuServiceCredentialRequestSpec,
    DpuServiceCredentialRequestStatus, NamespacedReference,
};
pub use dpuserviceinterface::{
    DpuServiceInterface, DpuServiceInterfaceSpec, DpuServiceInterfaceStatus,
    ServiceInterfaceSetTemplate,
};
pub use dpuserviceipam::{
    DpuClusterAllocation, DpuServiceIpam, DpuServiceIpamSpec, DpuServiceIpamStatus, IpRange,
    IpamRoute, Ipv4Network, Ipv4Subnet,
};
pub use dpuservicenad::{ChainedCni, DpuServiceNad, DpuServiceNadSpec, DpuServiceNadStatus};
pub use dpuservicetemplate::{
    DpuServiceTemplate, DpuServiceTemplateSpec, DpuServiceTemplateStatus, VersionsFrom,
};
pub use servicechain::{
    ChainPort, ChainSwitch, ServiceChain, ServiceChainSet, ServiceChainSetSpec,
    ServiceChainSetStatus, ServiceChainSpec, ServiceChainStatus, ServiceChainTemplateObject,
};
pub use serviceinterface::{
    InterfaceType, NicSelector, Ovn, PatchDef, PciSelector, Pf, Physical, ServiceDef,
    ServiceInterface, ServiceInterfaceSet, ServiceInterfaceSetSpec, ServiceInterfaceSetStatus,
    ServiceInterfaceSpec, ServiceInterfaceStatus, ServiceInterfaceTemplateObject, Vf, Vlan,
};
pub use shared::{ChartSource, HelmChart, InterfacePort, Ipam, ServiceSecurity, UpgradePolicy};

/// The group of this module.
pub const GROUP: &str = "svc.dpu.nvidia.com";

pub(crate) fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        DpuDeployment::crd(),
        name_limit(DpuService::crd(), 63),
        name_limit(DpuServiceChain::crd(), 63),
        DpuServiceConfiguration::crd(),
        name_limit(DpuServiceCredentialRequest::crd(), 63),
        name_limit(DpuServiceInterface::crd(), 63),
        name_limit(DpuServiceIpam::crd(), 63),
        name_limit(DpuServiceNad::crd(), 63),
        DpuServiceTemplate::crd(),
        ServiceChain::crd(),
        name_limit(ServiceChainSet::crd(), 63),
        ServiceInterface::crd(),
        name_limit(ServiceInterfaceSet::crd(), 63),
    ];
    crds.iter_mut().for_each(without_root_defaults);
    crds
}

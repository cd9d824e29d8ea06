//! Group `svc.dpu.nvidia.com`: what runs on DPUs.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

mod dpudeployment;
mod dpuserviceconfiguration;
mod dpuservicetemplate;
mod shared;

pub use dpudeployment::{
    DpuDeployment, DpuDeploymentSpec, DpuDeploymentStatus, DpuSetStrategy, DpuSetTemplate, Dpus,
    LocalDependency, RollingUpdate, ServiceChains, ServicePort, ServiceRef, Switch, SwitchPort,
};
pub use dpuserviceconfiguration::{
    ConfigPort, ConfigPorts, ConfigurationDaemonSet, DpuServiceConfiguration,
    DpuServiceConfigurationSpec, DpuServiceConfigurationStatus, ServiceConfiguration,
    ServiceInterfaceTemplate, ValuesOnly,
};
pub use dpuservicetemplate::{
    DpuServiceTemplate, DpuServiceTemplateSpec, DpuServiceTemplateStatus,
};
pub use shared::{ChartSource, HelmChart, InterfacePort, Ipam, ServiceSecurity, UpgradePolicy};

/// The group of this module.
pub const GROUP: &str = "svc.dpu.nvidia.com";

pub(crate) fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        DpuDeployment::crd(),
        DpuServiceConfiguration::crd(),
        DpuServiceTemplate::crd(),
    ]
}

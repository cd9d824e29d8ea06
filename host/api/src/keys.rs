//! Label keys, annotations, finalizers and field managers, each defined once.
//!
//! These strings are an interface: other programs select by them. A change here is a breaking change.

/// Whether a label or annotation key is of the domain `dpu.nvidia.com` or of one below it.
#[must_use]
pub fn is_ours(key: &str) -> bool {
    key.split_once('/').is_some_and(|(domain, _)| {
        domain == "dpu.nvidia.com" || domain.ends_with(".dpu.nvidia.com")
    })
}

/// Labels.
pub mod labels {
    /// On children, DPU-cluster nodes and selectors: the owning deployment as `<namespace>_<name>`.
    pub const OWNED_BY_DPUDEPLOYMENT: &str = "svc.dpu.nvidia.com/owned-by-dpudeployment";
    /// On DPUServices, DPUServiceInterfaces and pods: the key in `DPUDeployment.spec.services`.
    pub const DPUDEPLOYMENT_SERVICE: &str = "svc.dpu.nvidia.com/dpudeployment-service";
    /// Prefix of the label that marks a dependency; followed by ten hexadecimal digits of the deployment's digest.
    pub const CONSUMED_BY_DPUDEPLOYMENT_PREFIX: &str =
        "svc.dpu.nvidia.com/consumed-by-dpudeployment-";
    /// On nodes of a DPU cluster: the chain revision that runs there; on chains the annotation with the digest.
    pub const DPUSERVICECHAIN_VERSION: &str = "svc.dpu.nvidia.com/dpuservicechain-version";
    /// Prefix of the host node label of in-cluster services, followed by ten hexadecimal digits.
    pub const IN_CLUSTER_VERSION_PREFIX: &str = "svc.dpu.nvidia.com/dpuservice-in-cluster-version-";
    /// On ServiceInterfaces and pods: the service ID.
    pub const SERVICE: &str = "svc.dpu.nvidia.com/service";
    /// On pods: which flows besides those of the chain they ask for.
    pub const CUSTOM_FLOWS: &str = "svc.dpu.nvidia.com/custom-flows";
    /// Value of [`CUSTOM_FLOWS`]: time synchronisation frames of the uplink.
    pub const CUSTOM_FLOWS_FIREFLY: &str = "firefly";
    /// On ServiceInterfaces: the name of the interface inside the service.
    pub const INTERFACE: &str = "svc.dpu.nvidia.com/interface";
    /// On DPUs: name of the DPUSet.
    pub const DPUSET_NAME: &str = "provisioning.dpu.nvidia.com/dpuset-name";
    /// On DPUs: namespace of the DPUSet.
    pub const DPUSET_NAMESPACE: &str = "provisioning.dpu.nvidia.com/dpuset-namespace";
    /// On DPUs: name of the DPUDevice.
    pub const DPUDEVICE_NAME: &str = "provisioning.dpu.nvidia.com/dpudevice-name";
    /// On DPUs, DPUDevices and DPUNodeMaintenances: name of the DPUNode.
    pub const DPUNODE_NAME: &str = "provisioning.dpu.nvidia.com/dpunode-name";
    /// On DPUDevices: PCI address with dashes, `0000-0e-00`.
    pub const DPUDEVICE_PCI_ADDRESS: &str = "provisioning.dpu.nvidia.com/dpudevice-pciAddress";
    /// On nodes of a DPU cluster: the DPUNode that hosts the DPU.
    pub const NODE_HOST: &str = "provisioning.dpu.nvidia.com/host";
    /// On DPUDevices: the card is not provisioned and counts as ready.
    pub const SKIP_PROVISIONING: &str = "provisioning.dpu.nvidia.com/skip-dpu-provisioning";
    /// On bootstrap token Secrets of a DPU cluster: namespace of the DPU.
    pub const DPU_NAMESPACE: &str = "provisioning.dpu.nvidia.com/dpu-namespace";
    /// On bootstrap token Secrets of a DPU cluster: name of the DPU.
    pub const DPU_NAME: &str = "provisioning.dpu.nvidia.com/dpu-name";
    /// On nodes of a DPU cluster and DPUNodes: version of the controller that provisioned them.
    pub const DPF_VERSION: &str = "operator.dpu.nvidia.com/dpf-version";
    /// On Argo CD Applications: name of the DPUService.
    pub const DPUSERVICE_NAME: &str = "dpu.nvidia.com/dpuservice-name";
    /// On Argo CD Applications: namespace of the DPUService.
    pub const DPUSERVICE_NAMESPACE: &str = "dpu.nvidia.com/dpuservice-namespace";
    /// On Argo CD Applications: name of the DPUCluster.
    pub const CLUSTER: &str = "dpu.nvidia.com/cluster";
    /// On Argo CD Applications: namespace of the DPUCluster.
    pub const CLUSTER_NAMESPACE: &str = "dpu.nvidia.com/cluster-namespace";
    /// On ServiceChains: name of their set.
    pub const SERVICECHAINSET_NAME: &str = "svc.dpu.nvidia.com/servicechainset-name";
    /// On ServiceChains: namespace of their set.
    pub const SERVICECHAINSET_NAMESPACE: &str = "svc.dpu.nvidia.com/servicechainset-namespace";
    /// On ServiceInterfaces: name of their set.
    pub const SERVICEINTERFACESET_NAME: &str = "svc.dpu.nvidia.com/serviceinterfaceset-name";
    /// On ServiceInterfaces: namespace of their set.
    pub const SERVICEINTERFACESET_NAMESPACE: &str =
        "svc.dpu.nvidia.com/serviceinterfaceset-namespace";

    /// The node label that carries the revision of one service: `svc.dpu.nvidia.com/dpuservice-<service>-version`.
    #[must_use]
    pub fn service_version(service: &str) -> String {
        format!("svc.dpu.nvidia.com/dpuservice-{service}-version")
    }

    /// The value of [`OWNED_BY_DPUDEPLOYMENT`].
    #[must_use]
    pub fn owner_value(namespace: &str, name: &str) -> String {
        format!("{namespace}_{name}")
    }
}

/// Annotations.
pub mod annotations {
    /// On DPUServices and DPUServiceInterfaces: digest of the revision.
    pub const DPUSERVICE_VERSION: &str = "svc.dpu.nvidia.com/dpuservice-version";
    /// On DPUServiceChains: digest of the revision.
    pub const DPUSERVICECHAIN_VERSION: &str = "svc.dpu.nvidia.com/dpuservicechain-version";
    /// On DPUServiceConfigurations: `LEFT,RIGHT` template delimiters.
    pub const TEMPLATE_DELIMITER: &str = "svc.dpu.nvidia.com/template-delimiter";
    /// On DPUDeployments: leave the chain out of the maintenance requestors.
    pub const SKIP_CHAIN_REQUESTOR: &str = "svc.dpu.nvidia.com/dpudeployment-skip-chain-requestor";
    /// On charts and DPUServiceTemplates: semver constraint on the DOCA version of the BFB.
    pub const DOCA_VERSION: &str = "dpu.nvidia.com/doca-version";
    /// On ServiceInterfaces of type physical: the port stays in the switch when the object goes.
    pub const KEEP_PHYSICAL: &str = "svc.dpu.nvidia.com/noop-physical-removal";
    /// What plugins of the stage version-check are told of the board support package.
    pub const BSP_VERSION: &str = "dpu.nvidia.com/bsp-version";
    /// What plugins of the stage version-check are told of UEFI.
    pub const UEFI_VERSION: &str = "dpu.nvidia.com/uefi-version";
    /// What plugins of the stage version-check are told of the ARM trusted firmware.
    pub const ATF_VERSION: &str = "dpu.nvidia.com/atf-version";
    /// On DPUServiceInterfaces: the DPUService that uses it.
    pub const CONSUMED_BY: &str = "dpu.nvidia.com/consumed-by";
    /// On Argo CD Applications of paused services.
    pub const ARGO_SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";
    /// On DPUSets, DPUs and nodes: JSON map of the labels last written.
    pub const LAST_APPLIED_LABELS: &str = "provisioning.dpu.nvidia.com/last-applied-labels-on-dpu";
    /// On DPUNodeMaintenances: `"true"` until a person or program sets `"false"`.
    pub const WAIT_FOR_EXTERNAL_NODEEFFECT: &str =
        "provisioning.dpu.nvidia.com/wait-for-external-nodeeffect";
    /// On DPUNodes: a person or program reboots the host and removes it.
    pub const EXTERNAL_REBOOT_REQUIRED: &str =
        "provisioning.dpu.nvidia.com/dpunode-external-reboot-required";
    /// Prefix on DPUNodeMaintenances: the additional requestors of one DPU as JSON; followed by 16 hexadecimal digits.
    pub const LAST_APPLIED_REQUESTORS_PREFIX: &str =
        "provisioning.dpu.nvidia.com/last-applied-additional-requestors-on-";
    /// On DPUs: digest of what the DPUSet wrote last.
    pub const DPUSET_APPLIED: &str = "provisioning.dpu.nvidia.com/dpuset-applied-digest";
    /// On DPUNodes: `skip` leaves out the restart after an installation.
    pub const REBOOT_COMMAND: &str = "provisioning.dpu.nvidia.com/reboot-command";
    /// On DPUs in phase Error: try the failed phase again.
    pub const RETRY: &str = "provisioning.dpu.nvidia.com/retry";
    /// On DPUDevices: `http` instead of `https` to the BMC, for development.
    pub const BMC_SCHEME: &str = "provisioning.dpu.nvidia.com/bmc-scheme";
    /// On DPUFlavors: number of trusted scalable functions, 1 to 10.
    pub const TRUSTED_SFS: &str = "provisioning.dpu.nvidia.com/num-of-trusted-sfs";
    /// Prefix on DPUServiceTemplates: name of the DPUPlugin that serves the service; followed by the stage.
    pub const PLUGIN_PREFIX: &str = "plugin.dpu.nvidia.com/";
    /// On DPUServices and DPUServiceChains: sha256 of the component that made the revision, unless it was the built-in one.
    pub const PLUGIN_DIGEST: &str = "plugin.dpu.nvidia.com/made-by-digest";
    /// On Nodes: JSON of what an effect changed, so that exactly that is undone.
    pub const NODE_EFFECT_RECORD: &str = "provisioning.dpu.nvidia.com/node-effect-record";
}

/// Finalizers.
pub mod finalizers {
    /// On DPUDeployments and everything they refer to.
    pub const DPUDEPLOYMENT: &str = "dpu.nvidia.com/dpudeployment";
    /// On DPUServiceTemplates.
    pub const DPUSERVICETEMPLATE: &str = "dpu.nvidia.com/dpuservicetemplate";
    /// On DPUServices.
    pub const DPUSERVICE: &str = "dpu.nvidia.com/dpuservice";
    /// On DPUServiceInterfaces.
    pub const DPUSERVICEINTERFACE: &str = "svc.dpu.nvidia.com/dpuserviceinterface";
    /// On DPUServiceChains.
    pub const DPUSERVICECHAIN: &str = "svc.dpu.nvidia.com/dpuservicechain";
    /// On ServiceChainSets.
    pub const SERVICECHAINSET: &str = "dpu.nvidia.com/servicechainset";
    /// On ServiceInterfaceSets.
    pub const SERVICEINTERFACESET: &str = "dpu.nvidia.com/serviceinterfaceset";
    /// On ServiceChains.
    pub const SERVICECHAIN: &str = "svc.dpu.nvidia.com/ServiceChain-finalizer";
    /// On ServiceInterfaces.
    pub const SERVICEINTERFACE: &str = "svc.dpu.nvidia.com/ServiceInterface-finalizer";
    /// On BFBs.
    pub const BFB: &str = "provisioning.dpu.nvidia.com/bfb-protection";
    /// On DPUSets.
    pub const DPUSET: &str = "provisioning.dpu.nvidia.com/dpuset-protection";
    /// On DPUs.
    pub const DPU: &str = "provisioning.dpu.nvidia.com/dpu-protection";
    /// On DPUNodes.
    pub const DPUNODE: &str = "provisioning.dpu.nvidia.com/dpunode-protection";
    /// On DPUDevices.
    pub const DPUDEVICE: &str = "provisioning.dpu.nvidia.com/dpudevice-protection";
    /// On DPUNodeMaintenances.
    pub const DPUNODEMAINTENANCE: &str =
        "provisioning.dpu.nvidia.com/dpunodemaintenance-protection";
    /// On DPUClusters.
    pub const DPUCLUSTER: &str = "provisioning.dpu.nvidia.com/cluster-manager-internal-clean-up";
    /// On Argo CD Applications: delete what was deployed.
    pub const ARGO_RESOURCES: &str = "resources-finalizer.argocd.argoproj.io";
}

/// Field managers of server-side apply, one per controller.
pub mod managers {
    /// DPUDeployment.
    pub const DPUDEPLOYMENT: &str = "dpudeploymentcontroller";
    /// Host node labels of in-cluster services of DPUDeployments.
    pub const DPUDEPLOYMENT_NODE: &str = "dpudeploymentnodecontroller";
    /// DPUServiceTemplate.
    pub const DPUSERVICETEMPLATE: &str = "dpuservicetemplatecontroller";
    /// DPUService.
    pub const DPUSERVICE: &str = "dpuservice-manager";
    /// DPUServiceInterface.
    pub const DPUSERVICEINTERFACE: &str = "dpuserviceinterfacecontroller";
    /// DPUServiceChain.
    pub const DPUSERVICECHAIN: &str = "dpuservicechaincontroller";
    /// ServiceChainSet.
    pub const SERVICECHAINSET: &str = "service-chain-set-controller";
    /// ServiceInterfaceSet.
    pub const SERVICEINTERFACESET: &str = "service-interface-set-controller";
    /// The agent of each DPU.
    pub const DPU_AGENT: &str = "dpu-agent";
    /// Kinds installed in DPU clusters.
    pub const SETS_INSTALL: &str = "servicechainset-crds";
    /// Release of node effects once services are ready on a node.
    pub const DPUREADY: &str = "dpureadycontroller";
    /// DPUSet.
    pub const DPUSET: &str = "dpuset";
    /// DPU.
    pub const DPU: &str = "dpu";
    /// BFB.
    pub const BFB: &str = "bfb";
    /// DPUNode.
    pub const DPUNODE: &str = "dpunode";
    /// DPUDevice.
    pub const DPUDEVICE: &str = "dpudevice";
    /// DPUNodeMaintenance.
    pub const DPUNODEMAINTENANCE: &str = "dpunodemaintenance";
    /// DPUCluster.
    pub const DPUCLUSTER: &str = "dpucluster";
    /// Kinds that nothing acts on.
    pub const NOT_SUPPORTED: &str = "notsupported";
    /// DPUPlugin.
    pub const DPUPLUGIN: &str = "dpuplugin";
}

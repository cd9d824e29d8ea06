//! Condition types and reasons.

/// The summary of all other conditions of an object.
pub const READY: &str = "Ready";

/// Reasons that most kinds share.
pub mod reasons {
    /// The condition is True; nothing to say.
    pub const SUCCESS: &str = "Success";
    /// Not there yet; it will come by itself.
    pub const PENDING: &str = "Pending";
    /// Failed, will be retried.
    pub const ERROR: &str = "Error";
    /// Failed, and only a change by a person helps.
    pub const FAILURE: &str = "Failure";
    /// Nothing in this version acts on the object, or on what it asks for.
    pub const NOT_SUPPORTED: &str = "NotSupported";
    /// The object is being deleted and waits for others to go first.
    pub const AWAITING_DELETION: &str = "AwaitingDeletion";
}

/// Condition types of a DPUDeployment besides [`READY`].
pub mod dpudeployment {
    /// Everything the deployment refers to exists and is ready.
    pub const PREREQUISITES_READY: &str = "PrerequisitesReady";
    /// The services fit on the DPUs of the flavor.
    pub const RESOURCE_FITTING_READY: &str = "ResourceFittingReady";
    /// The version constraints of the services hold for the BFB.
    pub const VERSION_MATCHING_READY: &str = "VersionMatchingReady";
    /// The DPUSets are written as desired.
    pub const DPUSETS_RECONCILED: &str = "DPUSetsReconciled";
    /// The DPUSets are ready.
    pub const DPUSETS_READY: &str = "DPUSetsReady";
    /// The DPUServices are written as desired.
    pub const DPUSERVICES_RECONCILED: &str = "DPUServicesReconciled";
    /// The DPUServices are ready.
    pub const DPUSERVICES_READY: &str = "DPUServicesReady";
    /// The DPUServiceChain is written as desired.
    pub const DPUSERVICECHAINS_RECONCILED: &str = "DPUServiceChainsReconciled";
    /// The DPUServiceChain is ready.
    pub const DPUSERVICECHAINS_READY: &str = "DPUServiceChainsReady";
    /// The DPUServiceInterfaces are written as desired.
    pub const DPUSERVICEINTERFACES_RECONCILED: &str = "DPUServiceInterfacesReconciled";
    /// The DPUServiceInterfaces are ready.
    pub const DPUSERVICEINTERFACES_READY: &str = "DPUServiceInterfacesReady";

    /// All types in the order in which a reconcile reaches them.
    pub const ALL: [&str; 11] = [
        PREREQUISITES_READY,
        VERSION_MATCHING_READY,
        RESOURCE_FITTING_READY,
        DPUSERVICES_RECONCILED,
        DPUSERVICEINTERFACES_RECONCILED,
        DPUSERVICECHAINS_RECONCILED,
        DPUSETS_RECONCILED,
        DPUSERVICES_READY,
        DPUSERVICEINTERFACES_READY,
        DPUSERVICECHAINS_READY,
        DPUSETS_READY,
    ];
}

/// Condition types of a DPUServiceTemplate besides [`READY`].
pub mod dpuservicetemplate {
    /// The version constraints of the chart were read.
    pub const RECONCILED: &str = "DPUServiceTemplateReconciled";
}

/// Condition types of a DPUService besides [`READY`].
pub mod dpuservice {
    /// Namespaces, pull secrets and projects exist.
    pub const APPLICATION_PREREQS_RECONCILED: &str = "ApplicationPrereqsReconciled";
    /// The Argo CD Applications are written as desired.
    pub const APPLICATIONS_RECONCILED: &str = "ApplicationsReconciled";
    /// The Applications are synced and healthy.
    pub const APPLICATIONS_READY: &str = "ApplicationsReady";
    /// The interfaces exist and belong to this service.
    pub const DPUSERVICEINTERFACE_RECONCILED: &str = "DPUServiceInterfaceReconciled";
    /// Ports for configuration are exposed.
    pub const CONFIG_PORTS_RECONCILED: &str = "ConfigPortsReconciled";
    /// All types in the order in which a reconcile reaches them.
    pub const ALL: [&str; 5] = [
        DPUSERVICEINTERFACE_RECONCILED,
        APPLICATION_PREREQS_RECONCILED,
        APPLICATIONS_RECONCILED,
        CONFIG_PORTS_RECONCILED,
        APPLICATIONS_READY,
    ];
}

/// Condition types of a DPUServiceInterface besides [`READY`].
pub mod dpuserviceinterface {
    /// The set is written in every selected DPU cluster.
    pub const SET_RECONCILED: &str = "ServiceInterfaceSetReconciled";
    /// The sets are ready.
    pub const SET_READY: &str = "ServiceInterfaceSetReady";
    /// What the interface refers to exists.
    pub const PREREQS_READY: &str = "ServiceInterfacePreReqsReady";
    /// All types in the order in which a reconcile reaches them.
    pub const ALL: [&str; 3] = [PREREQS_READY, SET_RECONCILED, SET_READY];
}

/// Condition types of a DPUServiceChain besides [`READY`].
pub mod dpuservicechain {
    /// The set is written in every selected DPU cluster.
    pub const SET_RECONCILED: &str = "ServiceChainSetReconciled";
    /// The sets are ready.
    pub const SET_READY: &str = "ServiceChainSetReady";
    /// All types in the order in which a reconcile reaches them.
    pub const ALL: [&str; 2] = [SET_RECONCILED, SET_READY];
}

/// Condition types of ServiceChainSet and ServiceInterfaceSet besides [`READY`].
pub mod sets {
    /// One ServiceChain is written per selected node.
    pub const SERVICECHAINS_RECONCILED: &str = "ServiceChainsReconciled";
    /// The ServiceChains are ready.
    pub const SERVICECHAINS_READY: &str = "ServiceChainsReady";
    /// One ServiceInterface is written per selected node.
    pub const SERVICEINTERFACES_RECONCILED: &str = "ServiceInterfacesReconciled";
    /// The ServiceInterfaces are ready.
    pub const SERVICEINTERFACES_READY: &str = "ServiceInterfacesReady";
}

/// Condition types of the per-node objects besides [`READY`].
pub mod per_node {
    /// The chain is programmed on its node.
    pub const SERVICECHAIN_RECONCILED: &str = "ServiceChainReconciled";
    /// The interface is wired on its node.
    pub const SERVICEINTERFACE_RECONCILED: &str = "ServiceInterfaceReconciled";
}

/// Condition types of a BFB besides [`READY`].
pub mod bfb {
    /// The name of the file is known.
    pub const INITIALIZED: &str = "Initialized";
    /// The file is in the store and its versions are known.
    pub const DOWNLOADED: &str = "Downloaded";
    /// The last attempt failed.
    pub const ERROR: &str = "Error";
    /// The object can go.
    pub const DELETED: &str = "Deleted";
}

/// Condition types of a DPUSet besides [`READY`].
pub mod dpuset {
    /// Every selected device has a DPU of this set.
    pub const PREREQS_RECONCILED: &str = "DPUSetPrereqsReconciled";
}

/// Condition types of a DPU besides [`READY`], in the order in which provisioning reaches them.
pub mod dpu {
    /// Node, device and cluster were found.
    pub const INITIALIZED: &str = "Initialized";
    /// The image is ready.
    pub const BFB_READY: &str = "BFBReady";
    /// The DPU has a slot for its installation.
    pub const PENDING: &str = "Pending";
    /// The host may be disturbed.
    pub const NODE_EFFECT_READY: &str = "NodeEffectReady";
    /// The interface for the installation is prepared.
    pub const INTERFACE_INITIALIZED: &str = "InterfaceInitialized";
    /// The firmware is configured.
    pub const FW_CONFIGURED: &str = "FWConfigured";
    /// The configuration that goes with the image is rendered.
    pub const BFB_PREPARED: &str = "BFBPrepared";
    /// The image is installed and runs.
    pub const OS_INSTALLED: &str = "OSInstalled";
    /// The host, or the DPU, was restarted.
    pub const REBOOTED: &str = "Rebooted";
    /// The node is there and has its labels.
    pub const DPU_CLUSTER_READY: &str = "DPUClusterReady";
    /// The host was given back.
    pub const NODE_EFFECT_REMOVED: &str = "NodeEffectRemoved";
    /// What keeps the object from going.
    pub const DELETING: &str = "Deleting";
    /// A step failed for good.
    pub const ERROR: &str = "Error";
}

/// Condition types of a DPUNode besides [`READY`].
pub mod dpunode {
    /// A reboot was asked for and has not happened.
    pub const REBOOT_IN_PROGRESS: &str = "DPUNodeRebootInProgress";
    /// An effect on the host is in force.
    pub const NODE_EFFECT_IN_PROGRESS: &str = "DPUNodeNodeEffectInProgress";
}

/// Condition types of a DPUDevice besides [`READY`].
pub mod dpudevice {
    /// A DPUNode names the device.
    pub const NODE_ATTACHED: &str = "NodeAttached";
    /// The BMC answered and is that of the right card.
    pub const DISCOVERED: &str = "Discovered";
}

/// Condition types of a DPUNodeMaintenance.
pub mod dpunodemaintenance {
    /// The effect is in force.
    pub const APPLIED: &str = "NodeEffectApplied";
    /// The effect is undone.
    pub const REMOVED: &str = "NodeEffectRemoved";
}

/// Condition types of a DPUCluster besides [`READY`].
pub mod dpucluster {
    /// The cluster exists and its kubeconfig is known.
    pub const CREATED: &str = "Created";
}

/// Condition types of a DPUPlugin besides [`READY`], in the order of its admission.
pub mod dpuplugin {
    /// The component was found and is the one that `spec.digest` names.
    pub const RESOLVED: &str = "Resolved";
    /// The signature holds; True, too, when none is asked for.
    pub const VERIFIED: &str = "Verified";
    /// The component is a plugin of its stage and accepts its settings.
    pub const COMPATIBLE: &str = "Compatible";
    /// All types in the order in which a reconcile reaches them.
    pub const ALL: [&str; 3] = [RESOLVED, VERIFIED, COMPATIBLE];
}

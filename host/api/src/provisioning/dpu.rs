//! `DPU`: one DPU and how far its provisioning is.

use super::NodeEffect;
use super::node_effect::drain_default;
use super::rules::immutable;
use super::text_enum::text_enum;
use crate::common::{conditions_schema, label_selector_schema, open_object_schema};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One DPU and how far its provisioning is. The node that the DPU becomes has the name of this object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "DPU",
    root = "Dpu",
    plural = "dpus",
    namespaced,
    status = "DpuStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "One DPU and how far its provisioning is.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "How far the provisioning is"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DpuSpec {
    /// Name of the DPUNode.
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub dpu_node_name: String,
    /// Name of the DPUDevice.
    #[schemars(length(min = 1), extend("x-kubernetes-validations" = immutable()))]
    pub dpu_device_name: String,
    /// Name of the BFB in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfb: Option<String>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue_field_software: Option<String>,
    /// Serial number of the card.
    #[schemars(length(min = 1), extend("x-kubernetes-validations" = immutable()))]
    pub serial_number: String,
    /// PCI address with dashes and without function, `0000-03-00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9a-fA-F]{4}[-])?[0-9a-fA-F]{2}[-][0-9a-fA-F]{2}$"))]
    pub pci_address: Option<String>,
    /// What happens to the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = drain_default()))]
    pub node_effect: Option<NodeEffect>,
    /// The cluster that the DPU joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterAssignment>,
    /// Name of the DPUFlavor in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("x-kubernetes-validations" = immutable()))]
    pub dpu_flavor: Option<String>,
    /// Older releases: the address is in the DPUDevice.
    #[serde(rename = "bmcIP", default, skip_serializing_if = "Option::is_none")]
    pub bmc_ip: Option<String>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub astra_enabled: Option<bool>,
    /// Later releases: kept, not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub secure_boot: Option<bool>,
}

/// The cluster that a DPU joins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAssignment {
    /// Name of the DPUCluster; set when the DPU is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub name: Option<String>,
    /// Namespace of the DPUCluster; set when the DPU is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub namespace: Option<String>,
    /// Labels of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_labels: Option<BTreeMap<String, String>>,
    /// Later releases: annotations of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_annotations: Option<BTreeMap<String, String>>,
    /// Selects DPUClusters; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    pub selector: Option<LabelSelector>,
}

text_enum! {
    /// How far the provisioning of a DPU is. The words contain spaces; other programs compare them.
    DpuPhase {
        /// Node, device and cluster are looked up.
        Initializing = "Initializing",
        /// Waits for the image and for a free slot.
        Pending = "Pending",
        /// Waits until the host may be disturbed.
        NodeEffect = "Node Effect",
        /// The interface for the installation is prepared.
        InitializeInterface = "Initialize Interface",
        /// The firmware is configured.
        ConfigFwParameters = "Config FW Parameters",
        /// The configuration that goes with the image is rendered.
        PrepareBfb = "Prepare BFB",
        /// The image is being installed.
        OsInstalling = "OS Installing",
        /// Host agent only: whether the host has to be rebooted.
        CheckingHostRebootRequired = "Checking Host Reboot Required",
        /// The host, or the DPU, restarts.
        Rebooting = "Rebooting",
        /// Host agent only: the network of the host.
        HostNetworkConfiguration = "Host Network Configuration",
        /// Waits for the node and labels it.
        DpuClusterConfig = "DPU Cluster Config",
        /// Waits until the host is given back.
        NodeEffectRemoval = "Node Effect Removal",
        /// The DPU runs.
        Ready = "Ready",
        /// A step failed for good; its condition says why.
        Error = "Error",
        /// The object is being deleted.
        Deleting = "Deleting",
        /// Later releases.
        UpdateFirmware = "Update Firmware",
        /// Later releases.
        DpuConfig = "DPU Config",
        /// Later releases.
        ServiceReadiness = "Service Readiness",
        /// Later releases.
        PerformArmForceRestart = "Perform ARM Force Restart",
    }
}

text_enum! {
    /// How an image gets onto a DPU.
    InstallInterface {
        /// Through an agent on the host.
        HostAgent = "hostAgent",
        /// Older name of the agent on the host.
        Gnoi = "gNOI",
        /// Through the BMC of the DPU.
        Redfish = "redfish",
        /// Every step passes at once.
        Mock = "mock",
    }
}

text_enum! {
    /// Generation of a card.
    DpuType {
        /// Not known yet.
        Unknown = "Unknown",
        /// BlueField-2.
        BlueField2 = "BlueField2",
        /// BlueField-3.
        BlueField3 = "BlueField3",
        /// BlueField-4.
        BlueField4 = "BlueField4",
    }
}

text_enum! {
    /// Mode in which a card runs.
    DpuMode {
        /// As a DPU.
        Dpu = "dpu",
        /// As a plain network card.
        Nic = "nic",
    }
}

/// How far the provisioning of a DPU is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpuStatus {
    /// How far it is.
    #[serde(default)]
    pub phase: DpuPhase,
    /// The phase before this one; in `Error` the one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_phase: Option<DpuPhase>,
    /// When the phase began; its deadline counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_start_time: Option<Time>,
    /// One condition per step, and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
    /// Path of the image in the store, `/bfb/<file>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfb_file: Option<String>,
    /// Path of the rendered configuration in the store.
    #[serde(rename = "bfCFGFile", default, skip_serializing_if = "Option::is_none")]
    pub bf_cfg_file: Option<String>,
    /// Version of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfb_version: Option<String>,
    /// Version of the controller that provisioned the DPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub dpf_version: Option<String>,
    /// PCI device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_device: Option<String>,
    /// Whether the host has to be reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_reset: Option<bool>,
    /// Firmware on the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// Addresses of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<Address>>,
    /// How the image gets onto the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_install_interface: Option<InstallInterface>,
    /// Set while the effect on the host is applied for a change of labels only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_provisioning_node_effect: Option<bool>,
    /// Task of the BMC that installs the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redfish_task_id: Option<String>,
    /// Progress of that task in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub install_percent: Option<i32>,
    /// Installations that were begun; each has an address of its own for its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installations: Option<i32>,
    /// Installations of this round that failed; a few are tried again without anybody asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_failures: Option<i32>,
    /// Tries that began by themselves since the DPU was Ready last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic_retries: Option<i32>,
    /// What the BMC gave as the time of its last reset before the ARM cores were reset; the reset happened once that
    /// differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm_reset_before: Option<String>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Generation of the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Unknown"))]
    pub dpu_type: Option<DpuType>,
    /// Mode of the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "dpu"))]
    pub dpu_mode: Option<DpuMode>,
    /// Later releases: whether the host is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["zero-trust", "host-trusted"]))]
    pub deployment_mode: Option<String>,
    /// Later releases: no host behind the DPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostless: Option<bool>,
    /// Secure boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<SecureBoot>,
    /// Later releases: how the DPU proves who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["spiffe", "bootstrap-token"], "x-kubernetes-validations" = immutable()))]
    pub identity_mode: Option<String>,
    /// Later releases: when the agent on the DPU started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_last_startup_time: Option<Time>,
    /// Later releases: how far a reboot is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub reboot_status: Option<Value>,
    /// Later releases: what the agent on the DPU reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object_schema")]
    pub agent_status: Option<Value>,
    /// Later releases: how the DPU differs from its set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outdated: Option<Outdated>,
    /// Later releases: what works on the DPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub operational_conditions: Option<Vec<Condition>>,
}

/// Firmware on a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Firmware {
    /// Of the BMC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmc: Option<String>,
    /// Of the network card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic: Option<String>,
    /// Of the ARM cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uefi: Option<String>,
}

/// An address of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Address {
    /// The address.
    pub address: String,
    /// `InternalIP`, `Hostname` and so on.
    #[serde(rename = "type")]
    pub type_: String,
}

/// Secure boot of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct SecureBoot {
    /// Whether it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// How a DPU differs from its set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outdated {
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_stamp: Option<Time>,
    /// One word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

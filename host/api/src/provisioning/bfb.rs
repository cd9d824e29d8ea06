//! `BFB`: an image for DPUs and where it comes from.

use super::rules::immutable;
use super::text_enum::text_enum;
use crate::common::conditions_schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// An image for DPUs and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "provisioning.dpu.nvidia.com",
    version = "v1alpha1",
    kind = "BFB",
    root = "Bfb",
    plural = "bfbs",
    namespaced,
    status = "BfbStatus",
    derive = "Default",
    derive = "PartialEq",
    // An object without spec is legal; one of them must not stop the watch of all others.
    attr = "cfg_attr(all(), serde(default))",
    doc = "An image for DPUs and where it comes from.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "How far the download is"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(oldSelf.versions) || has(self.versions)",
    "versions cannot be removed once they are set"
))]
pub struct BfbSpec {
    /// Where the file is, `http://` or `https://`.
    #[schemars(regex(pattern = r"^(http|https)://.+$"), extend("x-kubernetes-validations" = immutable()))]
    pub url: String,
    /// Name of the file in the store; `<namespace>-<name>.bfb` when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9\_\-\.]+\.bfb$"), extend("x-kubernetes-validations" = immutable()))]
    pub file_name: Option<String>,
    /// Versions to trust instead of reading them from the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<GivenVersions>,
    /// SHA-256 of the file in hexadecimal, with or without the prefix `sha256:`. A file that differs is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(sha256:)?[0-9a-fA-F]{64}$"), extend("x-kubernetes-validations" = immutable()))]
    pub checksum: Option<String>,
}

/// Versions that the user states for an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "has(self.bsp) && self.bsp != '' && has(self.doca) && self.doca != '' && has(self.uefi) && self.uefi != '' && has(self.atf) && self.atf != ''",
    "versions needs all of bsp, doca, uefi and atf"
))]
pub struct GivenVersions {
    /// Board support package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub bsp: Option<String>,
    /// DOCA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub doca: Option<String>,
    /// UEFI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub uefi: Option<String>,
    /// ARM trusted firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = immutable()))]
    pub atf: Option<String>,
}

text_enum! {
    /// How far an image is.
    BfbPhase {
        /// Seen for the first time.
        Initializing = "Initializing",
        /// The file is being fetched.
        Downloading = "Downloading",
        /// The file is there and its versions are known.
        Ready = "Ready",
        /// The object is being deleted.
        Deleting = "Deleting",
        /// The last attempt failed; the next one comes by itself.
        Error = "Error",
    }
}

/// What is known of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BfbStatus {
    /// How far it is.
    #[serde(default)]
    pub phase: BfbPhase,
    /// Name of the file in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Versions of what the image contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<BfbVersions>,
    /// SHA-256 of the file as it was downloaded, `sha256:<hexadecimal>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Size of the file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// Attempts that failed since the last that did not; the pause before the next one grows with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<i32>,
    /// When the last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt_time: Option<Time>,
    /// Generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One condition per step, and `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
}

/// Versions of what an image contains; a part that the file does not name stays unset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct BfbVersions {
    /// Board support package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bsp: Option<String>,
    /// DOCA, three numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doca: Option<String>,
    /// UEFI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uefi: Option<String>,
    /// ARM trusted firmware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atf: Option<String>,
}

//! What a laptop lacks, as objects: clusters, hosts, devices.

use crate::argocd;
use crate::kit::{Failed, While};
use crate::kubelet::{Machine, register};
use dpf_api::keys::labels;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// Namespace of the inventory, the DPU cluster and the Applications.
pub const OPERATOR_NAMESPACE: &str = "dpf-operator-system";
/// Name of the DPUCluster.
pub const DPU_CLUSTER: &str = "dpu-cluster";
/// Name of the Secret with its kubeconfig.
const DPU_CLUSTER_SECRET: &str = "dpu-cluster-admin-kubeconfig";
/// Name of the Secret with the password of all BMCs.
const BMC_SECRET: &str = "bmc-shared-password";
/// The user that agents on DPUs are.
pub const AGENT_USER: &str = "system:serviceaccount:dpf-operator-system:dpu-agent";
/// What agents on DPUs may do, as it is installed in a cluster.
const AGENT_RIGHTS: &str = include_str!("../../deploy/dpu-agent/rbac.yaml");
/// Field manager of everything that is put in place.
const MANAGER: &str = "dev-cluster";
/// Label that marks hosts with DPUs.
const DPU_ENABLED: &str = "feature.node.kubernetes.io/dpu-enabled";
/// Label that says in which rack a host is.
const RACK: &str = "datacenter.nvidia.com/rack";
/// Annotation on a DPUDevice: the scheme its BMC speaks.
const BMC_SCHEME: &str = "provisioning.dpu.nvidia.com/bmc-scheme";
/// Racks, and where the DPU sits in the hosts of each.
const RACKS: [(&str, &str); 2] = [("b-100", "0000-0e-00"), ("b-101", "0000-1a-00")];
/// Physical functions of a card.
const FUNCTIONS: u32 = 2;

/// A host and its DPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Number, from 0.
    pub number: u16,
    /// Name of the Node and of the DPUNode.
    pub name: String,
    /// Serial number of the DPU.
    pub serial: String,
    /// Name of the DPUDevice.
    pub device: String,
    /// Rack.
    pub rack: &'static str,
    /// PCI address of the DPU, as it stands in labels.
    pub pci_address: &'static str,
}

/// Hosts, in two racks by turns.
#[must_use]
pub fn hosts(count: u16) -> Vec<Host> {
    let racks = RACKS.iter().cycle();
    (0..count)
        .zip(racks)
        .map(|(number, (rack, pci_address))| {
            let serial = format!("MT2550XZ{:04}", number + 1);
            Host {
                number,
                name: format!("worker-{}", number + 1),
                device: serial.to_lowercase(),
                serial,
                rack,
                pci_address,
            }
        })
        .collect()
}

/// Installs the kinds of this project and those of others that it uses, in either cluster.
///
/// # Errors
/// When the API server refuses one. If cancelled, some may be there; repeating completes it.
pub async fn install_kinds(client: &Client) -> Result<(), Failed> {
    let ours = dpf_api::all_crds().into_iter().map(|crd| json!(crd));
    let crds: Vec<_> = ours.chain(argocd::crds()).chain([networks()]).collect();
    for mut crd in crds {
        if let Some(fields) = crd.as_object_mut() {
            fields.insert("apiVersion".to_owned(), json!("apiextensions.k8s.io/v1"));
            fields.insert("kind".to_owned(), json!("CustomResourceDefinition"));
            fields.remove("status");
        }
        apply(
            client,
            ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
            &crd,
        )
        .await?;
        let name = text(&crd, "/metadata/name");
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        await_condition(api, name, conditions::is_crd_established())
            .await
            .map_err(|error| Failed {
                action: format!("wait until {name} is established"),
                source: Box::new(kube::Error::Service(Box::new(error))),
            })?;
    }
    Ok(())
}

/// Networks that pods attach to, as Multus has them.
fn networks() -> Value {
    json!({
        "metadata": {"name": "network-attachment-definitions.k8s.cni.cncf.io"},
        "spec": {
            "group": "k8s.cni.cncf.io", "scope": "Namespaced",
            "names": {
                "kind": "NetworkAttachmentDefinition", "listKind": "NetworkAttachmentDefinitionList",
                "plural": "network-attachment-definitions", "singular": "network-attachment-definition",
                "shortNames": ["net-attach-def"]
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"config": {"type": "string"}}}
                }}}
            }]
        }
    })
}

/// Puts the DPU cluster, the password of the BMCs, and every host with its DPU into the management cluster.
///
/// # Errors
/// When the API server refuses an object. If cancelled, some may be there; repeating completes it.
pub async fn populate(
    client: &Client,
    dpu_kubeconfig: &str,
    bmc_password: &str,
    hosts: &[(Host, SocketAddr)],
) -> Result<(), Failed> {
    let namespace = json!({"metadata": {"name": OPERATOR_NAMESPACE}});
    apply(client, ("", "v1", "Namespace"), &namespace).await?;
    for (name, key, value) in [
        (DPU_CLUSTER_SECRET, "admin.conf", dpu_kubeconfig),
        (BMC_SECRET, "password", bmc_password),
    ] {
        // As bytes: stringData is write-only, and an apply of it would never come to rest.
        let data = k8s_openapi::ByteString(value.as_bytes().to_vec());
        let secret = json!({
            "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE}, "type": "Opaque", "data": {key: data}
        });
        apply(client, ("", "v1", "Secret"), &secret).await?;
    }
    let cluster = json!({
        "metadata": {"name": DPU_CLUSTER, "namespace": OPERATOR_NAMESPACE},
        "spec": {"type": "static", "maxNodes": 1000, "kubeconfig": DPU_CLUSTER_SECRET}
    });
    apply(client, provisioning("DPUCluster"), &cluster).await?;
    for (host, bmc) in hosts {
        install(client, host, *bmc).await?;
    }
    Ok(())
}

/// Puts the rights of agents into the DPU cluster.
///
/// # Errors
/// When the API server refuses an object. If cancelled, some may be there; repeating completes it.
pub async fn install_agent_rights(client: &Client) -> Result<(), Failed> {
    let namespace = json!({"metadata": {"name": OPERATOR_NAMESPACE}});
    apply(client, ("", "v1", "Namespace"), &namespace).await?;
    for document in AGENT_RIGHTS.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document).map_err(|error| Failed {
            action: "read the rights of agents".to_owned(),
            source: Box::new(kube::Error::Service(Box::new(error))),
        })?;
        let version = text(&object, "/apiVersion");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        apply(client, (group, version, text(&object, "/kind")), &object).await?;
    }
    Ok(())
}

fn provisioning(kind: &'static str) -> (&'static str, &'static str, &'static str) {
    (dpf_api::provisioning::GROUP, "v1alpha1", kind)
}

/// One host with its DPU.
async fn install(client: &Client, host: &Host, bmc: SocketAddr) -> Result<(), Failed> {
    let [high, low] = (host.number + 1).to_be_bytes();
    let marks: BTreeMap<String, String> = [(DPU_ENABLED, "true"), (RACK, host.rack)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let capacity = [("cpu", "64"), ("memory", "256Gi"), ("pods", "110")];
    let machine = Machine {
        name: host.name.clone(),
        address: Ipv4Addr::new(10, 0, high, low),
        architecture: "amd64",
        labels: marks.clone(),
        capacity: capacity.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    };
    let node = register(client, &machine).await?;
    let dpu_node = json!({
        "metadata": {
            "name": host.name, "namespace": OPERATOR_NAMESPACE, "labels": marks,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Node", "name": host.name, "uid": node.uid().unwrap_or_default()
            }]
        },
        "spec": {"dpus": [{"name": host.device}]}
    });
    apply(client, provisioning("DPUNode"), &dpu_node).await?;
    let device = json!({
        "metadata": {
            "name": host.device, "namespace": OPERATOR_NAMESPACE,
            "labels": {labels::DPUDEVICE_PCI_ADDRESS: host.pci_address, labels::DPUNODE_NAME: host.name},
            "annotations": {BMC_SCHEME: "http"}
        },
        "spec": {
            "serialNumber": host.serial, "bmcIp": bmc.ip(), "bmcPort": bmc.port(), "numberOfPFs": FUNCTIONS
        }
    });
    apply(client, provisioning("DPUDevice"), &device).await?;
    let status = json!({
        "metadata": {"name": host.device, "namespace": OPERATOR_NAMESPACE},
        "status": {"pciAddress": host.pci_address}
    });
    apply_status(client, provisioning("DPUDevice"), &status).await
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

type Kind<'a> = (&'a str, &'a str, &'a str);

fn api_of(client: &Client, kind: Kind<'_>, object: &Value) -> (Api<DynamicObject>, Value) {
    let (group, version, name) = kind;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, name));
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".to_owned(), json!(resource.api_version));
        fields.insert("kind".to_owned(), json!(name));
    }
    let api = match text(&object, "/metadata/namespace") {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    (api, object)
}

pub(crate) async fn apply(client: &Client, kind: Kind<'_>, object: &Value) -> Result<(), Failed> {
    let (api, object) = api_of(client, kind, object);
    let name = text(&object, "/metadata/name");
    let manager = PatchParams::apply(MANAGER).force();
    api.patch(name, &manager, &Patch::Apply(&object))
        .await
        .during(|| format!("apply {} {name}", kind.2))?;
    Ok(())
}

async fn apply_status(client: &Client, kind: Kind<'_>, object: &Value) -> Result<(), Failed> {
    let (api, object) = api_of(client, kind, object);
    let name = text(&object, "/metadata/name");
    let manager = PatchParams::apply(MANAGER).force();
    api.patch_status(name, &manager, &Patch::Apply(&object))
        .await
        .during(|| format!("apply status of {} {name}", kind.2))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_in_two_racks_by_turns_with_names_of_their_own() {
        let hosts = hosts(4);
        let places: Vec<_> = hosts.iter().map(|h| (h.rack, h.pci_address)).collect();
        let (first, second) = (("b-100", "0000-0e-00"), ("b-101", "0000-1a-00"));
        assert_eq!(places, [first, second, first, second]);
        let [one, .., four] = &hosts[..] else {
            panic!()
        };
        assert_eq!(
            (one.name.as_str(), one.device.as_str()),
            ("worker-1", "mt2550xz0001")
        );
        assert_eq!(four.serial, "MT2550XZ0004");
    }
}

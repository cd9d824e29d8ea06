//! Names that other programs on the DPU rely on: ports, keys of external ids, cookies.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bridge of all service chains.
pub const BRIDGE: &str = "br-sfc";
/// Bridge of services that run host based networking; paired with [`BRIDGE`] by patch ports.
pub const HBN_BRIDGE: &str = "br-hbn";
/// Bridge that an interface of type `ovn` leads to when it names none.
pub const OVN_BRIDGE: &str = "br-ovn";
/// On OVS interfaces: whose it is. `<namespace>/<ServiceInterface>`, or `<namespace>/<pod>/<interface>` from the CNI.
pub const ID: &str = "dpf-id";
/// On OVS ports: [`PHYSICAL`] marks uplinks, which nobody sweeps.
pub const TYPE: &str = "dpf-type";
/// Value of [`TYPE`].
pub const PHYSICAL: &str = "physical";
/// On OVS ports that this agent added: `<namespace>/<ServiceInterface>`. Marks both ends of a patch pair as ours.
pub const AGENT: &str = "dpf-agent";
/// On OVS ports: the program they belong to.
pub const OWNER: &str = "owner";

/// Namespace and name of an object of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// From its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Cookie of all flows of a chain: FNV-1a with 64 bits of `<namespace>/<name>`.
///
/// The value is an interface: the original cleans up by it, so one can take over from the other in either direction.
#[must_use]
pub fn cookie(chain: &Key) -> u64 {
    let text = chain.to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn fnv1a_32(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn stripped(bridge: &str) -> String {
    bridge.replace('-', "")
}

/// Ends of the patch pair of an interface of type `ovn`: on `bridge`, and on the external bridge.
#[must_use]
pub fn ovn_pair(bridge: &str, external: &str) -> (String, String) {
    let (here, there) = (stripped(bridge), stripped(external));
    (
        format!("puplink{here}to{there}"),
        format!("puplink{there}to{here}"),
    )
}

/// Ends of the patch pair of an interface of type `patch`: on `bridge`, and on the peer.
#[must_use]
pub fn patch_pair(
    bridge: &str,
    peer: &str,
    peer_name: Option<&str>,
    interface: &Key,
) -> (String, String) {
    let here = stripped(bridge);
    match peer_name {
        Some(name) => (format!("p_{here}_to_{name}"), name.to_owned()),
        None => {
            let there = stripped(peer);
            let digest = fnv1a_32(&interface.to_string());
            (
                format!("p_{here}_to_{there}_{digest:08x}"),
                format!("p_{there}_to_{here}_{digest:08x}"),
            )
        }
    }
}

/// Patch port on `bridge` of a service interface that sits on [`HBN_BRIDGE`].
#[must_use]
pub fn hbn_patch(bridge: &str, representor: &str) -> String {
    format!("p{representor}{}", stripped(bridge))
}

/// [`ID`] of an interface of a service's pod, as the CNI writes it.
#[must_use]
pub fn pod_id(pod: &Key, interface: &str) -> String {
    format!("{pod}/{interface}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_and_names_are_those_of_the_original() {
        // Published test vectors of FNV-1a: "foobar", and "a" with 32 bits.
        let foobar = "foobar".bytes().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(foobar, 0x8594_4171_f739_67e8);
        assert_eq!(fnv1a_32("a"), 0xe40c_292c);
        assert_ne!(cookie(&Key::new("a", "b")), cookie(&Key::new("a", "c")));
        assert_eq!(
            ovn_pair(BRIDGE, OVN_BRIDGE),
            (
                "puplinkbrsfctobrovn".to_owned(),
                "puplinkbrovntobrsfc".to_owned()
            )
        );
        let key = Key::new("ns", "i");
        assert_eq!(
            patch_pair(BRIDGE, "br-x", Some("mine"), &key),
            ("p_brsfc_to_mine".to_owned(), "mine".to_owned())
        );
        let (here, there) = patch_pair(BRIDGE, "br-x", None, &key);
        assert!(here.starts_with("p_brsfc_to_brx_") && there.starts_with("p_brx_to_brsfc_"));
        assert_eq!(hbn_patch(BRIDGE, "en3f0pf0sf5"), "pen3f0pf0sf5brsfc");
    }
}

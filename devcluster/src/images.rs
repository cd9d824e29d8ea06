//! The image server: BFB files by name, made when they are asked for.
//!
//! A file starts with the magic of a boot stream and contains, between bytes that mean nothing, the software inventory
//! from which controllers read the versions. `bf-bundle-2.9.0-33_anything.bfb` is DOCA 2.9.0, build 33.

use crate::servers::{Answer, Handler, body, text};
use futures::FutureExt as _;
use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// First bytes of a boot stream.
pub const MAGIC: &[u8] = b"Bf\x02\x13";
/// Meaningless bytes before and after the inventory.
const FILLER: usize = 150 * 1024;
/// Marks the beginning of the inventory.
const INVENTORY_START: &str = "This JSON represents";
/// Marks its last line.
const INVENTORY_END: &str = "\"Members@odata.count\":";
/// Shortest run of printable characters that counts as text.
const SHORTEST_TEXT: usize = 4;

/// Versions in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// DOCA, the software for DPUs.
    pub doca: String,
    /// Board support package.
    pub bsp: String,
    /// Boot firmware.
    pub uefi: String,
    /// Trusted firmware.
    pub atf: String,
}

impl Versions {
    /// The versions of the bundle of this file name, if it is one.
    #[must_use]
    pub fn of_bundle(file: &str) -> Option<Self> {
        let rest = file.strip_prefix("bf-bundle-")?.strip_suffix(".bfb")?;
        let release = rest.split('_').next()?;
        let (version, build) = release.split_once('-')?;
        let build: u32 = build.parse().ok()?;
        let parts: Vec<u32> = version
            .split('.')
            .map(|part| part.parse().ok())
            .collect::<Option<_>>()?;
        let [major, minor, patch] = parts[..] else {
            return None;
        };
        // The board support package is two major versions ahead of DOCA, in the style of the real ones.
        let board = format!("{}.{minor}.{patch}", major + 2);
        Some(Self {
            doca: format!("{major}.{minor}.{patch}{build:03}"),
            bsp: format!("{board}.{}", 13_000 + build),
            uefi: format!("{board}-{build}-g7d3c1ae"),
            atf: format!("{board}-{build}-g41f2b90"),
        })
    }

    /// Reads the inventory of an image, as `strings` would find it.
    #[must_use]
    pub fn read(image: &[u8]) -> Option<Self> {
        let mut json = String::new();
        for run in image.split(|byte| !(b' '..=b'~').contains(byte) && *byte != b'\t') {
            let Ok(run) = std::str::from_utf8(run) else {
                continue;
            };
            if run.len() < SHORTEST_TEXT || (json.is_empty() && !run.contains(INVENTORY_START)) {
                continue;
            }
            if json.is_empty() {
                json.push('{');
            }
            json.push_str(run.trim());
            if run.contains(INVENTORY_END) {
                json.push('}');
                break;
            }
        }
        let inventory: Value = serde_json::from_str(&json).ok()?;
        let version = |name: &str| {
            let members = inventory.get("Members")?.as_array()?;
            let member = members
                .iter()
                .find(|m| m.get("Name").is_some_and(|n| n == name))?;
            Some(member.get("Version")?.as_str()?.to_owned())
        };
        Some(Self {
            doca: version("DOCA")?,
            bsp: version("BF3_BSP")?,
            uefi: version("BF3_UEFI")?,
            atf: version("BF3_ATF")?,
        })
    }

    fn inventory(&self) -> String {
        let members = [
            ("BF3_ATF", &self.atf),
            ("BF3_BSP", &self.bsp),
            ("BF3_UEFI", &self.uefi),
            ("DOCA", &self.doca),
        ];
        let count = members.len();
        let members = members.map(|(name, version)| {
            format!("        {{\n            \"Name\": \"{name}\",\n            \"Version\": \"{version}\"\n        }}")
        });
        format!(
            "\n{{\n    \"Description\": \"{INVENTORY_START} the software of this image\",\n    \"Members\": [\n{}\n    ],\n    {INVENTORY_END} {count}\n}}\n",
            members.join(",\n")
        )
    }
}

/// An image with these versions; the same versions always give the same bytes.
#[must_use]
pub fn image(versions: &Versions) -> Bytes {
    let mut bytes = Vec::with_capacity(2 * FILLER + 2048);
    bytes.extend_from_slice(MAGIC);
    filler(&mut bytes, 0x2545_f491_4f6c_dd1d);
    bytes.push(0);
    bytes.extend_from_slice(versions.inventory().as_bytes());
    bytes.push(0);
    filler(&mut bytes, 0x9e37_79b9_7f4a_7c15);
    bytes.into()
}

/// Bytes above 127: no text can appear in them by chance.
fn filler(bytes: &mut Vec<u8>, seed: u64) {
    let mut state = seed;
    for _ in 0..FILLER / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes().map(|byte| byte | 0x80));
    }
}

/// Faults of the image server, on demand.
#[derive(Clone, Debug, Default)]
pub struct ImageFaults {
    failures: Arc<AtomicUsize>,
}

impl ImageFaults {
    /// The next `count` downloads are answered with 503.
    pub fn fail_next(&self, count: usize) {
        self.failures.store(count, Ordering::SeqCst);
    }

    fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok()
    }
}

/// Answers `GET` and `HEAD` of `<any path>/bf-bundle-<version>-<build>_<anything>.bfb`.
#[must_use]
pub fn handler(faults: ImageFaults) -> Handler {
    Arc::new(move |request| {
        let faults = faults.clone();
        async move {
            let file = request.uri().path().rsplit('/').next().unwrap_or_default();
            let Some(versions) = Versions::of_bundle(file) else {
                let hint = "no such image; there is one for every bf-bundle-<major>.<minor>.<patch>-<build>_<text>.bfb";
                return text(StatusCode::NOT_FOUND, hint);
            };
            answer(request.method(), &versions, &faults)
        }
        .boxed()
    })
}

/// The image with these versions, unless a fault is due.
pub(crate) fn answer(method: &Method, versions: &Versions, faults: &ImageFaults) -> Answer {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    }
    if faults.take() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "failing as asked");
    }
    body(StatusCode::OK, "application/octet-stream", image(versions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::Listener;
    use tokio_util::sync::CancellationToken;

    const FILE: &str = "bf-bundle-2.9.0-33_24.04_ubuntu-22.04_unsigned.bfb";

    #[test]
    fn an_image_carries_the_versions_of_its_name() {
        let versions = Versions::of_bundle(FILE).unwrap();
        assert_eq!(versions.doca, "2.9.0033");
        let bytes = image(&versions);
        assert!(bytes.starts_with(MAGIC) && bytes.len() > 300_000);
        assert_eq!(Versions::read(&bytes), Some(versions));
    }

    #[test]
    fn what_follows_the_image_does_not_hide_the_inventory() {
        let versions = Versions::of_bundle(FILE).unwrap();
        let mut bytes = image(&versions).to_vec();
        bytes.extend_from_slice(b"#!/bin/bash\n# This JSON represents nothing\n");
        assert_eq!(Versions::read(&bytes), Some(versions));
        assert_eq!(Versions::read(b"nothing in here"), None);
    }

    #[test]
    fn other_names_are_no_bundles() {
        for name in [
            "x.bfb",
            "bf-bundle-2.9-33_x.bfb",
            "bf-bundle-2.9.0_x.bfb",
            "bf-bundle-2.9.0-33_x.iso",
        ] {
            assert_eq!(Versions::of_bundle(name), None, "{name}");
        }
    }

    #[tokio::test]
    async fn images_are_served_and_fail_on_demand() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let faults = ImageFaults::default();
        let listener = Listener::bind().await.unwrap();
        let url = listener.url();
        let stop = CancellationToken::new();
        let server = tokio::spawn(listener.serve(stop.clone(), handler(faults.clone())));
        let image = reqwest::get(format!("{url}/any/{FILE}")).await.unwrap();
        assert_eq!(image.status(), 200);
        let length = image.content_length();
        assert_eq!(length, Some(image.bytes().await.unwrap().len() as u64));
        assert_eq!(
            reqwest::get(format!("{url}/x.bfb")).await.unwrap().status(),
            404
        );
        faults.fail_next(1);
        assert_eq!(
            reqwest::get(format!("{url}/{FILE}"))
                .await
                .unwrap()
                .status(),
            503
        );
        assert_eq!(
            reqwest::get(format!("{url}/{FILE}"))
                .await
                .unwrap()
                .status(),
            200
        );
        stop.cancel();
        server.await.unwrap();
    }
}

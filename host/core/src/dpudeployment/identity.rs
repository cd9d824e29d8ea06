//! Whether what the plugins answered is a revision that exists already.
//!
//! The digest of a revision that a vendor's plugin made covers the component and its output. Taken literally, every new version
//! of a plugin would make every revision a new one. So a revision is compared *with the eyes of its maker*: the component that
//! made it is written down on the object, and the digest of today's input and today's output under that component is compared
//! with the one the object carries. Equal means that nothing changed but the plugin, and the revision stays as it is.
//!
//! ```text
//!   today's answer ──digest under today's plugin──────> carried by an object?  that revision
//!                 └──digest under each object's maker──> carried by it?         that revision, maker unchanged
//!                 └──neither ──────────────────────────────────────────────────> a new revision, made by today's plugin
//! ```

use super::consult::{Answer, belongs_to};
use super::digest::{
    VersionDigest, chain_digest, chain_digest_by_plugin, service_digest, service_digest_by_plugin,
};
use super::validate::{Service, Validated};
use dpf_api::keys::annotations;
use dpf_api::svc::{ChainSwitch, DpuService, DpuServiceChain, Switch};
use dpf_stage::MergeResponse;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use std::collections::BTreeMap;

/// The digest of a revision and who made it.
pub(super) struct Identity {
    pub(super) digest: VersionDigest,
    pub(super) made_by: Option<String>,
}

/// The revision of a service that these values belong to.
pub(super) fn service_identity(
    validated: &Validated<'_>,
    service: &Service<'_>,
    answer: &Answer<MergeResponse>,
) -> Identity {
    let response = &answer.response;
    let digest_under = |maker: Option<&str>| {
        let (configuration, template) = (&service.configuration.spec, &service.template.spec);
        let rendered = response.configuration_values.as_ref();
        match maker {
            None => service_digest(configuration, rendered, template),
            Some(plugin) => service_digest_by_plugin(
                configuration,
                rendered,
                template,
                plugin,
                response.values.as_ref(),
            ),
        }
    };
    // The digest of the built-in plugin does not cover the output, so the output itself is compared.
    let same_output = |object: &DpuService| {
        let values = object.spec.helm_chart.values.as_ref().map(|v| &v.0);
        values == response.values.as_ref()
    };
    let objects = validated
        .observed
        .services
        .iter()
        .filter(|object| belongs_to(object, service.name));
    identify(
        objects,
        annotations::DPUSERVICE_VERSION,
        answer.made_by.as_deref(),
        digest_under,
        same_output,
    )
}

/// The revision of a chain that these switches belong to.
pub(super) fn chain_identity(
    switches: &[Switch],
    service_ids: &BTreeMap<String, String>,
    built: &[ChainSwitch],
    made_by: Option<String>,
    chains: &[DpuServiceChain],
) -> Identity {
    let digest_under = |maker: Option<&str>| match maker {
        None => chain_digest(switches, service_ids),
        Some(plugin) => chain_digest_by_plugin(switches, service_ids, plugin, built),
    };
    let same_output =
        |object: &DpuServiceChain| object.spec.template.spec.template.spec.switches == *built;
    identify(
        chains,
        annotations::DPUSERVICECHAIN_VERSION,
        made_by.as_deref(),
        digest_under,
        same_output,
    )
}

/// A revision that another plugin made and that is the same.
struct Other<'a> {
    age: (Option<Timestamp>, &'a Option<String>),
    version: Option<&'a str>,
    maker: Option<&'a str>,
}

fn identify<'a, K: Resource + 'a>(
    objects: impl IntoIterator<Item = &'a K>,
    version_key: &str,
    made_by: Option<&str>,
    digest_under: impl Fn(Option<&str>) -> VersionDigest,
    same_output: impl Fn(&K) -> bool,
) -> Identity {
    let digest = digest_under(made_by);
    let mut other: Option<Other<'_>> = None;
    for object in objects {
        let meta = object.meta();
        if meta.deletion_timestamp.is_some() {
            continue;
        }
        let version = annotation(meta, version_key);
        let maker = annotation(meta, annotations::PLUGIN_DIGEST);
        if maker == made_by {
            if version == Some(digest.as_str()) {
                other = None;
                break;
            }
            continue;
        }
        let same = version == Some(digest_under(maker).as_str());
        if same && (maker.is_some() || same_output(object)) {
            let age = (meta.creation_timestamp.as_ref().map(|t| t.0), &meta.name);
            // Among several the oldest: it is the one that runs.
            if other.as_ref().is_none_or(|found| age < found.age) {
                other = Some(Other {
                    age,
                    version,
                    maker,
                });
            }
        }
    }
    match other {
        Some(Other {
            version: Some(version),
            maker,
            ..
        }) => Identity {
            digest: version.to_owned(),
            made_by: maker.map(str::to_owned),
        },
        _ => Identity {
            digest,
            made_by: made_by.map(str::to_owned),
        },
    }
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

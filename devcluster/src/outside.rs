//! The world outside: every image and every chart that a manifest can name, wherever it says they are.
//!
//! Manifests written for a real site name servers that a laptop cannot reach, or should not: an image has more than a
//! gigabyte, and nobody would run it. The controller manager is told by two mirrors to ask here instead, so that such a
//! manifest rolls out without a change. Names that end in `.invalid` (RFC 2606) stay unreachable, to see what that is like.
//!
//! | Asked for | Answer |
//! | --- | --- |
//! | `<any path>.bfb` | an image with the versions of its name, else with those of [`RELEASE`] |
//! | `<repository>/index.yaml` | the charts of this repository that DPUServiceTemplates name, without constraints |
//! | `<registry>/v2/<any chart>/manifests/<any tag>` | a manifest without constraints |
//!
//! Whether a chart exists in truth cannot be known here: a name with a typing error is found, too.

use crate::charts::{self, Chart};
use crate::images::{self, ImageFaults, Versions};
use crate::servers::{Answer, Handler, body, json, text};
use dpf_api::svc::DpuServiceTemplate;
use futures::FutureExt as _;
use hyper::StatusCode;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::json;
use std::sync::Arc;

/// What an image carries whose name says nothing.
pub const RELEASE: &str = "bf-bundle-3.2.0-113_25.10.bfb";

/// The mirrors that lead every URL to the server at `url`.
#[must_use]
pub fn mirrors(url: &str) -> [String; 2] {
    ["https", "http"].map(|scheme| format!("{scheme}://={url}/{scheme}"))
}

/// Whether nobody answers there, in truth and in the simulation.
#[must_use]
pub fn is_unreachable(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    host.trim_end_matches('.')
        .rsplit('.')
        .next()
        .is_some_and(|top| top.eq_ignore_ascii_case("invalid"))
}

/// Answers for everybody; templates are read from the cluster of `client`.
#[must_use]
pub fn handler(client: Client, faults: ImageFaults) -> Handler {
    Arc::new(move |request| {
        let (client, faults) = (client.clone(), faults.clone());
        async move {
            let Some(url) = original(request.uri().path()) else {
                return text(StatusCode::NOT_FOUND, "no URL is mirrored under this path");
            };
            if is_unreachable(&url) {
                return text(
                    StatusCode::BAD_GATEWAY,
                    "names that end in .invalid are never reachable",
                );
            }
            if let Some(repository) = url.strip_suffix("/index.yaml") {
                return index(&client, repository).await;
            }
            if url.contains("/v2/") && url.contains("/manifests/") {
                return manifest();
            }
            let file = url.rsplit('/').next().unwrap_or_default();
            let bfb = file.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case("bfb"));
            let versions = bfb.then(|| Versions::of_bundle(file).or_else(|| Versions::of_bundle(RELEASE)));
            match versions.flatten() {
                Some(versions) => images::answer(request.method(), &versions, &faults),
                None => text(
                    StatusCode::NOT_FOUND,
                    "simulated are images (.bfb), chart repositories (index.yaml) and manifests of charts (/v2/)",
                ),
            }
        }
        .boxed()
    })
}

/// The URL that was asked for before the mirror: `/https//host/path` was `https://host/path`.
fn original(path: &str) -> Option<String> {
    let (scheme, rest) = path.strip_prefix('/')?.split_once("//")?;
    matches!(scheme, "http" | "https").then(|| format!("{scheme}://{rest}"))
}

/// The charts of one repository that somebody refers to.
async fn index(client: &Client, repository: &str) -> Answer {
    let templates: Api<DpuServiceTemplate> = Api::all(client.clone());
    let templates = match templates.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let sources = templates
        .into_iter()
        .map(|template| template.spec.helm_chart.source);
    let mut wanted: Vec<_> = sources
        .filter(|source| source.repo_url.trim_end_matches('/') == repository)
        .map(|source| {
            let name = source.chart.filter(|chart| !chart.is_empty()).or_else(|| {
                let path = source.path?;
                Some(path.trim_end_matches('/').rsplit('/').next()?.to_owned())
            });
            (name.unwrap_or_default(), source.version)
        })
        .collect();
    wanted.sort();
    wanted.dedup();
    let charts: Vec<_> = wanted
        .into_iter()
        .map(|(name, version)| Chart {
            name,
            version,
            doca_version: None,
        })
        .collect();
    // JSON is YAML, too.
    body(
        StatusCode::OK,
        "text/yaml",
        charts::index(&charts).to_string(),
    )
}

fn manifest() -> Answer {
    json(
        StatusCode::OK,
        &json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}, "layers": [], "annotations": {},
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::Listener;
    use crate::world;
    use kube::api::PostParams;
    use serde_json::Value;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn only_invalid_names_are_unreachable() {
        for url in [
            "https://charts.invalid/x",
            "oci://a.b.INVALID:5000",
            "user@c.invalid./path",
            "http://me:secret@d.invalid",
        ] {
            assert!(is_unreachable(url), "{url}");
        }
        for url in ["https://invalid.example/x", "http://a/charts.invalid", ""] {
            assert!(!is_unreachable(url), "{url}");
        }
    }

    #[tokio::test]
    async fn images_charts_and_manifests_of_any_server_are_there() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = dpf_apiserver::ApiServer::new(dpf_apiserver::Options::default());
        let client = Client::new(server.service(), "default");
        world::install_kinds(&client).await.unwrap();
        let template: DpuServiceTemplate = serde_json::from_value(json!({
            "metadata": {"name": "scribe"},
            "spec": {"deploymentServiceName": "scribe", "helmChart": {"source": {
                "repoURL": "https://charts.vendor.test/stable/", "chart": "scribe", "version": "4.1.0"}}},
        }))
        .unwrap();
        let templates: Api<DpuServiceTemplate> = Api::default_namespaced(client.clone());
        templates
            .create(&PostParams::default(), &template)
            .await
            .unwrap();

        let listener = Listener::bind().await.unwrap();
        let here = listener.url();
        let stop = CancellationToken::new();
        let task =
            tokio::spawn(listener.serve(stop.clone(), handler(client, ImageFaults::default())));
        let get = async |url: &str| {
            let url = url.replacen("://", "//", 1);
            reqwest::get(format!("{here}/{url}")).await.unwrap()
        };
        let index = get("https://charts.vendor.test/stable/index.yaml").await;
        let index = index.text().await.unwrap();
        assert_eq!(charts::find(&index, "scribe", "4.1.0"), Ok(()));
        assert!(charts::find(&index, "scribe", "4.1.1").is_err());
        let other = get("https://charts.vendor.test/index.yaml").await;
        assert!(charts::find(&other.text().await.unwrap(), "scribe", "4.1.0").is_err());

        let manifest: Value = get("https://registry.test/v2/a/b/manifests/v1")
            .await
            .json()
            .await
            .unwrap();
        assert_eq!(manifest["schemaVersion"], 2);

        for (file, doca) in [
            ("bf-bundle-3.1.0-76_25.07_prod.bfb", "3.1.0076"),
            ("site-image.bfb", "3.2.0113"),
        ] {
            let image = get(&format!("http://images.test/{file}")).await;
            let versions = Versions::read(&image.bytes().await.unwrap()).unwrap();
            assert_eq!(versions.doca, doca, "{file}");
        }
        assert_eq!(get("http://images.test/readme.txt").await.status(), 404);
        assert_eq!(get("http://images.invalid/a.bfb").await.status(), 502);
        stop.cancel();
        task.await.unwrap();
    }
}

//! Real CRDs are accepted: those of this repository, and the published ones where they are at hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::panic,
    reason = "helpers of tests may be as blunt as the tests"
)]

use std::path::{Path, PathBuf};

use dpf_apiserver::{ApiServer, Options};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::runtime::wait::{Condition as _, conditions};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn documents(folder: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
        .iter()
        .map(|f| serde_saphyr::from_str(&std::fs::read_to_string(f).unwrap()).unwrap())
        .collect()
}

async fn accepts_all(folder: &Path) -> usize {
    let server = ApiServer::new(Options::default());
    let client = Client::new(server.service(), "default");
    let kind = ApiResource::erase::<CustomResourceDefinition>(&());
    let raw: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let typed: Api<CustomResourceDefinition> = Api::all(client);
    let all = documents(folder);
    for document in &all {
        let object: DynamicObject = serde_json::from_value(document.clone()).unwrap();
        let name = object.name_any();
        raw.create(&PostParams::default(), &object)
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let stored = typed.get(&name).await.unwrap();
        assert!(
            conditions::is_crd_established().matches_object(Some(&stored)),
            "{name} is not established"
        );
    }
    all.len()
}

#[tokio::test]
async fn the_definitions_of_this_repository() {
    let count = accepts_all(&root().join("deploy/crds")).await;
    assert!(count > 0, "deploy/crds must not be empty");
}

#[tokio::test]
async fn published_definitions() {
    let folders = ["../shared/compat/crds", "../../shared/compat/crds"];
    let Some(folder) = folders.iter().map(|f| root().join(f)).find(|f| f.is_dir()) else {
        println!("skipped: there is no ../shared/compat/crds");
        return;
    };
    assert!(accepts_all(&folder).await > 0);
}

//! The producer-consumer example as observed objects.

use dpf_api::svc::DpuDeployment;
use dpf_core::conditions::{Conditions, Verdict};
use dpf_core::dpudeployment::Observed;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use std::path::Path;

/// The time of all tests.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// One manifest of the example.
pub fn manifest<K: DeserializeOwned>(file: &str) -> K {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/producer-consumer").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the API server adds when it stores an object.
pub fn stored(metadata: &mut ObjectMeta, uid: &str) {
    metadata.uid = Some(uid.to_owned());
    metadata.generation = Some(1);
}

/// The condition Ready, for generation 1.
pub fn ready() -> Option<Vec<Condition>> {
    let mut conditions = Conditions::new(None, &[], 1, now());
    conditions.set("Ready", &Verdict::True);
    Some(conditions.into_list())
}

/// The example right after it was applied, with its image and templates ready.
pub fn example() -> Observed {
    let mut observed = Observed { deployment: manifest::<DpuDeployment>("40-dpudeployment.yaml"), ..Observed::default() };
    stored(&mut observed.deployment.metadata, "uid-of-the-deployment");
    let mut bfb: dpf_api::provisioning::Bfb = manifest("10-bfb.yaml");
    stored(&mut bfb.metadata, "uid-of-the-bfb");
    bfb.status = Some(serde_json::from_value(serde_json::json!({"phase": "Ready", "versions": {"doca": "2.9.1"}})).unwrap());
    observed.bfb = Some(bfb);
    observed.flavor = Some(manifest("11-dpuflavor.yaml"));
    for file in ["20-producer-template.yaml", "21-consumer-template.yaml"] {
        let mut template: dpf_api::svc::DpuServiceTemplate = manifest(file);
        stored(&mut template.metadata, file);
        template.status = Some(dpf_api::svc::DpuServiceTemplateStatus {
            conditions: ready(),
            observed_generation: Some(1),
            versions: None,
        });
        observed.templates.insert(template.name_any(), template);
    }
    for file in ["30-producer-configuration.yaml", "31-consumer-configuration.yaml"] {
        let mut configuration: dpf_api::svc::DpuServiceConfiguration = manifest(file);
        stored(&mut configuration.metadata, file);
        observed.configurations.insert(configuration.name_any(), configuration);
    }
    observed
}

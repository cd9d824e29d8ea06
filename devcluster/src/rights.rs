//! The controller manager has the rights it is shipped with, here as in production: nothing works by accident.

use crate::kit::{Failed, While as _};
use crate::start::StartError;
use crate::world::{OPERATOR_NAMESPACE, apply};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

/// What is shipped.
const MANIFEST: &str = include_str!("../../deploy/host/rbac.yaml");
/// Its ServiceAccount.
const ACCOUNT: &str = "dpf-host";
/// How long the token lasts: longer than any development cluster.
const TOKEN_SECONDS: i64 = 365 * 24 * 3600;

/// Applies the shipped rights and returns a token of the ServiceAccount that has them.
///
/// # Errors
/// When the API server refuses an object. If cancelled, some may be there; repeating completes it.
pub async fn grant(client: &Client) -> Result<String, StartError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(MANIFEST)?;
    for document in documents {
        let text = |key: &str| {
            document
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let version = text("apiVersion");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        apply(client, (group, version, text("kind")), &document).await?;
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), OPERATOR_NAMESPACE);
    let request =
        json!({"metadata": {}, "spec": {"audiences": [], "expirationSeconds": TOKEN_SECONDS}});
    let request: TokenRequest = serde_json::from_value(request).unwrap_or_default();
    let issued: Result<TokenRequest, Failed> = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await
        .during(|| format!("request a token of ServiceAccount {ACCOUNT}"));
    let issued = issued?;
    tracing::debug!(account = issued.name_any(), "a token was issued");
    Ok(issued.status.map(|status| status.token).unwrap_or_default())
}

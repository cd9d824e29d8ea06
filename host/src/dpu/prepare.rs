//! Phase `Prepare BFB`: the way into the cluster and the bf.cfg of this DPU.

use super::inventory;
use super::work::Work;
use crate::bfb::store::remove_file;
use crate::kit::in_one_line;
use crate::kit::{self, ClusterError, Connection, Context, Failure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dpf_api::keys::{labels, managers};
use dpf_api::provisioning::{Dpu, DpuCluster, DpuFlavor};
use dpf_core::dpu::{Limits, Said, bootstrap_token_id, configuration_path, store_file};
use dpf_core::dpuflavor::{BfCfg, Join, render};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, ResourceExt};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a bootstrap token lives, as kubeadm's do for nodes of this kind.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(2);
/// One with less life left is replaced: an installation takes a while.
const TOKEN_LEFT: SignedDuration = SignedDuration::from_hours(1);
/// Namespace of bootstrap tokens.
const TOKEN_NAMESPACE: &str = "kube-system";
/// How often a cluster that cannot be used is tried.
const RETRY: Duration = Duration::from_secs(5);

/// Writes the bf.cfg of the DPU into the store.
pub(super) async fn prepare(
    context: &Context,
    dpu: &Dpu,
    limits: &Limits,
) -> Result<Work, Failure> {
    let namespace = dpu.namespace().unwrap_or_default();
    let flavor_name = dpu.spec.dpu_flavor.clone().unwrap_or_default();
    let flavor: Option<DpuFlavor> = kit::get(&context.client, &namespace, &flavor_name).await?;
    let Some(flavor) = flavor else {
        let message = format!("DPUFlavor {namespace}/{flavor_name} does not exist");
        return Ok(Work::waiting(Said::new("DPUFlavorNotFound", message)).polled(RETRY));
    };
    let device = match inventory::device(context, dpu).await? {
        Ok(device) => device,
        Err(said) => return Ok(Work::waiting(said)),
    };
    let cluster = match inventory::cluster(context, dpu).await? {
        Ok(cluster) => cluster,
        Err(said) => return Ok(Work::waiting(said)),
    };
    let join = match join(context, dpu, &cluster).await {
        Ok(join) => join,
        Err(message) => {
            return Ok(
                Work::waiting(Said::new("FailedToGenerateJoinCommand", message)).polled(RETRY),
            );
        }
    };
    let rendered = render(BfCfg {
        flavor: &flavor,
        dpu_namespace: &namespace,
        dpu_name: &dpu.name_any(),
        dpu_uid: &dpu.uid().unwrap_or_default(),
        join: &join,
        control_plane_mtu: limits.control_plane_mtu,
        number_of_pfs: device.spec.number_of_pfs.unwrap_or(1),
    });
    let text = match rendered {
        Ok(text) => text,
        Err(error) => {
            return Ok(Work::failed(Said::new(
                "FailedToGenerateBFConfig",
                in_one_line(&error),
            )));
        }
    };
    let published = configuration_path(dpu);
    write(&store_path(context, &published), text.as_bytes()).await?;
    Ok(Work::done().with(move |status| status.bf_cfg_file = Some(published)))
}

fn store_path(context: &Context, published: &str) -> PathBuf {
    let relative = store_file(published).unwrap_or("bfcfg/unnamed");
    context.settings.bfb_dir.join(relative)
}

/// Writes a file that is complete whenever it is there. It holds a token: only this user may read it.
async fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let directory = path.parent().unwrap_or(path);
    tokio::fs::create_dir_all(directory)
        .await
        .map_err(Failure::store("create", directory))?;
    let temporary = path.with_extension("part");
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let failed = || Failure::store("write", &temporary);
    let mut file = options.open(&temporary).await.map_err(failed())?;
    file.write_all(content).await.map_err(failed())?;
    file.sync_all().await.map_err(failed())?;
    tokio::fs::rename(&temporary, path)
        .await
        .map_err(Failure::store("rename", &temporary))
}

/// Removes the bf.cfg of a DPU.
pub(super) async fn remove_configuration(context: &Context, dpu: &Dpu) -> Result<(), Failure> {
    remove_file(&store_path(context, &configuration_path(dpu))).await
}

/// Address, CA and token for the way into the cluster; the message says what is missing.
async fn join(context: &Context, dpu: &Dpu, cluster: &DpuCluster) -> Result<Join, String> {
    let connection = connection(context, cluster)
        .await
        .map_err(|error| in_one_line(&error))?;
    let (api_server, ca_cert_hashes) = endpoint(&connection, &cluster.name_any())?;
    let token = token(&connection.client, dpu, context.now()).await?;
    Ok(Join {
        api_server,
        ca_cert_hashes,
        token,
    })
}

/// The connection to a DPU cluster.
pub(super) async fn connection(
    context: &Context,
    cluster: &DpuCluster,
) -> Result<Connection, ClusterError> {
    let namespace = cluster.namespace().unwrap_or_default();
    let secret = cluster.spec.kubeconfig.as_deref();
    context
        .dpu_clusters
        .connection(&namespace, &cluster.name_any(), secret)
        .await
}

fn endpoint(connection: &Connection, cluster: &str) -> Result<(String, Vec<String>), String> {
    let named = connection
        .kubeconfig
        .clusters
        .first()
        .and_then(|named| named.cluster.as_ref())
        .ok_or_else(|| format!("the kubeconfig of DPUCluster {cluster} names no cluster"))?;
    let server = named
        .server
        .clone()
        .ok_or_else(|| format!("the kubeconfig of DPUCluster {cluster} names no server"))?;
    let Some(data) = named.certificate_authority_data.as_deref() else {
        if server.starts_with("http://") {
            return Ok((server, Vec::new()));
        }
        return Err(format!(
            "the kubeconfig of DPUCluster {cluster} has no certificate-authority-data: a DPU could not tell the API server from another"
        ));
    };
    let pem = BASE64
        .decode(data.trim())
        .map_err(|_| format!("certificate-authority-data of DPUCluster {cluster} is not base64"))?;
    let hashes = ca_hashes(&pem).ok_or_else(|| {
        format!("certificate-authority-data of DPUCluster {cluster} holds no certificate")
    })?;
    Ok((server, hashes))
}

/// SHA-256 of the public key (SubjectPublicKeyInfo) of each certificate, as kubeadm wants it.
fn ca_hashes(pem: &[u8]) -> Option<Vec<String>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.ok()?).ok()?;
    }
    let hashes: Vec<String> = roots
        .roots
        .iter()
        .map(|root| {
            let value = root.subject_public_key_info.as_ref();
            let mut hasher = Sha256::new();
            // The trust anchor holds what is inside of the sequence.
            hasher.update(sequence_header(value.len()));
            hasher.update(value);
            format!("sha256:{}", hex::encode(hasher.finalize()))
        })
        .collect();
    (!hashes.is_empty()).then_some(hashes)
}

/// Tag and length of a DER sequence.
fn sequence_header(length: usize) -> Vec<u8> {
    let mut header = vec![0x30];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => header.push(short),
        _ => {
            let bytes: Vec<u8> = length
                .to_be_bytes()
                .into_iter()
                .skip_while(|b| *b == 0)
                .collect();
            header.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0));
            header.extend(bytes);
        }
    }
    header
}

/// The bootstrap token of a DPU: the one that is there while it lives long enough, else a new one.
async fn token(client: &Client, dpu: &Dpu, now: Timestamp) -> Result<String, String> {
    let id = bootstrap_token_id(&dpu.uid().unwrap_or_default());
    let name = format!("bootstrap-token-{id}");
    let existing: Option<Secret> = kit::get(client, TOKEN_NAMESPACE, &name)
        .await
        .map_err(|error| in_one_line(&error))?;
    if let Some(secret) = existing.as_ref().and_then(|secret| living(secret, now)) {
        return Ok(format!("{id}.{secret}"));
    }
    let secret = random_hex()
        .await
        .map_err(|error| format!("failed to read /dev/urandom: {error}"))?;
    let expiration = now
        .checked_add(TOKEN_LIFE)
        .map_err(|error| format!("failed to compute the expiration of a token: {error}"))?;
    let expiration = Timestamp::from_second(expiration.as_second()).unwrap_or(expiration);
    let data = [
        ("token-id", id.clone()),
        ("token-secret", secret.clone()),
        ("expiration", expiration.to_string()),
        ("usage-bootstrap-authentication", "true".to_owned()),
        ("usage-bootstrap-signing", "true".to_owned()),
        (
            "auth-extra-groups",
            "system:bootstrappers:kubeadm:default-node-token".to_owned(),
        ),
        (
            "description",
            format!(
                "DPU {}/{}",
                dpu.namespace().unwrap_or_default(),
                dpu.name_any()
            ),
        ),
    ];
    let object = Secret {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(TOKEN_NAMESPACE.to_owned()),
            labels: Some(BTreeMap::from([(
                labels::DPU_NAMESPACE.to_owned(),
                dpu.namespace().unwrap_or_default(),
            )])),
            ..ObjectMeta::default()
        },
        type_: Some("bootstrap.kubernetes.io/token".to_owned()),
        data: Some(
            data.into_iter()
                .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
                .collect(),
        ),
        ..Secret::default()
    };
    kit::apply(client, managers::DPU, &object)
        .await
        .map_err(|error| in_one_line(&error))?;
    Ok(format!("{id}.{secret}"))
}

/// The secret half of a token that lives long enough.
fn living(secret: &Secret, now: Timestamp) -> Option<String> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref()?.get(key)?;
        String::from_utf8(bytes.0.clone()).ok()
    };
    let expiration: Timestamp = text("expiration")?.parse().ok()?;
    let long_enough = expiration.duration_since(now) > TOKEN_LEFT;
    text("token-secret").filter(|_| long_enough)
}

/// Sixteen hexadecimal digits that nobody can guess.
async fn random_hex() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    let mut source = tokio::fs::File::open("/dev/urandom").await?;
    source.read_exact(&mut bytes).await?;
    Ok(hex::encode(bytes))
}

/// Revokes the token of a DPU. One that is gone already is fine.
pub(super) async fn revoke_token(client: &Client, dpu: &Dpu) -> Result<(), Failure> {
    let name = format!(
        "bootstrap-token-{}",
        bootstrap_token_id(&dpu.uid().unwrap_or_default())
    );
    let existing: Option<Secret> = kit::get(client, TOKEN_NAMESPACE, &name).await?;
    if let Some(secret) = existing {
        kit::delete(client, &secret).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_lengths() {
        assert_eq!(sequence_header(5), [0x30, 5]);
        assert_eq!(sequence_header(0x7f), [0x30, 0x7f]);
        assert_eq!(sequence_header(0x80), [0x30, 0x81, 0x80]);
        assert_eq!(sequence_header(0x126), [0x30, 0x82, 0x01, 0x26]);
    }

    #[test]
    fn hash_of_a_public_key() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let expected = format!(
            "sha256:{}",
            hex::encode(Sha256::digest(
                rcgen::PublicKeyData::subject_public_key_info(&key)
            ))
        );
        assert_eq!(
            ca_hashes(certificate.pem().as_bytes()),
            Some(vec![expected])
        );
        assert_eq!(ca_hashes(b"nothing"), None);
    }

    #[test]
    fn a_token_is_used_again_while_it_lives() {
        let secret = |expiration: &str| Secret {
            data: Some(BTreeMap::from([
                (
                    "expiration".to_owned(),
                    ByteString(expiration.as_bytes().to_vec()),
                ),
                (
                    "token-secret".to_owned(),
                    ByteString(b"0123456789abcdef".to_vec()),
                ),
            ])),
            ..Secret::default()
        };
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(living(&secret("2026-01-01T01:30:00Z"), now).is_some());
        assert!(living(&secret("2026-01-01T00:30:00Z"), now).is_none());
        assert!(living(&secret("soon"), now).is_none());
    }
}

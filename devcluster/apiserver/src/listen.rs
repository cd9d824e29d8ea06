//! The server on a socket: HTTP/1.1 and HTTP/2, plain or with TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::auth::User;
use crate::server::{ApiServer, ApiService};

/// Connections served at the same time; more wait in the kernel's queue.
const CONNECTION_LIMIT: usize = 1024;
/// How long open requests may take to end when the listener stops. Watches are cut.
const STOP_DEADLINE: Duration = Duration::from_millis(500);

/// How the listener is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Plain HTTP. kubectl does not send tokens this way.
    Plain,
    /// HTTPS with a certificate authority made for this listener.
    SelfSigned,
}

/// Why a listener could not start.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The address cannot be listened on.
    #[error("failed to listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// Certificates could not be made.
    #[error("failed to make a certificate for {address}")]
    Certificate {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: rcgen::Error,
    },
    /// TLS could not be set up.
    #[error("failed to set up TLS for {address}")]
    Tls {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: rustls::Error,
    },
    /// Client certificates could not be set up.
    #[error("failed to set up client certificates for {address}")]
    Verifier {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: rustls::server::VerifierBuilderError,
    },
    /// A freshly made certificate or key could not be read back.
    #[error("failed to read the certificate made for {address}")]
    ReadCertificate {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: rustls::pki_types::pem::Error,
    },
}

/// A running listener. Dropping it stops it; [`stop`](Listening::stop) also waits.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    authority: Option<Arc<Authority>>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Listening {
    /// The address clients connect to, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate authority clients have to trust; None for plain HTTP.
    pub fn ca_pem(&self) -> Option<String> {
        self.authority.as_ref().map(|a| a.pem.clone())
    }

    /// A complete kubeconfig for a token.
    pub fn kubeconfig(&self, token: &str) -> String {
        self.kubeconfig_of(&format!("    token: {}\n", serde_json::Value::from(token)))
    }

    /// A complete kubeconfig with a client certificate for a user and, perhaps, a group. None for plain HTTP.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn kubeconfig_with_certificate(
        &self,
        user: &str,
        group: Option<&str>,
    ) -> Option<Result<String, ListenError>> {
        let authority = self.authority.as_ref()?;
        let made = client_certificate(user, group, authority);
        let made = made.map_err(|source| ListenError::Certificate {
            address: self.address,
            source,
        });
        Some(made.map(|(certificate, key)| {
            let encode = |pem: String| base64::engine::general_purpose::STANDARD.encode(pem);
            self.kubeconfig_of(&format!(
                "    client-certificate-data: {}\n    client-key-data: {}\n",
                encode(certificate),
                encode(key)
            ))
        }))
    }

    fn kubeconfig_of(&self, credentials: &str) -> String {
        let authority = self.authority.as_ref().map(|authority| {
            let encoded = base64::engine::general_purpose::STANDARD.encode(&authority.pem);
            format!("    certificate-authority-data: {encoded}\n")
        });
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: embedded\n  cluster:\n    server: {url}\n{authority}\
             users:\n- name: admin\n  user:\n{credentials}contexts:\n- name: embedded\n  context:\n    \
             cluster: embedded\n    user: admin\n    namespace: default\ncurrent-context: embedded\n",
            url = self.url(),
            authority = authority.unwrap_or_default(),
        )
    }

    /// Stops listening, gives open requests a moment, and returns when all connections are closed.
    pub async fn stop(mut self) {
        self.signal();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "the listener did not end well");
        }
    }

    fn signal(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone when the listener has ended by itself.
            let _ = stop.send(());
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.signal();
    }
}

impl ApiServer {
    /// Serves on a socket until the returned handle is dropped or stopped.
    ///
    /// Cancelling this future before it is ready leaves nothing behind.
    ///
    /// # Errors
    /// When the address cannot be used or certificates cannot be made.
    pub async fn listen(&self, address: SocketAddr, tls: Tls) -> Result<Listening, ListenError> {
        let bind = |source| ListenError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let (acceptor, authority) = match tls {
            Tls::Plain => (None, None),
            Tls::SelfSigned => {
                let (acceptor, authority) = self_signed(address)?;
                (Some(acceptor), Some(Arc::new(authority)))
            }
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, acceptor, self.clone(), stopped));
        Ok(Listening {
            address,
            authority,
            stop: Some(stop),
            task: Some(task),
        })
    }
}

/// A certificate authority, and a server certificate of it for the address.
fn self_signed(address: SocketAddr) -> Result<(TlsAcceptor, Authority), ListenError> {
    let certificate_error = |source| ListenError::Certificate { address, source };
    let authority = authority().map_err(certificate_error)?;
    let (chain, key) = server_certificate(address, &authority).map_err(certificate_error)?;
    let read_error = |source| ListenError::ReadCertificate { address, source };
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(read_error)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(read_error)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls_error = |source| ListenError::Tls { address, source };
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).map_err(read_error)?;
    roots.add(root).map_err(tls_error)?;
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|source| ListenError::Verifier { address, source })?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(tls_error)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), authority))
}

#[derive(Debug)]
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

fn authority() -> Result<Authority, rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(Vec::<String>::new())?;
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "embedded API server CA");
    parameters.key_usages = vec![
        rcgen::KeyUsagePurpose::KeyCertSign,
        rcgen::KeyUsagePurpose::CrlSign,
    ];
    let pem = parameters.self_signed(&key)?.pem();
    Ok(Authority {
        issuer: rcgen::Issuer::new(parameters, key),
        pem,
    })
}

fn server_certificate(
    address: SocketAddr,
    authority: &Authority,
) -> Result<(String, String), rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let mut names = vec![
        "localhost".to_owned(),
        "kubernetes".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    if !address.ip().is_unspecified() {
        names.push(address.ip().to_string());
    }
    names.dedup();
    let mut parameters = rcgen::CertificateParams::new(names)?;
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "embedded API server");
    parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = parameters.signed_by(&key, &authority.issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// A certificate whose common name is a user and whose organisation is a group.
fn client_certificate(
    user: &str,
    group: Option<&str>,
    authority: &Authority,
) -> Result<(String, String), rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(Vec::<String>::new())?;
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::CommonName, user);
    if let Some(group) = group {
        name.push(rcgen::DnType::OrganizationName, group);
    }
    parameters.distinguished_name = name;
    parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = parameters.signed_by(&key, &authority.issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// The user a verified certificate names.
fn user_of(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let groups = subject
        .iter_organization()
        .filter_map(|o| o.as_str().ok())
        .map(str::to_owned);
    Some(User::new(name, groups))
}

/// Accepts connections until told to stop; then lets open requests end.
async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    server: ApiServer,
    mut stopped: oneshot::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    let mut connections = JoinSet::new();
    loop {
        let slot = tokio::select! {
            _ = &mut stopped => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let Ok(slot) = slot else { break };
        let socket = tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    continue;
                }
            },
        };
        let (acceptor, server, watcher) = (acceptor.clone(), server.clone(), graceful.watcher());
        connections.spawn(async move {
            connect(socket, acceptor, server, watcher).await;
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(STOP_DEADLINE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::debug!("open requests were cut off");
    }
    connections.shutdown().await;
}

async fn connect(
    socket: TcpStream,
    acceptor: Option<TlsAcceptor>,
    server: ApiServer,
    watcher: hyper_util::server::graceful::Watcher,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    match acceptor {
        None => serve(socket, server.guarded_service(None), watcher).await,
        Some(acceptor) => match acceptor.accept(socket).await {
            Ok(stream) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let user = certificates.and_then(|c| user_of(c.first()?));
                serve(stream, server.guarded_service(user), watcher).await;
            }
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        },
    }
}

async fn serve<S>(stream: S, service: ApiService, watcher: hyper_util::server::graceful::Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = Builder::new(TokioExecutor::new());
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, "a connection ended badly");
    }
}

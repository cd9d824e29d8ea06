//! Puts the parts together and takes them apart again.

use crate::bmc::{Bmc, Booted, Card};
use crate::images::ImageFaults;
use crate::kit::Failed;
use crate::machines::DpuCluster;
use crate::servers::Listener;
use crate::world::{self, Host};
use crate::{
    agent, argocd, charts, daemonsets, images, kubelet, machines, outside, rights, switches,
};
use dpf_apiserver::{ApiServer, Audit, Listening, Tls, Token};
use kube::Client;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Where the images of the example come from.
const IMAGE_URL: &str = "http://internal-nfs";
/// Where the charts of the example come from.
const CHART_URL: &str = "https://example.com/charts";
/// Systems that start at the same time and were not looked at yet.
const BOOTS: usize = 64;
/// Bytes of a password or token.
const SECRET_BYTES: usize = 16;

/// How large, and where its files go.
#[derive(Clone, Debug)]
pub struct Options {
    /// Hosts, each with one DPU.
    pub dpus: u16,
    /// Directory of the kubeconfigs; it is created.
    pub dir: PathBuf,
    /// Whether every request that asks for a change is written to `host.audit` and `dpu.audit` in the directory.
    pub audit: bool,
}

impl Options {
    /// Four DPUs, files in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dpus: 4,
            dir: dir.into(),
            audit: false,
        }
    }
}

/// The development cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file could not be written.
    #[error("failed to write {path}: {source}")]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// No port on loopback.
    #[error("failed to listen on 127.0.0.1 for {what}: {source}")]
    Listen {
        /// What would have listened.
        what: &'static str,
        /// Cause.
        source: std::io::Error,
    },
    /// An API server does not listen.
    #[error("failed to start the API server of the {what}: {source}")]
    Serve {
        /// Which cluster.
        what: &'static str,
        /// Cause.
        source: dpf_apiserver::ListenError,
    },
    /// The system has no random numbers.
    #[error("failed to make a password: the system has no random numbers")]
    Random,
    /// The shipped rights cannot be read.
    #[error("failed to read the rights of the controller manager: {0}")]
    Rights(#[from] serde_saphyr::Error),
    /// The chart index cannot be written.
    #[error("failed to write the index of the chart repository: {0}")]
    Index(#[from] serde_saphyr::SerializeError),
    /// HTTP cannot be used.
    #[error("failed to set up HTTP: {0}")]
    Http(#[from] reqwest::Error),
    /// An API server refused an object of the world.
    #[error("{0}: {cause}", cause = .0.source)]
    World(#[from] Failed),
}

/// A running development cluster.
pub struct DevCluster {
    /// Kubeconfig of the management cluster.
    pub host_kubeconfig: PathBuf,
    /// Kubeconfig of the management cluster for the controller manager, with the rights it is shipped with.
    pub controller_kubeconfig: PathBuf,
    /// Kubeconfig of the DPU cluster.
    pub dpu_kubeconfig: PathBuf,
    /// `FROM=TO` for every URL of the example that is served here.
    pub mirrors: Vec<String>,
    /// Client of the management cluster.
    pub host: Client,
    /// Client of the DPU cluster.
    pub dpu: Client,
    /// BMCs by number of the DPU, for faults on demand.
    pub bmcs: Vec<Arc<Bmc>>,
    /// Faults of the image server.
    pub image_faults: ImageFaults,
    /// URL of the API server of the management cluster.
    pub host_url: String,
    /// Kubeconfig with the rights of an agent on a DPU.
    pub agent_kubeconfig: PathBuf,
    directory: PathBuf,
    simulated_agents: CancellationToken,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    listening: BTreeMap<Side, Listening>,
}

/// The two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Management,
    Dpu,
}

impl DevCluster {
    /// Replaces the simulated agents by real ones: `program` for each DPU, on a real switch, with namespaces as pods.
    ///
    /// # Errors
    /// When the API server refuses the rights of the agents. If cancelled, some may be there; repeating completes it.
    pub async fn run_switches(&mut self, program: PathBuf) -> Result<(), StartError> {
        world::install_agent_rights(&self.dpu).await?;
        self.simulated_agents.cancel();
        let settings = switches::Settings {
            program,
            kubeconfig: self.agent_kubeconfig.clone(),
            directory: self.directory.join("ovs"),
        };
        let running = switches::run(self.dpu.clone(), settings, self.stop.clone());
        self.tasks.spawn(running);
        Ok(())
    }

    /// Ends every simulator and server.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        self.tasks.shutdown().await;
        for listening in self.listening.into_values() {
            listening.stop().await;
        }
    }

    /// Closes the API server of the DPU cluster to everybody outside this process: its address answers no more.
    pub async fn close_dpu_cluster(&mut self) {
        if let Some(listening) = self.listening.remove(&Side::Dpu) {
            listening.stop().await;
        }
    }
}

/// Starts everything; returns when the world is in place.
///
/// # Errors
/// [`StartError`], and nothing keeps running. If cancelled, files may be left behind.
pub async fn start(options: Options) -> Result<DevCluster, StartError> {
    // Fails only when a provider is already there, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    write(&options.dir.join(".gitignore"), "*\n").await?;
    let host = Cluster::start("management cluster", &options, "host").await?;
    let dpu = Cluster::start("DPU cluster", &options, "dpu").await?;
    let agent_kubeconfig = options.dir.join("dpu-agent.kubeconfig");
    write(&agent_kubeconfig, &dpu.agent_kubeconfig).await?;
    let http = reqwest::Client::builder().no_proxy().build()?;

    let image_faults = ImageFaults::default();
    let image_server = listen("images").await?;
    let chart_server = listen("charts").await?;
    let (image_url, chart_url) = (image_server.url(), chart_server.url());
    tasks.spawn(image_server.serve(stop.clone(), images::handler(image_faults.clone())));
    let index = charts::handler(&charts::example())?;
    tasks.spawn(chart_server.serve(stop.clone(), index));
    let others = listen("the servers of others").await?;
    let mut mirrors = vec![
        format!("{IMAGE_URL}={image_url}"),
        format!("{CHART_URL}={chart_url}"),
    ];
    mirrors.extend(outside::mirrors(&others.url()));
    let handler = outside::handler(host.client.clone(), image_faults.clone());
    tasks.spawn(others.serve(stop.clone(), handler));

    let (sender, booted) = mpsc::channel(BOOTS);
    let password = secret()?;
    let lab = Lab {
        password: &password,
        sender,
        http: http.clone(),
        stop: stop.clone(),
    };
    let (bmcs, hosts) = lab.build(options.dpus, &mut tasks).await?;

    for client in [&host.client, &dpu.client] {
        world::install_kinds(client).await?;
    }
    world::populate(&host.client, &dpu.kubeconfig, &password, &hosts).await?;
    let controller_kubeconfig = options.dir.join("controller.kubeconfig");
    let token = rights::grant(&host.client).await?;
    write(&controller_kubeconfig, &host.listening.kubeconfig(&token)).await?;

    let clusters = BTreeMap::from([
        (argocd::IN_CLUSTER.to_owned(), host.client.clone()),
        (world::DPU_CLUSTER.to_owned(), dpu.client.clone()),
    ]);
    for client in clusters.values() {
        tasks.spawn(kubelet::simulate(client.clone(), stop.clone()));
        tasks.spawn(daemonsets::simulate(client.clone(), stop.clone()));
    }
    let argo = argocd::Settings {
        destinations: clusters,
        repositories: vec![(CHART_URL.to_owned(), chart_url.clone())],
        http,
    };
    tasks.spawn(argocd::simulate(host.client.clone(), argo, stop.clone()));
    let simulated_agents = stop.child_token();
    tasks.spawn(agent::simulate(
        dpu.client.clone(),
        simulated_agents.clone(),
    ));
    let cluster = DpuCluster {
        client: dpu.client.clone(),
        url: dpu.listening.url(),
    };
    tasks.spawn(machines::simulate(cluster, booted, stop.clone()));

    Ok(DevCluster {
        host_kubeconfig: host.path,
        controller_kubeconfig,
        dpu_kubeconfig: dpu.path,
        mirrors,
        host: host.client,
        dpu: dpu.client,
        bmcs,
        image_faults,
        host_url: host.listening.url(),
        agent_kubeconfig,
        // Programs that are started in other directories get it.
        directory: std::path::absolute(&options.dir).unwrap_or(options.dir),
        simulated_agents,
        stop,
        tasks,
        listening: BTreeMap::from([
            (Side::Management, host.listening),
            (Side::Dpu, dpu.listening),
        ]),
    })
}

/// An API server and the ways to it.
struct Cluster {
    client: Client,
    listening: Listening,
    kubeconfig: String,
    agent_kubeconfig: String,
    path: PathBuf,
}

impl Cluster {
    async fn start(what: &'static str, options: &Options, name: &str) -> Result<Self, StartError> {
        let path = options.dir.join(name).with_extension("kubeconfig");
        let audit = match options.audit {
            true => Some(audit(&path.with_extension("audit")).await?),
            false => None,
        };
        let (token, agent) = (secret()?, secret()?);
        let of_agents = Token {
            secret: agent.clone(),
            user: world::AGENT_USER.to_owned(),
            groups: vec!["system:serviceaccounts".to_owned()],
        };
        let server = ApiServer::new(dpf_apiserver::Options {
            tokens: vec![Token::admin(token.clone()), of_agents],
            anonymous: false,
            // There are kubelets here.
            immediate_pod_deletion: false,
            audit,
            ..dpf_apiserver::Options::default()
        });
        let client = Client::new(server.service(), "default");
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listening = server
            .listen(loopback, Tls::SelfSigned)
            .await
            .map_err(|source| StartError::Serve { what, source })?;
        let kubeconfig = listening.kubeconfig(&token);
        write(&path, &kubeconfig).await?;
        Ok(Self {
            agent_kubeconfig: listening.kubeconfig(&agent),
            client,
            listening,
            kubeconfig,
            path,
        })
    }
}

async fn listen(what: &'static str) -> Result<Listener, StartError> {
    let listener = Listener::bind().await;
    listener.map_err(|source| StartError::Listen { what, source })
}

/// Writes a JSON line per record.
async fn audit(path: &Path) -> Result<Audit, StartError> {
    let failed = |source| StartError::WriteFile {
        path: path.to_owned(),
        source,
    };
    write(path, "").await?;
    let file = std::fs::OpenOptions::new().append(true).open(path);
    let file = std::sync::Mutex::new(file.map_err(failed)?);
    let path = path.to_owned();
    Ok(Audit::new(move |record| {
        let mut line = serde_json::to_string(&record).unwrap_or_default();
        line.push('\n');
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = std::io::Write::write_all(&mut *file, line.as_bytes()) {
            tracing::warn!("failed to write {}: {error}", path.display());
        }
    }))
}

/// Writes a file that only its owner may read, and the directories above it.
async fn write(path: &Path, content: &str) -> Result<(), StartError> {
    let failed = |source| StartError::WriteFile {
        path: path.to_owned(),
        source,
    };
    if let Some(directory) = path.parent() {
        tokio::fs::create_dir_all(directory).await.map_err(failed)?;
    }
    // The mode only counts for a new file, and an older one may be readable by all.
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .await
        .map_err(failed)?;
    let written = tokio::io::AsyncWriteExt::write_all(&mut file, content.as_bytes()).await;
    written.map_err(failed)?;
    tokio::io::AsyncWriteExt::flush(&mut file)
        .await
        .map_err(failed)
}

/// Hexadecimal digits that nobody can guess.
fn secret() -> Result<String, StartError> {
    let mut bytes = [0; SECRET_BYTES];
    let provider = rustls::crypto::ring::default_provider();
    let filled = provider.secure_random.fill(&mut bytes);
    filled.map_err(|_| StartError::Random)?;
    Ok(hex::encode(bytes))
}

/// What all BMCs share.
struct Lab<'a> {
    password: &'a str,
    sender: mpsc::Sender<Booted>,
    http: reqwest::Client,
    stop: CancellationToken,
}

impl Lab<'_> {
    /// A BMC for each DPU, serving on a port of its own.
    async fn build(
        self,
        count: u16,
        tasks: &mut JoinSet<()>,
    ) -> Result<(Vec<Arc<Bmc>>, Vec<(Host, SocketAddr)>), StartError> {
        let mut bmcs = Vec::new();
        let mut hosts = Vec::new();
        for host in world::hosts(count) {
            let card = Card {
                number: host.number,
                serial: host.serial.clone(),
                password: Some(self.password.to_owned()),
            };
            let (bmc, worker) = Bmc::new(card, self.sender.clone(), self.http.clone());
            let listener = listen("a BMC").await?;
            hosts.push((host, listener.address()));
            tasks.spawn(worker.run(self.stop.clone()));
            tasks.spawn(listener.serve(self.stop.clone(), bmc.handler()));
            bmcs.push(bmc);
        }
        Ok((bmcs, hosts))
    }
}

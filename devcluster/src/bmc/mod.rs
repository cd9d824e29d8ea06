//! The Redfish BMC of one DPU, as far as the host asks: `host/src/dpu/redfish/README.md` is the contract.
//!
//! ```text
//!   SimpleUpdate ──> task Running: download, write ──> Completed ──> Booting ──> OsIsRunning ──> kubelet joins
//!                         └── no image, wrong image, fault ──> Exception (the old system goes on)
//!   Reset ─────────────────────────────────────────────────────────> Booting ──> OsIsRunning
//! ```

mod image;
mod protocol;
mod state;

pub use image::{Join, JoinError};
pub use state::InstallFault;

use crate::images::MAGIC;
use crate::servers::Handler;
use futures::FutureExt as _;
use state::{Command, State};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Writing an image takes this many steps, each visible as progress.
const WRITE_STEPS: u8 = 5;
/// Length of one step.
const WRITE_STEP: Duration = Duration::from_millis(150);
/// From reset to a running system.
const BOOT: Duration = Duration::from_millis(400);
/// Largest image that is accepted, in bytes.
const MAX_IMAGE: usize = 64 << 20;
/// Time limit for fetching an image.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Commands that wait at a time; the protocol allows one.
const COMMANDS: usize = 4;

/// What is printed on the card and set on its BMC.
#[derive(Clone, Debug)]
pub struct Card {
    /// Number of the DPU in the simulation, from 0.
    pub number: u16,
    /// Serial number.
    pub serial: String,
    /// Password of `root`; nothing is checked when unset.
    pub password: Option<String>,
}

/// A DPU has started its system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booted {
    /// Number of the DPU.
    pub number: u16,
    /// What the installation left behind: where to join, and as whom.
    pub join: Join,
}

/// The BMC of one DPU.
pub struct Bmc {
    card: Card,
    state: Mutex<State>,
    commands: mpsc::Sender<Command>,
    booted: mpsc::Sender<Booted>,
    http: reqwest::Client,
}

/// Does what the BMC was told.
pub struct Worker {
    bmc: Arc<Bmc>,
    commands: mpsc::Receiver<Command>,
}

impl Bmc {
    /// A BMC and its worker; systems that start are reported to `booted`.
    #[must_use]
    pub fn new(
        card: Card,
        booted: mpsc::Sender<Booted>,
        http: reqwest::Client,
    ) -> (Arc<Self>, Worker) {
        let (sender, receiver) = mpsc::channel(COMMANDS);
        let bmc = Arc::new(Self {
            state: Mutex::new(State::new()),
            card,
            commands: sender,
            booted,
            http,
        });
        let worker = Worker {
            bmc: bmc.clone(),
            commands: receiver,
        };
        (bmc, worker)
    }

    /// Answers Redfish requests.
    #[must_use]
    pub fn handler(self: &Arc<Self>) -> Handler {
        let bmc = self.clone();
        Arc::new(move |request| {
            let answer = protocol::answer(&bmc, &request);
            std::future::ready(answer).boxed()
        })
    }

    /// The next installation fails like this.
    pub fn fail_next_install(&self, fault: InstallFault) {
        self.state().fault = Some(fault);
    }

    /// The next `count` requests are answered with 503.
    pub fn be_busy(&self, count: usize) {
        self.state().busy = count;
    }

    /// How many images were written to the card so far.
    #[must_use]
    pub fn images_written(&self) -> u32 {
        self.state().written
    }

    /// How often the system on the card was started so far.
    #[must_use]
    pub fn starts(&self) -> u32 {
        self.state().resets
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let command = tokio::select! {
                () = stop.cancelled() => return,
                command = self.commands.recv() => command,
            };
            let work = async {
                match command {
                    Some(Command::Install { task, uri }) => self.install(task, &uri).await,
                    Some(Command::Reset) => self.boot().await,
                    // The BMC itself holds a sender, so this end is never the last.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    async fn install(&self, task: u32, uri: &str) {
        let fault = self.bmc.state().fault.take();
        let result = match &fault {
            Some(InstallFault::Exception(message)) => Err(message.clone()),
            Some(InstallFault::NeverBoots) | None => self.write(task, uri).await,
        };
        match result {
            Err(message) => self.bmc.state().failed(task, &message),
            Ok((versions, join)) => {
                self.bmc.state().installed(task, versions, join);
                if fault.is_none() {
                    self.boot().await;
                }
            }
        }
    }

    /// Fetches and checks the image, then takes the time that writing takes.
    async fn write(&self, task: u32, uri: &str) -> Result<(crate::images::Versions, Join), String> {
        let image = tokio::time::timeout(DOWNLOAD_TIMEOUT, self.download(uri))
            .await
            .map_err(|_| format!("{uri} was not transferred in {DOWNLOAD_TIMEOUT:?}"))??;
        if !image.starts_with(MAGIC) {
            return Err(format!("{uri} is not a boot stream (BFB)"));
        }
        let versions = crate::images::Versions::read(&image)
            .ok_or_else(|| format!("{uri} has no software inventory"))?;
        let join = Join::read(&image).map_err(|error| format!("{uri}: {error}"))?;
        for step in 1..=WRITE_STEPS {
            tokio::time::sleep(WRITE_STEP).await;
            let percent = 50 + 50 * step / (WRITE_STEPS + 1);
            self.bmc.state().progress(task, percent);
        }
        Ok((versions, join))
    }

    async fn download(&self, uri: &str) -> Result<Vec<u8>, String> {
        let failed = |error: reqwest::Error| format!("failed to fetch {uri}: {error}");
        let request = self.bmc.http.get(uri).send().await.map_err(failed)?;
        let mut answer = request.error_for_status().map_err(failed)?;
        let mut image = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            image.extend_from_slice(&chunk);
            if image.len() > MAX_IMAGE {
                return Err(format!("{uri} is larger than {MAX_IMAGE} bytes"));
            }
        }
        Ok(image)
    }

    async fn boot(&self) {
        self.bmc.state().booting();
        tokio::time::sleep(BOOT).await;
        let join = self.bmc.state().running();
        if let Some(join) = join {
            let number = self.bmc.card.number;
            // Nobody listens when the simulation ends.
            let _ = self.bmc.booted.send(Booted { number, join }).await;
        }
    }
}

#[cfg(test)]
mod tests;

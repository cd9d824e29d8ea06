//! The loop: observe, decide, plan, apply, report; once for every change on either side, and every few seconds.
//!
//! ```text
//!   inputs (API) ───┐
//!   database ───────┼──> round: observe ─> desired ─> plan ─> apply ─> report ──> status (API)
//!   switch closed ──┤
//!   clock ──────────┘
//! ```
//!
//! Nothing is remembered between rounds but the connections, so a killed agent continues where it was. Until the API has
//! told all objects once, nothing is changed: what is in the switch goes on forwarding.

use super::devices;
use super::openflow::{Connection, SwitchError};
use super::ovsdb::{Database, DatabaseError, mirror::Snapshot, operations};
use crate::core::names::{self, BRIDGE, Key};
use crate::core::plan::Plan;
use crate::core::{Action, Desired, Inputs, Observed, Settings, desired, plan};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How often everything is looked at without a cause: what somebody changed in the switch by hand is repaired by then.
const RESYNC: Duration = Duration::from_secs(5);
/// Pause before connecting to the switch again. Connecting to a local socket costs nothing.
const RECONNECT: Duration = Duration::from_millis(100);
/// Pause after a change that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Rounds in a row that change flows: one to change, one to find what was learnt meanwhile, and one to see that it is done.
const ROUNDS: usize = 3;

/// Where things are on this machine.
#[derive(Clone, Debug)]
pub struct Places {
    /// Socket of the database.
    pub database: PathBuf,
    /// Directory of the management sockets of the bridges.
    pub run_dir: PathBuf,
    /// Where sysfs is mounted.
    pub sysfs: PathBuf,
}

impl Places {
    /// Those of an installed Open vSwitch whose sockets are in `run_dir`.
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        let run_dir = run_dir.into();
        Self {
            database: run_dir.join("db.sock"),
            run_dir,
            sysfs: PathBuf::from("/sys"),
        }
    }
}

/// What became of the objects of this node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What is in the way of each interface; nothing means it is wired.
    pub interfaces: BTreeMap<Key, Outcome>,
    /// What is in the way of each chain; nothing means it is programmed.
    pub chains: BTreeMap<Key, Outcome>,
    /// Deleted interfaces of which nothing is left.
    pub gone_interfaces: BTreeSet<Key>,
    /// Deleted chains of which nothing is left.
    pub gone_chains: BTreeSet<Key>,
    /// Version of Open vSwitch.
    pub version: Option<String>,
    /// Why Open vSwitch cannot be used.
    pub unhealthy: Option<String>,
}

/// What became of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Generation that was looked at.
    pub generation: Option<i64>,
    /// What is in the way.
    pub wrong: Vec<String>,
}

/// A change that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// In the database.
    #[error("failed to change ports")]
    Database(#[from] DatabaseError),
    /// In the switch.
    #[error("failed to change flows")]
    Switch(#[from] SwitchError),
}

/// The loop and its connections.
pub struct Driver {
    settings: Settings,
    places: Places,
    database: Database,
    switch: Option<Connection>,
    /// Why there is no switch.
    switch_error: Option<String>,
    report: watch::Sender<Arc<Report>>,
}

/// Runs until `stop`. The switch is left as it is: it goes on forwarding.
pub async fn run(
    settings: Settings,
    places: Places,
    mut inputs: watch::Receiver<Option<Arc<Inputs>>>,
    report: watch::Sender<Arc<Report>>,
    stop: CancellationToken,
) {
    let database = Database::start(places.database.clone(), stop.clone());
    let mut driver = Driver {
        settings,
        places,
        database,
        switch: None,
        switch_error: None,
        report,
    };
    let mut tick = interval(RESYNC);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retry = None;
    loop {
        let mut database = driver.database.clone();
        tokio::select! {
            () = stop.cancelled() => return,
            changed = inputs.changed() => if changed.is_err() { return },
            () = database.changed() => {}
            () = driver.switch_closed() => {}
            () = wait(retry.take()) => {}
            _ = tick.tick() => {}
        }
        driver.database = database;
        let now = inputs.borrow_and_update().clone();
        let Some(now) = now else {
            continue;
        };
        retry = driver.rounds(&now).await;
    }
}

async fn wait(pause: Option<Duration>) {
    match pause {
        Some(pause) => sleep(pause).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    /// Waits until there is a reason to look at the switch: it closed the connection, or it is time to try again.
    async fn switch_closed(&mut self) {
        match &mut self.switch {
            Some(connection) => {
                let error = connection.idle().await;
                tracing::warn!("{error}; connecting again");
                self.switch = None;
            }
            None => sleep(RECONNECT).await,
        }
    }

    /// Rounds until nothing is left to do; how long to wait when something could not be done.
    async fn rounds(&mut self, inputs: &Inputs) -> Option<Duration> {
        for _ in 0..ROUNDS {
            let Some(snapshot) = self.database.snapshot() else {
                self.unhealthy("the database of Open vSwitch does not answer");
                return None;
            };
            let observed = self.observe(&snapshot).await;
            let mut wanted = desired(inputs, &observed, &self.settings);
            let plan = plan(&observed, &wanted);
            let applied = self.apply(&plan, &snapshot).await;
            let failed = applied.err();
            if let Some(error) = &failed {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(cause, "{error}; trying again");
            }
            self.blame(&mut wanted, &plan, failed.as_ref());
            self.publish(inputs, &observed, &wanted, &plan, &snapshot);
            if failed.is_some() {
                return Some(RETRY);
            }
            if plan.actions.is_empty() {
                return None;
            }
        }
        None
    }

    async fn observe(&mut self, snapshot: &Snapshot) -> Observed {
        let mut observed = Observed {
            bridges: snapshot.bridges.clone(),
            ports: snapshot.ports.clone(),
            switch: None,
            devices: devices::read(&self.places.sysfs),
        };
        if !snapshot.bridges.contains_key(BRIDGE) {
            self.switch = None;
            return observed;
        }
        let read = match self.connection().await {
            Ok(connection) => connection.read().await,
            Err(error) => Err(error),
        };
        match read {
            Ok(switch) => {
                self.switch_error = None;
                observed.switch = Some(switch);
            }
            Err(error) => {
                self.switch = None;
                let text = error.to_string();
                if self.switch_error.as_ref() != Some(&text) {
                    tracing::warn!("{text}");
                }
                self.switch_error = Some(text);
            }
        }
        observed
    }

    async fn connection(&mut self) -> Result<&mut Connection, SwitchError> {
        let connection = match self.switch.take() {
            Some(connection) => connection,
            None => {
                let socket = self.places.run_dir.join(format!("{BRIDGE}.mgmt"));
                let connection = Connection::open(&socket).await?;
                tracing::info!("connected to the switch of {BRIDGE}");
                connection
            }
        };
        Ok(self.switch.insert(connection))
    }

    /// Makes the changes in order; the first that fails ends it.
    async fn apply(&mut self, plan: &Plan, snapshot: &Snapshot) -> Result<(), ApplyError> {
        for action in &plan.actions {
            match action {
                Action::ChangeFlows(changes) => {
                    tracing::info!(changes = changes.len(), "changing flows of {BRIDGE}");
                    let changed = self.connection().await?.change(changes).await;
                    if !matches!(changed, Ok(()) | Err(SwitchError::Refused { .. })) {
                        self.switch = None;
                    }
                    changed?;
                }
                Action::AddBridge { .. }
                | Action::SecureBridge { .. }
                | Action::AddPorts(_)
                | Action::ChangePort(_)
                | Action::DeletePort { .. } => {
                    tracing::info!("{}", describe(action));
                    let operations = operations(action, &self.settings.node, snapshot);
                    self.database.transact(operations).await?;
                }
            }
        }
        Ok(())
    }

    /// Adds to what is in the way what was only found while applying.
    fn blame(&self, wanted: &mut Desired, plan: &Plan, failed: Option<&ApplyError>) {
        let common = match (failed, &self.switch_error) {
            (Some(error), _) => {
                let cause = std::error::Error::source(error);
                let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                Some(format!("{error}{cause}"))
            }
            (None, why) => why.clone(),
        };
        for (key, wrong) in &mut wanted.chains {
            wrong.extend(common.clone());
            if plan.blocked.contains(&names::cookie(key)) {
                wrong.push(format!(
                    "{BRIDGE} has a flow of somebody else in the place of one of this chain; remove it"
                ));
            }
        }
    }

    /// What was said of the objects stays: nobody can look.
    fn unhealthy(&self, why: &str) {
        self.report.send_if_modified(|report| {
            let differs = report.unhealthy.as_deref() != Some(why);
            if differs {
                Arc::make_mut(report).unhealthy = Some(why.to_owned());
            }
            differs
        });
    }

    fn publish(
        &self,
        inputs: &Inputs,
        observed: &Observed,
        wanted: &Desired,
        plan: &Plan,
        snapshot: &Snapshot,
    ) {
        let mut report = Report {
            version: snapshot.version.clone(),
            unhealthy: self.switch_error.clone(),
            ..Report::default()
        };
        for (key, wrong) in &wanted.interfaces {
            let generation = inputs
                .interfaces
                .get(key)
                .and_then(|i| i.metadata.generation);
            let wrong = wrong.clone();
            report
                .interfaces
                .insert(key.clone(), Outcome { generation, wrong });
        }
        for (key, wrong) in &wanted.chains {
            let generation = inputs.chains.get(key).and_then(|c| c.metadata.generation);
            let wrong = wrong.clone();
            report
                .chains
                .insert(key.clone(), Outcome { generation, wrong });
        }
        // Seen to be gone, rather than asked to go: the round after the removal says so.
        let node = Some(self.settings.node.as_str());
        if plan.actions.is_empty() && observed.switch.is_some() {
            let leaving = inputs.chains.iter().filter(|(_, chain)| {
                chain.metadata.deletion_timestamp.is_some() && chain.spec.node.as_deref() == node
            });
            report.gone_chains = leaving.map(|(key, _)| key.clone()).collect();
        }
        if plan.actions.is_empty() {
            let leaving = inputs.interfaces.iter().filter(|(_, interface)| {
                interface.metadata.deletion_timestamp.is_some()
                    && interface.spec.node.as_deref() == node
            });
            report.gone_interfaces = leaving.map(|(key, _)| key.clone()).collect();
        }
        self.report.send_if_modified(|before| {
            let differs = **before != report;
            if differs {
                *before = Arc::new(report);
            }
            differs
        });
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::AddBridge { name, .. } => format!("adding bridge {name}"),
        Action::SecureBridge { name } => format!("making bridge {name} drop what no flow matches"),
        Action::AddPorts(ports) => {
            let names: Vec<_> = ports
                .iter()
                .map(|p| format!("{} to {}", p.name, p.bridge))
                .collect();
            format!("adding {}", names.join(" and "))
        }
        Action::ChangePort(change) => format!("changing port {}", change.name),
        Action::DeletePort { bridge, name } => format!("removing port {name} from {bridge}"),
        Action::ChangeFlows(changes) => format!("changing {} flows", changes.len()),
    }
}

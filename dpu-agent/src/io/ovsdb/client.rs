//! The connection to the database: it lives as long as the agent, and is made again whenever it breaks.

use super::frame::{FrameError, Splitter};
use super::mirror::{Mirror, MirrorError, Snapshot, monitored};
use crate::io::socket;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// An answer that takes longer will not come.
const ANSWER: Duration = Duration::from_secs(5);
/// First and longest pause before connecting again. Connecting to a local socket costs nothing.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Silence after which the database is asked whether it is there, and as long again until the connection counts as dead.
const PROBE: Duration = Duration::from_secs(15);
/// Transactions that wait for their turn.
const QUEUE: usize = 64;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// Name of the database, and our name for the monitor.
const NAME: &str = "Open_vSwitch";

/// The database cannot be used, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Nobody answers on the socket.
    #[error("failed to connect to the database of Open vSwitch at {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The connection broke.
    #[error("failed to talk to the database of Open vSwitch")]
    Talk(#[source] io::Error),
    /// The database closed the connection, possibly in the middle of a message.
    #[error("the database of Open vSwitch closed the connection")]
    Closed,
    /// The database is silent.
    #[error("the database of Open vSwitch did not answer in time")]
    Silent,
    /// The stream is not a sequence of messages.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message is not JSON.
    #[error("the database of Open vSwitch sent a message that is not JSON")]
    Json(#[source] serde_json::Error),
    /// Rows are not what the schema says.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// A request failed.
    #[error("the database of Open vSwitch refused the request: {0}")]
    Refused(String),
}

struct Request {
    operations: Vec<Value>,
    done: Done,
}

/// A handle to the database.
#[derive(Clone)]
pub struct Database {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    requests: mpsc::Sender<Request>,
}

impl Database {
    /// Starts to keep a mirror of the database at `path`, until `stop`.
    #[must_use]
    pub fn start(path: PathBuf, stop: CancellationToken) -> Self {
        let (publish, snapshots) = watch::channel(None);
        let (requests, queue) = mpsc::channel(QUEUE);
        let keeper = Keeper {
            path,
            publish,
            queue,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = keeper.keep() => {}
            }
        });
        Self {
            snapshots,
            requests,
        }
    }

    /// What the database holds now; none while there is no connection.
    #[must_use]
    pub fn snapshot(&mut self) -> Option<Arc<Snapshot>> {
        self.snapshots.borrow_and_update().clone()
    }

    /// Waits until the database changed, or the connection came or went.
    pub async fn changed(&mut self) {
        if self.snapshots.changed().await.is_err() {
            // The keeper ended, which it does only together with this process.
            std::future::pending::<()>().await;
        }
    }

    /// Does all operations or none.
    ///
    /// # Errors
    /// [`DatabaseError`]. After anything but `Refused`, or cancelled, they may have been done, all or none.
    pub async fn transact(&self, operations: Vec<Value>) -> Result<(), DatabaseError> {
        let (done, answer) = oneshot::channel();
        let request = Request { operations, done };
        if self.requests.try_send(request).is_err() {
            return Err(DatabaseError::Silent);
        }
        let answer = timeout(ANSWER, answer).await;
        let answer = answer.map_err(|_| DatabaseError::Silent)?;
        answer.map_err(|_| DatabaseError::Closed)?
    }
}

struct Keeper {
    path: PathBuf,
    publish: watch::Sender<Option<Arc<Snapshot>>>,
    queue: mpsc::Receiver<Request>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut pause = PAUSES.0;
        let mut told = false;
        loop {
            let error = match Session::open(&self.path).await {
                Ok(mut session) => {
                    pause = PAUSES.0;
                    told = false;
                    session.run(&self.publish, &mut self.queue).await
                }
                Err(error) => error,
            };
            self.publish.send_replace(None);
            // What waited was not sent, or its answer is lost: the agent looks again and decides anew.
            while let Ok(request) = self.queue.try_recv() {
                let _ = request.done.send(Err(DatabaseError::Closed));
            }
            if !told {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(cause, "{error}; trying again until it answers");
                told = true;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

/// One connection.
struct Session {
    stream: UnixStream,
    splitter: Splitter,
    mirror: Mirror,
    next_id: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Transactions that ended; told after the mirror is published, which then shows what they did.
    ended: Vec<(Done, Result<(), DatabaseError>)>,
}

type Done = oneshot::Sender<Result<(), DatabaseError>>;

enum Waiting {
    Monitor,
    Echo,
    Transaction(Done),
}

impl Session {
    async fn open(path: &Path) -> Result<Self, DatabaseError> {
        let connect = |source| DatabaseError::Connect {
            path: path.to_owned(),
            source,
        };
        let stream = timeout(ANSWER, socket::connect(path)).await;
        let stream = stream
            .map_err(|_| DatabaseError::Silent)?
            .map_err(connect)?;
        let mut session = Self {
            stream,
            splitter: Splitter::default(),
            mirror: Mirror::default(),
            next_id: 0,
            waiting: BTreeMap::new(),
            ended: Vec::new(),
        };
        let parameters = json!([NAME, NAME, monitored()]);
        session
            .request("monitor", parameters, Waiting::Monitor)
            .await?;
        Ok(session)
    }

    async fn run(
        &mut self,
        publish: &watch::Sender<Option<Arc<Snapshot>>>,
        queue: &mut mpsc::Receiver<Request>,
    ) -> DatabaseError {
        loop {
            match self.step(publish, queue).await {
                Ok(()) => {}
                Err(error) => return error,
            }
        }
    }

    async fn step(
        &mut self,
        publish: &watch::Sender<Option<Arc<Snapshot>>>,
        queue: &mut mpsc::Receiver<Request>,
    ) -> Result<(), DatabaseError> {
        let mut chunk = Vec::with_capacity(CHUNK);
        tokio::select! {
            count = self.stream.read_buf(&mut chunk) => {
                if count.map_err(DatabaseError::Talk)? == 0 {
                    return Err(DatabaseError::Closed);
                }
                self.splitter.push(&chunk);
                let mut changed = false;
                while let Some(message) = self.splitter.message()? {
                    changed |= self.take(&message).await?;
                }
                if changed {
                    let snapshot = Arc::new(self.mirror.snapshot()?);
                    publish.send_replace(Some(snapshot));
                }
                for (done, result) in self.ended.drain(..) {
                    // Who asked may have stopped to wait.
                    let _ = done.send(result);
                }
            }
            Some(request) = queue.recv() => {
                let Request { operations, done } = request;
                let mut parameters = vec![json!(NAME)];
                parameters.extend(operations);
                self.request("transact", Value::Array(parameters), Waiting::Transaction(done)).await?;
            }
            () = sleep(PROBE) => {
                if self.waiting.values().any(|waiting| matches!(waiting, Waiting::Echo | Waiting::Monitor)) {
                    return Err(DatabaseError::Silent);
                }
                self.request("echo", json!([]), Waiting::Echo).await?;
            }
        }
        Ok(())
    }

    async fn request(
        &mut self,
        method: &str,
        parameters: Value,
        waiting: Waiting,
    ) -> Result<(), DatabaseError> {
        self.next_id += 1;
        let id = self.next_id;
        self.waiting.insert(id, waiting);
        self.send(&json!({"method": method, "params": parameters, "id": id}))
            .await
    }

    async fn send(&mut self, message: &Value) -> Result<(), DatabaseError> {
        let text = message.to_string();
        let sent = timeout(ANSWER, self.stream.write_all(text.as_bytes())).await;
        sent.map_err(|_| DatabaseError::Silent)?
            .map_err(DatabaseError::Talk)
    }

    /// Takes a message; whether the mirror changed.
    async fn take(&mut self, message: &[u8]) -> Result<bool, DatabaseError> {
        let message: Value = serde_json::from_slice(message).map_err(DatabaseError::Json)?;
        match message.get("method").and_then(Value::as_str) {
            Some("update") => {
                let ours = message.pointer("/params/0").and_then(Value::as_str) == Some(NAME);
                // Before the first answer there is nothing to update.
                let begun = !self.waiting.values().any(|w| matches!(w, Waiting::Monitor));
                if ours && begun {
                    self.mirror
                        .update(message.pointer("/params/1").unwrap_or(&Value::Null))?;
                }
                Ok(ours && begun)
            }
            Some("echo") => {
                let (id, parameters) = (message.get("id"), message.get("params"));
                self.send(&json!({"id": id, "result": parameters, "error": null}))
                    .await?;
                Ok(false)
            }
            // Notifications that were not asked for, and requests that no client has to answer.
            Some(_) => Ok(false),
            None => self.take_answer(&message),
        }
    }

    fn take_answer(&mut self, message: &Value) -> Result<bool, DatabaseError> {
        let id = message.get("id").and_then(Value::as_u64);
        let Some(waiting) = id.and_then(|id| self.waiting.remove(&id)) else {
            // An answer to nothing that was asked, or a second one.
            return Ok(false);
        };
        let result = message.get("result").unwrap_or(&Value::Null);
        let error = message.get("error").filter(|error| !error.is_null());
        match (waiting, error) {
            (Waiting::Echo, _) => Ok(false),
            (Waiting::Monitor, None) => {
                self.mirror = Mirror::default();
                self.mirror.update(result)?;
                Ok(true)
            }
            (Waiting::Monitor, Some(error)) => Err(DatabaseError::Refused(error.to_string())),
            (Waiting::Transaction(done), error) => {
                let problem = error
                    .map(ToString::to_string)
                    .or_else(|| failed_operation(result));
                let result = problem.map_or(Ok(()), |why| Err(DatabaseError::Refused(why)));
                self.ended.push((done, result));
                Ok(false)
            }
        }
    }
}

/// A transaction fails as a whole when one of its results is an error.
fn failed_operation(result: &Value) -> Option<String> {
    let Some(results) = result.as_array() else {
        return Some("the result of the transaction is not a list".to_owned());
    };
    let failed = results
        .iter()
        .find(|result| result.get("error").is_some_and(|e| !e.is_null()))?;
    let text = |key| failed.get(key).and_then(Value::as_str).unwrap_or_default();
    Some(format!("{}: {}", text("error"), text("details")))
}

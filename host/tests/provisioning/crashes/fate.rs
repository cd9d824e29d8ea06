//! Death at a chosen call: what a process asks of others goes through here, and at one of these calls it ends.

use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// On which side of a call a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nobody heard of the call.
    Before,
    /// It was carried out, and the answer never arrives.
    After,
}

/// Which call is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// Number of the call within its stage, from 1.
    pub call: usize,
    /// Before or after it.
    pub side: Side,
}

/// What one process does to others, and when it dies. Clones are the same process.
#[derive(Clone)]
pub struct Life {
    dead: CancellationToken,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    death: Option<Death>,
    calls: Vec<String>,
}

/// Shared by the lives that follow each other.
#[derive(Clone, Default)]
pub struct Fate(Arc<Mutex<Script>>);

impl Fate {
    /// A new stage: calls are counted from one again, and this one is the last of a process.
    pub fn stage(&self, death: Option<Death>) {
        *self.0.lock().unwrap() = Script {
            death,
            calls: Vec::new(),
        };
    }

    /// The calls of this stage.
    pub fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.clone()
    }

    /// Whether the death of this stage is still to come.
    pub fn is_due(&self) -> bool {
        self.0.lock().unwrap().death.is_some()
    }

    /// A new process.
    pub fn life(&self) -> Life {
        Life {
            dead: CancellationToken::new(),
            script: self.0.clone(),
        }
    }
}

impl Life {
    /// Resolves when the process is dead.
    pub async fn died(&self) {
        self.dead.cancelled().await;
    }

    /// A call that changes nothing: the dead do not even ask.
    pub async fn ask<T>(&self, call: impl Future<Output = T>) -> T {
        self.linger().await;
        let answer = call.await;
        self.linger().await;
        answer
    }

    /// A call that counts.
    pub async fn act<T>(&self, what: String, call: impl Future<Output = T>) -> T {
        self.linger().await;
        let number = {
            let mut script = self.script.lock().unwrap();
            script.calls.push(what);
            script.calls.len()
        };
        self.pass(number, Side::Before).await;
        let answer = call.await;
        self.pass(number, Side::After).await;
        self.linger().await;
        answer
    }

    async fn pass(&self, call: usize, side: Side) {
        let due = {
            let mut script = self.script.lock().unwrap();
            let due = script.death == Some(Death { call, side });
            if due {
                script.death = None;
            }
            due
        };
        if due {
            self.dead.cancel();
            self.linger().await;
        }
    }

    /// What a dead process waits for never comes.
    async fn linger(&self) {
        if self.dead.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }
}

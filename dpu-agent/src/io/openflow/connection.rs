//! A connection to the management socket of a bridge.

use super::wire::{self, Malformed, bundle, kind, list};
use crate::core::flow::Flow;
use crate::core::observed::Switch;
use crate::core::plan::FlowChange;
use crate::io::socket;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// An answer that takes longer will not come.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of a list that are taken; a bridge with this many flows is not one of chains.
const LARGEST_LIST: usize = 64 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// The switch cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// Nobody answers on the socket.
    #[error("failed to connect to the switch at {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The connection broke.
    #[error("failed to talk to the switch")]
    Talk(#[source] io::Error),
    /// The switch closed the connection.
    #[error("the switch closed the connection")]
    Closed,
    /// The switch is silent.
    #[error("the switch did not answer within {} s", ANSWER.as_secs())]
    Silent,
    /// What it sent is not OpenFlow.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It speaks another version.
    #[error(
        "the switch does not speak OpenFlow 1.4 (it offers version byte {0}); add OpenFlow14 to the column protocols of the bridge, or clear it"
    )]
    Version(u8),
    /// A list has no end.
    #[error("the switch sent a list of more than {} MiB", LARGEST_LIST >> 20)]
    TooLong,
    /// It refused a request.
    #[error("the switch refused the change with OpenFlow error type {kind} code {code}")]
    Refused {
        /// Type.
        kind: u16,
        /// Code.
        code: u16,
    },
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    read: Vec<u8>,
    xid: u32,
}

impl Connection {
    /// Connects and agrees on the version.
    ///
    /// # Errors
    /// [`SwitchError`]. If cancelled, nothing is left open.
    pub async fn open(path: &Path) -> Result<Self, SwitchError> {
        let connect = |source| SwitchError::Connect {
            path: path.to_owned(),
            source,
        };
        let stream = timeout(ANSWER, socket::connect(path)).await;
        let stream = stream.map_err(|_| SwitchError::Silent)?.map_err(connect)?;
        let mut connection = Self {
            stream,
            read: Vec::new(),
            xid: 0,
        };
        let xid = connection.next();
        connection.send(&wire::hello(xid)).await?;
        let (head, body) = connection.answer().await?;
        match head.kind {
            // Its version byte is the highest it speaks; both sides then take the smaller one. The bitmap may still
            // leave ours out, in which case it says so with an error on the first request.
            kind::HELLO if head.version >= wire::VERSION => Ok(connection),
            kind::ERROR => {
                let (kind, code) = wire::error(&body)?;
                Err(SwitchError::Refused { kind, code })
            }
            _ => Err(SwitchError::Version(head.version)),
        }
    }

    fn next(&mut self) -> u32 {
        self.xid = self.xid.wrapping_add(1);
        self.xid
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), SwitchError> {
        let sent = timeout(ANSWER, self.stream.write_all(bytes)).await;
        sent.map_err(|_| SwitchError::Silent)?
            .map_err(SwitchError::Talk)
    }

    /// The next message. Cancelling loses nothing.
    async fn receive(&mut self) -> Result<(wire::Head, Vec<u8>), SwitchError> {
        loop {
            if let Some(head) = wire::head(&self.read)?
                && self.read.len() >= head.length
            {
                let rest = self.read.split_off(head.length);
                let message = std::mem::replace(&mut self.read, rest);
                let body = message.get(wire::HEADER..).unwrap_or_default();
                return Ok((head, body.to_vec()));
            }
            self.read.reserve(CHUNK);
            let count = self.stream.read_buf(&mut self.read).await;
            if count.map_err(SwitchError::Talk)? == 0 {
                return Err(SwitchError::Closed);
            }
        }
    }

    async fn answer(&mut self) -> Result<(wire::Head, Vec<u8>), SwitchError> {
        let received = timeout(ANSWER, self.receive()).await;
        received.map_err(|_| SwitchError::Silent)?
    }

    /// Answers what the switch asks by itself, until the connection ends. Cancelling loses nothing that matters: an
    /// unanswered echo request is repeated.
    pub async fn idle(&mut self) -> SwitchError {
        loop {
            let outcome = match self.receive().await {
                Ok((head, body)) => self.unasked(head, &body).await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                return error;
            }
        }
    }

    /// A message that is no answer to us.
    async fn unasked(&mut self, head: wire::Head, body: &[u8]) -> Result<(), SwitchError> {
        if head.kind == kind::ECHO_REQUEST {
            self.send(&wire::message(kind::ECHO_REPLY, head.xid, body))
                .await?;
        }
        Ok(())
    }

    /// Ports and flows of the bridge.
    ///
    /// # Errors
    /// [`SwitchError`]; the connection must not be used any more.
    pub async fn read(&mut self) -> Result<Switch, SwitchError> {
        let (for_ports, for_flows) = (self.next(), self.next());
        let mut requests = wire::ports_request(for_ports);
        requests.extend(wire::flows_request(for_flows));
        self.send(&requests).await?;
        let ports = self.list(for_ports, list::PORTS, wire::ports).await?;
        let flows: Vec<Flow> = self.list(for_flows, list::FLOWS, wire::flows).await?;
        Ok(Switch {
            ports: ports.into_iter().collect(),
            flows,
        })
    }

    async fn list<T>(
        &mut self,
        xid: u32,
        which: u16,
        decode: fn(&[u8]) -> Result<Vec<T>, Malformed>,
    ) -> Result<Vec<T>, SwitchError> {
        let mut all = Vec::new();
        let mut bytes = 0;
        loop {
            let (head, body) = self.answer().await?;
            match head.kind {
                kind::MULTIPART_REPLY if head.xid == xid => {
                    let (found, more, items) = wire::part(&body)?;
                    bytes += items.len();
                    if bytes > LARGEST_LIST {
                        return Err(SwitchError::TooLong);
                    }
                    if found == which {
                        all.extend(decode(items)?);
                    }
                    if !more {
                        return Ok(all);
                    }
                }
                kind::ERROR => {
                    let (kind, code) = wire::error(&body)?;
                    return Err(SwitchError::Refused { kind, code });
                }
                _ => self.unasked(head, &body).await?,
            }
        }
    }

    /// Makes all changes, or none of them.
    ///
    /// # Errors
    /// [`SwitchError::Refused`] when the switch did not take them and nothing changed. After another error the
    /// connection must not be used any more, and the changes may have been made, all or none; cancelled, the same.
    pub async fn change(&mut self, changes: &[FlowChange]) -> Result<(), SwitchError> {
        let opening = self.next();
        // One bundle at a time, so any number serves.
        let id = opening;
        let mut bytes = wire::bundle_control(opening, id, bundle::OPEN);
        for change in changes {
            let xid = self.next();
            bytes.extend(wire::bundle_add(xid, id, change));
        }
        let commit = self.next();
        bytes.extend(wire::bundle_control(commit, id, bundle::COMMIT));
        self.send(&bytes).await?;
        let mut refused = None;
        loop {
            let (head, body) = self.answer().await?;
            match head.kind {
                kind::BUNDLE_CONTROL if head.xid == commit => {
                    return match (wire::bundle_state(&body)?, refused) {
                        (bundle::COMMITTED, None) => Ok(()),
                        (_, Some(error)) => Err(error),
                        (_, None) => Err(SwitchError::Closed),
                    };
                }
                kind::ERROR => {
                    let (kind, code) = wire::error(&body)?;
                    // The first one names the cause; that of the commit only says that there was one.
                    let error = refused.get_or_insert(SwitchError::Refused { kind, code });
                    if head.xid == commit {
                        return Err(std::mem::replace(error, SwitchError::Closed));
                    }
                }
                _ => self.unasked(head, &body).await?,
            }
        }
    }
}

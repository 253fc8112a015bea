//! The door: where peers become nodes, or do not.
//!
//! Handshakes run in a task of their own, apart from the relay's loop and from the connections of
//! nodes. Whoever is through has no share in their budget any more, and waits for none of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::Refusal;
use quinn::Connection;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tracing::{debug, warn};

use super::handshakes::{Answer, Handshakes};
use crate::quic::{self, Incoming, Server, TransportError, code};
use crate::time::unix_s;

/// Nodes that may wait for the relay's loop.
const ADMITTED: usize = 64;
/// A peer that was turned away is named once in this time at most, ...
const REFUSALS: Duration = Duration::from_secs(1);
/// ... and that it is crowded.
const CROWD: Duration = Duration::from_secs(30);

/// The door, which is closed when this is dropped.
pub(super) struct Door {
    admitted: mpsc::Receiver<Admitted>,
    _porter: JoinSet<()>,
}

/// A node that has proven who it is.
pub(super) struct Admitted {
    pub(super) node: NodeId,
    pub(super) connection: Connection,
}

impl Door {
    /// Lets in the manifest's nodes that knock at `server`. Must be called within a runtime.
    pub(super) fn open(server: Server, manifest: Arc<Manifest>) -> Self {
        let (sender, admitted) = mpsc::channel(ADMITTED);
        let porter = Porter {
            handshakes: Handshakes::new(manifest.roster().len()),
            server,
            manifest,
            tasks: JoinSet::new(),
            opened: Instant::now(),
            refused: Seldom::new(REFUSALS),
            crowded: Seldom::new(CROWD),
            admitted: sender,
        };
        let mut task = JoinSet::new();
        task.spawn(porter.work());
        Self {
            admitted,
            _porter: task,
        }
    }

    /// Returns the next node. Waits for ever once the server is shut down. Cancel-safe.
    pub(super) async fn admitted(&mut self) -> Admitted {
        match self.admitted.recv().await {
            Some(admitted) => admitted,
            None => std::future::pending().await,
        }
    }
}

/// What runs the handshakes.
struct Porter {
    server: Server,
    manifest: Arc<Manifest>,
    handshakes: Handshakes<AbortHandle>,
    tasks: JoinSet<Result<Admitted, Failure>>,
    /// When the clock of `handshakes` was at 0.
    opened: Instant,
    refused: Seldom,
    crowded: Seldom,
    admitted: mpsc::Sender<Admitted>,
}

/// A handshake of which nothing came.
struct Failure {
    address: SocketAddr,
    error: HandshakeError,
}

#[derive(thiserror::Error, Debug)]
enum HandshakeError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("{0}")]
    Stranger(String),
}

impl Porter {
    async fn work(mut self) {
        loop {
            tokio::select! {
                // Whoever is through goes before those who knock.
                biased;
                Some(ended) = self.tasks.join_next_with_id() => {
                    if let Some(admitted) = self.ended(ended)
                        && self.admitted.send(admitted).await.is_err()
                    {
                        return;
                    }
                }
                incoming = self.server.accept() => match incoming {
                    Some(incoming) => self.knock(incoming),
                    None => return,
                },
            }
        }
    }

    /// Begins a handshake, if it may.
    fn knock(&mut self, incoming: Incoming) {
        let (address, now) = (incoming.remote_address(), self.opened.elapsed());
        let answer = self
            .handshakes
            .judge(address.ip(), incoming.is_validated(), now);
        let in_place_of = match answer {
            Answer::Begin { in_place_of } => in_place_of,
            Answer::Prove => return incoming.retry(),
            Answer::Ignore => {
                self.crowd(address);
                return incoming.ignore();
            }
        };
        if let Some(task) = in_place_of {
            self.crowd(address);
            task.abort();
        }
        let task = self.tasks.spawn(admit(self.manifest.clone(), incoming));
        self.handshakes.begin(address.ip(), now, task);
    }

    /// Clears away a handshake. Returns the node that came through it.
    fn ended(
        &mut self,
        ended: Result<(Id, Result<Admitted, Failure>), JoinError>,
    ) -> Option<Admitted> {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Some(outcome)),
            // It was given up.
            Err(error) => (error.id(), None),
        };
        self.handshakes.end(|task| task.id() == id);
        let Failure { address, error } = match outcome? {
            Ok(admitted) => return Some(admitted),
            Err(failure) => failure,
        };
        // One side does not accept the other, of which an operator should know; the rest is for
        // those who look closely.
        let is_refusal = match &error {
            HandshakeError::Transport(error) => matches!(
                error,
                TransportError::RefusedPeer { .. } | TransportError::RefusedByPeer { .. }
            ),
            HandshakeError::Stranger(_) => true,
        };
        match is_refusal.then(|| self.refused.unsaid(self.opened.elapsed())) {
            Some(Some(0)) => warn!(%address, %error, "turned away in the handshake"),
            Some(Some(more)) => warn!(%address, %error, more, "turned away in the handshake"),
            _ => debug!(%address, %error, "turned away in the handshake"),
        }
        None
    }

    /// Says that not everyone who knocks can be served.
    fn crowd(&mut self, address: SocketAddr) {
        if self.crowded.unsaid(self.opened.elapsed()).is_some() {
            warn!(
                %address,
                "many handshakes are begun and not completed: those of the busiest addresses are \
                 given up; nodes that are connected do not notice"
            );
        }
    }
}

/// Runs a handshake. The node behind it must be one of the manifest's.
async fn admit(manifest: Arc<Manifest>, incoming: Incoming) -> Result<Admitted, Failure> {
    let address = incoming.remote_address();
    let failed = |error| Failure { address, error };
    let connection = incoming
        .handshake()
        .await
        .map_err(|error| failed(error.into()))?;
    match member(&manifest, &connection) {
        Ok(node) => Ok(Admitted { node, connection }),
        Err(refusal) => {
            quic::close(&connection, code::REFUSED, &refusal);
            Err(failed(HandshakeError::Stranger(refusal)))
        }
    }
}

/// The node behind a certificate of the consortium, if the manifest still knows it.
fn member(manifest: &Manifest, connection: &Connection) -> Result<NodeId, String> {
    let key = quic::peer_public_key(connection).map_err(|error| error.to_string())?;
    let node = key.node_id();
    let member = manifest.member(node).map_err(|error| error.to_string())?;
    if member.expires_unix_s <= unix_s() {
        return Err(Refusal::Expired(node).to_string());
    }
    Ok(node)
}

/// Something that anyone can cause as often as they like, and that is not said as often.
struct Seldom {
    every: Duration,
    said: Option<Duration>,
    unsaid: u64,
}

impl Seldom {
    fn new(every: Duration) -> Self {
        Self {
            every,
            said: None,
            unsaid: 0,
        }
    }

    /// Returns how often it was not said since it was last said, if it is said now.
    fn unsaid(&mut self, now: Duration) -> Option<u64> {
        if self.said.is_some_and(|said| now < said + self.every) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_all_the_time_is_said_now_and_then_with_how_often_it_was_not() {
        let mut seldom = Seldom::new(Duration::from_secs(1));
        let at = Duration::from_millis;
        assert_eq!(seldom.unsaid(at(0)), Some(0));
        for millisecond in 1..1000 {
            assert_eq!(seldom.unsaid(at(millisecond)), None);
        }
        assert_eq!(seldom.unsaid(at(1000)), Some(999));
        assert_eq!(seldom.unsaid(at(5000)), Some(0));
    }
}

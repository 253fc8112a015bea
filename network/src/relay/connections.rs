//! Who is connected, and what is sent to whom.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fl_protocol::digest::CHUNK_BYTES;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::Refusal;
use fl_protocol::wire::{BodyId, RelayFrame};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::buffers::Buffers;
use super::connection::{self, ConnectionInput, NodeLink, Shared};
use super::intake::Intake;
use crate::quic::{Incoming, TransportError};

/// Chunks that are put together at the same time: of all uploads where they are few, of half of
/// them where they are many, so that it takes half of the nodes to keep the others waiting by being
/// slow.
const CHUNKS_MIN: usize = 16;
/// How long nodes have to read the last frames.
const FAREWELL: Duration = Duration::from_secs(2);

/// The connections, one task each, and the nodes behind them.
pub(super) struct Connections {
    /// The last connection of each node.
    links: BTreeMap<NodeId, NodeLink>,
    /// Ends with a connection, whether a node is behind it or not.
    tasks: JoinSet<()>,
    /// Tells a node's connections apart.
    serial: u64,
    shared: Arc<Shared>,
}

impl Connections {
    /// Has none yet. What they hear becomes `inputs`, and bodies go where `intake` says.
    pub(super) fn new(
        manifest: Arc<Manifest>,
        inputs: mpsc::Sender<ConnectionInput>,
        intake: watch::Receiver<Option<Arc<Intake>>>,
    ) -> Self {
        let chunks = (manifest.roster().len() / 2).max(CHUNKS_MIN);
        let chunk_bytes = CHUNK_BYTES.min(manifest.body_bytes());
        let shared = Shared {
            manifest,
            inputs,
            intake,
            chunks: Buffers::new(chunks, chunk_bytes),
        };
        Self {
            links: BTreeMap::new(),
            tasks: JoinSet::new(),
            serial: 0,
            shared: Arc::new(shared),
        }
    }

    /// Serves a connection, if there is room.
    pub(super) fn accept(&mut self, incoming: Incoming) {
        // Room for every node to reconnect, and for some strangers that do not get through the
        // handshake.
        let most = 2 * self.shared.manifest.roster().len() + 64;
        if self.tasks.len() >= most {
            incoming.refuse();
        } else if self.tasks.len() > most / 2 && !incoming.is_validated() {
            // When it gets crowded, only addresses that answer get a place.
            incoming.retry();
        } else {
            self.serial += 1;
            let (shared, serial) = (self.shared.clone(), self.serial);
            self.tasks
                .spawn(connection::serve(shared, incoming, serial));
        }
    }

    /// Clears away a connection that has ended. Waits for ever if there is none. Cancel-safe.
    pub(super) async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// A node is connected. Returns whether that takes another connection's place.
    pub(super) fn connected(&mut self, node: NodeId, link: NodeLink) -> bool {
        let former = self.links.insert(node, link);
        if let Some(former) = &former {
            former.replace();
        }
        former.is_some()
    }

    /// A connection has ended. Returns whether the node is disconnected by that.
    pub(super) fn disconnected(
        &mut self,
        node: NodeId,
        serial: u64,
        error: &TransportError,
    ) -> bool {
        debug!(node = %self.shared.manifest.name_of(node), %error, "connection ended");
        let current = self.is_current(node, serial);
        if current {
            self.links.remove(&node);
        }
        current
    }

    /// Returns whether this is the node's last connection.
    pub(super) fn is_current(&self, node: NodeId, serial: u64) -> bool {
        let link = self.links.get(&node);
        link.is_some_and(|link| link.serial == serial)
    }

    /// Returns whether what is heard on this connection is answered.
    pub(super) fn is_heard(&self, node: NodeId, serial: u64) -> bool {
        let link = self.links.get(&node);
        link.is_some_and(|link| link.serial == serial && !link.leaving)
    }

    /// Sends a frame to a node, if it is connected.
    pub(super) fn send(&self, node: NodeId, frame: RelayFrame) {
        if let Some(link) = self.links.get(&node) {
            link.send(frame);
        }
    }

    /// Sends a body to a node, if it is connected: the last of it once that from which it comes is
    /// on the disk, or known not to get there.
    pub(super) fn send_body(
        &self,
        node: NodeId,
        body: BodyId,
        bytes: Bytes,
        mut kept: watch::Receiver<Option<bool>>,
    ) {
        if let Some(link) = self.links.get(&node) {
            let ready = async move {
                let _ = kept.wait_for(Option::is_some).await;
            };
            let manifest = &self.shared.manifest;
            let limit = Duration::from_secs(manifest.timeouts().result_s);
            let limit = limit.saturating_add(manifest.transfer_timeout());
            link.send_body(body, bytes, ready, limit);
        }
    }

    /// Tells a node why, then closes its connection.
    pub(super) fn turn_away(&mut self, node: NodeId, refusal: Refusal) {
        if let Some(link) = self.links.get_mut(&node) {
            link.turn_away(refusal);
        }
    }

    /// Closes a node's connection; it may come back.
    pub(super) fn give_up(&self, node: NodeId, reason: &str) {
        if let Some(link) = self.links.get(&node) {
            link.give_up(reason);
        }
    }

    /// Sends nothing any more, so that nodes close when they have read the last frame. A close can
    /// tell the rest.
    pub(super) fn finish(&mut self) {
        self.links.clear();
    }

    /// Waits until the nodes have closed, for as long as they have to read the last frames.
    pub(super) async fn closed(mut self) {
        let leave = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(FAREWELL, leave).await;
    }
}

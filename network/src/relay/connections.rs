//! Who is connected, and what is sent to whom.

use std::collections::BTreeMap;
use std::sync::Arc;
#[cfg(feature = "testing")]
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fl_protocol::digest::CHUNK_BYTES;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::Refusal;
use fl_protocol::round::relay::Event;
use fl_protocol::wire::{BodyId, BulkHeader, NodeFrame, RelayFrame};
use quinn::Connection;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::buffers::Buffers;
use super::connection::{self, ConnectionInput, NodeLink, Shared};
use super::door::Admitted;
use super::intake::Intake;
#[cfg(feature = "testing")]
use super::interceptor::{Flow, Interceptor, Parcel, flow_on, kept};
use crate::quic::TransportError;

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
    /// Those that have not opened their control stream yet: one a node.
    greeting: BTreeMap<NodeId, (u64, Connection)>,
    /// Each ends with its connection.
    tasks: JoinSet<()>,
    /// Tells a node's connections apart.
    serial: u64,
    shared: Arc<Shared>,
    #[cfg(feature = "testing")]
    interceptor: Option<Arc<Mutex<dyn Interceptor>>>,
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
            greeting: BTreeMap::new(),
            tasks: JoinSet::new(),
            serial: 0,
            shared: Arc::new(shared),
            #[cfg(feature = "testing")]
            interceptor: None,
        }
    }

    /// Serves a node from when it has proven who it is. One whose last connection has not got so
    /// far as to be heard has that one replaced.
    pub(super) fn serve(&mut self, admitted: Admitted) {
        self.serial += 1;
        let (node, serial) = (admitted.node, self.serial);
        let newest = (serial, admitted.connection.clone());
        if let Some((_, former)) = self.greeting.insert(node, newest) {
            connection::replace(&former);
        }
        let shared = self.shared.clone();
        self.tasks
            .spawn(connection::serve(shared, admitted, serial));
    }

    /// Clears away a connection that has ended. Waits for ever if there is none. Cancel-safe.
    pub(super) async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// A node is connected. Returns whether that takes another connection's place.
    pub(super) fn connected(&mut self, node: NodeId, link: NodeLink) -> bool {
        let greeting = self.greeting.get(&node);
        if greeting.is_some_and(|(serial, _)| *serial == link.serial) {
            self.greeting.remove(&node);
        }
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

    /// Returns the event that a frame on this connection is, if the node is still heard there.
    pub(super) fn heard(&mut self, node: NodeId, serial: u64, frame: NodeFrame) -> Option<Event> {
        let link = self.links.get(&node)?;
        if link.serial != serial || link.leaving {
            return None;
        }
        #[cfg(feature = "testing")]
        if self.is_intercepted() {
            return self.receive_intercepted(node, frame);
        }
        Some(Event::Frame(node, frame))
    }

    /// Sends a frame to a node, if it is connected.
    pub(super) fn send(&mut self, node: NodeId, frame: RelayFrame) {
        #[cfg(feature = "testing")]
        if self.is_intercepted() {
            return self.send_intercepted(node, vec![Parcel::Frame(frame)], &kept());
        }
        if let Some(link) = self.links.get(&node) {
            link.send(frame);
        }
    }

    /// Sends a frame and a body to a node, if it is connected: the last of the body once that from
    /// which it comes is on the disk, or known not to get there.
    pub(super) fn send_with_body(
        &mut self,
        node: NodeId,
        frame: RelayFrame,
        (body, bytes): (BodyId, Bytes),
        kept: watch::Receiver<Option<bool>>,
    ) {
        let header = BulkHeader {
            body,
            first_chunk: 0,
        };
        #[cfg(feature = "testing")]
        if self.is_intercepted() {
            let body = Parcel::Body(header, bytes, Flow::Whole);
            return self.send_intercepted(node, vec![Parcel::Frame(frame), body], &kept);
        }
        if let Some(link) = self.links.get(&node) {
            link.send(frame);
        }
        self.send_body(node, header, bytes, kept);
    }

    /// Sends a body to a node, as [`Connections::send_with_body`] does.
    fn send_body(
        &self,
        node: NodeId,
        header: BulkHeader,
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
            link.send_body(header, bytes, ready, limit);
        }
    }

    /// Tells a node why, then closes its connection.
    pub(super) fn turn_away(&mut self, node: NodeId, refusal: Refusal) {
        #[cfg(feature = "testing")]
        if self.is_intercepted() {
            return self.send_intercepted(node, vec![Parcel::TurnAway(refusal)], &kept());
        }
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

#[cfg(feature = "testing")]
impl Connections {
    /// Lets `interceptor` see all that is sent and heard from now on.
    pub(super) fn intercept(&mut self, interceptor: Arc<Mutex<dyn Interceptor>>) {
        self.interceptor = Some(interceptor);
    }

    /// Returns whether there is an interceptor.
    fn is_intercepted(&self) -> bool {
        self.interceptor.is_some()
    }

    /// Sends what the interceptor makes of these parcels, if there is still anything to say to the
    /// node. The last of a whole body is sent once that from which it comes is on the disk, or
    /// known not to get there.
    fn send_intercepted(
        &mut self,
        node: NodeId,
        mut parcels: Vec<Parcel>,
        kept: &watch::Receiver<Option<bool>>,
    ) {
        let link = self.links.get(&node);
        if link.is_none_or(|link| link.leaving) {
            return;
        }
        if let Some(interceptor) = &self.interceptor {
            let mut interceptor = interceptor.lock().unwrap_or_else(PoisonError::into_inner);
            interceptor.send(node, &mut parcels);
        }
        for parcel in parcels {
            self.post(node, parcel, kept.clone());
        }
    }

    /// Returns the event that a frame of a connected node is, unless the interceptor takes the
    /// frame away. If it closes the node's connection in answer, the node is lost at once: nothing
    /// that is still on the way from there is taken.
    fn receive_intercepted(&mut self, node: NodeId, mut frame: NodeFrame) -> Option<Event> {
        let answers = self.interceptor.as_ref().and_then(|interceptor| {
            let mut interceptor = interceptor.lock().unwrap_or_else(PoisonError::into_inner);
            interceptor.receive(node, &mut frame)
        });
        let Some(answers) = answers else {
            return Some(Event::Frame(node, frame));
        };
        for (to, parcel) in answers {
            self.post(to, parcel, kept());
        }
        let closed = self.links.get(&node).is_some_and(|link| link.leaving);
        closed.then(|| {
            self.links.remove(&node);
            Event::Lost(node)
        })
    }

    /// Tells the interceptor that a body is here, whole.
    pub(super) fn received(&self, node: NodeId, body: BodyId) {
        if let Some(interceptor) = &self.interceptor {
            let mut interceptor = interceptor.lock().unwrap_or_else(PoisonError::into_inner);
            interceptor.received(node, body);
        }
    }

    /// Sends a parcel to a node, if it is connected.
    fn post(&mut self, node: NodeId, parcel: Parcel, kept: watch::Receiver<Option<bool>>) {
        let Some(link) = self.links.get_mut(&node) else {
            return;
        };
        match parcel {
            Parcel::Frame(frame) => link.send(frame),
            Parcel::Bytes(bytes) => link.send_bytes(bytes),
            Parcel::Body(header, bytes, Flow::Whole) => self.send_body(node, header, bytes, kept),
            Parcel::Body(header, bytes, flow) => {
                tokio::spawn(flow_on(link.connection.clone(), header, bytes, flow));
            }
            Parcel::TurnAway(refusal) => link.turn_away(refusal),
            Parcel::Close => {
                link.leaving = true;
                link.give_up("the relay moves on");
            }
        }
    }
}

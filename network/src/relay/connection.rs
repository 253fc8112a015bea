//! One node's connection: turns frames and bodies into inputs of the relay's loop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fl_protocol::digest::{CHUNK_BYTES, ChunkHashes, Digest};
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::round::Reason;
use fl_protocol::round::Refusal;
use fl_protocol::wire::{self, BulkHeader, NodeFrame, RelayFrame};
use quinn::Connection;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::arrivals::BodyError;
use super::buffers::Buffers;
use super::door::Admitted;
use super::frame_limit::frame_limit;
use super::intake::{BodySource, Intake};
use crate::quic::{
    self, BulkBody, BulkReceiver, BulkSender, ControlReceiver, ControlSender, TransportError, code,
};

/// Frames that may wait to be sent to one node, beside one for each node: a holder that returns is
/// told of all contributions at once. A node that does not read is cut off.
const QUEUE: usize = 64;
/// How long a node has to open its control stream.
const GREETING: Duration = Duration::from_secs(10);

/// What a connection tells the relay's loop. `serial` tells a node's connections apart.
pub(super) enum ConnectionInput {
    /// A node is connected.
    Connected { node: NodeId, link: NodeLink },
    /// It sent a frame.
    Frame {
        node: NodeId,
        serial: u64,
        frame: NodeFrame,
    },
    /// A body of it is here, whole.
    BodyAdded {
        serial: u64,
        subject: Digest,
        source: BodySource,
    },
    /// It is gone.
    Gone {
        node: NodeId,
        serial: u64,
        error: TransportError,
    },
}

/// The relay's handle to a connected node.
pub(super) struct NodeLink {
    pub(super) serial: u64,
    /// Whether the node is told to go; what it has said meanwhile is not answered any more.
    pub(super) leaving: bool,
    pub(super) connection: Connection,
    frames: mpsc::Sender<OutgoingFrame>,
}

enum OutgoingFrame {
    Frame(RelayFrame),
    Close(Refusal),
    #[cfg(feature = "testing")]
    Bytes(Vec<u8>),
}

impl NodeLink {
    /// Queues a frame. A node whose queue is full is cut off.
    pub(super) fn send(&self, frame: RelayFrame) {
        self.queue(OutgoingFrame::Frame(frame));
    }

    /// Queues any bytes in the place of a frame.
    #[cfg(feature = "testing")]
    pub(super) fn send_bytes(&self, bytes: Vec<u8>) {
        self.queue(OutgoingFrame::Bytes(bytes));
    }

    /// Tells the node why, then closes the connection.
    pub(super) fn turn_away(&mut self, refusal: Refusal) {
        self.leaving = true;
        self.queue(OutgoingFrame::Close(refusal));
    }

    fn queue(&self, outgoing: OutgoingFrame) {
        if self.frames.try_send(outgoing).is_err() {
            quic::close(&self.connection, code::SLOW, "does not read its messages");
        }
    }

    /// The relay cannot serve the node now; it may come back.
    pub(super) fn give_up(&self, reason: &str) {
        quic::close(&self.connection, code::BROKEN, reason);
    }

    /// Another connection has taken this one's place.
    pub(super) fn replace(&self) {
        replace(&self.connection);
    }

    /// Sends a body in the background, its last chunk once `ready` is done. A node that has not
    /// taken it within `limit` is cut off.
    pub(super) fn send_body(
        &self,
        header: BulkHeader,
        bytes: Bytes,
        ready: impl Future<Output = ()> + Send + 'static,
        limit: Duration,
    ) {
        let connection = self.connection.clone();
        tokio::spawn(async move {
            let Ok(header) = wire::encode(&header) else {
                return;
            };
            let last = bytes.len().saturating_sub(1) / CHUNK_BYTES * CHUNK_BYTES;
            let begin = async {
                let mut sender = BulkSender::open(&connection, &header).await?;
                sender.send([bytes.slice(..last)]).await?;
                Ok(sender)
            };
            let end = async |mut sender: BulkSender| {
                sender.send([bytes.slice(last..)]).await?;
                sender.finish()
            };
            let sent = match timeout(limit, begin).await {
                Ok(Ok(sender)) => {
                    // No fault of the node's, however long it takes.
                    ready.await;
                    timeout(limit, end(sender)).await
                }
                Ok(Err(error)) => Ok(Err(error)),
                Err(late) => Err(late),
            };
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "a body was not sent"),
                Err(_) => quic::close(&connection, code::SLOW, "does not take what it is sent"),
            }
        });
    }
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) manifest: Arc<Manifest>,
    pub(super) inputs: mpsc::Sender<ConnectionInput>,
    pub(super) intake: watch::Receiver<Option<Arc<Intake>>>,
    /// Where chunks of bodies are put together.
    pub(super) chunks: Buffers,
}

/// Another connection has taken the place of this one.
pub(super) fn replace(connection: &Connection) {
    quic::close(
        connection,
        code::REPLACED,
        "replaced by a newer connection with this node's key: only one process may use a kit",
    );
}

/// Serves the connection of a node to its end.
pub(super) async fn serve(shared: Arc<Shared>, admitted: Admitted, serial: u64) {
    let Admitted { node, connection } = admitted;
    let control = timeout(GREETING, quic::control::accept(&connection)).await;
    let Ok(Ok((sender, receiver))) = control else {
        return quic::close(&connection, code::SLOW, "no control stream");
    };
    let (frames, queue) = mpsc::channel(QUEUE + shared.manifest.roster().len());
    let link = NodeLink {
        serial,
        leaving: false,
        connection: connection.clone(),
        frames,
    };
    if shared
        .inputs
        .send(ConnectionInput::Connected { node, link })
        .await
        .is_err()
    {
        return;
    }
    let writer = tokio::spawn(write(connection.clone(), sender, queue));
    let error = tokio::select! {
        error = read(&shared, node, serial, receiver) => error,
        error = bodies(&shared, node, serial, &connection) => error,
    };
    quic::close(&connection, code::BROKEN, &error.to_string());
    writer.abort();
    // The loop may be gone already.
    let _ = shared
        .inputs
        .send(ConnectionInput::Gone {
            node,
            serial,
            error,
        })
        .await;
}

async fn write(
    connection: Connection,
    mut sender: ControlSender,
    mut queue: mpsc::Receiver<OutgoingFrame>,
) {
    while let Some(outgoing) = queue.recv().await {
        let (bytes, last) = match outgoing {
            OutgoingFrame::Frame(frame) => (wire::encode(&frame), None),
            OutgoingFrame::Close(refusal) => {
                let frame = RelayFrame::Refused(refusal.clone());
                (wire::encode(&frame), Some(refusal))
            }
            #[cfg(feature = "testing")]
            OutgoingFrame::Bytes(bytes) => (Ok(bytes), None),
        };
        let sent = match bytes {
            Ok(bytes) => sender.send(&bytes).await,
            Err(error) => return warn!(%error, "a frame cannot be encoded"),
        };
        if let Err(error) = sent {
            return debug!(%error, "a frame was not sent");
        }
        if let Some(refusal) = last {
            // The node closes when it has read the reason; the reason travels with the close as
            // well.
            let _ = sender.finish().await;
            let _ = timeout(Duration::from_secs(2), connection.closed()).await;
            let code = match refusal.is_final() {
                true => code::REFUSED,
                false => code::BROKEN,
            };
            return quic::close(&connection, code, &refusal.to_string());
        }
    }
    // The relay is done with this node: let it read what was sent.
    let _ = sender.finish().await;
}

async fn read(
    shared: &Shared,
    node: NodeId,
    serial: u64,
    mut receiver: ControlReceiver,
) -> TransportError {
    let limit = frame_limit(shared.manifest.roster().len());
    loop {
        let bytes = match receiver.recv(limit).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return TransportError::Ended,
            Err(error) => return error,
        };
        let frame = match wire::decode(&bytes) {
            Ok(frame) => frame,
            Err(error) => {
                return TransportError::Malformed {
                    detail: Reason::new(error.to_string().as_bytes()),
                };
            }
        };
        if shared
            .inputs
            .send(ConnectionInput::Frame {
                node,
                serial,
                frame,
            })
            .await
            .is_err()
        {
            return TransportError::ClosedHere;
        }
    }
}

async fn bodies(
    shared: &Shared,
    node: NodeId,
    serial: u64,
    connection: &Connection,
) -> TransportError {
    let timeouts = shared.manifest.timeouts();
    let pace = timeouts.pace(timeouts.sums_s);
    loop {
        let added = match BulkReceiver::accept(connection, pace).await {
            Ok(receiver) => body(shared, node, receiver).await,
            Err(error) => return error,
        };
        match added {
            Ok((subject, source)) => {
                if shared
                    .inputs
                    .send(ConnectionInput::BodyAdded {
                        serial,
                        subject,
                        source,
                    })
                    .await
                    .is_err()
                {
                    return TransportError::ClosedHere;
                }
            }
            // The node has stopped to begin again.
            Err(BodyFailure::Transport(error @ TransportError::StreamReset { .. })) => {
                debug!(node = %shared.manifest.name_of(node), %error, "a body is given up");
            }
            Err(BodyFailure::Transport(error)) => return error,
            // The attempt was given up while the body was under way: no fault of the node's.
            Err(error @ (BodyFailure::Stale | BodyFailure::Body(BodyError::Unasked))) => {
                debug!(node = %shared.manifest.name_of(node), %error, "a body is dropped");
            }
            Err(error) => {
                let detail = Reason::new(error.to_string().as_bytes());
                return TransportError::Malformed { detail };
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum BodyFailure {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("malformed body header: {0}")]
    Header(#[from] fl_protocol::error::WireError),
    #[error("the body belongs to no attempt that is under way")]
    Stale,
}

/// Takes one body, whatever part of it is missing.
async fn body(
    shared: &Shared,
    node: NodeId,
    receiver: BulkReceiver,
) -> Result<(Digest, BodySource), BodyFailure> {
    let (header, mut body) = receiver.header(wire::MAX_BULK_HEADER_BYTES).await?;
    let header: BulkHeader = wire::decode(&header)?;
    let intake = shared.intake.borrow().clone().ok_or(BodyFailure::Stale)?;
    if !intake.admits(node, header.body) {
        return Err(BodyFailure::Stale);
    }
    let source = (node, header.body);
    let hashes = hash_list(&mut body, intake.chunks()).await?;
    let first = header.first_chunk as usize;
    intake.begin(source, first, &hashes)?;
    for (index, hash) in hashes.as_slice().iter().enumerate().skip(first) {
        let mut buffer = shared.chunks.lend().await;
        let chunk = &mut buffer[..intake.chunk_len(index)];
        body.next_piece(chunk).await?;
        intake.add(source, index, hash, chunk)?;
    }
    body.end().await?;
    Ok((intake.subject(), source))
}

async fn hash_list(body: &mut BulkBody, chunks: usize) -> Result<ChunkHashes, TransportError> {
    let mut list = Vec::with_capacity(chunks);
    for _ in 0..chunks {
        let mut digest = [0; 32];
        body.next_piece(&mut digest).await?;
        list.push(Digest(digest));
    }
    Ok(ChunkHashes::from_list(list))
}

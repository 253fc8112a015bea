//! The seam at which tests have this relay cheat: all that it sends to a node, and all that it
//! hears of one, passes through an [`Interceptor`].
//!
//! It exists with the feature `testing` only, which no shipped program is built with.

use std::time::Duration;

use bytes::Bytes;
use fl_protocol::identity::NodeId;
use fl_protocol::round::Refusal;
use fl_protocol::wire::{self, BodyId, BulkHeader, NodeFrame, RelayFrame};
use quinn::Connection;
use tokio::sync::watch;

use crate::quic::{BulkSender, TransportError};

/// Between two bytes of a body that trickles.
const DRIP: Duration = Duration::from_millis(100);
/// What follows an endless body, again and again.
const ZEROS: &[u8] = &[0; 1 << 16];

/// Has the last word on what is sent, and the first on what is heard.
pub trait Interceptor: Send {
    /// Changes what the relay sends to a node at one time.
    fn send(&mut self, to: NodeId, parcels: &mut Vec<Parcel>);

    /// Changes a frame before the machine hears it, or takes it away: then returns what to send in
    /// answer, and to whom, which [`Interceptor::send`] does not see.
    fn receive(&mut self, from: NodeId, frame: &mut NodeFrame) -> Option<Vec<(NodeId, Parcel)>>;

    /// A body of a node is here, whole.
    fn received(&mut self, from: NodeId, body: BodyId);
}

/// Something on its way to a node.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// A frame.
    Frame(RelayFrame),
    /// Any bytes in the place of a frame.
    Bytes(Vec<u8>),
    /// A body on a stream of its own.
    Body(BulkHeader, Bytes, Flow),
    /// Why the node is turned away, and then the end of the connection.
    TurnAway(Refusal),
    /// The end of the connection: what the node still says on it is not heard, but it may come
    /// back.
    Close,
}

/// How a body flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// All of it, and then the end.
    Whole,
    /// All of it, and then zeros as long as the node takes them.
    Endless,
    /// A few bytes a second, and never the end.
    Trickling,
}

/// Returns word that all is on the disk, for what waits for nothing there.
pub(super) fn kept() -> watch::Receiver<Option<bool>> {
    watch::channel(Some(true)).1
}

/// Sends a body that does not end, as long as it is taken.
pub(super) async fn flow_on(
    connection: Connection,
    header: BulkHeader,
    body: Bytes,
    flow: Flow,
) -> Result<(), TransportError> {
    let Ok(header) = wire::encode(&header) else {
        return Ok(());
    };
    let mut sender = BulkSender::open(&connection, &header).await?;
    if flow == Flow::Trickling {
        for index in (0..body.len()).cycle() {
            sender.send([body.slice(index..=index)]).await?;
            tokio::time::sleep(DRIP).await;
        }
    }
    sender.send([body]).await?;
    loop {
        sender.send([Bytes::from_static(ZEROS)]).await?;
    }
}

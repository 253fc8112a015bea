//! One node's connection: bytes in, parcels out.

use std::time::Duration;

use fl_network::quic::{
    BulkReceiver, ControlReceiver, ControlSender, Incoming, TransportError, close, control,
    peer_public_key, send_bulk,
};
use fl_protocol::digest::ChunkHashes;
use fl_protocol::identity::NodeId;
use fl_protocol::manifest::Manifest;
use fl_protocol::wire::{self, BulkHeader, NodeFrame};
use quinn::Connection;
use tokio::sync::mpsc;

use super::{Flow, Parcel};

/// The code of a connection that is closed, but not for good.
const CODE_BROKEN: u32 = 4;
/// Between two bytes of a body that trickles.
const DRIP: Duration = Duration::from_millis(100);

/// What a connection tells the relay's loop. Only the node's last connection counts: the one with
/// the highest number.
pub(super) struct Input {
    pub(super) node: NodeId,
    pub(super) serial: u64,
    pub(super) what: What,
}

pub(super) enum What {
    Connected(mpsc::UnboundedSender<Parcel>),
    Frame(NodeFrame),
    Body(BulkHeader, Vec<u8>),
    Gone,
}

/// Serves one connection to its end.
pub(super) async fn serve(
    incoming: Incoming,
    manifest: &Manifest,
    serial: u64,
    inputs: mpsc::UnboundedSender<Input>,
) {
    // A node that is killed in the handshake is none of the attacks.
    let Ok(connection) = incoming.handshake().await else {
        return;
    };
    let node = peer_public_key(&connection).unwrap().node_id();
    let Ok((sender, receiver)) = control::accept(&connection).await else {
        return;
    };
    // The loop may have ended.
    let tell = |what| drop(inputs.send(Input { node, serial, what }));
    let (parcels, queue) = mpsc::unbounded_channel();
    tell(What::Connected(parcels));
    tokio::select! {
        () = read(receiver, tell) => {}
        () = bodies(&connection, manifest, tell) => {}
        () = write(&connection, sender, queue) => {}
    }
    close(&connection, CODE_BROKEN, "the hostile relay moves on");
    tell(What::Gone);
}

/// Reads frames as long as there are any. Nodes are honest: what they send is a frame.
async fn read(mut receiver: ControlReceiver, tell: impl Fn(What)) {
    while let Ok(Some(bytes)) = receiver.recv(wire::MAX_MESSAGE_BYTES).await {
        tell(What::Frame(wire::decode(&bytes).unwrap()));
    }
}

/// Takes bodies, from their first chunk on.
async fn bodies(connection: &Connection, manifest: &Manifest, tell: impl Fn(What)) {
    let timeouts = manifest.timeouts();
    let pace = timeouts.pace(timeouts.sums_s);
    while let Ok(receiver) = BulkReceiver::accept(connection, pace).await {
        let body = async {
            let (header, mut body) = receiver.header(wire::MAX_BULK_HEADER_BYTES).await?;
            let header: BulkHeader = wire::decode(&header).unwrap();
            let mut hashes = vec![0; 32 * ChunkHashes::count_for(manifest.body_bytes())];
            body.next_piece(&mut hashes).await?;
            let mut words = vec![0; manifest.body_bytes()];
            body.next_piece(&mut words).await?;
            body.end().await?;
            Ok::<_, TransportError>((header, words))
        };
        if let Ok((header, body)) = body.await {
            tell(What::Body(header, body));
        }
    }
}

/// Sends parcels until the relay has no more of them, and the node has taken the last.
async fn write(
    connection: &Connection,
    mut sender: ControlSender,
    mut queue: mpsc::UnboundedReceiver<Parcel>,
) {
    while let Some(parcel) = queue.recv().await {
        // A node that refused may have left before the rest of a batch.
        let _ = match parcel {
            Parcel::Frame(frame) => sender.send(&wire::encode(&frame).unwrap()).await,
            Parcel::Bytes(bytes) => sender.send(&bytes).await,
            Parcel::Body(header, body, flow) => {
                let connection = connection.clone();
                tokio::spawn(async move {
                    let header = wire::encode(&header).unwrap();
                    match flow {
                        Flow::Whole => send_bulk(&connection, &header, [body]).await,
                        Flow::Endless => pour(&connection, &header, &body).await,
                        Flow::Trickling => drip(&connection, &header, &body).await,
                    }
                });
                Ok(())
            }
            Parcel::Close => return,
        };
    }
    let _ = sender.finish().await;
    connection.closed().await;
}

/// Sends a body, and zeros behind it as long as they are taken.
async fn pour(connection: &Connection, header: &[u8], body: &[u8]) -> Result<(), TransportError> {
    let mut stream = connection.open_uni().await?;
    stream.write_all(&prefixed(header)).await?;
    stream.write_all(body).await?;
    loop {
        stream.write_all(&[0; 1 << 16]).await?;
    }
}

/// Sends a body byte by byte, beginning again at its end.
async fn drip(connection: &Connection, header: &[u8], body: &[u8]) -> Result<(), TransportError> {
    let mut stream = connection.open_uni().await?;
    stream.write_all(&prefixed(header)).await?;
    for byte in body.iter().cycle() {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(DRIP).await;
    }
    Ok(())
}

/// A header behind its length.
fn prefixed(header: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    [&length, header].concat()
}

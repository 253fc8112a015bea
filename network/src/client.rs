//! A node's connection to the relay: frames one at a time, bodies in one call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fl_protocol::digest::{CHUNK_BYTES, ChunkHashes};
use fl_protocol::error::WireError;
use fl_protocol::manifest::Manifest;
use fl_protocol::wire::{
    self, BodyId, BodyKind, BulkHeader, MAX_BULK_HEADER_BYTES, MAX_FRAME_BYTES, NodeFrame,
    RelayFrame,
};
use quinn::Connection;

use crate::kit::{Kit, KitError};
use crate::quic::{
    self, BulkBody, BulkReceiver, Client, ConnectionBytes, ControlReceiver, ControlSender,
    LENGTH_BYTES, TransportError, code, send_bulk,
};
use crate::tls::TlsError;

/// Why there is no connection, or no more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The relay's address cannot be resolved.
    #[error("the relay's address {address} cannot be resolved: {source}")]
    Resolve {
        /// `host:port`.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The relay's address is not `host:port`, or not one that can be dialled.
    #[error(
        "the relay's address {0} is not host:port, such as relay.example.org:4433 or [2001:db8::7]:4433"
    )]
    Address(String),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The kit is unusable.
    #[error(transparent)]
    Kit(#[from] KitError),
    /// Whoever answers is not the relay, has not shown to be, or does not accept this node. Anyone
    /// on the way can cause this.
    #[error("what answers at {address} has not shown that it is this consortium's relay: {source}")]
    Unproven {
        /// Where.
        address: SocketAddr,
        /// What came of the handshake.
        source: TransportError,
    },
    /// The connection failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The relay sent something else than a message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The relay sent another body than announced.
    #[error("the relay sent another body than it announced")]
    UnexpectedBody,
}

impl LinkError {
    /// Returns whether another connection with this node's key has taken the place of this one.
    pub fn is_replaced(&self) -> bool {
        let replaced = u64::from(code::REPLACED);
        matches!(self, Self::Transport(TransportError::ClosedByPeer { code, .. }) if *code == replaced)
    }

    /// Returns whether trying again cannot help: the relay, having proven to be it, does not accept
    /// this node, or the kit is unusable. What is said before that proof is never final.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Transport(error) => {
                matches!(error, TransportError::RefusedByPeer { .. })
                    || matches!(error, TransportError::ClosedByPeer { code, .. } if *code == u64::from(code::REFUSED))
            }
            Self::Address(_) | Self::Tls(_) | Self::Kit(_) => true,
            Self::Resolve { .. } | Self::Unproven { .. } | Self::Wire(_) | Self::UnexpectedBody => {
                false
            }
        }
    }

    /// What came of a handshake in which the relay has not proven to be it.
    fn of_handshake(address: SocketAddr, source: TransportError) -> Self {
        match source {
            // Nobody has answered.
            TransportError::Unreachable { .. } | TransportError::Dial(_) => source.into(),
            source => Self::Unproven { address, source },
        }
    }
}

/// Splits `host:port`; an IPv6 address stands in brackets.
///
/// # Errors
///
/// [`LinkError::Address`].
pub fn host_of(address: &str) -> Result<&str, LinkError> {
    let (host, port) = address
        .rsplit_once(':')
        .ok_or_else(|| LinkError::Address(address.to_owned()))?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    // An address of IPv6 has colons of its own.
    let bare = bracketed.unwrap_or(host);
    if bare.is_empty() || bare.contains(':') != bracketed.is_some() || port.parse::<u16>().is_err()
    {
        return Err(LinkError::Address(address.to_owned()));
    }
    Ok(bare)
}

/// Checks that nodes can dial `address`: as [`host_of`], and the port is not 0.
///
/// # Errors
///
/// [`LinkError::Address`].
pub fn check_dialable(address: &str) -> Result<(), LinkError> {
    host_of(address)?;
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(()),
        _ => Err(LinkError::Address(address.to_owned())),
    }
}

/// A connection to the relay.
#[derive(Debug)]
pub struct Link {
    client: Client,
    connection: Connection,
    sender: ControlSender,
    receiver: ControlReceiver,
    manifest: Arc<Manifest>,
    payload: Arc<Payload>,
}

/// Bytes of messages and bodies so far, with the lengths in front of them.
#[derive(Debug, Default)]
struct Payload {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Payload {
    fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The part of a link that moves bodies, for use beside the frames.
#[derive(Clone, Debug)]
pub struct BodyTransfer {
    connection: Connection,
    manifest: Arc<Manifest>,
    payload: Arc<Payload>,
}

/// A body on its way here.
#[derive(Debug)]
pub struct Download {
    body: BulkBody,
    /// Bytes to come.
    left: usize,
    chunk: Vec<u8>,
}

impl Link {
    /// Connects to the relay of the kit's manifest, or to `address` (`host:port`) if given. Its
    /// certificate must be for the host in the manifest in any case.
    ///
    /// # Errors
    ///
    /// [`LinkError`] that says what to do.
    pub async fn connect(kit: &Kit, address: Option<&str>) -> Result<Self, LinkError> {
        let name = kit.manifest.relay_address();
        let host = host_of(name)?;
        let address = address.unwrap_or(name);
        host_of(address)?;
        let addresses = resolve(address).await?;
        let (client, connection) = dial(kit, host, &addresses).await?;
        let (sender, receiver) = quic::control::open(&connection).await?;
        let manifest = kit.manifest.clone();
        Ok(Self {
            client,
            connection,
            sender,
            receiver,
            manifest,
            payload: Arc::default(),
        })
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// [`LinkError::Transport`] if the connection is lost.
    pub async fn send(&mut self, frame: &NodeFrame) -> Result<(), LinkError> {
        let frame = wire::encode(frame)?;
        self.payload.sent(LENGTH_BYTES + frame.len());
        Ok(self.sender.send(&frame).await?)
    }

    /// The relay's next frame. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`LinkError::Transport`] if the connection is lost, [`LinkError::Wire`] if the relay sent
    /// something else.
    pub async fn recv(&mut self) -> Result<RelayFrame, LinkError> {
        match self.receiver.recv(MAX_FRAME_BYTES).await? {
            Some(bytes) => {
                self.payload.received(LENGTH_BYTES + bytes.len());
                Ok(wire::decode(&bytes)?)
            }
            // The reason, if there is one, comes with the close.
            None => Err(TransportError::from(self.connection.closed().await).into()),
        }
    }

    /// Returns the part that moves bodies.
    pub fn bodies(&self) -> BodyTransfer {
        BodyTransfer {
            connection: self.connection.clone(),
            manifest: self.manifest.clone(),
            payload: self.payload.clone(),
        }
    }

    /// Returns what the connection has cost so far.
    pub fn bytes(&self) -> ConnectionBytes {
        ConnectionBytes::of(&self.connection)
    }

    /// Returns the messages and bodies so far, without what QUIC adds.
    pub fn payload(&self) -> ConnectionBytes {
        ConnectionBytes {
            sent: self.payload.sent.load(Ordering::Relaxed),
            received: self.payload.received.load(Ordering::Relaxed),
        }
    }

    /// Leaves, and waits until the relay knows.
    pub async fn close(self, reason: &str) {
        self.client.shutdown(0, reason).await;
    }
}

impl BodyTransfer {
    /// Uploads the bytes of `body` from chunk `first_chunk` on, behind the list of its chunk
    /// hashes.
    ///
    /// # Errors
    ///
    /// [`LinkError::Transport`] if the connection is lost or the relay does not want it.
    pub async fn upload(
        &self,
        body: BodyId,
        first_chunk: u32,
        hashes: &ChunkHashes,
        bytes: Bytes,
    ) -> Result<(), LinkError> {
        let header = wire::encode(&BulkHeader { body, first_chunk })?;
        let list = hashes
            .as_slice()
            .iter()
            .flat_map(|digest| digest.0)
            .collect::<Vec<u8>>();
        let offset = (first_chunk as usize)
            .saturating_mul(CHUNK_BYTES)
            .min(bytes.len());
        let parts = [Bytes::from(list), bytes.slice(offset..)];
        let length: usize = parts.iter().map(Bytes::len).sum();
        self.payload.sent(LENGTH_BYTES + header.len() + length);
        Ok(send_bulk(&self.connection, &header, parts).await?)
    }

    /// Awaits the bytes of `body`, a result or a certified model.
    ///
    /// # Errors
    ///
    /// [`LinkError::UnexpectedBody`] if something else comes, [`LinkError::Transport`].
    pub async fn download(&self, body: BodyId) -> Result<Download, LinkError> {
        let length = match body.kind {
            BodyKind::Model => 4 * self.manifest.parameters(),
            BodyKind::Sum | BodyKind::Result | BodyKind::Reveal => self.manifest.body_bytes(),
        };
        let timeouts = self.manifest.timeouts();
        let pace = timeouts.pace(timeouts.result_s);
        let receiver = BulkReceiver::accept(&self.connection, pace).await?;
        let (header, stream) = receiver.header(MAX_BULK_HEADER_BYTES).await?;
        self.payload.received(LENGTH_BYTES + header.len() + length);
        let header: BulkHeader = wire::decode(&header)?;
        let first_chunk = 0;
        if header != (BulkHeader { body, first_chunk }) {
            return Err(LinkError::UnexpectedBody);
        }
        Ok(Download {
            body: stream,
            left: length,
            chunk: vec![0; CHUNK_BYTES.min(length)],
        })
    }
}

impl Download {
    /// The next chunk: [`CHUNK_BYTES`], unless it is the last one. `None` when all are here and
    /// nothing follows.
    ///
    /// Not cancel-safe.
    ///
    /// # Errors
    ///
    /// [`LinkError::Transport`], for a body of another length as well.
    pub async fn chunk(&mut self) -> Result<Option<&[u8]>, LinkError> {
        if self.left == 0 {
            self.body.end().await?;
            return Ok(None);
        }
        let length = self.chunk.len().min(self.left);
        let chunk = &mut self.chunk[..length];
        self.body.next_piece(chunk).await?;
        self.left -= length;
        Ok(Some(chunk))
    }
}

/// Tries one address after the other: a name often has one for IPv4 and one for IPv6, and not both
/// answer.
async fn dial(
    kit: &Kit,
    host: &str,
    addresses: &[SocketAddr],
) -> Result<(Client, Connection), LinkError> {
    let mut failed = None;
    for address in addresses {
        let client = Client::bind(*address, kit.client_tls()?)?;
        match client.connect(host).await {
            Ok(connection) => return Ok((client, connection)),
            Err(error) => failed = Some(LinkError::of_handshake(*address, error)),
        }
    }
    Err(failed.unwrap_or_else(|| LinkError::Address(host.to_owned())))
}

async fn resolve(address: &str) -> Result<Vec<SocketAddr>, LinkError> {
    let failed = |source| LinkError::Resolve {
        address: address.to_owned(),
        source,
    };
    let found = tokio::net::lookup_host(address).await.map_err(failed)?;
    let mut found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(failed(std::io::Error::other("the name has no address")));
    }
    // The relay listens on IPv4 unless told otherwise.
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use fl_protocol::round::Reason;

    use super::*;
    use crate::quic::TransportFault;

    const RELAY: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4433);

    /// What a peer can say about this side, final or not.
    fn verdicts() -> Vec<TransportError> {
        let (fault, detail) = (TransportFault::Expired, Reason::new(b"no"));
        let closed = |code: u32| TransportError::ClosedByPeer {
            code: code.into(),
            reason: Reason::new(b"no"),
        };
        vec![
            TransportError::RefusedByPeer { fault, detail },
            closed(code::REFUSED),
            closed(code::BROKEN),
            closed(code::REPLACED),
            TransportError::TimedOut,
            TransportError::PeerRestarted,
        ]
    }

    #[test]
    fn only_what_a_proven_relay_says_is_final() {
        let is_final = verdicts()
            .into_iter()
            .map(|said| LinkError::from(said).is_final());
        let expected = [true, true, false, false, false, false];
        assert_eq!(is_final.collect::<Vec<_>>(), expected);
        for said in verdicts() {
            let unproven = LinkError::of_handshake(RELAY, said);
            assert!(!unproven.is_final(), "{unproven}");
        }
        let (fault, detail) = (TransportFault::Signature, Reason::new(b"no"));
        let impostor = TransportError::RefusedPeer { fault, detail };
        let error = LinkError::of_handshake(RELAY, impostor);
        assert!(!error.is_final());
        let text = error.to_string();
        for part in ["127.0.0.1:4433", "check whose kit is used"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_dialled_at_all_is_final_and_what_does_not_answer_is_not() {
        assert!(host_of("localhost").unwrap_err().is_final());
        let waited = std::time::Duration::from_secs(3);
        let address = RELAY;
        let silent = TransportError::Unreachable { address, waited };
        let error = LinkError::of_handshake(RELAY, silent);
        assert!(!error.is_final());
        assert!(error.to_string().starts_with("no answer from"), "{error}");
    }
}

//! The two ends of a connection, and how QUIC is tuned for bodies of many megabytes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fl_protocol::round::Reason;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use super::TransportError;
use super::reset::ConnectionIds;
use crate::tls::ServerTls;

/// Longest time that a handshake may take. It takes two round trips, or three if an address has to
/// be shown to be right, and a second more for a lost packet.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// A peer that is silent for this long is taken for dead.
pub const IDLE_TIMEOUT: Duration = Duration::from_millis(IDLE_MILLISECONDS as u64);

const IDLE_MILLISECONDS: u32 = 20_000;

/// An idle connection shows signs of life this often, so that a few lost packets do not end it.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Bytes of a stream that may be under way: 80 MB/s over a round trip of 100 ms.
const STREAM_WINDOW: u32 = 8 << 20;

/// The least that a sender keeps under way, in bytes, and what it may keep for each second that a
/// round trip takes, up to [`STREAM_WINDOW`]. Where the way is short, a full window queues in the
/// receiver's socket, falls out of the caches, and with several senders, which is what a round has,
/// overflows the socket and is sent again. On loopback the least saves three senders 6 to 12 % of
/// the time, and ten of them a tenth of what they send; a single one on an idle machine loses 12 %.
/// It is enough for 4 ms, and 34 ms lead to the full window.
const SEND_WINDOW_MIN: u64 = 1 << 20;
const SEND_BYTES_PER_SECOND: u64 = 250_000_000;

/// Unread bytes of bodies that all nodes together may leave at a relay, and the least that each
/// may: a window fills a way of 100 ms at 160 MB/s if they all send. What a relay holds so hardly
/// grows with the number of nodes. The price is that a single one of 64 nodes or more sends at most
/// 2.6 MB/s over a way of 100 ms, and 26 MB/s over one of 10 ms.
const RELAY_WINDOW: usize = 16 << 20;
const RELAY_STREAM_WINDOW_MIN: usize = 256 << 10;

/// Control streams that a relay lets a node open.
const CONTROL_STREAMS: u32 = 1;

/// Bulk streams that either side lets the other have open.
const BULK_STREAMS: u32 = 2;

/// Room for control frames beside full windows of unread bulk, so that a body which nobody reads
/// yet does not silence the peer.
const CONTROL_WINDOW: u32 = 1 << 20;

/// Largest UDP payload that path MTU discovery tries, in bytes: for loopback and jumbo frames,
/// where it doubles the throughput. quinn hands the kernel up to 10 packets in one segmented
/// datagram, and that has to stay under UDP's 65,507 bytes: beyond 6,550 every full batch would be
/// lost without a word.
const MTU_MAX: u16 = 6_500;

/// Wanted for the socket's buffers, in bytes; the system may grant less (Linux:
/// `net.core.rmem_max`). A burst of half a stream window fits. Linux's usual 208 KiB overflow
/// within a millisecond at 200 MB/s.
const SOCKET_BUFFER: usize = 4 << 20;

/// Connection attempts that may wait to be accepted, and the bytes that each may leave meanwhile:
/// there is no early data, so a handshake's first packets are all there is.
const WAITING_MAX: usize = 1024;
const WAITING_BYTES: u64 = 64 << 10;

/// Bytes of the reason that are sent along when a connection is closed.
const REASON_MAX: usize = Reason::MAX;

/// The relay's end: a UDP socket on which nodes are awaited.
#[derive(Clone, Debug)]
pub struct Server(Endpoint);

impl Server {
    /// Binds `address`, to serve so many nodes; port 0 lets the system choose. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`TransportError::AddressInUse`], [`TransportError::AddressForbidden`],
    /// [`TransportError::AddressUnavailable`] or [`TransportError::Bind`].
    pub fn bind(address: SocketAddr, tls: ServerTls, nodes: usize) -> Result<Self, TransportError> {
        let mut config = ServerConfig::with_crypto(Arc::new(tls.quic));
        let transport = transport(CONTROL_STREAMS, relay_stream_window(nodes));
        config
            .transport_config(Arc::new(transport))
            .max_incoming(WAITING_MAX)
            .incoming_buffer_size(WAITING_BYTES)
            .incoming_buffer_size_total(WAITING_MAX as u64 * WAITING_BYTES);
        let mut endpoint_config = EndpointConfig::default();
        endpoint_config
            .reset_key(tls.reset_key)
            .cid_generator(|| Box::new(ConnectionIds));
        endpoint(address, endpoint_config, Some(config)).map(Self)
    }

    /// Returns the address in fact bound.
    ///
    /// # Errors
    ///
    /// [`TransportError::Socket`] if the system does not tell.
    pub fn local_address(&self) -> Result<SocketAddr, TransportError> {
        self.0.local_addr().map_err(TransportError::Socket)
    }

    /// Returns the next connection attempt, or `None` once the server is shut down. Cancel-safe.
    ///
    /// The handshake is the caller's to run, best in a task of its own, so that a slow one delays
    /// nobody.
    pub async fn accept(&self) -> Option<Incoming> {
        self.0.accept().await.map(Incoming)
    }

    /// Closes every connection with `code` and `reason`, accepts no more, and waits until the peers
    /// have been told.
    pub async fn shutdown(&self, code: u32, reason: &str) {
        self.0.close(code.into(), bounded(reason));
        self.0.wait_idle().await;
    }
}

/// A node that is knocking.
#[derive(Debug)]
pub struct Incoming(quinn::Incoming);

impl Incoming {
    /// Returns where it comes from, which is not proven yet.
    pub fn remote_address(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Runs the handshake, at most three seconds long. The node then holds a certificate of the
    /// consortium; [`peer_public_key`](super::peer_public_key) says which node it is.
    ///
    /// # Errors
    ///
    /// [`TransportError::RefusedPeer`] with the node's fault, [`TransportError::RefusedByPeer`]
    /// with ours, [`TransportError::Unreachable`], and those of a lost connection.
    pub async fn handshake(self) -> Result<Connection, TransportError> {
        let address = self.remote_address();
        handshake(self.0.accept()?, address).await
    }

    /// Returns whether the node has shown that it receives at its address (RFC 9000 section 8.1).
    pub fn is_validated(&self) -> bool {
        self.0.remote_address_validated()
    }

    /// Asks the node to show that it receives at its address, which costs it a round trip.
    pub fn retry(self) {
        // It fails only for an address that was shown to be right.
        let _ = self.0.retry();
    }

    /// Does not answer the node. It repeats its first packet after a second, and then less often.
    pub fn ignore(self) {
        self.0.ignore();
    }
}

/// A node's end: a UDP socket from which one relay is dialled.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
    config: ClientConfig,
    relay: SocketAddr,
}

impl Client {
    /// Returns a socket from which `relay` can be reached. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`TransportError::Bind`] and its kin if the system gives no socket.
    pub fn bind(relay: SocketAddr, tls: QuicClientConfig) -> Result<Self, TransportError> {
        let any: IpAddr = match relay {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport(0, STREAM_WINDOW)));
        Ok(Self {
            endpoint: endpoint(SocketAddr::new(any, 0), EndpointConfig::default(), None)?,
            config,
            relay,
        })
    }

    /// Dials the relay, whose certificate must be for `host`: the DNS name or IP address in the
    /// kit.
    ///
    /// The relay judges the node's certificate after the node's side of the handshake is complete
    /// (TLS 1.3), so a node that is not admitted learns so from whatever it does first on the
    /// connection, as [`TransportError::RefusedByPeer`].
    ///
    /// # Errors
    ///
    /// [`TransportError::RefusedPeer`] with the relay's fault, [`TransportError::Unreachable`]
    /// after three seconds, [`TransportError::Dial`] for an unusable address or host.
    pub async fn connect(&self, host: &str) -> Result<Connection, TransportError> {
        handshake(
            self.endpoint
                .connect_with(self.config.clone(), self.relay, host)?,
            self.relay,
        )
        .await
    }

    /// Closes the connection, if there is one, with `code` and `reason`, and waits until the relay
    /// has been told.
    pub async fn shutdown(&self, code: u32, reason: &str) {
        self.endpoint.close(code.into(), bounded(reason));
        self.endpoint.wait_idle().await;
    }
}

/// Closes `connection` at once, telling the peer `code` and the first 256 bytes of `reason`.
///
/// What the peer has not read yet may be lost: close when the protocol has nothing left to say.
pub fn close(connection: &Connection, code: u32, reason: &str) {
    connection.close(code.into(), bounded(reason));
}

fn bounded(reason: &str) -> &[u8] {
    &reason.as_bytes()[..reason.floor_char_boundary(REASON_MAX)]
}

async fn handshake(
    connecting: quinn::Connecting,
    address: SocketAddr,
) -> Result<Connection, TransportError> {
    match timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Err(quinn::ConnectionError::TimedOut)) | Err(_) => Err(TransportError::Unreachable {
            address,
            waited: HANDSHAKE_TIMEOUT,
        }),
        Ok(outcome) => {
            let connection = outcome?;
            // First packets are sealed with keys that anyone on the way can make, and they are
            // listened to until the handshake is over. A close that came with the last of it
            // proves nothing.
            if let Some(error) = connection.close_reason() {
                return Err(error.into());
            }
            connection.set_send_window(send_window(connection.rtt()));
            Ok(connection)
        }
    }
}

/// Returns what may be under way to a peer at this distance, in bytes.
fn send_window(round_trip: Duration) -> u64 {
    let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
    let bytes = micros.saturating_mul(SEND_BYTES_PER_SECOND / 1_000_000);
    bytes.clamp(SEND_WINDOW_MIN, STREAM_WINDOW.into())
}

/// Returns what each of so many nodes may leave unread of a stream at their relay, in bytes.
fn relay_stream_window(nodes: usize) -> u32 {
    let share = RELAY_WINDOW / nodes.max(1);
    let share = share.max(RELAY_STREAM_WINDOW_MIN);
    u32::try_from(share).map_or(STREAM_WINDOW, |share| share.min(STREAM_WINDOW))
}

fn endpoint(
    address: SocketAddr,
    mut config: EndpointConfig,
    server: Option<ServerConfig>,
) -> Result<Endpoint, TransportError> {
    let open = || {
        config
            .max_udp_payload_size(MTU_MAX)
            .map_err(io::Error::other)?;
        Endpoint::new(
            config,
            server,
            socket(address)?.into(),
            Arc::new(TokioRuntime),
        )
    };
    open().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => TransportError::AddressInUse { address },
        io::ErrorKind::PermissionDenied => TransportError::AddressForbidden { address },
        io::ErrorKind::AddrNotAvailable => TransportError::AddressUnavailable { address },
        _ => TransportError::Bind { address, source },
    })
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        // So that [::] takes IPv4 too, whatever the system's default. Some systems cannot.
        if let Err(error) = socket.set_only_v6(false) {
            tracing::debug!(%error, "the socket is IPv6 only");
        }
    }
    let grown = socket
        .set_recv_buffer_size(SOCKET_BUFFER)
        .and_then(|()| socket.set_send_buffer_size(SOCKET_BUFFER));
    if let Err(error) = grown {
        tracing::debug!(%error, "the socket keeps its small buffers");
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn transport(control_streams: u32, stream_window: u32) -> TransportConfig {
    let connection_window = BULK_STREAMS * stream_window + CONTROL_WINDOW;
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(MTU_MAX);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(control_streams))
        .max_concurrent_uni_streams(VarInt::from_u32(BULK_STREAMS))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(connection_window))
        .send_window(SEND_WINDOW_MIN)
        .mtu_discovery_config(Some(discovery))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_MILLISECONDS).into()));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_the_way_the_more_is_under_way() {
        let window = |milliseconds| send_window(Duration::from_millis(milliseconds));
        assert_eq!(window(0), SEND_WINDOW_MIN);
        assert_eq!(window(4), SEND_WINDOW_MIN);
        assert_eq!(window(16), 4_000_000);
        assert_eq!(window(100), u64::from(STREAM_WINDOW));
        assert_eq!(send_window(Duration::MAX), u64::from(STREAM_WINDOW));
    }

    #[test]
    fn nodes_share_what_a_relay_holds_for_them() {
        assert_eq!(relay_stream_window(0), STREAM_WINDOW);
        assert_eq!(relay_stream_window(2), STREAM_WINDOW);
        assert_eq!(relay_stream_window(16), 1 << 20);
        assert_eq!(relay_stream_window(50), 335_544);
        assert_eq!(relay_stream_window(usize::MAX), 256 << 10);
    }
}

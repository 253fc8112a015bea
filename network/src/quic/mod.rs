//! QUIC (RFC 9000) between a node and the relay.
//!
//! A node dials ([`Client`]), the relay accepts ([`Server`]); both have proven their certificates
//! when the handshake is over ([`crate::tls`]). On the connection there is one [`control`] stream
//! for messages, and one unidirectional stream for each [bulk body](send_bulk). Streams do not wait
//! for each other: a lost packet of a body does not delay a message.

mod bulk;
pub(crate) mod code;
pub mod control;
mod endpoint;
mod error;
mod reset;
#[cfg(test)]
mod tests;

use fl_protocol::identity::PublicKey;
pub use quinn::Connection;
use rustls_pki_types::CertificateDer;

pub use bulk::{BulkBody, BulkReceiver, BulkSender, send_bulk};
pub(crate) use control::LENGTH_BYTES;
pub use control::{ControlReceiver, ControlSender};
pub use endpoint::{Client, IDLE_TIMEOUT, Incoming, Server, close};
pub use error::{TransportError, TransportFault};
pub(crate) use reset::ResetKey;

use crate::pki;

/// The key that the peer proved to hold in the handshake: a node's identity, or the relay's TLS
/// key.
///
/// # Errors
///
/// [`TransportError::Anonymous`] or [`TransportError::PeerCertificate`] if there is no such key.
pub fn peer_public_key(connection: &Connection) -> Result<PublicKey, TransportError> {
    let identity = connection
        .peer_identity()
        .ok_or(TransportError::Anonymous)?;
    let head = identity
        .downcast::<Vec<CertificateDer<'_>>>()
        .map_err(|_| TransportError::Anonymous)?;
    Ok(pki::public_key(
        head.first().ok_or(TransportError::Anonymous)?,
    )?)
}

/// Bytes of a connection so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ConnectionBytes {
    /// Sent by this side.
    pub sent: u64,
    /// Received by this side.
    pub received: u64,
}

impl ConnectionBytes {
    /// The UDP payload that `connection` has cost: handshake, headers and retransmissions included.
    pub fn of(connection: &Connection) -> Self {
        let stats = connection.stats();
        Self {
            sent: stats.udp_tx.bytes,
            received: stats.udp_rx.bytes,
        }
    }
}

//! What goes wrong between two endpoints, said so that an operator knows what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fl_protocol::round::Reason;
use quinn::{ConnectError, ConnectionError, ReadError, StoppedError, WriteError};
use rustls::AlertDescription;

use crate::pki::PkiError;

/// Failure of an endpoint, a connection or a stream.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    // The machine.
    /// Another program, or another instance of this one, holds the address.
    #[error("UDP {address} is in use: stop the other program, or choose another port")]
    AddressInUse {
        /// Address to be bound.
        address: SocketAddr,
    },
    /// The system does not let this user bind the address.
    #[error(
        "UDP {address} may not be bound by this user: choose a port above 1023, or grant the right"
    )]
    AddressForbidden {
        /// Address to be bound.
        address: SocketAddr,
    },
    /// The address is not one of this machine.
    #[error("{} is not an address of this machine", address.ip())]
    AddressUnavailable {
        /// Address to be bound.
        address: SocketAddr,
    },
    /// The socket could not be set up for another reason.
    #[error("UDP {address} cannot be bound: {source}")]
    Bind {
        /// Address to be bound.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The bound socket failed.
    #[error("the UDP socket failed: {0}")]
    Socket(#[source] io::Error),

    // Getting a connection.
    /// The address or host name cannot be dialled at all.
    #[error("cannot dial: {0}")]
    Dial(#[from] ConnectError),
    /// Nobody answered in time.
    #[error("no answer from {address} within {} s: check the address, the firewall (UDP), and that the other side runs", waited.as_secs())]
    Unreachable {
        /// Whom we tried to reach.
        address: SocketAddr,
        /// How long.
        waited: Duration,
    },
    /// We turned the peer down.
    #[error("refused the peer: {fault} ({detail})")]
    RefusedPeer {
        /// What is wrong with the peer.
        fault: TransportFault,
        /// The TLS library's words.
        detail: Reason,
    },
    /// The peer turned us down. A client may learn this only after its side of the handshake is
    /// complete.
    #[error("refused by the peer: {fault} ({detail})")]
    RefusedByPeer {
        /// What is wrong with us, in the peer's eyes.
        fault: TransportFault,
        /// The peer's words.
        detail: Reason,
    },
    /// The peer showed no certificate.
    #[error("the peer showed no certificate")]
    Anonymous,
    /// The peer's certificate does not hold an identity key.
    #[error("the peer's certificate: {0}")]
    PeerCertificate(#[from] PkiError),

    // Losing it.
    /// The peer's program closed the connection.
    #[error("closed by the peer: {reason} (code {code})")]
    ClosedByPeer {
        /// The peer's code.
        code: u64,
        /// The peer's words.
        reason: Reason,
    },
    /// This program closed the connection.
    #[error("the connection was closed here")]
    ClosedHere,
    /// The peer fell silent.
    #[error("the peer has fallen silent: it stopped, or the network is down")]
    TimedOut,
    /// The peer knows nothing of this connection.
    #[error("the peer has restarted")]
    PeerRestarted,
    /// The peer, or something between, broke QUIC.
    #[error("QUIC failed: {detail}")]
    Quic {
        /// The QUIC library's words.
        detail: Reason,
    },

    // Streams.
    /// What arrived is no message of the protocol, or not the bytes that were announced.
    #[error("the peer sent {detail}")]
    Malformed {
        /// What is wrong with it.
        detail: Reason,
    },
    /// The peer ended the stream, and with it its part.
    #[error("the peer has ended the conversation")]
    Ended,
    /// A frame longer than the receiver, or the format, allows.
    #[error("a frame of {length} bytes where at most {limit} are allowed")]
    FrameTooLong {
        /// Length announced.
        length: u64,
        /// Length allowed.
        limit: u64,
    },
    /// The stream ended inside a frame or a body.
    #[error("the stream ended after {received} of {expected} bytes")]
    Truncated {
        /// Bytes that should have come.
        expected: u64,
        /// Bytes that came.
        received: u64,
    },
    /// The body goes on after its end.
    #[error("the stream goes on after the {expected} bytes of its body")]
    Trailing {
        /// Bytes that should have come.
        expected: u64,
    },
    /// The body comes slower than agreed.
    #[error("too slow: {received} bytes in {:.1} s of waiting", waited.as_secs_f64())]
    TooSlow {
        /// Bytes received.
        received: u64,
        /// Time spent waiting for them.
        waited: Duration,
    },
    /// The peer gave up sending on this stream.
    #[error("the peer gave up sending (code {code})")]
    StreamReset {
        /// The peer's code.
        code: u64,
    },
    /// The peer does not want what is sent on this stream.
    #[error("the peer stopped reading (code {code})")]
    StreamStopped {
        /// The peer's code.
        code: u64,
    },
    /// The stream was finished or abandoned here before.
    #[error("the stream is closed")]
    StreamClosed,
}

/// Why a handshake was refused: the TLS alert (RFC 8446 section 6.2), as it is meant here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportFault {
    /// The certificate has expired, or is not valid yet.
    Expired,
    /// The certificate is not from this consortium's authority.
    UnknownAuthority,
    /// A signature is wrong: the certificate is from another authority of the same name.
    Signature,
    /// The certificate is malformed, or was not issued for the host that was dialled.
    HostName,
    /// A node's certificate was shown by a relay, or a relay's by a node.
    Purpose,
    /// No certificate was shown.
    NoCertificate,
    /// The other side speaks another application protocol, or another version of this one.
    Protocol,
    /// Any other alert.
    Alert(u8),
}

impl TransportFault {
    /// The fault behind a QUIC error code, if that code stands for a TLS alert (RFC 9001 section
    /// 4.8).
    fn from_code(code: u64) -> Option<Self> {
        let alert = u8::try_from(code.checked_sub(0x100)?).ok()?;
        Some(match AlertDescription::from(alert) {
            AlertDescription::CertificateExpired => Self::Expired,
            AlertDescription::UnknownCA => Self::UnknownAuthority,
            AlertDescription::DecryptError => Self::Signature,
            AlertDescription::BadCertificate => Self::HostName,
            AlertDescription::UnsupportedCertificate => Self::Purpose,
            AlertDescription::CertificateRequired => Self::NoCertificate,
            AlertDescription::NoApplicationProtocol => Self::Protocol,
            _ => Self::Alert(alert),
        })
    }
}

impl fmt::Display for TransportFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => {
                "its certificate has expired or is not valid yet: check the clocks, or issue a new one"
            }
            Self::UnknownAuthority => {
                "its certificate is not from this consortium's authority: check whose kit is used"
            }
            Self::Signature => {
                "its certificate is signed by another authority of the same name: check whose kit is used"
            }
            Self::HostName => {
                "its certificate is not for the host that was dialled: dial that name, or issue a new one"
            }
            Self::Purpose => "its certificate is for the other role: a node's is no relay's",
            Self::NoCertificate => "it showed no certificate",
            Self::Protocol => "it does not speak smpcfl/2: check the versions on both sides",
            Self::Alert(alert) => return write!(f, "TLS alert {alert}"),
        })
    }
}

impl From<ConnectionError> for TransportError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::TransportError(ref failure) => {
                match TransportFault::from_code(failure.code.into()) {
                    Some(fault) => Self::RefusedPeer {
                        fault,
                        detail: Reason::new(failure.reason.as_bytes()),
                    },
                    None => Self::quic(&error),
                }
            }
            ConnectionError::ConnectionClosed(ref close) => {
                match TransportFault::from_code(close.error_code.into()) {
                    Some(fault) => Self::RefusedByPeer {
                        fault,
                        detail: Reason::new(&close.reason),
                    },
                    None => Self::quic(&error),
                }
            }
            ConnectionError::ApplicationClosed(close) => Self::ClosedByPeer {
                code: close.error_code.into(),
                reason: Reason::new(&close.reason),
            },
            ConnectionError::Reset => Self::PeerRestarted,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => Self::quic(&error),
        }
    }
}

impl TransportError {
    fn quic(error: &ConnectionError) -> Self {
        Self::Quic {
            detail: Reason::new(error.to_string().as_bytes()),
        }
    }
}

impl From<ReadError> for TransportError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::StreamReset {
                code: code.into_inner(),
            },
            ReadError::ConnectionLost(error) => error.into(),
            ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => Self::StreamClosed,
        }
    }
}

impl From<WriteError> for TransportError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::StreamStopped {
                code: code.into_inner(),
            },
            WriteError::ConnectionLost(error) => error.into(),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::StreamClosed,
        }
    }
}

impl From<StoppedError> for TransportError {
    fn from(error: StoppedError) -> Self {
        match error {
            StoppedError::ConnectionLost(error) => error.into(),
            StoppedError::ZeroRttRejected => Self::StreamClosed,
        }
    }
}

impl From<quinn::ClosedStream> for TransportError {
    fn from(_: quinn::ClosedStream) -> Self {
        Self::StreamClosed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_become_faults_and_other_codes_do_not() {
        assert_eq!(
            TransportFault::from_code(0x100 + 45),
            Some(TransportFault::Expired)
        );
        assert_eq!(
            TransportFault::from_code(0x100 + 48),
            Some(TransportFault::UnknownAuthority)
        );
        assert_eq!(
            TransportFault::from_code(0x100 + 116),
            Some(TransportFault::NoCertificate)
        );
        assert_eq!(
            TransportFault::from_code(0x100 + 120),
            Some(TransportFault::Protocol)
        );
        assert_eq!(
            TransportFault::from_code(0x100 + 80),
            Some(TransportFault::Alert(80))
        );
        assert_eq!(TransportFault::from_code(0xff), None);
        assert_eq!(TransportFault::from_code(0x200), None);
        assert_eq!(TransportFault::from_code(u64::MAX), None);
    }
}

//! Bulk bodies: one unidirectional stream each.
//!
//! ```text
//! stream = length: u32, little-endian ‖ header: length bytes ‖ body
//! ```
//!
//! The header says what the body is. The body's length is not on the wire: the receiver knows it
//! from the manifest and from its own place in the protocol, and a stream of any other length is an
//! error. Neither side copies a body as a whole: the sender hands QUIC slices of one shared
//! allocation, and the receiver takes it in pieces.

use std::time::Duration;

use bytes::Bytes;
use fl_protocol::manifest::Pace;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::time::{Instant, timeout};

use super::TransportError;
use super::control::{LENGTH_BYTES, checked_length, length_field};

/// Sends `header`, then the body: the concatenation of `parts`, none of which is copied.
///
/// Returns when QUIC has taken the last byte, which is before the peer has it: the protocol's
/// answer tells. A call that is cancelled gives the stream up, which the receiver sees as
/// [`TransportError::StreamReset`].
///
/// # Errors
///
/// [`TransportError::StreamStopped`] if the peer does not want the rest, and those of a lost
/// connection.
pub async fn send_bulk(
    connection: &Connection,
    header: &[u8],
    parts: impl IntoIterator<Item = Bytes>,
) -> Result<(), TransportError> {
    let mut sender = BulkSender::open(connection, header).await?;
    sender.send(parts).await?;
    sender.finish()
}

/// A bulk stream that is sent bit by bit.
///
/// It is reset if it is dropped before it is finished: quinn would finish it, and the peer would
/// take what was given up for what is short.
#[derive(Debug)]
pub struct BulkSender {
    stream: SendStream,
    complete: bool,
}

impl BulkSender {
    /// Opens a stream and sends its header.
    ///
    /// # Errors
    ///
    /// Those of [`send_bulk`].
    pub async fn open(connection: &Connection, header: &[u8]) -> Result<Self, TransportError> {
        let start = Bytes::from([&length_field(header)?, header].concat());
        let mut sender = Self {
            stream: connection.open_uni().await?,
            complete: false,
        };
        sender.send([start]).await?;
        Ok(sender)
    }

    /// Sends the next parts of the body.
    ///
    /// # Errors
    ///
    /// Those of [`send_bulk`].
    pub async fn send(
        &mut self,
        parts: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), TransportError> {
        let mut parts: Vec<_> = parts.into_iter().collect();
        // quinn 0.11 does not wake a writer that waits for the peer's credit when the peer stops
        // the stream.
        let stopped = self.stream.stopped();
        tokio::select! {
            written = self.stream.write_all_chunks(&mut parts) => Ok(written?),
            refused = stopped => Err(match refused? {
                Some(code) => TransportError::StreamStopped { code: code.into_inner() },
                None => TransportError::StreamClosed,
            }),
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// [`TransportError::StreamClosed`] if the peer does not want it any more.
    pub fn finish(mut self) -> Result<(), TransportError> {
        self.stream.finish()?;
        self.complete = true;
        Ok(())
    }
}

impl Drop for BulkSender {
    fn drop(&mut self) {
        if !self.complete {
            // It fails where the peer has stopped the stream, or the connection is gone.
            let _ = self.stream.reset(VarInt::from_u32(0));
        }
    }
}

/// A bulk stream that a peer has opened, before its header is read.
#[derive(Debug)]
pub struct BulkReceiver(PacedStream);

impl BulkReceiver {
    /// Waits for the peer's next bulk stream, of which header and body are each to be read at
    /// `pace`. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Those of a lost connection.
    pub async fn accept(connection: &Connection, pace: Pace) -> Result<Self, TransportError> {
        Ok(Self(PacedStream::new(connection.accept_uni().await?, pace)))
    }

    /// Reads the header, of at most `max_len` bytes. The caller learns from it how long the body
    /// must be.
    ///
    /// # Errors
    ///
    /// [`TransportError::FrameTooLong`], [`TransportError::Truncated`],
    /// [`TransportError::TooSlow`], and those of a lost connection or stream.
    pub async fn header(mut self, max_len: usize) -> Result<(Vec<u8>, BulkBody), TransportError> {
        let mut field = [0; LENGTH_BYTES];
        self.0.fill(&mut field).await?;
        let mut header = vec![0; checked_length(field, max_len)?];
        self.0.fill(&mut header).await?;
        Ok((
            header,
            BulkBody(PacedStream::new(self.0.stream, self.0.pace)),
        ))
    }
}

/// The body of a bulk stream.
#[derive(Debug)]
pub struct BulkBody(PacedStream);

impl BulkBody {
    /// Fills `piece` with the next bytes of the body.
    ///
    /// Not cancel-safe: a cancelled call loses the bytes it had put into `piece`.
    ///
    /// # Errors
    ///
    /// [`TransportError::Truncated`] if the body ends before `piece` is full,
    /// [`TransportError::TooSlow`], and those of a lost connection or stream.
    pub async fn next_piece(&mut self, piece: &mut [u8]) -> Result<(), TransportError> {
        self.0.fill(piece).await
    }

    /// Sees to it that nothing follows.
    ///
    /// # Errors
    ///
    /// [`TransportError::Trailing`] if something does, [`TransportError::TooSlow`], and those of a
    /// lost connection or stream.
    pub async fn end(&mut self) -> Result<(), TransportError> {
        let expected = self.0.received;
        match self.0.read(&mut [0], expected).await? {
            0 => Ok(()),
            _ => Err(TransportError::Trailing { expected }),
        }
    }
}

#[derive(Debug)]
struct PacedStream {
    stream: RecvStream,
    pace: Pace,
    /// Bytes read since the clock was started.
    received: u64,
    /// Time spent waiting for them.
    waited: Duration,
}

impl PacedStream {
    fn new(stream: RecvStream, pace: Pace) -> Self {
        Self {
            stream,
            pace,
            received: 0,
            waited: Duration::ZERO,
        }
    }

    async fn fill(&mut self, piece: &mut [u8]) -> Result<(), TransportError> {
        let expected = self.received + piece.len() as u64;
        let mut filled = 0;
        while filled < piece.len() {
            match self.read(&mut piece[filled..], expected).await? {
                0 => {
                    return Err(TransportError::Truncated {
                        expected,
                        received: self.received,
                    });
                }
                read => filled += read,
            }
        }
        Ok(())
    }

    /// Reads what has arrived into `buffer`: how many bytes, or 0 at the end of the stream.
    /// `expected` is how many will have been received once the caller has all it wants now.
    async fn read(&mut self, buffer: &mut [u8], expected: u64) -> Result<usize, TransportError> {
        let allowance = self.pace.allowance(expected).saturating_sub(self.waited);
        let begun = Instant::now();
        let outcome = timeout(allowance, self.stream.read(buffer)).await;
        self.waited += begun.elapsed();
        let read = outcome
            .map_err(|_| TransportError::TooSlow {
                received: self.received,
                waited: self.waited,
            })??
            .unwrap_or(0);
        self.received += read as u64;
        Ok(read)
    }
}

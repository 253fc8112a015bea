//! The control stream: one bidirectional stream a connection, and the frames on it.
//!
//! ```text
//! frame = length: u32, little-endian ‖ payload: length bytes
//! ```
//!
//! The side that dialled opens the stream and must speak first: QUIC tells the peer of a stream
//! only when bytes travel on it. Control frames go out before bulk that is queued on the same
//! connection.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::{Connection, RecvStream, SendStream};

use super::TransportError;

/// Bytes of a frame's length field.
pub(crate) const LENGTH_BYTES: usize = 4;

/// Above the priority of bulk streams, which is quinn's default of 0.
const PRIORITY: i32 = 1;

/// Opens the control stream. The peer learns of it with the first frame.
///
/// # Errors
///
/// Those of a lost connection.
pub async fn open(
    connection: &Connection,
) -> Result<(ControlSender, ControlReceiver), TransportError> {
    frames(connection.open_bi().await?)
}

/// Waits for the peer to open the control stream. Cancel-safe.
///
/// # Errors
///
/// Those of a lost connection.
pub async fn accept(
    connection: &Connection,
) -> Result<(ControlSender, ControlReceiver), TransportError> {
    frames(connection.accept_bi().await?)
}

fn frames(
    (send, recv): (SendStream, RecvStream),
) -> Result<(ControlSender, ControlReceiver), TransportError> {
    send.set_priority(PRIORITY)?;
    let sender = ControlSender {
        stream: send,
        unsent: BytesMut::new(),
    };
    Ok((
        sender,
        ControlReceiver {
            stream: recv,
            frame: BytesMut::new(),
        },
    ))
}

/// The length field of a frame with `payload`.
///
/// # Errors
///
/// [`TransportError::FrameTooLong`] if 32 bits cannot hold the length.
pub(super) fn length_field(payload: &[u8]) -> Result<[u8; LENGTH_BYTES], TransportError> {
    let length = u32::try_from(payload.len()).map_err(|_| TransportError::FrameTooLong {
        length: payload.len() as u64,
        limit: u32::MAX.into(),
    })?;
    Ok(length.to_le_bytes())
}

/// The sending half of a control stream.
#[derive(Debug)]
pub struct ControlSender {
    stream: SendStream,
    /// Frames, or the rest of one, that the stream has not taken yet.
    unsent: BytesMut,
}

impl ControlSender {
    /// Sends one frame; returns when QUIC has taken it, which is before the peer has it.
    ///
    /// Cancellation does not tear frames: once polled, the frame is queued, and what a cancelled
    /// call left over goes out first in the next [`ControlSender::send`] or
    /// [`ControlSender::finish`].
    ///
    /// # Errors
    ///
    /// [`TransportError::FrameTooLong`] above 2³² − 1 bytes, and those of a lost connection or
    /// stream.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), TransportError> {
        let length = length_field(payload)?;
        self.unsent.reserve(LENGTH_BYTES + payload.len());
        self.unsent.put_slice(&length);
        self.unsent.put_slice(payload);
        self.flush().await
    }

    /// Ends the stream: after the frames sent so far the peer's [`ControlReceiver::recv`] gives
    /// `None`.
    ///
    /// # Errors
    ///
    /// Those of a lost connection or stream.
    pub async fn finish(mut self) -> Result<(), TransportError> {
        self.flush().await?;
        Ok(self.stream.finish()?)
    }

    async fn flush(&mut self) -> Result<(), TransportError> {
        while !self.unsent.is_empty() {
            let taken = self.stream.write(&self.unsent).await?;
            self.unsent.advance(taken);
        }
        Ok(())
    }
}

/// The receiving half of a control stream.
#[derive(Debug)]
pub struct ControlReceiver {
    stream: RecvStream,
    /// What has arrived of the frame under way, its length field included.
    frame: BytesMut,
}

impl ControlReceiver {
    /// The next frame's payload, of at most `max_len` bytes, or `None` where the peer ended the
    /// stream.
    ///
    /// The length is checked before the payload is read, and memory grows with the bytes that
    /// arrive, never with the length announced.
    ///
    /// Cancel-safe: what has arrived of a frame is kept for the next call, so this may stand in
    /// `tokio::select!`.
    ///
    /// # Errors
    ///
    /// [`TransportError::FrameTooLong`], after which the stream is of no more use;
    /// [`TransportError::Truncated`] if the stream ends inside a frame; those of a lost connection
    /// or stream.
    pub async fn recv(&mut self, max_len: usize) -> Result<Option<Bytes>, TransportError> {
        loop {
            let arrived = self.frame.len();
            let whole = match self.frame.first_chunk::<LENGTH_BYTES>() {
                None => LENGTH_BYTES,
                Some(&field) => {
                    let whole = LENGTH_BYTES + checked_length(field, max_len)?;
                    if arrived == whole {
                        return Ok(Some(self.frame.split().freeze().slice(LENGTH_BYTES..)));
                    }
                    whole
                }
            };
            match self.stream.read_chunk(whole - arrived, true).await? {
                Some(chunk) => self.frame.extend_from_slice(&chunk.bytes),
                None if arrived == 0 => return Ok(None),
                None => {
                    return Err(TransportError::Truncated {
                        expected: whole as u64,
                        received: arrived as u64,
                    });
                }
            }
        }
    }
}

/// The length in `field`, if it is at most `max_len`.
///
/// # Errors
///
/// [`TransportError::FrameTooLong`].
pub(super) fn checked_length(
    field: [u8; LENGTH_BYTES],
    max_len: usize,
) -> Result<usize, TransportError> {
    let length = u32::from_le_bytes(field);
    usize::try_from(length)
        .ok()
        .filter(|&length| length <= max_len)
        .ok_or(TransportError::FrameTooLong {
            length: length.into(),
            limit: max_len as u64,
        })
}

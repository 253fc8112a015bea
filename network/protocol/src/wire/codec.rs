//! The one module that knows bincode.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::WireError;

/// Greatest length of an encoded message in bytes. It bounds what a decoder allocates, whatever
/// lengths the message claims inside.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Greatest length of a frame in bytes: what is heard must fit into a record of the log, with what
/// that says besides.
pub const MAX_FRAME_BYTES: usize = MAX_MESSAGE_BYTES - (1 << 10);

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MAX_MESSAGE_BYTES>> =
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<MAX_MESSAGE_BYTES>();

/// Encodes a message.
///
/// # Errors
///
/// [`WireError::Encode`] if it is longer than [`MAX_MESSAGE_BYTES`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let bytes = bincode::serde::encode_to_vec(message, CONFIG)
        .map_err(|error| WireError::Encode(error.to_string()))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(WireError::Encode(format!("{} bytes", bytes.len())));
    }
    Ok(bytes)
}

/// Decodes a message that takes up all of `bytes`.
///
/// # Errors
///
/// [`WireError::Malformed`] for anything but an encoding of `T`, [`WireError::Trailing`] for an
/// encoding with something behind it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let (message, used) = bincode::serde::decode_from_slice(bytes, CONFIG)
        .map_err(|error| WireError::Malformed(error.to_string()))?;
    match bytes.len() - used {
        0 => Ok(message),
        rest => Err(WireError::Trailing(rest)),
    }
}

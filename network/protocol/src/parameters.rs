//! A model's parameters as bytes: little-endian `f32`.

use std::borrow::Cow;

/// Parameters as little-endian `f32`, as they are stored, sent and hashed; where that is how they
/// lie in memory, as they lie there.
pub fn le_bytes(parameters: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(parameters))
    } else {
        let bytes = parameters.iter().flat_map(|value| value.to_le_bytes());
        Cow::Owned(bytes.collect())
    }
}

/// Parameters as they are stored and sent.
pub fn to_le_bytes(parameters: &[f32]) -> Vec<u8> {
    le_bytes(parameters).into_owned()
}

/// Parameters from their stored form; a rest of less than four bytes is dropped.
pub fn from_le_bytes(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.as_chunks().0.iter();
    words.map(|word| f32::from_le_bytes(*word)).collect()
}

//! Ring words in byte buffers, little-endian.

use fl_shaders::Word;

/// The word that `bytes`, of its length, encode.
#[inline(always)]
pub(crate) fn read_word<W: Word>(bytes: &[u8]) -> W {
    let mut le = W::Bytes::default();
    le.as_mut().copy_from_slice(bytes);
    W::from_le_bytes(le)
}

/// Encodes `word` into `bytes`, of its length.
#[inline(always)]
pub(crate) fn write_word<W: Word>(bytes: &mut [u8], word: W) {
    bytes.copy_from_slice(word.to_le_bytes().as_ref());
}

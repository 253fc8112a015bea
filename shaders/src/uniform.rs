//! The uniform buffers of the kernels, laid out as their WGSL structs. They hold keys: whoever
//! writes them erases them.

use crate::cpu::chacha20::BLOCK_WORDS;
use crate::kernel::WORKGROUP_SIZE;
use crate::{InputScale, MeanScale, TAG_BLOCK};

/// Words of a ChaCha20 key.
const KEY_WORDS: usize = 8;

/// Uniform of [`QUANTIZE`](crate::kernel::QUANTIZE): a run of coordinates, and how to encode it.
#[derive(Clone, Copy, Debug)]
pub struct Encoding<'a> {
    /// Private key of the keystream that rounds.
    pub rounding: &'a [u8; 32],
    /// Number, in the whole update, of the first coordinate.
    pub first_coordinate: u64,
    /// Number of coordinates.
    pub coordinates: u32,
    /// Index of the first coordinate in the bound update.
    pub update_start: u32,
    /// Index of its first 32-bit word in the bound vector.
    pub vector_start: u32,
    /// Weight, resolution and clip.
    pub scale: InputScale,
}

/// Uniform of [`TAG`](crate::kernel::TAG): a part of a vector.
#[derive(Clone, Copy, Debug)]
pub struct Tagging {
    /// Number, in the whole vector, of the first element.
    pub first_element: u64,
    /// Number of elements.
    pub elements: u32,
}

/// Uniform of the kernels that combine shares: a run of blocks.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Number, in the whole vector, of the first block.
    pub first_block: u64,
    /// Number of blocks.
    pub blocks: u32,
}

/// Uniform of the kernels that combine shares: the keys of the shares.
#[derive(Clone, Copy, Debug)]
pub struct Shares<'a> {
    /// Keys of the shares to subtract.
    pub minus: &'a [&'a [u8; 32]],
    /// Keys of the shares to add.
    pub plus: &'a [&'a [u8; 32]],
}

/// Uniform of [`DEQUANTIZE`](crate::kernel::DEQUANTIZE).
#[derive(Clone, Copy, Debug)]
pub struct Decoding {
    /// Number of coordinates.
    pub coordinates: u32,
    /// Resolution and total weight.
    pub scale: MeanScale,
}

impl Encoding<'_> {
    /// Size in bytes.
    pub const BYTES: u64 = 80;

    /// Returns the number of threads that encode the run: one for each block of the rounding
    /// keystream that it touches.
    pub fn threads(first_coordinate: u64, coordinates: u32) -> u32 {
        let words = u64::from(skip(first_coordinate)) + u64::from(coordinates);
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^28 + 1")]
        let threads = words.div_ceil(BLOCK_WORDS as u64) as u32;
        threads
    }

    /// Writes the struct to `words`.
    ///
    /// # Panics
    ///
    /// If `words` is shorter than the struct.
    pub fn write(&self, words: &mut [u32]) {
        let (key, rest) = words.split_at_mut(KEY_WORDS);
        write_key(self.rounding, key);
        let [low, high] = halves(self.first_coordinate / BLOCK_WORDS as u64);
        rest[..9].copy_from_slice(&[
            low,
            high,
            skip(self.first_coordinate),
            self.coordinates,
            self.update_start,
            self.vector_start,
            self.scale.mantissa,
            self.scale.shift.cast_unsigned(),
            self.scale.clip_bits,
        ]);
    }
}

impl Tagging {
    /// Size in bytes.
    pub const BYTES: u64 = 8;
    /// Elements in a run, which never lies in two blocks of [`TAG_BLOCK`]. The first and the last
    /// run may be shorter.
    pub const RUN: u32 = 1_024;

    /// Returns the number of runs, of one workgroup each.
    pub fn runs(&self) -> u32 {
        (self.first() % Self::RUN + self.elements).div_ceil(Self::RUN)
    }

    /// Returns the number of threads of all runs.
    pub fn threads(&self) -> u32 {
        self.runs() * WORKGROUP_SIZE
    }

    /// The block of [`TAG_BLOCK`] elements in which a run lies.
    pub fn block(&self, run: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "it is in memory")]
        let first = (self.first_element / u64::from(Self::RUN)) as usize;
        (first + run) / (TAG_BLOCK / Self::RUN as usize)
    }

    /// Writes the struct to `words`.
    ///
    /// # Panics
    ///
    /// If `words` is shorter than the struct.
    pub fn write(&self, words: &mut [u32]) {
        words[..2].copy_from_slice(&[self.first(), self.elements]);
    }

    /// Index of the first element in its block.
    fn first(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "below 2^16")]
        let first = (self.first_element % TAG_BLOCK as u64) as u32;
        first
    }
}

impl Span {
    /// Size in bytes.
    pub const BYTES: u64 = 16;

    /// Writes the struct to `words`.
    ///
    /// # Panics
    ///
    /// If `words` is shorter than the struct.
    pub fn write(&self, words: &mut [u32]) {
        let [low, high] = halves(self.first_block);
        words[..3].copy_from_slice(&[low, high, self.blocks]);
    }
}

impl Shares<'_> {
    /// Most shares in one dispatch.
    pub const MAX: usize = 128;
    /// Size in bytes.
    pub const BYTES: u64 = (4 * (Self::HEADER_WORDS + Self::MAX * KEY_WORDS)) as u64;
    /// The two counts, and the padding that aligns the keys.
    const HEADER_WORDS: usize = 4;

    /// Writes the struct to `words`.
    ///
    /// # Panics
    ///
    /// If there are more shares than [`Shares::MAX`], or `words` is shorter than the struct.
    pub fn write(&self, words: &mut [u32]) {
        let count = |keys: &[_]| u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let (header, keys) = words.split_at_mut(Self::HEADER_WORDS);
        header[..2].copy_from_slice(&[count(self.minus), count(self.plus)]);
        let slots = keys[..Self::MAX * KEY_WORDS].chunks_exact_mut(KEY_WORDS);
        assert!(
            self.minus.len() + self.plus.len() <= Self::MAX,
            "one slot a key"
        );
        for (key, words) in self.minus.iter().chain(self.plus).zip(slots) {
            write_key(key, words);
        }
    }
}

impl Decoding {
    /// Size in bytes.
    pub const BYTES: u64 = 12;

    /// Writes the struct to `words`.
    ///
    /// # Panics
    ///
    /// If `words` is shorter than the struct.
    pub fn write(&self, words: &mut [u32]) {
        words[..3].copy_from_slice(&[self.coordinates, self.scale.mantissa, self.scale.shift]);
    }
}

/// Returns the number of words of the first block that belong to earlier coordinates.
fn skip(first_coordinate: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "below 16")]
    let skip = (first_coordinate % BLOCK_WORDS as u64) as u32;
    skip
}

/// Writes a key as little-endian words.
fn write_key(key: &[u8; 32], words: &mut [u32]) {
    for (word, bytes) in words.iter_mut().zip(key.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
}

/// The low and the high word.
fn halves(number: u64) -> [u32; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "the halves")]
    [number as u32, (number >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_lie_in_one_block() {
        let tagging = |first_element, elements| Tagging {
            first_element,
            elements,
        };
        assert_eq!(tagging(0, 0).runs(), 0);
        assert_eq!(tagging(0, 1_024).runs(), 1);
        assert_eq!(tagging(0, 1_025).runs(), 2);
        assert_eq!(tagging(1_023, 2).runs(), 2);
        let part = tagging(3 * 65_536 - 64, 65_536 + 128);
        assert_eq!(part.runs(), 66);
        let blocks: Vec<_> = (0..66).map(|run| part.block(run)).collect();
        assert_eq!(blocks[..2], [2, 3]);
        assert_eq!(blocks[64..], [3, 4]);
    }
}

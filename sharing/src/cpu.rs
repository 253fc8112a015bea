//! The engine of the CPU: all cores, SIMD, and every share made and consumed in the first-level cache.
//!
//! The vector is cut into chunks, one a task, and a chunk into pieces that stay in the first-level cache. A piece is
//! encoded once, then every mask is generated and combined into it, a few ChaCha20 blocks at a time.

mod encode;
mod keystream;
mod tag;

use fl_shaders::{CHUNK_WORDS, HEADER_WORDS, InputScale, Ring, TAG_BLOCK, Tag, Word};
use rayon::prelude::*;

use crate::engine::{self, Blinding, Engine, EngineError, Input, Masked, Sign};
use crate::seed::MaskKey;
use encode::Encoded;
use keystream::BLOCK_BYTES;
pub(crate) use keystream::bytes as keystream_bytes;
pub(crate) use tag::{tag, tag_in_block};

const CHUNK_BYTES: usize = 4 * CHUNK_WORDS;
/// Small enough for the first-level cache of any CPU, large enough that starting a cipher costs nothing next to it.
const PIECE_BYTES: usize = 16 * 1024;
const _: () = assert!(CHUNK_BYTES.is_multiple_of(PIECE_BYTES));
const _: () = assert!(PIECE_BYTES.is_multiple_of(BLOCK_BYTES));
// A piece lies in one block of the tag's coefficients.
const _: () = assert!((4 * TAG_BLOCK).is_multiple_of(PIECE_BYTES));

/// Words under way, aligned so that no SIMD access crosses a cache line.
#[repr(align(64))]
struct Piece([u8; PIECE_BYTES]);

/// Masks on the current rayon pool, with the best instructions that the CPU has.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuEngine;

impl Engine for CpuEngine {
    fn mask(
        &self,
        input: &Input<'_>,
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let outcome = match input.format.ring() {
            Ring::U32 => mask_words::<u32>(input, blinding, masked),
            Ring::U64 => mask_words::<u64>(input, blinding, masked),
        };
        if outcome.is_err() {
            masked.fill(0);
        }
        outcome
    }

    fn sum(&self, ring: Ring, keys: &[MaskKey], sum: &mut [u8]) -> Result<(), EngineError> {
        assert!(sum.len().is_multiple_of(ring.word_bytes()), "whole words");
        match ring {
            Ring::U32 => sum_words::<u32>(keys, sum),
            Ring::U64 => sum_words::<u64>(keys, sum),
        }
        Ok(())
    }
}

fn mask_words<W: Word>(
    input: &Input<'_>,
    blinding: &Blinding<'_>,
    masked: &mut [u8],
) -> Result<Masked, EngineError> {
    let scale = engine::checked(
        input.format,
        &input.counters,
        input.update.len(),
        blinding.coefficients,
        masked.len(),
    )?;
    let (encoded, tag) = pieces(masked, |offset, words| {
        mask_piece::<W>(input.update, &scale, blinding, offset, words)
    })
    .reduce(Default::default, |mut sum, part| {
        sum.0 += part.0;
        sum.1 += part.1;
        sum
    });
    if encoded.non_finite > 0 {
        let coordinate = input.update.iter().take_while(|u| u.is_finite()).count() as u64;
        return Err(EngineError::NonFinite { coordinate });
    }
    let header = engine::add_header::<W>(
        input.format,
        input.counters,
        encoded.clipped,
        blinding.coefficients,
        masked,
    );
    Ok(Masked {
        clipped: encoded.clipped,
        tag: tag + header,
    })
}

fn sum_words<W: Word>(keys: &[MaskKey], sum: &mut [u8]) {
    pieces(sum, |offset, words| {
        words.fill(0);
        let first_block = (offset / BLOCK_BYTES) as u64;
        for key in keys {
            keystream::combine::<W>(key.expose(), Sign::Plus, first_block, words);
        }
    })
    .for_each(drop);
}

/// Makes every piece of `vector` with `make`, which gets the byte at which it begins and words to overwrite.
fn pieces<T: Send>(
    vector: &mut [u8],
    make: impl Fn(usize, &mut [u8]) -> T + Sync + Send,
) -> impl ParallelIterator<Item = T> {
    vector
        .par_chunks_mut(CHUNK_BYTES)
        .enumerate()
        .flat_map_iter(move |(index, chunk)| {
            let mut scratch = Piece([0; PIECE_BYTES]);
            let pieces = chunk.chunks_mut(PIECE_BYTES).enumerate();
            let made: Vec<_> = pieces
                .map(|(i, piece)| {
                    let offset = index * CHUNK_BYTES + i * PIECE_BYTES;
                    let words = &mut scratch.0[..piece.len()];
                    let made = make(offset, words);
                    piece.copy_from_slice(words);
                    made
                })
                .collect();
            made
        })
}

/// Masks the part of the vector that begins at byte `offset`; header words are masked zeros. Gives the part's share of
/// the vector's tag.
fn mask_piece<W: Word>(
    update: &[f32],
    scale: &InputScale,
    blinding: &Blinding<'_>,
    offset: usize,
    piece: &mut [u8],
) -> (Encoded, Tag) {
    let element = offset / W::BYTES;
    let header_words = HEADER_WORDS.saturating_sub(element);
    let (header, coordinates) = piece.split_at_mut(header_words * W::BYTES);
    header.fill(0);
    let first = element + header_words - HEADER_WORDS;
    let update = &update[first..][..coordinates.len() / W::BYTES];
    let encoded = encode::encode::<W>(update, first, scale, blinding.rounding, coordinates);
    let tag = tag::tag_in_block::<W>(piece, element, blinding.coefficients);

    let first_block = (offset / BLOCK_BYTES) as u64;
    for mask in blinding.masks {
        keystream::combine::<W>(mask.key.expose(), mask.sign, first_block, piece);
    }
    (encoded, tag)
}

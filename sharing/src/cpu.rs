//! The engine of the CPU: all cores, SIMD, and every share made and consumed in the first-level cache.
//!
//! The vector is cut into chunks, one a task, and a chunk into pieces that stay in the first-level cache. A piece is
//! encoded once, then every mask is generated and combined into it, a few ChaCha20 blocks at a time.

mod encode;
mod keystream;

use fl_shaders::{CHUNK_WORDS, HEADER_WORDS, InputScale, Ring, Word};
use rayon::prelude::*;

use crate::engine::{self, Engine, EngineError, Input, Mask, Masked};
use crate::seed::RoundingKey;
use encode::Encoded;
use keystream::BLOCK_BYTES;

const CHUNK_BYTES: usize = 4 * CHUNK_WORDS;
/// Small enough for the first-level cache of any CPU, large enough that starting a cipher costs nothing next to it.
const PIECE_BYTES: usize = 16 * 1024;
const _: () = assert!(CHUNK_BYTES.is_multiple_of(PIECE_BYTES));
const _: () = assert!(PIECE_BYTES.is_multiple_of(BLOCK_BYTES));

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
        rounding: &RoundingKey,
        masks: &[Mask],
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let outcome = match input.format.ring() {
            Ring::U32 => mask_words::<u32>(input, rounding, masks, masked),
            Ring::U64 => mask_words::<u64>(input, rounding, masks, masked),
        };
        if outcome.is_err() {
            masked.fill(0);
        }
        outcome
    }
}

fn mask_words<W: Word>(
    input: &Input<'_>,
    rounding: &RoundingKey,
    masks: &[Mask],
    masked: &mut [u8],
) -> Result<Masked, EngineError> {
    let scale = engine::checked(
        input.format,
        &input.counters,
        input.update.len(),
        masked.len(),
    )?;
    let encoded = masked
        .par_chunks_mut(CHUNK_BYTES)
        .enumerate()
        .map(|(index, chunk)| {
            let mut encoded = Encoded::default();
            let mut scratch = Piece([0; PIECE_BYTES]);
            for (i, piece) in chunk.chunks_mut(PIECE_BYTES).enumerate() {
                let offset = index * CHUNK_BYTES + i * PIECE_BYTES;
                let words = &mut scratch.0[..piece.len()];
                encoded += mask_piece::<W>(input.update, &scale, rounding, masks, offset, words);
                piece.copy_from_slice(words);
            }
            encoded
        })
        .sum::<Encoded>();
    if encoded.non_finite > 0 {
        let coordinate = input.update.iter().take_while(|u| u.is_finite()).count() as u64;
        return Err(EngineError::NonFinite { coordinate });
    }

    engine::add_header::<W>(input.format, input.counters, encoded.clipped, masked);
    Ok(Masked {
        clipped: encoded.clipped,
    })
}

/// Masks the part of the vector that begins at byte `offset`; header words are masked zeros.
fn mask_piece<W: Word>(
    update: &[f32],
    scale: &InputScale,
    rounding: &RoundingKey,
    masks: &[Mask],
    offset: usize,
    piece: &mut [u8],
) -> Encoded {
    let element = offset / W::BYTES;
    let header_words = HEADER_WORDS.saturating_sub(element);
    let (header, coordinates) = piece.split_at_mut(header_words * W::BYTES);
    header.fill(0);
    let first = element + header_words - HEADER_WORDS;
    let update = &update[first..][..coordinates.len() / W::BYTES];
    let encoded = encode::encode::<W>(update, first, scale, rounding, coordinates);

    let first_block = (offset / BLOCK_BYTES) as u64;
    for mask in masks {
        keystream::combine::<W>(mask.key.expose(), mask.sign, first_block, piece);
    }
    encoded
}

//! The engine of the CPU: all cores, SIMD, and every share made and consumed in the first-level cache.
//!
//! The vector is cut into chunks, one a task, and a chunk into pieces that stay in the first-level cache. A piece is
//! encoded; then all its masks are generated and added up, and their sum is added to it.

mod chacha20;
mod encode;
mod instructions;
mod keystream;
mod order;
mod tag;

use fl_shaders::{CHUNK_WORDS, HEADER_WORDS, InputScale, Ring, TAG_BLOCK, Tag, Word};
use rayon::prelude::*;

use crate::engine::{self, Blinding, Engine, EngineError, Input, Masked, Sign};
use crate::seed::MaskKey;
use chacha20::BLOCK_BYTES;
use encode::Encoded;
pub use instructions::Instructions;
pub(crate) use keystream::bytes as keystream_bytes;
use keystream::{Random, Share, Sums};
pub(crate) use tag::tag;

const CHUNK_BYTES: usize = 4 * CHUNK_WORDS;
/// Small enough for the first-level cache of any CPU, large enough that starting a cipher costs nothing next to it.
const PIECE_BYTES: usize = 16 * 1024;
const _: () = assert!(CHUNK_BYTES.is_multiple_of(PIECE_BYTES));
// A piece lies in one block of the tag's coefficients.
const _: () = assert!((4 * TAG_BLOCK).is_multiple_of(PIECE_BYTES));

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
        Instructions::best().mask(input, blinding, masked)
    }

    fn sum(&self, ring: Ring, keys: &[MaskKey], sum: &mut [u8]) -> Result<(), EngineError> {
        Instructions::best().sum(ring, keys, sum)
    }
}

impl Engine for Instructions {
    fn mask(
        &self,
        input: &Input<'_>,
        blinding: &Blinding<'_>,
        masked: &mut [u8],
    ) -> Result<Masked, EngineError> {
        let outcome = match input.format.ring() {
            Ring::U32 => mask_words::<u32>(*self, input, blinding, masked),
            Ring::U64 => mask_words::<u64>(*self, input, blinding, masked),
        };
        if outcome.is_err() {
            masked.fill(0);
        }
        outcome
    }

    fn sum(&self, ring: Ring, keys: &[MaskKey], sum: &mut [u8]) -> Result<(), EngineError> {
        assert!(sum.len().is_multiple_of(ring.word_bytes()), "whole words");
        match ring {
            Ring::U32 => sum_words::<u32>(*self, keys, sum),
            Ring::U64 => sum_words::<u64>(*self, keys, sum),
        }
        Ok(())
    }
}

fn mask_words<W: Word>(
    with: Instructions,
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
    let masks = blinding.masks.iter();
    let shares: Vec<Share<'_>> = masks.map(|mask| (mask.key.expose(), mask.sign)).collect();
    let masking = Masking {
        with,
        update: input.update,
        scale,
        blinding,
        shares: &shares,
    };
    let (encoded, tag) = masked
        .par_chunks_mut(CHUNK_BYTES)
        .enumerate()
        .map_init(Workspace::new, |workspace, (index, chunk)| {
            let mut met = (Encoded::default(), Tag::default());
            for (i, piece) in chunk.chunks_mut(PIECE_BYTES).enumerate() {
                let offset = index * CHUNK_BYTES + i * PIECE_BYTES;
                let (encoded, tag) = masking.piece::<W>(offset, workspace, piece);
                met.0 += encoded;
                met.1 += tag;
            }
            met
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

fn sum_words<W: Word>(with: Instructions, keys: &[MaskKey], sum: &mut [u8]) {
    let shares: Vec<Share<'_>> = keys.iter().map(|key| (key.expose(), Sign::Plus)).collect();
    sum.par_chunks_mut(CHUNK_BYTES).enumerate().for_each_init(
        || Box::new(Sums::new()),
        |sums, (index, chunk)| {
            for (i, piece) in chunk.chunks_mut(PIECE_BYTES).enumerate() {
                let first_block = (index * CHUNK_BYTES + i * PIECE_BYTES) / BLOCK_BYTES;
                piece.fill(0);
                keystream::combine::<W>(with, &shares, first_block as u64, sums, piece);
            }
        },
    );
}

/// What tasks use one after another.
struct Workspace {
    random: Random,
    sums: Sums,
}

impl Workspace {
    fn new() -> Box<Self> {
        Box::new(Self {
            random: Random::new(),
            sums: Sums::new(),
        })
    }
}

/// How to mask any piece of the vector.
struct Masking<'a> {
    with: Instructions,
    update: &'a [f32],
    scale: InputScale,
    blinding: &'a Blinding<'a>,
    shares: &'a [Share<'a>],
}

impl Masking<'_> {
    /// Masks the piece that begins at byte `offset`; header words are masked zeros. Gives the piece's share of the
    /// vector's tag.
    fn piece<W: Word>(
        &self,
        offset: usize,
        workspace: &mut Workspace,
        piece: &mut [u8],
    ) -> (Encoded, Tag) {
        let element = offset / W::BYTES;
        let header_words = HEADER_WORDS.saturating_sub(element);
        let (header, coordinates) = piece.split_at_mut(header_words * W::BYTES);
        header.fill(0);
        let first = element + header_words - HEADER_WORDS;
        let update = &self.update[first..][..coordinates.len() / W::BYTES];
        let key = self.blinding.rounding.expose();
        let random = workspace.random.words(self.with, key, first, update.len());
        let encoded = encode::encode::<W>(self.with, update, &self.scale, random, coordinates);
        let coefficients = self.blinding.coefficients;
        let tag = tag::tag_in_block::<W>(self.with, piece, element, coefficients);

        let first_block = (offset / BLOCK_BYTES) as u64;
        keystream::combine::<W>(
            self.with,
            self.shares,
            first_block,
            &mut workspace.sums,
            piece,
        );
        (encoded, tag)
    }
}

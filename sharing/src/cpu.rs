//! The engine of the CPU: all cores, SIMD, and every share made and consumed in the first-level
//! cache.
//!
//! The vector is cut into chunks, one a task, and a chunk into pieces that stay in the first-level
//! cache. A piece is encoded; then all its masks are generated and added up, and their sum is added
//! to it.

mod chacha20;
mod encode;
mod keystream;
mod order;
mod tag;
mod upcoming;

use std::ops::Range;

use fl_shaders::{CHUNK_WORDS, InputScale, Instructions, Ring, TAG_BLOCK, Tag, Word};
use rayon::prelude::*;

use crate::engine::{self, Blinding, DeviceError, Engine, EngineError, Input, Masked, Sign};
use crate::seed::MaskKey;
use chacha20::BLOCK_BYTES;
use encode::Encoded;
pub(crate) use keystream::bytes as keystream_bytes;
use keystream::{KeystreamShare, KeystreamSums, Random};
pub(crate) use tag::tag_in_block;
use upcoming::Upcoming;

const CHUNK_BYTES: usize = 4 * CHUNK_WORDS;
/// Small enough for the first-level cache of any CPU, large enough that starting a cipher costs
/// nothing next to it.
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

    fn sum(&self, ring: Ring, keys: &[MaskKey], sum: &mut [u8]) -> Result<(), DeviceError> {
        Instructions::best().sum(ring, keys, sum)
    }
}

/// [`CpuEngine`], held to these instructions.
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

    fn sum(&self, ring: Ring, keys: &[MaskKey], sum: &mut [u8]) -> Result<(), DeviceError> {
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
        input.counters,
        input.update.len(),
        blinding.coefficients,
        masked.len(),
    )?;
    let masks = blinding.masks.iter();
    let shares: Vec<KeystreamShare<'_>> =
        masks.map(|mask| (mask.key.expose(), mask.sign)).collect();
    let masking = CpuMasking {
        with,
        header_words: input.format.header_words(),
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
            pieces(index, chunk, |offset, piece, next| {
                let (encoded, tag) = masking.piece::<W>(offset, piece, next, workspace);
                met.0 += encoded;
                met.1 += tag;
            });
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
    let shares: Vec<KeystreamShare<'_>> =
        keys.iter().map(|key| (key.expose(), Sign::Plus)).collect();
    sum.par_chunks_mut(CHUNK_BYTES).enumerate().for_each_init(
        || Box::new(KeystreamSums::new()),
        |sums, (index, chunk)| {
            pieces(index, chunk, |offset, piece, next| {
                let (first_block, upcoming) = (offset / BLOCK_BYTES, Upcoming::new(&[], next));
                piece.fill(0);
                keystream::combine::<W>(with, &shares, first_block, upcoming, sums, piece);
            });
        },
    );
}

/// Calls `make` with each piece of chunk `index`: the byte of the vector at which it begins,
/// itself, and the one after it.
fn pieces(index: usize, chunk: &mut [u8], mut make: impl FnMut(usize, &mut [u8], &[u8])) {
    let mut pieces = chunk.chunks_mut(PIECE_BYTES).peekable();
    let mut offset = index * CHUNK_BYTES;
    while let Some(piece) = pieces.next() {
        let next = pieces.peek().map_or(&[][..], |next| next);
        make(offset, piece, next);
        offset += piece.len();
    }
}

/// What tasks use one after another.
struct Workspace {
    random: Random,
    sums: KeystreamSums,
}

impl Workspace {
    fn new() -> Box<Self> {
        Box::new(Self {
            random: Random::new(),
            sums: KeystreamSums::new(),
        })
    }
}

/// How to mask any piece of the vector.
struct CpuMasking<'a> {
    with: Instructions,
    header_words: usize,
    update: &'a [f32],
    scale: InputScale,
    blinding: &'a Blinding<'a>,
    shares: &'a [KeystreamShare<'a>],
}

impl CpuMasking<'_> {
    /// Masks the piece that begins at byte `offset`; header words are masked zeros. Returns the
    /// piece's share of the vector's tag.
    fn piece<W: Word>(
        &self,
        offset: usize,
        piece: &mut [u8],
        next: &[u8],
        workspace: &mut Workspace,
    ) -> (Encoded, Tag) {
        let &Self { with, blinding, .. } = self;
        let here = self.coordinates::<W>(offset, piece.len());
        let (header, words) = piece.split_at_mut(piece.len() - here.len() * W::BYTES);
        header.fill(0);
        let (first, update) = (here.start, &self.update[here]);
        let random = workspace
            .random
            .words(with, blinding.rounding.expose(), first, update.len());
        let encoded = encode::encode::<W>(with, update, &self.scale, random, words);
        let element = offset / W::BYTES;
        let tag = tag::tag_in_block::<W>(with, piece, element, blinding.coefficients);

        let later = &self.update[self.coordinates::<W>(offset + piece.len(), next.len())];
        let upcoming = Upcoming::new(later, next);
        let first_block = offset / BLOCK_BYTES;
        keystream::combine::<W>(
            with,
            self.shares,
            first_block,
            upcoming,
            &mut workspace.sums,
            piece,
        );
        (encoded, tag)
    }

    /// Returns the coordinates that are words of the `len` bytes from `offset` on.
    fn coordinates<W: Word>(&self, offset: usize, len: usize) -> Range<usize> {
        let coordinate = |byte: usize| (byte / W::BYTES).saturating_sub(self.header_words);
        coordinate(offset)..coordinate(offset + len)
    }
}

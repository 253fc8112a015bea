//! Encodes coordinates as fixed point: [`fl_shaders::cpu::quantize`] without branches, so that it vectorises.

use std::iter::Sum;
use std::marker::PhantomData;
use std::mem;
use std::ops::AddAssign;

use fl_shaders::{InputScale, Word};

use super::keystream::{self, BLOCK_BYTES, Consumer};
use crate::seed::RoundingKey;
use crate::words::{read_word, write_word};

const SIGN_BITS: u32 = 31;
const MAGNITUDE_MASK: u32 = 0x7fff_ffff;
const INFINITY_BITS: u32 = 0x7f80_0000;
const FRACTION_FIELD_BITS: u32 = 23;
const FRACTION_FIELD: u32 = (1 << FRACTION_FIELD_BITS) - 1;
/// The exponent field e of a normal number stands for a mantissa times 2^(e − 150).
const EXPONENT_BIAS: i32 = 150;
const RANDOM_BYTES: usize = 4;

/// What was met while encoding.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Encoded {
    /// Number of coordinates above C in magnitude.
    pub(super) clipped: u64,
    /// Number of coordinates that are NaN or infinite; if any, the output is unusable.
    pub(super) non_finite: u64,
}

impl AddAssign for Encoded {
    fn add_assign(&mut self, other: Self) {
        self.clipped += other.clipped;
        self.non_finite += other.non_finite;
    }
}

impl Sum for Encoded {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

/// Encodes `update`, which begins at coordinate `first`, into the little-endian words of `encoded`.
pub(super) fn encode<W: Word>(
    update: &[f32],
    first: usize,
    scale: &InputScale,
    rounding: &RoundingKey,
    encoded: &mut [u8],
) -> Encoded {
    let first_byte = first * RANDOM_BYTES;
    let skip = first_byte % BLOCK_BYTES;
    let mut met = Encoded::default();
    let encoder = Encoder::<W> {
        update,
        scale,
        encoded,
        skip,
        met: &mut met,
        word: PhantomData,
    };
    let first_block = (first_byte / BLOCK_BYTES) as u64;
    let len = skip + update.len() * RANDOM_BYTES;
    keystream::feed(rounding.expose(), first_block, len, encoder);
    met
}

/// Encodes what is left of `update`, with random words from a keystream.
struct Encoder<'a, W> {
    update: &'a [f32],
    scale: &'a InputScale,
    encoded: &'a mut [u8],
    /// Number of keystream bytes before the first coordinate's.
    skip: usize,
    met: &'a mut Encoded,
    word: PhantomData<W>,
}

impl<W: Word> Consumer for Encoder<'_, W> {
    #[inline(always)]
    fn consume(&mut self, stream: &[u8]) {
        let random = &stream[self.skip.min(stream.len())..];
        self.skip -= stream.len() - random.len();
        let coordinates = random.len() / RANDOM_BYTES;
        let (update, later) = self.update.split_at(coordinates);
        self.update = later;
        let (encoded, rest) = mem::take(&mut self.encoded).split_at_mut(coordinates * W::BYTES);
        self.encoded = rest;

        let (mut clipped, mut non_finite) = (0_u32, 0_u32);
        let random = random.chunks_exact(RANDOM_BYTES);
        for ((u, random), word) in update
            .iter()
            .zip(random)
            .zip(encoded.chunks_exact_mut(W::BYTES))
        {
            let bits = u.to_bits();
            let magnitude_bits = bits & MAGNITUDE_MASK;
            clipped += u32::from(magnitude_bits > self.scale.clip_bits);
            non_finite += u32::from(magnitude_bits >= INFINITY_BITS);
            let magnitude = magnitude(
                magnitude_bits.min(self.scale.clip_bits),
                self.scale,
                read_word(random),
            );
            let sign = -i64::from(bits >> SIGN_BITS);
            write_word(word, W::from_signed((magnitude ^ sign) - sign));
        }
        self.met.clipped += u64::from(clipped);
        self.met.non_finite += u64::from(non_finite);
    }
}

/// The magnitude with the given bits, scaled and rounded.
#[inline(always)]
fn magnitude(bits: u32, scale: &InputScale, random: u32) -> i64 {
    let field = bits >> FRACTION_FIELD_BITS;
    let implicit = u32::from(field > 0) << FRACTION_FIELD_BITS;
    let mantissa = bits & FRACTION_FIELD | implicit;
    let exponent = field.max(1).cast_signed() - EXPONENT_BIAS;
    // At least 7, because B < 2^48.
    let shift = (scale.shift - exponent).cast_unsigned();

    // Below 2^56, so that a shift by 63 leaves nothing.
    let product = u64::from(mantissa) * u64::from(scale.mantissa);
    let integer = product >> shift.min(63);
    let fraction = product >> shift.saturating_sub(32).min(63) << 32_u32.saturating_sub(shift);
    let carry = ((fraction & u64::from(u32::MAX)) + u64::from(random)) >> 32;
    (integer + carry).cast_signed()
}

//! Encodes coordinates as fixed point: [`fl_shaders::cpu::quantize`] without branches, so that it
//! vectorises.

use std::marker::PhantomData;
use std::ops::AddAssign;

use fl_shaders::{InputScale, Instructions, Ring, Word, Work};

const SIGN_BITS: u32 = 31;
const MAGNITUDE_MASK: u32 = 0x7fff_ffff;
const INFINITY_BITS: u32 = 0x7f80_0000;
const FRACTION_FIELD_BITS: u32 = 23;
/// The exponent field e of a normal number stands for a mantissa times 2^(e − 150).
const EXPONENT_BIAS: i32 = 150;

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

/// Encodes `update`, rounded with `random`, one word a coordinate, into the little-endian words of
/// `encoded`.
pub(super) fn encode<W: Word>(
    with: Instructions,
    update: &[f32],
    scale: &InputScale,
    random: &[u32],
    encoded: &mut [u8],
) -> Encoded {
    with.run(Encode::<W> {
        update,
        scale,
        random,
        encoded,
        word: PhantomData,
    })
}

struct Encode<'a, W> {
    update: &'a [f32],
    scale: &'a InputScale,
    random: &'a [u32],
    encoded: &'a mut [u8],
    word: PhantomData<W>,
}

impl<W: Word> Work for Encode<'_, W> {
    type Output = Encoded;

    #[inline(always)]
    fn work(self) -> Encoded {
        let scale = *self.scale;
        // A piece has fewer than 2^32 coordinates.
        let (mut clipped, mut non_finite) = (0_u32, 0_u32);
        let words = self.encoded.chunks_exact_mut(W::BYTES);
        for ((u, random), word) in self.update.iter().zip(self.random).zip(words) {
            let bits = u.to_bits();
            let magnitude_bits = bits & MAGNITUDE_MASK;
            clipped += u32::from(magnitude_bits > scale.clip_bits);
            non_finite += u32::from(magnitude_bits >= INFINITY_BITS);
            let magnitude = magnitude::<W>(magnitude_bits.min(scale.clip_bits), &scale, *random);
            let sign = -i64::from(bits >> SIGN_BITS);
            W::from_signed((magnitude ^ sign) - sign).write(word);
        }
        Encoded {
            clipped: clipped.into(),
            non_finite: non_finite.into(),
        }
    }
}

/// The magnitude with the given bits, scaled and rounded: at most B.
#[inline(always)]
fn magnitude<W: Word>(bits: u32, scale: &InputScale, random: u32) -> i64 {
    let field = bits >> FRACTION_FIELD_BITS;
    // Eight bits higher than it counts, the implicit one on top.
    let mantissa = bits << 8 | u32::from(field > 0) << 31;
    let exponent = field.max(1).cast_signed() - EXPONENT_BIAS;
    // At least 7, because B < 2^48.
    let shift = (scale.shift - exponent).cast_unsigned();

    let product = u64::from(mantissa) * u64::from(scale.mantissa);
    let random = u64::from(random);
    let rounded = match W::RING {
        // Here B < 2^31: that many bits and 32 of fraction fit in 64, and the shift is at least 24.
        Ring::U32 => ((product >> (shift - 24).min(63)) + random) >> 32,
        Ring::U64 => {
            // Below 2^56, so that a shift by 63 leaves nothing.
            let product = product >> 8;
            let fraction =
                product >> shift.saturating_sub(32).min(63) << 32_u32.saturating_sub(shift);
            (product >> shift.min(63)) + (((fraction & u64::from(u32::MAX)) + random) >> 32)
        }
    };
    rounded.cast_signed()
}

#[cfg(test)]
mod tests {
    use fl_shaders::{FixedPoint, Parameters, cpu};

    use super::*;

    const KEY: [u8; 32] = [0x42; 32];

    fn scale(ring: Ring, clip: f32, fraction_bits: u32, nodes_max: u32) -> InputScale {
        let format = FixedPoint::new(Parameters {
            ring,
            clip,
            fraction_bits,
            nodes_max,
            examples_max: 1_000,
            tallies: 0,
        });
        InputScale::new(&format.unwrap(), 999).unwrap()
    }

    /// Both signs of numbers of every exponent, subnormal ones as well.
    fn every_exponent() -> Vec<f32> {
        let fractions = [0, 1, 0x2a_aaaa, 0x40_0000, 0x7f_ffff];
        (0..255_u32)
            .flat_map(|field| fractions.map(|fraction| field << FRACTION_FIELD_BITS | fraction))
            .flat_map(|bits| [bits, bits | 1 << SIGN_BITS])
            .map(f32::from_bits)
            .collect()
    }

    fn assert_equals_the_twin<W: Word>(scale: &InputScale) {
        let update = every_exponent();
        let mut twin = vec![W::default(); update.len()];
        let met = cpu::quantize(&update, 0, scale, &KEY, &mut twin);
        let expected: Vec<u8> = twin
            .iter()
            .flat_map(|word| word.to_le_bytes().as_ref().to_vec())
            .collect();
        let random: Vec<u32> = cpu::chacha20::words(&KEY, 0).take(update.len()).collect();
        for with in Instructions::available() {
            let mut words = vec![0xa5; expected.len()];
            let encoded = encode::<W>(with, &update, scale, &random, &mut words);
            assert!(words == expected, "{with:?}, {scale:?}");
            assert_eq!((encoded.clipped, encoded.non_finite), (met.clipped, 0));
            // Negative control: other random words, where there is something to round.
            let other: Vec<u32> = random.iter().map(|word| !word).collect();
            encode::<W>(with, &update, scale, &other, &mut words);
            assert_eq!(words != expected, f32::from_bits(scale.clip_bits) >= 1.0);
        }
    }

    #[test]
    fn equals_the_twin_for_every_exponent() {
        for (clip, fraction_bits, nodes_max) in [
            (1.0, 23, 128),
            (1.0, 0, 128),
            (1.5e9, 0, 1),
            (f32::from_bits(1), 63, 1),
            (f32::from_bits(0x0080_0000), 63, 1),
        ] {
            assert_equals_the_twin::<u32>(&scale(Ring::U32, clip, fraction_bits, nodes_max));
            assert_equals_the_twin::<u64>(&scale(Ring::U64, clip, fraction_bits, nodes_max));
        }
        assert_equals_the_twin::<u64>(&scale(Ring::U64, 128.0, 32, 65_536));
        assert_equals_the_twin::<u64>(&scale(Ring::U64, 1e14, 0, 1));
    }

    #[test]
    fn numbers_that_are_not_finite_are_counted() {
        let update = [
            f32::NAN,
            0.0,
            f32::INFINITY,
            -f32::NAN,
            f32::NEG_INFINITY,
            2.0,
        ];
        for with in Instructions::available() {
            let scale = scale(Ring::U32, 1.0, 23, 128);
            let met = encode::<u32>(with, &update, &scale, &[0; 6], &mut [0; 24]);
            assert_eq!((met.clipped, met.non_finite), (5, 4), "{with:?}");
        }
    }
}

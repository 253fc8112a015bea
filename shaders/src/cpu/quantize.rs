//! Encodes an update as fixed point, with stochastic rounding (the protocol, section 3).
//!
//! The kernel reads the *bits* of each `f32` and uses integers only:
//!
//! 1. A magnitude above C becomes C, and is counted.
//! 2. With the 24-bit mantissa m and exponent E of the magnitude, `|u| = m · 2^E`, and the scale's
//!    mantissa W, the exact product `P = m · W` has at most 56 bits; the encoded magnitude is
//!    `P · 2^−s` with `s = shift − E ≥ 1`.
//! 3. The integer part is `P >> s`. The top 32 bits of the fraction, plus a random 32-bit word,
//!    carry into it: it is rounded up with a probability equal to the fraction.
//! 4. The sign is applied in two's complement.

use super::chacha20;
use crate::{InputScale, Word};

const FRACTION_FIELD_BITS: u32 = 23;
const FRACTION_FIELD: u32 = (1 << FRACTION_FIELD_BITS) - 1;
const INFINITY_BITS: u32 = 0x7f80_0000;
/// The exponent field e of a normal number stands for a mantissa times 2^(e − 150).
const EXPONENT_BIAS: i32 = 150;

/// What [`quantize`] met on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantized {
    /// Number of coordinates that were clipped to ±C.
    pub clipped: u64,
    /// The first coordinate that is NaN or infinite, if any. The output is then unusable.
    pub non_finite: Option<u64>,
}

/// Encodes `update`, whose first element is coordinate `first_coordinate` of the whole, into
/// `encoded`.
///
/// Coordinate e is rounded with keystream word e of `rounding_key`, which must be private and
/// fresh. A coordinate that is NaN or infinite is reported and encoded as 0.
///
/// # Panics
///
/// If `update` and `encoded` differ in length.
pub fn quantize<W: Word>(
    update: &[f32],
    first_coordinate: u64,
    scale: &InputScale,
    rounding_key: &[u8; 32],
    encoded: &mut [W],
) -> Quantized {
    assert_eq!(update.len(), encoded.len(), "one word a coordinate");
    let mut met = Quantized::default();
    let random = chacha20::words(rounding_key, first_coordinate);
    for (((coordinate, u), random), encoded) in
        (first_coordinate..).zip(update).zip(random).zip(encoded)
    {
        let negative = u.is_sign_negative();
        let mut bits = u.abs().to_bits();
        if bits >= INFINITY_BITS {
            met.non_finite.get_or_insert(coordinate);
            bits = 0;
        }
        if bits > scale.clip_bits {
            met.clipped += 1;
            bits = scale.clip_bits;
        }
        let magnitude = magnitude(bits, scale, random);
        *encoded = W::from_signed(if negative { -magnitude } else { magnitude });
    }
    met
}

/// The magnitude with the given bits, scaled and rounded; at most B < 2^48.
fn magnitude(bits: u32, scale: &InputScale, random: u32) -> i64 {
    let field = (bits >> FRACTION_FIELD_BITS).cast_signed();
    let fraction = bits & FRACTION_FIELD;
    // A subnormal number has the exponent of field 1 and no implicit bit.
    let mantissa = if field == 0 {
        fraction
    } else {
        fraction | 1 << FRACTION_FIELD_BITS
    };
    let exponent = field.max(1) - EXPONENT_BIAS;

    let product = u64::from(mantissa) * u64::from(scale.mantissa);
    let shift = (scale.shift - exponent).unsigned_abs();
    let integer = product.checked_shr(shift).unwrap_or(0);
    let remainder = product - integer.checked_shl(shift).unwrap_or(0);
    let fraction = if shift <= 32 {
        remainder << (32 - shift)
    } else {
        remainder.checked_shr(shift - 32).unwrap_or(0)
    };
    let carry = (fraction + u64::from(random)) >> 32;
    (integer + carry).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{FixedPoint, Parameters, Ring};

    const KEY: [u8; 32] = [0x42; 32];

    fn format(ring: Ring, clip: f32, fraction_bits: u32, examples_max: u32) -> FixedPoint {
        FixedPoint::new(Parameters {
            ring,
            clip,
            fraction_bits,
            nodes_max: 4,
            examples_max,
            tallies: 0,
        })
        .unwrap()
    }

    fn encode<W: Word>(
        format: &FixedPoint,
        examples: u64,
        update: &[f32],
    ) -> (Vec<i64>, Quantized) {
        let scale = InputScale::new(format, examples).unwrap();
        let mut words = vec![W::default(); update.len()];
        let met = quantize(update, 0, &scale, &KEY, &mut words);
        (words.into_iter().map(W::to_signed).collect(), met)
    }

    #[test]
    fn multiples_of_the_resolution_are_exact() {
        let format = format(Ring::U32, 1.0, 23, 1);
        let update = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.25,
            2_f32.powi(-23),
            -3.0 * 2_f32.powi(-23),
        ];
        let expected = [0, 0, 1 << 23, -1 << 23, 1 << 22, -1 << 21, 1, -3];
        assert_eq!(
            encode::<u32>(&format, 1, &update),
            (expected.to_vec(), Quantized::default())
        );
        assert_eq!(encode::<u64>(&format, 1, &update).0, expected);
    }

    #[test]
    fn what_exceeds_the_clip_is_clipped_and_counted() {
        let format = format(Ring::U32, 1.0, 20, 1);
        let above = f32::from_bits(1_f32.to_bits() + 1);
        let update = [1.0, above, -above, f32::MAX, f32::MIN, -1.0];
        let (words, met) = encode::<u32>(&format, 1, &update);
        let one = 1 << 20;
        assert_eq!(words, [one, one, -one, one, -one, -one]);
        assert_eq!(
            met,
            Quantized {
                clipped: 4,
                non_finite: None
            }
        );
    }

    #[test]
    fn the_first_number_that_is_not_finite_is_reported() {
        let format = format(Ring::U32, 1.0, 20, 1);
        let scale = InputScale::new(&format, 1).unwrap();
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut words = [7_u32; 4];
            let met = quantize(&[0.5, bad, 0.5, f32::NAN], 100, &scale, &KEY, &mut words);
            assert_eq!(
                met,
                Quantized {
                    clipped: 0,
                    non_finite: Some(101)
                }
            );
            assert_eq!(words, [1 << 19, 0, 1 << 19, 0]);
        }
    }

    #[test]
    fn any_part_can_be_encoded_alone() {
        let format = format(Ring::U32, 1.0, 3, 10);
        let scale = InputScale::new(&format, 7).unwrap();
        let update: Vec<f32> = (0..100_u8).map(|e| f32::from(e) / 101.0).collect();
        let mut whole = vec![0_u32; 100];
        quantize(&update, 0, &scale, &KEY, &mut whole);
        for cut in [1, 15, 16, 17, 50] {
            let mut part = vec![0_u32; 100 - cut];
            quantize(&update[cut..], cut as u64, &scale, &KEY, &mut part);
            assert_eq!(part, whole[cut..]);
        }
        // Negative control: another coordinate draws another random word.
        let mut shifted = vec![0_u32; 100];
        quantize(&update, 1, &scale, &KEY, &mut shifted);
        assert_ne!(shifted, whole);
    }

    #[test]
    fn rounding_is_unbiased() {
        let count = 200_000;
        for u in [0.3_f32, 0.9, 1e-3, -0.41] {
            let format = format(Ring::U32, 1.0, 4, 7);
            let (words, _) = encode::<u32>(&format, 5, &vec![u; count]);
            let exact = f64::from(u) * 5.0 / 7.0 * 16.0;
            let mean = words.iter().sum::<i64>() as f64 / count as f64;
            let fraction = exact.abs().fract();
            let deviation = (fraction * (1.0 - fraction) / count as f64).sqrt();
            assert!(
                (mean - exact).abs() < 6.0 * deviation,
                "{u}: {mean}, not {exact}"
            );
            // Negative control: rounding to the nearest, or down, is off by far more.
            assert!((exact.round() - exact).abs() > 6.0 * deviation);
            assert!((exact.trunc() - exact).abs() > 6.0 * deviation);
        }
    }

    /// The encoded magnitude by 128-bit arithmetic on the real number `|u| · n_i / n_max · 2^f`,
    /// with the weight cut to 32 significant bits as documented.
    fn reference(
        u: f32,
        clip: f32,
        fraction_bits: u32,
        examples: u64,
        examples_max: u32,
        random: u32,
    ) -> i64 {
        let places = 31 + (u64::from(examples_max) / examples).ilog2();
        let places = [places, places + 1]
            .into_iter()
            .find(|p| (u128::from(examples) << p) / u128::from(examples_max) >= 1 << 31)
            .unwrap();
        let weight = (u128::from(examples) << places) / u128::from(examples_max);
        let magnitude = f64::from(u.abs().min(clip));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole: |u| is a multiple of 2^−64"
        )]
        let scaled = (magnitude * 2_f64.powi(64)) as u128;
        let encoded = (scaled * weight) >> (32 + places - fraction_bits);
        let integer = (encoded + u128::from(random)) >> 32;
        let integer = i64::try_from(integer).unwrap();
        if u.is_sign_negative() {
            -integer
        } else {
            integer
        }
    }

    proptest! {
        #[test]
        fn equals_wide_arithmetic(
            // Multiples of 2^−39, so that the reference is exact.
            updates in prop::collection::vec((-(1_i32 << 24)..=1 << 24, 0_i32..40), 1..50),
            clip in 0.001_f32..8.0,
            fraction_bits in 0_u32..=25,
            (examples_max, examples) in (1_u32..1_000_000).prop_flat_map(|max| (Just(max), 1..=u64::from(max))),
        ) {
            let format = format(Ring::U32, clip, fraction_bits, examples_max);
            let update: Vec<f32> =
                updates.iter().map(|&(m, e)| m as f32 * 2_f32.powi(-e)).collect();
            let (words, met) = encode::<u32>(&format, examples, &update);
            let random = chacha20::words(&KEY, 0);
            for ((word, u), random) in words.iter().zip(&update).zip(random) {
                prop_assert_eq!(*word, reference(*u, clip, fraction_bits, examples, examples_max, random));
                prop_assert!(word.unsigned_abs() <= format.bound());
            }
            let clipped = update.iter().filter(|u| u.abs() > clip).count();
            prop_assert_eq!(met, Quantized { clipped: clipped as u64, non_finite: None });
            prop_assert_eq!(encode::<u64>(&format, examples, &update).0, words);
        }

        #[test]
        fn signs_mirror_and_bounds_hold_for_every_finite_number(
            bits in prop::collection::vec(any::<u32>(), 1..50),
            examples in 1_u64..=1_000,
        ) {
            let update: Vec<f32> =
                bits.into_iter().map(f32::from_bits).filter(|u| u.is_finite()).collect();
            let mirrored: Vec<f32> = update.iter().map(|u| -u).collect();
            let format = format(Ring::U64, 128.0, 32, 1_000);
            let (words, met) = encode::<u64>(&format, examples, &update);
            let (negated, _) = encode::<u64>(&format, examples, &mirrored);
            prop_assert_eq!(met.non_finite, None);
            for (word, negated) in words.iter().zip(&negated) {
                prop_assert_eq!(*word, -negated);
                prop_assert!(word.unsigned_abs() <= format.bound());
            }
        }

        #[test]
        fn subnormal_numbers_are_encoded_like_any_other(fraction in 1_u32..1 << 23, random in any::<u32>()) {
            // A scale so large that the smallest subnormal number is one step.
            let scale = InputScale { mantissa: 1 << 31, shift: 31 - 149, clip_bits: f32::MAX.to_bits() };
            prop_assert_eq!(magnitude(fraction, &scale, random), i64::from(fraction));
        }
    }
}
